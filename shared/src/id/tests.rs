//! Names lead to partitions, and are read as they were written.

use proptest::prelude::*;

use super::*;

const P: u16 = 16;

fn room(n: u128) -> RoomId {
    RoomId(Uuid::from_u128(n))
}

#[test]
fn a_message_id_is_named_by_room_sender_and_nonce_alone() {
    let (ana, ben) = (AccountId(Uuid::from_u128(1)), AccountId(Uuid::from_u128(2)));
    let nonce = Nonce::parse("one").unwrap();
    let id = MessageId::named_by(room(7), ana, &nonce, P);
    assert_eq!(id, MessageId::named_by(room(7), ana, &nonce, P));
    assert_ne!(id, MessageId::named_by(room(8), ana, &nonce, P));
    assert_ne!(id, MessageId::named_by(room(7), ben, &nonce, P));
    assert_ne!(id, MessageId::named_by(room(7), ana, &Nonce::parse("two").unwrap(), P));
}

#[test]
fn both_names_of_a_message_lead_to_its_partition() {
    for n in 0..200 {
        let nonce = Nonce::parse(&n.to_string()).unwrap();
        let id = MessageId::named_by(room(n), AccountId(Uuid::nil()), &nonce, P);
        assert_eq!(id.0.get_version_num(), 8);
        assert_eq!(id.partition(P), Some(Partition::of(room(n), P)));
    }
    let entry = EntryId { epoch: 65_535, pseq: u32::MAX };
    let no = MessageNo::of(entry, Partition(15), P);
    assert!(no.0 < 1 << 53, "{no} must fit a JavaScript number");
    assert_eq!(no.place(P), Some((Partition(15), entry)));
    for never_given in [0, -1, 15, i64::MIN] {
        assert_eq!(MessageNo(never_given).place(P), None, "{never_given}");
    }
}

#[test]
fn positions_and_entry_ids_read_what_they_write_and_nothing_else() {
    let position = Position { epoch: 3, seq: 41 };
    assert_eq!(position.to_string().parse(), Ok(position));
    let entry = EntryId { epoch: 3, pseq: 41 };
    assert_eq!(entry.to_string().parse(), Ok(entry));
    for bad in ["", ":", "1:", ":1", "1", "+1:2", "1:-2", "1:2:3", "4294967296:1", "1: 2", "١:1"] {
        assert!(bad.parse::<Position>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_hole_is_told_from_a_new_epoch() {
    let entry = |epoch, pseq| EntryId { epoch, pseq };
    assert!(entry(1, 4).is_followed_by(entry(1, 5)));
    assert!(!entry(1, 4).is_followed_by(entry(1, 6)));
    assert!(entry(1, 4).is_followed_by(entry(2, 1)));
    assert!(!entry(1, 4).is_followed_by(entry(2, 2)));
    assert!(entry(0, 0).is_followed_by(entry(1, 1)));
}

#[test]
fn a_nonce_is_one_to_sixty_four_printable_characters() {
    assert!(Nonce::parse(&"x".repeat(64)).is_ok());
    assert!(Nonce::parse(&"é".repeat(64)).is_ok());
    for bad in [String::new(), "x".repeat(65), "a\nb".into(), "a\0".into()] {
        assert!(Nonce::parse(&bad).is_err(), "{bad:?}");
    }
    assert_eq!(Nonce::parse("plain").unwrap().made_at_ms(), None);
    let v7 = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1_700_000_000, 5_000_000));
    assert_eq!(Nonce::parse(&v7.to_string()).unwrap().made_at_ms(), Some(1_700_000_000_005));
}

#[test]
fn every_partition_has_one_strongest_claim_and_a_leaver_moves_only_its_own() {
    let owners: Vec<BootId> = (1..=4).map(|n| BootId(Uuid::from_u128(n))).collect();
    let owner_of = |p: Partition, among: &[BootId]| *among.iter().max_by_key(|o| p.claim(**o)).unwrap();
    for partition in Partition::all(P) {
        let before = owner_of(partition, &owners);
        let after = owner_of(partition, &owners[..3]);
        assert!(before == owners[3] || before == after, "{partition} moved without need");
    }
}

proptest! {
    #[test]
    fn any_place_has_one_name_and_is_found_by_it(
        (epoch, pseq) in (0..=65_535_u32, 1..u32::MAX),
        (partitions, part) in (1..=16_u16).prop_flat_map(|partitions| (Just(partitions), 0..partitions)),
    ) {
        let (entry, partition) = (EntryId { epoch, pseq }, Partition(part));
        let no = MessageNo::of(entry, partition, partitions);
        prop_assert!((0..1 << 53).contains(&no.0), "{no} must fit a JavaScript number");
        prop_assert_eq!(no.place(partitions), Some((partition, entry)));
        prop_assert!(MessageNo::of(entry.next(), Partition(0), partitions) > no, "later is larger");
    }

    #[test]
    fn any_number_is_that_of_its_place_or_has_none(no in any::<i64>(), partitions in 1..=Partition::MOST) {
        if let Some((partition, entry)) = MessageNo(no).place(partitions) {
            prop_assert!(partition.0 < partitions);
            prop_assert_eq!(MessageNo::of(entry, partition, partitions), MessageNo(no));
        }
    }

    #[test]
    fn any_position_and_entry_id_reads_what_it_writes((epoch, seq, pseq) in any::<(u32, u64, u32)>()) {
        let (position, entry) = (Position { epoch, seq }, EntryId { epoch, pseq });
        prop_assert_eq!(position.to_string().parse(), Ok(position));
        prop_assert_eq!(entry.to_string().parse(), Ok(entry));
        prop_assert!(entry.to_string().parse::<Position>().is_err() && position.to_string().parse::<EntryId>().is_err());
    }

    #[test]
    fn any_message_leads_to_its_room(
        (room_id, sender) in any::<(u128, u128)>(),
        nonce in "[^\\pC]{1,64}",
        partitions in 1..=Partition::MOST,
    ) {
        let nonce = Nonce::parse(&nonce).unwrap();
        let id = MessageId::named_by(room(room_id), AccountId(Uuid::from_u128(sender)), &nonce, partitions);
        prop_assert_eq!(id.partition(partitions), Some(Partition::of(room(room_id), partitions)));
    }
}
