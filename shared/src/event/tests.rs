//! Both ends of the log's wire, with examples and with anything.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::user::{Role, Roles};
use uuid::Uuid;

fn field(name: &str, value: &str) -> (Vec<u8>, Vec<u8>) {
    (name.into(), value.into())
}

#[test]
fn every_event_reads_what_it_writes() {
    let id = MessageId(Uuid::from_u128(5));
    let person = AccountId(Uuid::from_u128(6));
    let author = Author {
        id: person,
        no: 7,
        username: "ana".into(),
        full_name: None,
        avatar: Some("https://example.org/a.png".into()),
        roles: [Role::Winner].into_iter().collect(),
    };
    let plain = Author { avatar: None, roles: Roles::NONE, ..author.clone() };
    for event in [
        Event::MessageSent(MessageSent {
            id,
            author,
            text: "héllo \u{1F600}".into(),
            nonce: "n".into(),
            origin: None,
        }),
        Event::MessageSent(MessageSent {
            id,
            author: plain,
            text: "x".into(),
            nonce: "n".into(),
            origin: Some(Origin { node: BootId(Uuid::from_u128(4)), connection: 7, send: 2 }),
        }),
        Event::MessageRead(MessageRead { id, no: MessageNo(99), by: person }),
        Event::LikeChanged(LikeChanged { target: LikeTarget::Session, person, liked: true }),
        Event::LikeChanged(LikeChanged {
            target: LikeTarget::Message { id, no: MessageNo(99) },
            person,
            liked: false,
        }),
        Event::MessageEdited(MessageEdited { id, no: MessageNo(99), by: person, text: "y".into() }),
        Event::MessageDeleted(MessageDeleted { id, no: MessageNo(99), by: person }),
        Event::MembershipChanged(MembershipChanged {
            number: 3,
            person,
            by: AccountId(Uuid::from_u128(9)),
            became: Became::Banned,
        }),
        Event::ViewersSeen(ViewersSeen {
            seen: vec![(RoomId(Uuid::from_u128(8)), person, 1_700_000_000_000)],
        }),
    ] {
        assert_eq!(Event::from_body(&event.to_body()).unwrap(), event);
    }
}

#[test]
fn an_envelope_holds_what_its_entry_says_and_survives_rubbish() {
    let room = RoomId(Uuid::from_u128(1));
    let people = [AccountId(Uuid::from_u128(2)), AccountId(Uuid::from_u128(3))];
    let entry = EntryId { epoch: 2, pseq: 9 };
    let fields = vec![
        field("at", "1700000000123"),
        field("body", "{}"),
        field("room", &room.to_string()),
        field("seq", "4"),
        field("prev", "8"),
        field("to", &to_field(&people)),
        field("total", "12"),
        field("later", "what a newer version adds"),
    ];
    let envelope = Envelope::from_fields(Partition::numbered(3), entry, fields);
    assert_eq!(envelope.position(), Position { epoch: 2, seq: 4 });
    assert_eq!((envelope.room, envelope.prev, envelope.total), (Some(room), 8, Some(12)));
    assert_eq!(envelope.to, people);
    assert_eq!(envelope.at().timestamp_millis(), 1_700_000_000_123);

    let rubbish = vec![field("room", "nowhere"), field("seq", "-1"), (b"at".to_vec(), vec![0xff])];
    let envelope = Envelope::from_fields(Partition::numbered(3), entry, rubbish);
    assert_eq!((envelope.room, envelope.seq, envelope.at_ms), (None, 0, 0));
    assert!(envelope.event().is_err());
}

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn person() -> impl Strategy<Value = AccountId> {
    uuid().prop_map(AccountId)
}

fn author() -> impl Strategy<Value = Author> {
    let names = (".*", option::of(".*"), option::of(".*"));
    (person(), any::<i64>(), names, proptest::sample::subsequence(Role::ALL.to_vec(), 0..=3)).prop_map(
        |(id, no, (username, full_name, avatar), roles)| Author {
            id,
            no,
            username,
            full_name,
            avatar,
            roles: roles.into_iter().collect(),
        },
    )
}

fn target() -> impl Strategy<Value = LikeTarget> {
    let message = (uuid(), any::<i64>());
    let message = message.prop_map(|(id, no)| LikeTarget::Message { id: MessageId(id), no: MessageNo(no) });
    prop_oneof![Just(LikeTarget::Session), message]
}

fn became() -> impl Strategy<Value = Became> {
    proptest::sample::select(vec![
        Became::Member,
        Became::Admin,
        Became::Demoted,
        Became::Gone,
        Became::Banned,
        Became::Unbanned,
        Became::Blocking,
        Became::Unblocking,
        Became::Befriended,
        Became::Unfriended,
    ])
}

fn event() -> impl Strategy<Value = Event> {
    let id = || uuid().prop_map(MessageId);
    let no = || any::<i64>().prop_map(MessageNo);
    let origin =
        option::of((uuid(), any::<u64>(), any::<u32>()).prop_map(|(node, connection, send)| Origin {
            node: BootId(node),
            connection,
            send,
        }));
    let sent = (id(), author(), ".*", ".*", origin);
    let seen = vec((uuid().prop_map(RoomId), person(), any::<i64>()), 0..5);
    prop_oneof![
        sent.prop_map(|(id, author, text, nonce, origin)| Event::MessageSent(MessageSent {
            id,
            author,
            text,
            nonce,
            origin
        })),
        (id(), no(), person()).prop_map(|(id, no, by)| Event::MessageRead(MessageRead { id, no, by })),
        (target(), person(), any::<bool>())
            .prop_map(|(target, person, liked)| Event::LikeChanged(LikeChanged { target, person, liked })),
        (id(), no(), person(), ".*").prop_map(|(id, no, by, text)| Event::MessageEdited(MessageEdited {
            id,
            no,
            by,
            text
        })),
        (id(), no(), person()).prop_map(|(id, no, by)| Event::MessageDeleted(MessageDeleted { id, no, by })),
        (any::<u64>(), person(), person(), became()).prop_map(|(number, person, by, became)| {
            Event::MembershipChanged(MembershipChanged { number, person, by, became })
        }),
        seen.prop_map(|seen| Event::ViewersSeen(ViewersSeen { seen })),
    ]
}

proptest! {
    #[test]
    fn any_event_reads_what_it_writes(event in event()) {
        let body = event.to_body();
        prop_assert_eq!(Event::from_body(&body).unwrap(), event);
        prop_assert!(Event::from_body(&body[..body.len() - 1]).is_err(), "half a body is none");
    }

    #[test]
    fn any_entry_is_read_as_it_was_written(
        (room, to) in (option::of(uuid()), vec(person(), 0..6)),
        (seq, prev, at, total) in any::<(u64, u32, i64, Option<i64>)>(),
        body in vec(any::<u8>(), 0..80),
    ) {
        let room = room.map(RoomId);
        let mut fields = vec![
            field("to", &to_field(&to)),
            field("seq", &seq.to_string()),
            field("prev", &prev.to_string()),
            field("at", &at.to_string()),
            (b"body".to_vec(), body.clone()),
        ];
        fields.extend(room.map(|room| field("room", &room.to_string())));
        fields.extend(total.map(|total| field("total", &total.to_string())));
        let (partition, entry) = (Partition::numbered(3), EntryId { epoch: 2, pseq: 9 });
        let expected = Envelope { partition, entry, room, to, seq, prev, at_ms: at, total, body: body.into() };
        prop_assert_eq!(Envelope::from_fields(partition, entry, fields), expected);
    }
}
