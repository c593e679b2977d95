//! The messages of two people, newest first, with exact counts: what is deleted is left out as if it had never been.

use std::collections::HashMap;
use std::sync::OnceLock;

use shared::Error;
use shared::event::{Envelope, Event};
use shared::id::{AccountId, EntryId, MessageId, Position, RoomId};
use shared::message::Message;
use shared::store::direct::{self, Newest};
use shared::stream::Tail;

use super::{Head, both, complete_to, fold, is_incomplete, tail, tail_until, told};
use crate::app::App;
use crate::chat::Happening;

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

/// Whether the two people of a direct room are friends, or have ever written to each other. There may be a room without either:
/// one was made for a block, and whoever is blocked is not to see it.
///
/// # Errors
/// `Unavailable` when a store that is away may know better.
pub(crate) async fn has_begun(app: &App, room: RoomId) -> Result<bool, Error> {
    let is_message = |entry: &Envelope| matches!(entry.event(), Ok(Event::MessageSent(_)));
    let tail = tail_until(app, room, || is_message).await;
    if tail.as_ref().is_ok_and(|tail| tail.entries.iter().any(is_message)) {
        return Ok(true);
    }
    let is_stored = direct::has_begun(&app.pool, room).await?;
    if is_stored { Ok(true) } else { tail.map(|_| false) }
}

/// A page of the messages of a direct room.
///
/// # Errors
/// `Unavailable` while both stores are away.
pub(crate) async fn letters(app: &App, room: RoomId, which: Which) -> Result<Letters, Error> {
    let Which { before, skip, limit } = which;
    // Known once the tail was read, which is before Postgres is asked.
    let newer: OnceLock<Newer> = OnceLock::new();
    let walked = async {
        let tail = tail(app, room).await?;
        newer.get_or_init(|| Newer::of(app, &tail, before));
        Ok(tail)
    };
    let skipped_there = || skip.saturating_sub(newer.get().map_or(0, |newer| newer.listed));
    let rows = async {
        let known = newer.get().map_or(&[][..], |newer| &newer.known);
        let skipped = skipped_there();
        let wanted = (skip - skipped).saturating_add(u64::from(limit) + 1);
        let which = Newest { before, known, skip: skipped, limit: wanted };
        direct::newest(&app.pool, room, app.partition(room), which).await
    };
    let (tail, stored) = both(walked, rows).await?;
    let rows = stored.as_ref().map_or(&[][..], |stored| &stored.rows.messages);
    let mut messages = fold::fold(rows, told(app, tail.as_ref()));
    messages.retain(|message| is_listed(message, before));
    messages.reverse();
    // Those that were skipped in Postgres stand before the rest of what is skipped, however the two are mixed.
    let surplus = usize::try_from(skip - skipped_there()).unwrap_or(usize::MAX);
    messages.drain(..surplus.min(messages.len()));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
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

/// What the tail of a room adds to the list, or takes from it.
struct Newer {
    /// Messages of whose beginning or end it tells: their rows, if they have any, are no measure of what is listed.
    known: Vec<MessageId>,
    /// How many of them are listed.
    listed: u64,
}

impl Newer {
    fn of(app: &App, tail: &Tail, before: Option<Position>) -> Self {
        let events = told(app, Some(tail));
        let known = events.iter().filter_map(|event| match &event.what {
            Happening::MessagePosted(message) => Some(message.id),
            Happening::MessageDeleted { id, .. } => Some(*id),
            _ => None,
        });
        let known = known.collect();
        let listed = fold::fold(&[], events).iter().filter(|message| is_listed(message, before)).count();
        Self { known, listed: listed as u64 }
    }
}

fn is_listed(message: &Message, before: Option<Position>) -> bool {
    message.text.is_some() && before.is_none_or(|before| message.position < before)
}

/// By how much an entry changes the number of messages: none is deleted twice.
fn growth(entry: &Envelope) -> i64 {
    match entry.event() {
        Ok(Event::MessageSent(_)) => 1,
        Ok(Event::MessageDeleted(_)) => -1,
        _ => 0,
    }
}
