//! Folding events into messages: how they stand in Postgres, then what the tail of the log adds. Pure, because what is
//! read from two stores and a replay must come out the same whichever part each of them has.

use std::collections::{BTreeMap, HashMap};

use shared::event::LikeTarget;
use shared::id::{MessageId, Position};
use shared::message::Message;
use shared::store::messages::StoredMessage;

use crate::chat::{Happened, Happening};

/// The messages of `rows` and of `events` as they stand after all of these, in the room's order. `events` are oldest first
/// and may repeat what is in the rows already.
pub(super) fn fold(rows: &[StoredMessage], events: Vec<Happened>) -> Vec<Message> {
    let changed: HashMap<MessageId, Position> =
        rows.iter().map(|row| (row.message.id, known_up_to(row))).collect();
    let mut messages: BTreeMap<Position, Message> =
        rows.iter().map(|row| (row.message.position, row.message.clone())).collect();
    let mut places: HashMap<MessageId, Position> =
        messages.values().map(|message| (message.id, message.position)).collect();
    for happened in events {
        if is_covered(&happened, &changed) {
            continue;
        }
        match happened.what {
            Happening::MessagePosted(message) => {
                places.insert(message.id, message.position);
                messages.insert(message.position, message);
            }
            what => {
                let place = about(&what).and_then(|id| places.get(&id));
                if let Some(message) = place.and_then(|place| messages.get_mut(place)) {
                    amend(message, what);
                }
            }
        }
    }
    messages.into_values().collect()
}

fn amend(message: &mut Message, what: Happening) {
    match what {
        Happening::LikesChanged { total, .. } => message.likes = total,
        Happening::MessageEdited { text, at, .. } if message.deleted_at.is_none() => {
            message.text = Some(text);
            message.edited_at = Some(at);
        }
        Happening::MessageDeleted { at, .. } => {
            message.text = None;
            message.deleted_at.get_or_insert(at);
        }
        Happening::MessageRead { at, .. } => {
            message.read_at.get_or_insert(at);
        }
        Happening::MessageEdited { .. }
        | Happening::MessagePosted(_)
        | Happening::MembershipChanged(_)
        | Happening::ViewerCount(_)
        | Happening::Resync => {}
    }
}

/// The place up to which a row knows everything about its message.
pub(super) fn known_up_to(row: &StoredMessage) -> Position {
    row.changed.unwrap_or(row.message.position)
}

/// Whether a row that knows its message up to the place in `changed` tells already what happened.
pub(super) fn is_covered(happened: &Happened, changed: &HashMap<MessageId, Position>) -> bool {
    let known = about(&happened.what).and_then(|id| changed.get(&id));
    known.is_some_and(|known| happened.position <= *known)
}

/// The same events without the texts of messages that are deleted by one of them.
pub(super) fn without_deleted_texts(events: Vec<Happened>) -> Vec<Happened> {
    let deleted: HashMap<MessageId, _> = events
        .iter()
        .filter_map(|event| match event.what {
            Happening::MessageDeleted { id, at, .. } => Some((id, at)),
            _ => None,
        })
        .collect();
    let is_edit_of_deleted = |event: &Happened| matches!(&event.what, Happening::MessageEdited { id, .. } if deleted.contains_key(id));
    events
        .into_iter()
        .filter(|event| !is_edit_of_deleted(event))
        .map(|mut event| {
            if let Happening::MessagePosted(message) = &mut event.what
                && let Some(at) = deleted.get(&message.id)
            {
                message.text = None;
                message.deleted_at = Some(*at);
            }
            event
        })
        .collect()
}

/// The message that it is about.
fn about(what: &Happening) -> Option<MessageId> {
    match what {
        Happening::MessagePosted(message) => Some(message.id),
        Happening::LikesChanged { target: LikeTarget::Message { id, .. }, .. }
        | Happening::MessageEdited { id, .. }
        | Happening::MessageDeleted { id, .. }
        | Happening::MessageRead { id, .. } => Some(*id),
        Happening::LikesChanged { target: LikeTarget::Session, .. }
        | Happening::MembershipChanged(_)
        | Happening::ViewerCount(_)
        | Happening::Resync => None,
    }
}

#[cfg(test)]
mod tests;
