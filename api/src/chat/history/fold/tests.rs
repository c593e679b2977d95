use chrono::{DateTime, Utc};
use proptest::prelude::*;
use shared::id::{AccountId, MessageNo, RoomId};
use shared::user::{Author, Roles};
use uuid::Uuid;

use super::*;

/// What somebody does; the number names one of the messages said before.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Say,
    Like(usize, i64),
    Edit(usize),
    Delete(usize),
    Read(usize),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        3 => Just(Deed::Say),
        2 => (any::<usize>(), 0..9_i64).prop_map(|(n, total)| Deed::Like(n, total)),
        2 => any::<usize>().prop_map(Deed::Edit),
        1 => any::<usize>().prop_map(Deed::Delete),
        1 => any::<usize>().prop_map(Deed::Read),
    ];
    prop::collection::vec(deed, 1..40)
}

fn at(seq: u64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + i64::try_from(seq).expect("small"), 0).expect("a time")
}

fn message(seq: u64) -> Message {
    let author = Author {
        id: AccountId(Uuid::nil()),
        no: 1,
        username: "ana".into(),
        full_name: None,
        avatar: None,
        roles: Roles::NONE,
    };
    Message {
        id: MessageId(Uuid::from_u128(u128::from(seq))),
        no: MessageNo(i64::try_from(seq).expect("small")),
        room: RoomId(Uuid::nil()),
        position: Position { epoch: 1, seq },
        author,
        text: Some(format!("said at {seq}")),
        nonce: String::new(),
        likes: 0,
        created_at: at(seq),
        edited_at: None,
        deleted_at: None,
        receiver: None,
        read_at: None,
    }
}

/// What the log holds after these deeds, each at the next place.
fn events(deeds: &[Deed]) -> Vec<Happened> {
    let mut said: Vec<MessageId> = Vec::new();
    let mut events = Vec::new();
    for (deed, seq) in deeds.iter().zip(1..) {
        let named = |n: usize| said.get(n.checked_rem(said.len())?).copied();
        let what = match *deed {
            Deed::Say => Happening::MessagePosted(message(seq)),
            Deed::Like(n, total) => match named(n) {
                Some(id) => {
                    Happening::LikesChanged { target: LikeTarget::Message { id, no: MessageNo(0) }, total }
                }
                None => Happening::LikesChanged { target: LikeTarget::Session, total },
            },
            Deed::Edit(n) => match named(n) {
                Some(id) => Happening::MessageEdited { id, text: format!("edited at {seq}"), at: at(seq) },
                None => Happening::Resync,
            },
            Deed::Delete(n) => match named(n) {
                Some(id) => Happening::MessageDeleted { id, by: AccountId(Uuid::nil()), at: at(seq) },
                None => Happening::Resync,
            },
            Deed::Read(n) => match named(n) {
                Some(id) => Happening::MessageRead { id, by: AccountId(Uuid::nil()), at: at(seq) },
                None => Happening::Resync,
            },
        };
        if let Deed::Say = deed {
            said.push(message(seq).id);
        }
        events.push(Happened {
            room: RoomId(Uuid::nil()),
            position: Position { epoch: 1, seq },
            at: at(seq),
            origin: None,
            what,
        });
    }
    events
}

/// The rows after these events, written as the persister's statements have it: one event after the other.
fn rows(events: &[Happened]) -> Vec<StoredMessage> {
    let mut rows: Vec<StoredMessage> = Vec::new();
    for event in events {
        if let Happening::MessagePosted(message) = &event.what {
            rows.push(StoredMessage { message: message.clone(), changed: None, deleted_by: None });
            continue;
        }
        let Some(row) = rows.iter_mut().find(|row| about(&event.what) == Some(row.message.id)) else {
            continue;
        };
        let message = &mut row.message;
        let changes = match &event.what {
            Happening::LikesChanged { total, .. } => {
                let changes = message.likes != *total;
                message.likes = *total;
                changes
            }
            Happening::MessageEdited { text, at, .. } if message.deleted_at.is_none() => {
                (message.text, message.edited_at) = (Some(text.clone()), Some(*at));
                true
            }
            Happening::MessageDeleted { at, .. } if message.deleted_at.is_none() => {
                (message.text, message.deleted_at) = (None, Some(*at));
                true
            }
            Happening::MessageRead { at, .. } if message.read_at.is_none() => {
                message.read_at = Some(*at);
                true
            }
            _ => false,
        };
        if changes {
            row.changed = Some(event.position);
        }
    }
    rows
}

fn all_stored(events: &[Happened]) -> Vec<Message> {
    rows(events).into_iter().map(|row| row.message).collect()
}

proptest! {
    /// A page is the same whatever part of the room the persister has stored, and however far the tail reaches back.
    #[test]
    fn rows_and_tail_together_are_the_room_wherever_they_meet(
        deeds in deeds(),
        stored in any::<prop::sample::Index>(),
        overlap in any::<prop::sample::Index>(),
    ) {
        let events = events(&deeds);
        let stored = stored.index(events.len() + 1);
        let tail = events[stored - overlap.index(stored + 1)..].to_vec();
        prop_assert_eq!(fold(&rows(&events[..stored]), tail), all_stored(&events));
    }

    /// No text of a message that was deleted leaves with the events, and every other event does.
    #[test]
    fn what_was_deleted_is_replayed_without_its_text(deeds in deeds()) {
        let events = events(&deeds);
        let shown = without_deleted_texts(events.clone());
        let deleted = |id| events.iter().any(|event| matches!(event.what, Happening::MessageDeleted { id: gone, .. } if gone == id));
        for event in &shown {
            match &event.what {
                Happening::MessagePosted(message) => prop_assert_eq!(message.text.is_none(), deleted(message.id)),
                Happening::MessageEdited { id, .. } => prop_assert!(!deleted(*id)),
                _ => {}
            }
        }
        let edits = events.iter().filter(|event| matches!(event.what, Happening::MessageEdited { id, .. } if deleted(id)));
        prop_assert_eq!(shown.len(), events.len() - edits.count());
    }
}
