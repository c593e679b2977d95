//! The bytes of a batch: both ends of the wire to a node's inbox.

use bytes::{Buf as _, BufMut as _, Bytes};
use uuid::Uuid;

use super::{Notice, Word};
use crate::event::Envelope;
use crate::id::{AccountId, EntryId, MessageId, Partition, Position, RoomId};

/// First byte of a batch, so that a later form can be told from this one.
const FORM: u8 = 1;
const ENVELOPE: u8 = 1;
const COMPARE_HEADS: u8 = 2;
const ACCOUNT_CHANGED: u8 = 3;
const VIEWER_COUNT: u8 = 4;
const WORD: u8 = 5;

const TYPING: u8 = 1;
const DELIVERED: u8 = 2;
const PRESENCE: u8 = 3;

pub(crate) fn encode(notices: &[Notice]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 * notices.len());
    out.put_u8(FORM);
    for notice in notices {
        match notice {
            Notice::Envelope(envelope) => {
                out.put_u8(ENVELOPE);
                put_envelope(&mut out, envelope);
            }
            Notice::CompareHeads(partition) => {
                out.put_u8(COMPARE_HEADS);
                out.put_u16(partition.number());
            }
            Notice::AccountChanged(account) => {
                out.put_u8(ACCOUNT_CHANGED);
                out.put_slice(account.0.as_bytes());
            }
            Notice::ViewerCount { room, count } => {
                out.put_u8(VIEWER_COUNT);
                out.put_slice(room.0.as_bytes());
                out.put_u64(*count);
            }
            Notice::Word { to, word } => {
                out.put_u8(WORD);
                out.put_slice(to.0.as_bytes());
                put_word(&mut out, word);
            }
        }
    }
    out
}

fn put_envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    out.put_u16(envelope.partition.number());
    out.put_u32(envelope.entry.epoch);
    out.put_u32(envelope.entry.pseq);
    out.put_slice(envelope.room.map_or(Uuid::nil(), |room| room.0).as_bytes());
    out.put_u64(envelope.seq);
    out.put_u32(envelope.prev);
    out.put_i64(envelope.at_ms);
    out.put_u8(u8::from(envelope.total.is_some()));
    out.put_i64(envelope.total.unwrap_or(0));
    out.put_u32(u32::try_from(envelope.to.len()).unwrap_or(0));
    for person in &envelope.to {
        out.put_slice(person.0.as_bytes());
    }
    out.put_u32(u32::try_from(envelope.body.len()).unwrap_or(0));
    out.put_slice(&envelope.body);
}

/// The notices of a batch, or none when it is not of our form. Bodies share the batch's memory.
pub(crate) fn decode(mut batch: Bytes) -> Option<Vec<Notice>> {
    if batch.try_get_u8().ok()? != FORM {
        return None;
    }
    let mut notices = Vec::new();
    while batch.has_remaining() {
        notices.push(match batch.get_u8() {
            ENVELOPE => Notice::Envelope(take_envelope(&mut batch)?),
            COMPARE_HEADS => Notice::CompareHeads(Partition::numbered(batch.try_get_u16().ok()?)),
            ACCOUNT_CHANGED => Notice::AccountChanged(AccountId(take_uuid(&mut batch)?)),
            VIEWER_COUNT => {
                Notice::ViewerCount { room: RoomId(take_uuid(&mut batch)?), count: batch.try_get_u64().ok()? }
            }
            WORD => {
                let to = AccountId(take_uuid(&mut batch)?);
                Notice::Word { to, word: take_word(&mut batch)? }
            }
            _ => return None,
        });
    }
    Some(notices)
}

fn put_word(out: &mut Vec<u8>, word: &Word) {
    match word {
        Word::Typing { person, is_typing } => {
            out.put_u8(TYPING);
            out.put_slice(person.0.as_bytes());
            out.put_u8(u8::from(*is_typing));
        }
        Word::Delivered { room, position, message, by } => {
            out.put_u8(DELIVERED);
            out.put_slice(room.0.as_bytes());
            out.put_u32(position.epoch);
            out.put_u64(position.seq);
            out.put_slice(message.0.as_bytes());
            out.put_slice(by.0.as_bytes());
        }
        Word::Presence { person, online } => {
            out.put_u8(PRESENCE);
            out.put_slice(person.0.as_bytes());
            out.put_u8(u8::from(*online));
        }
    }
}

fn take_word(batch: &mut Bytes) -> Option<Word> {
    Some(match batch.try_get_u8().ok()? {
        TYPING => {
            Word::Typing { person: AccountId(take_uuid(batch)?), is_typing: batch.try_get_u8().ok()? == 1 }
        }
        DELIVERED => Word::Delivered {
            room: RoomId(take_uuid(batch)?),
            position: Position { epoch: batch.try_get_u32().ok()?, seq: batch.try_get_u64().ok()? },
            message: MessageId(take_uuid(batch)?),
            by: AccountId(take_uuid(batch)?),
        },
        PRESENCE => {
            Word::Presence { person: AccountId(take_uuid(batch)?), online: batch.try_get_u8().ok()? == 1 }
        }
        _ => return None,
    })
}

