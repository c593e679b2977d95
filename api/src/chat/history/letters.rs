//! The messages of two people, newest first, with exact counts: what is deleted is left out as if it had never been.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use shared::Error;
use shared::event::{Envelope, Event};
use shared::id::{AccountId, EntryId, Position, RoomId};
use shared::message::Message;
use shared::store::direct;

use super::{Head, both, complete_to, fold, is_incomplete, tail, told};
use crate::app::App;

/// Which of a room's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Which {
    /// Only those before this place: pages that are asked for like this stay the same while new messages come.
    pub(crate) before: Option<Position>,
    /// Without the newest so many of them.
    pub(crate) skip: u64,
    /// At most so many.
    pub(crate) limit: u32,
}

/// A page of a conversation.
#[derive(Debug)]
pub(crate) struct Letters {
    /// Newest first.
    pub(crate) messages: Vec<Message>,
    /// All messages of the room that are not deleted.
    pub(crate) total: i64,
    /// Up to where messages have reached a socket of each of the two.
    pub(crate) delivered: HashMap<AccountId, Position>,
    /// Up to where the room was known.
    pub(crate) position: Position,
    /// Whether there are older ones.
    pub(crate) more: bool,
    /// Whether a store was away, so that something may be missing.
    pub(crate) incomplete: bool,
}

/// A page of the messages of a direct room.
///
/// # Errors
/// `Unavailable` while both stores are away.
pub(crate) async fn letters(app: &App, room: RoomId, which: Which) -> Result<Letters, Error> {
    let Which { before, skip, limit } = which;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // Known once the tail was read, which is before Postgres is asked.
    let unsettled = AtomicUsize::new(0);
    let walked = async {
        let tail = tail(app, room).await?;
        unsettled.store(tail.entries.len(), Ordering::Relaxed);
        Ok(tail)
    };
    // What the tail adds or takes away stands at the beginning of the list, or within it: only a list that Postgres has as a
    // whole can be entered in the middle.
    let skipped_there = || if unsettled.load(Ordering::Relaxed) == 0 { skip } else { 0 };
    let rows = async {
        let skipped = skipped_there();
        let wanted = (skip - skipped).saturating_add((limit + 1 + unsettled.load(Ordering::Relaxed)) as u64);
        direct::newest(&app.pool, room, app.partition(room), before, skipped, wanted).await
    };
    let (tail, stored) = both(walked, rows).await?;
    let rows = stored.as_ref().map_or(&[][..], |stored| &stored.rows.messages);
    let mut messages = fold::fold(rows, told(app, tail.as_ref()));
    messages
        .retain(|message| message.text.is_some() && before.is_none_or(|before| message.position < before));
    messages.reverse();
    let surplus = usize::try_from(skip - skipped_there()).unwrap_or(usize::MAX);
    messages.drain(..surplus.min(messages.len()));
    let more = messages.len() > limit;
    messages.truncate(limit);
    let Head { position, .. } = complete_to(&tail, &stored);
    let incomplete = is_incomplete(&tail, &stored);
    let (counted, watermark) = match &stored {
        Some(stored) => (stored.rows.total, stored.entry()),
        None => (0, EntryId::default()),
    };
    let entries = tail.as_ref().map_or(&[][..], |tail| &tail.entries);
    let unsettled = entries.iter().filter(|entry| entry.entry > watermark);
    let total = counted + unsettled.map(growth).sum::<i64>();
    let delivered = stored.map_or_else(HashMap::new, |stored| stored.rows.delivered.into_iter().collect());
    Ok(Letters { messages, total, delivered, position, more, incomplete })
}

/// By how much an entry changes the number of messages: none is deleted twice.
fn growth(entry: &Envelope) -> i64 {
    match entry.event() {
        Ok(Event::MessageSent(_)) => 1,
        Ok(Event::MessageDeleted(_)) => -1,
        _ => 0,
    }
}
