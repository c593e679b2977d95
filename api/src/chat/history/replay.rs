//! What a client missed, in order: each message once, as it stands, and never a text that was deleted meanwhile.

use std::collections::{BTreeMap, HashMap};

use shared::Error;
use shared::event::{Envelope, Event, LikeTarget};
use shared::id::{MessageId, Position, RoomId};
use shared::store::messages::{self, StoredMessage};
use shared::store::{Stored, live};
use shared::stream::Tail;

use super::{Head, both, complete_to, fold, tail, tail_until, told};
use crate::app::App;
use crate::chat::{Happened, Happening};

/// A replay longer than this is not worth it: the client had better read the history anew.
pub(crate) const REPLAY_MAX: usize = 1_000;

/// What a client missed.
#[derive(Debug)]
pub(crate) enum Replay {
    /// All of it, in order, up to and with `head`.
    Events { events: Vec<Happened>, head: Head },
    /// It can't be told or is too much: read the history anew, and go on from here.
    Resync { head: Head },
}

/// Everything in `room` after `after`, in order.
pub(crate) async fn replay(app: &App, room: RoomId, after: Position) -> Result<Replay, Error> {
    if let Some(replay) = replay_of_tail(app, room, after).await? {
        return Ok(replay);
    }
    let limit = u32::try_from(REPLAY_MAX + 1).unwrap_or(u32::MAX);
    let rows = async { messages::after(&app.pool, room, app.partition(room), after, limit).await };
    let (tail, stored) = both(tail(app, room), rows).await?;
    let head = complete_to(&tail, &stored);
    let complete_to = head.position;
    let (Some(tail), Some(stored)) = (tail, stored) else {
        return Err(Error::unavailable("a replay needs both the log and Postgres"));
    };
    if !reaches_back(app, room, after, &tail, &stored).await? || after > complete_to {
        return Ok(Replay::Resync { head });
    }
    let mut events: BTreeMap<Position, Vec<Happened>> = BTreeMap::new();
    let mut changed: HashMap<MessageId, Position> = HashMap::new();
    for row in &stored.rows {
        let place = row.place_after(after);
        changed.insert(row.message.id, fold::known_up_to(row));
        events.insert(place, happened_of(room, place, after, row));
    }
    for happened in told(app, Some(&tail)).into_iter().filter(|happened| happened.position > after) {
        if !fold::is_covered(&happened, &changed) {
            events.insert(happened.position, vec![happened]);
        }
    }
    if events.len() > REPLAY_MAX {
        return Ok(Replay::Resync { head });
    }
    // A place that no row and no entry explains may have been a like of the session.
    let is_explained = events.len() as u64 >= complete_to.seq.saturating_sub(after.seq);
    let mut events = fold::without_deleted_texts(events.into_values().flatten().collect());
    if !is_explained {
        events.extend(session_likes(app, room, complete_to, &tail).await?);
    }
    Ok(Replay::Events { events, head })
}

/// Everything after `after` if the tail alone has it all, as it has while Postgres is away.
async fn replay_of_tail(app: &App, room: RoomId, after: Position) -> Result<Option<Replay>, Error> {
    let tail = tail_until(app, room, || |entry: &Envelope| entry.position() <= after).await?;
    let Some(head) = tail.head.filter(|head| head.position.epoch == after.epoch) else {
        return Ok(None);
    };
    let head = Head { position: head.position, restricting: head.restricting };
    let missed: Vec<&Envelope> = tail.entries.iter().rev().filter(|entry| entry.position() > after).collect();
    let is_whole = head.position >= after && missed.len() as u64 == head.position.seq - after.seq;
    if !is_whole || missed.len() > REPLAY_MAX {
        return Ok(None);
    }
    let events = missed.into_iter().filter_map(|entry| Happened::read(app.partitions(), entry)).collect();
    Ok(Some(Replay::Events { events: fold::without_deleted_texts(events), head }))
}

/// Likes of a session are kept as a total, not as rows with a place: whoever was away is told how it stands.
async fn session_likes(
    app: &App,
    room: RoomId,
    at: Position,
    tail: &Tail,
) -> Result<Option<Happened>, Error> {
    let in_tail = tail.entries.iter().any(
        |entry| matches!(entry.event(), Ok(Event::LikeChanged(like)) if like.target == LikeTarget::Session),
    );
    if in_tail {
        return Ok(None);
    }
    let session = live::by_room(&app.pool, room).await?;
    Ok(session.map(|session| Happened {
        room,
        position: at,
        at: chrono::Utc::now(),
        origin: None,
        what: Happening::LikesChanged { target: LikeTarget::Session, total: session.total_likes },
    }))
}

/// Whether a position of the past still names a place in this room's history: one of an earlier epoch must not lie beyond
/// what was stored of that epoch.
async fn reaches_back<T>(
    app: &App,
    room: RoomId,
    after: Position,
    tail: &Tail,
    stored: &Stored<T>,
) -> Result<bool, Error> {
    let now = tail.epoch.max(stored.epoch);
    if after.epoch == now || after == Position::default() {
        return Ok(true);
    }
    if after.epoch == stored.last.epoch {
        return Ok(after.seq <= stored.last.seq);
    }
    Ok(after.seq <= messages::last_seq_up_to(&app.pool, room, after.epoch).await?)
}

/// What a stored message has to tell whoever has everything up to `after`: itself, or how it differs by now.
fn happened_of(room: RoomId, place: Position, after: Position, row: &StoredMessage) -> Vec<Happened> {
    let message = &row.message;
    let told = |what| Happened { room, position: place, at: message.created_at, origin: None, what };
    if message.position > after {
        return vec![told(Happening::MessagePosted(message.clone()))];
    }
    if let Some(at) = message.deleted_at {
        let by = row.deleted_by.unwrap_or(message.author.id);
        return vec![told(Happening::MessageDeleted { id: message.id, by, at })];
    }
    let edited = message.edited_at.zip(message.text.clone());
    let edit = edited.map(|(at, text)| told(Happening::MessageEdited { id: message.id, text, at }));
    let read = message.read_at.and_then(|at| {
        let by = message.receiver?;
        Some(told(Happening::MessageRead { id: message.id, by, at }))
    });
    let target = LikeTarget::Message { id: message.id, no: message.no };
    let likes = told(Happening::LikesChanged { target, total: message.likes });
    edit.into_iter().chain(read).chain([likes]).collect()
}
