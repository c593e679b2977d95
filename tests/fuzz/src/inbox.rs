//! Batches on their way to a node: what is written is read, what is read can be written again byte for byte, and a batch
//! that was cut is never taken for a whole one.

use bytes::Bytes;
use shared::bus::Notice;
use shared::decoders::{inbox, inbox_batch};
use shared::event::Envelope;
use shared::id::{AccountId, EntryId, Partition, RoomId};
use uuid::Uuid;

use crate::input::{Input, piece};

/// A batch as it is, or the notices to make one of.
///
/// # Panics
/// When the promise is broken.
pub fn check(data: &[u8]) -> bool {
    let mut input = Input(data);
    match input.byte() % 2 {
        0 => read(input.0),
        _ => write(&mut input),
    }
}

fn read(batch: &[u8]) -> bool {
    let Some(notices) = inbox(Bytes::copy_from_slice(batch)) else { return false };
    let again = inbox_batch(&notices);
    assert_eq!(again.len(), batch.len(), "nothing is left out and nothing invented");
    assert_eq!(inbox(Bytes::from(again)).as_ref(), Some(&notices));
    if !notices.is_empty() {
        assert_ne!(inbox(Bytes::copy_from_slice(&batch[..batch.len() - 1])).as_ref(), Some(&notices));
    }
    true
}

fn write(input: &mut Input<'_>) -> bool {
    let cut = input.small() as usize;
    let mut notices = Vec::new();
    while !input.is_used_up() {
        notices.push(notice(input));
    }
    let batch = inbox_batch(&notices);
    assert_eq!(inbox(Bytes::copy_from_slice(&batch)).as_ref(), Some(&notices));
    if let Some(fewer) = inbox(Bytes::copy_from_slice(&batch[..cut % batch.len()])) {
        assert!(fewer.len() < notices.len() && notices.starts_with(&fewer), "a cut batch is a shorter one");
    }
    true
}

fn notice(input: &mut Input<'_>) -> Notice {
    match input.byte() % 4 {
        0 => Notice::Envelope(envelope(input)),
        1 => Notice::CompareHeads(partition(input)),
        2 => Notice::AccountChanged(person(input)),
        _ => Notice::ViewerCount { room: RoomId(Uuid::from_u128(input.wide())), count: input.number() },
    }
}

fn envelope(input: &mut Input<'_>) -> Envelope {
    let shape = input.byte();
    Envelope {
        partition: partition(input),
        entry: EntryId { epoch: input.small(), pseq: input.small() },
        // No room has the nil id, which stands for none.
        room: Some(Uuid::from_u128(input.wide())).filter(|room| !room.is_nil()).map(RoomId),
        to: (0..shape % 4).map(|_| person(input)).collect(),
        seq: input.number(),
        prev: input.small(),
        at_ms: input.number().cast_signed(),
        total: (shape & 0x80 != 0).then(|| input.number().cast_signed()),
        body: Bytes::copy_from_slice(input.piece()),
    }
}

fn person(input: &mut Input<'_>) -> AccountId {
    AccountId(Uuid::from_u128(input.wide()))
}

fn partition(input: &mut Input<'_>) -> Partition {
    Partition::numbered(u16::from_be_bytes([input.byte(), input.byte()]))
}

/// A batch of every kind of notice, and what makes one.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let person = AccountId(Uuid::from_u128(9));
    let room = RoomId(Uuid::from_u128(5));
    let envelope = |to: &[AccountId], total| Envelope {
        partition: Partition::numbered(7),
        entry: EntryId { epoch: 3, pseq: 99 },
        room: Some(room),
        to: to.to_vec(),
        seq: 12,
        prev: 98,
        at_ms: 1_700_000_000_123,
        total,
        body: Bytes::from_static(br#"{"event":"viewers_seen","seen":[]}"#),
    };
    let batches = [
        vec![Notice::Envelope(envelope(&[], None))],
        vec![Notice::Envelope(envelope(&[person, person], Some(-4)))],
        vec![Notice::CompareHeads(Partition::numbered(3)), Notice::AccountChanged(person)],
        vec![Notice::ViewerCount { room, count: 1_000 }, Notice::Envelope(envelope(&[person], Some(1)))],
        vec![],
    ];
    let mut seeds: Vec<Vec<u8>> =
        batches.iter().map(|batch| [vec![0], inbox_batch(batch)].concat()).collect();
    seeds.push(
        [vec![1, 0, 0, 0, 40, 0, 0x82], vec![1; 66], piece(b"{}"), vec![1, 0, 3], vec![2; 17]].concat(),
    );
    seeds
}