fn take_envelope(batch: &mut Bytes) -> Option<Envelope> {
    let partition = Partition::numbered(batch.try_get_u16().ok()?);
    let entry = EntryId { epoch: batch.try_get_u32().ok()?, pseq: batch.try_get_u32().ok()? };
    let room = take_uuid(batch)?;
    let (seq, prev) = (batch.try_get_u64().ok()?, batch.try_get_u32().ok()?);
    let at_ms = batch.try_get_i64().ok()?;
    let (has_total, total) = (batch.try_get_u8().ok()? == 1, batch.try_get_i64().ok()?);
    let people = batch.try_get_u32().ok()?;
    let to = (0..people).map(|_| take_uuid(batch).map(AccountId)).collect::<Option<Vec<_>>>()?;
    let length = usize::try_from(batch.try_get_u32().ok()?).ok()?;
    if batch.remaining() < length {
        return None;
    }
    Some(Envelope {
        partition,
        entry,
        room: (!room.is_nil()).then_some(RoomId(room)),
        to,
        seq,
        prev,
        at_ms,
        total: has_total.then_some(total),
        body: batch.split_to(length),
    })
}

fn take_uuid(batch: &mut Bytes) -> Option<Uuid> {
    let mut bytes = [0; 16];
    batch.try_copy_to_slice(&mut bytes).ok()?;
    Some(Uuid::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn envelope(total: Option<i64>, to: Vec<AccountId>, body: &[u8]) -> Envelope {
        Envelope {
            partition: Partition::numbered(7),
            entry: EntryId { epoch: 3, pseq: 99 },
            room: Some(RoomId(Uuid::from_u128(5))),
            to,
            seq: 12,
            prev: 98,
            at_ms: 1_700_000_000_123,
            total,
            body: Bytes::copy_from_slice(body),
        }
    }

    #[test]
    fn a_batch_reads_what_it_writes() {
        let person = AccountId(Uuid::from_u128(9));
        let notices = vec![
            Notice::Envelope(envelope(None, vec![], b"{}")),
            Notice::CompareHeads(Partition::numbered(3)),
            Notice::Envelope(Envelope {
                room: None,
                ..envelope(Some(-4), vec![person, person], &[0, 255, 10])
            }),
            Notice::AccountChanged(person),
            Notice::ViewerCount { room: RoomId(Uuid::from_u128(5)), count: 1_000 },
            Notice::Word { to: person, word: Word::Typing { person, is_typing: true } },
            Notice::Word { to: person, word: Word::Presence { person, online: false } },
            Notice::Word {
                to: person,
                word: Word::Delivered {
                    room: RoomId(Uuid::from_u128(5)),
                    position: Position { epoch: 2, seq: 1 << 40 },
                    message: MessageId(Uuid::from_u128(6)),
                    by: person,
                },
            },
        ];
        assert_eq!(decode(Bytes::from(encode(&notices))), Some(notices));
        assert_eq!(decode(Bytes::from(encode(&[]))), Some(vec![]));
    }

    fn notice() -> impl Strategy<Value = Notice> {
        let uuid = || any::<u128>().prop_map(Uuid::from_u128);
        let person = || uuid().prop_map(AccountId);
        let (to, body) = (prop::collection::vec(person(), 0..4), prop::collection::vec(any::<u8>(), 0..80));
        let numbers = any::<(u16, u32, u32, u64, u32, i64, Option<i64>)>();
        // The nil id stands for no room.
        let room = prop::option::of(1..=u128::MAX).prop_map(|id| id.map(|id| RoomId(Uuid::from_u128(id))));
        let envelope = (numbers, room, to, body).prop_map(|(numbers, room, to, body)| {
            let (part, epoch, pseq, seq, prev, at_ms, total) = numbers;
            let (partition, entry) = (Partition::numbered(part), EntryId { epoch, pseq });
            Envelope { partition, entry, room, to, seq, prev, at_ms, total, body: body.into() }
        });
        let count = any::<(u128, u64)>();
        let delivered =
            (uuid(), any::<(u32, u64)>(), uuid(), person()).prop_map(|(room, (epoch, seq), message, by)| {
                let position = Position { epoch, seq };
                Word::Delivered { room: RoomId(room), position, message: MessageId(message), by }
            });
        let word = prop_oneof![
            (person(), any::<bool>()).prop_map(|(person, is_typing)| Word::Typing { person, is_typing }),
            (person(), any::<bool>()).prop_map(|(person, online)| Word::Presence { person, online }),
            delivered,
        ];
        prop_oneof![
            4 => envelope.prop_map(Notice::Envelope),
            1 => any::<u16>().prop_map(|part| Notice::CompareHeads(Partition::numbered(part))),
            1 => person().prop_map(Notice::AccountChanged),
            1 => count.prop_map(|(id, count)| Notice::ViewerCount { room: RoomId(Uuid::from_u128(id)), count }),
            1 => (person(), word).prop_map(|(to, word)| Notice::Word { to, word }),
        ]
    }

    proptest! {
        #[test]
        fn any_batch_reads_what_it_writes(notices in prop::collection::vec(notice(), 0..6)) {
            prop_assert_eq!(decode(Bytes::from(encode(&notices))), Some(notices));
        }

        #[test]
        fn rubbish_is_told_from_a_batch_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(Bytes::from(bytes));
        }

        #[test]
        fn a_cut_batch_is_never_read_as_a_whole_one(body in proptest::collection::vec(any::<u8>(), 0..60), cut in 1_usize..60) {
            let whole = encode(&[Notice::Envelope(envelope(Some(1), vec![], &body))]);
            let cut = whole.len().saturating_sub(cut).max(2);
            prop_assert_eq!(decode(Bytes::copy_from_slice(&whole[..cut])), None);
        }
    }
}
