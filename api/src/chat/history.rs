//! Reading a room: the tail of the log first, then Postgres, united by id, the later event winning. An entry leaves the
//! tail only after its rows are stored, so one of the two always has it; asked in the other order both could miss it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use shared::event::{Envelope, Event, LikeTarget};
use shared::id::{EntryId, MessageId, MessageNo, Position, RoomId};
use shared::message::Message;
use shared::store::messages::{self, StoredMessage};
use shared::store::{Stored, live};
use shared::stream::Tail;
use shared::{Error, user::Author};

use super::{Happened, Happening};
use crate::app::App;

/// Most entries of a tail that a read walks over: above that, the backlog cap is near anyway.
const TAIL_MAX: usize = 5_000;
/// A replay longer than this is not worth it: the client had better read the history anew.
pub(crate) const REPLAY_MAX: usize = 1_000;
/// How long counts and lists wait for the persister.
const STORED_WITHIN: Duration = Duration::from_secs(1);
/// How often they look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A part of a room's history.
#[derive(Debug)]
pub(crate) struct Page {
    /// Oldest first.
    pub(crate) messages: Vec<Message>,
    /// Up to where the room was known when this was read.
    pub(crate) position: Position,
    /// Whether a store was away, so that something may be missing.
    pub(crate) incomplete: bool,
    /// Whether there are older ones.
    pub(crate) more: bool,
}

/// What a client missed.
#[derive(Debug)]
pub(crate) enum Replay {
    /// All of it, in order, up to `complete_to`.
    Events { events: Vec<Happened>, complete_to: Position },
    /// It can't be told or is too much: read the history anew, and go on from here.
    Resync { head: Position },
}

/// The room's tail.
pub(crate) async fn tail(app: &App, room: RoomId) -> Result<Tail, Error> {
    app.log.tail(room, TAIL_MAX).await
}

/// The last `limit` messages of a room before the message `before`.
pub(crate) async fn page(
    app: &App,
    room: RoomId,
    before: Option<MessageNo>,
    limit: u32,
) -> Result<Page, Error> {
    let before = match before {
        Some(no) => Some(find(app, no).await?.filter(|message| message.room == room).map(|m| m.position)),
        None => None,
    };
    let before = match before {
        // A message that is not in this room has nothing before it.
        Some(None) => {
            return Ok(Page {
                messages: vec![],
                position: head(app, room).await?,
                incomplete: false,
                more: false,
            });
        }
        Some(Some(position)) => Some(position),
        None => None,
    };
    let (tail, stored) = both(app, room, |app| async move {
        messages::page(&app.pool, room, app.partition(room), before, limit + 1).await
    })
    .await?;
    let known = Known::unite(app, tail.as_ref(), stored.as_ref().map(|stored| stored.rows.as_slice()));
    let in_range =
        known.messages.into_values().filter(|message| before.is_none_or(|before| message.position < before));
    let mut messages: Vec<Message> = in_range.collect();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = messages.len() > limit;
    messages.drain(..messages.len().saturating_sub(limit));
    Ok(Page {
        messages,
        position: complete_to(&tail, &stored),
        incomplete: is_incomplete(&tail, &stored),
        more,
    })
}

/// A message by its integer id.
pub(crate) async fn find(app: &App, no: MessageNo) -> Result<Option<Message>, Error> {
    let Some((partition, entry)) = no.place(app.partitions()) else { return Ok(None) };
    let retained = app.log.entry(partition, entry).await;
    if let Ok(Some(envelope)) = &retained
        && let Some(message) = message_of(app, envelope)
    {
        return Ok(Some(message));
    }
    let stored = messages::by_no(&app.pool, no, partition).await?;
    match (stored.rows, retained) {
        (Some(found), _) => Ok(Some(found.message)),
        (None, Ok(_)) => Ok(None),
        (None, Err(error)) => Err(error),
    }
}

/// The room's newest position: of the log, or of Postgres while nothing happened since the log was opened.
pub(crate) async fn head(app: &App, room: RoomId) -> Result<Position, Error> {
    let (epoch, head) = app.log.head(room).await?;
    match head {
        Some(head) => Ok(head.position),
        None => {
            let stored = messages::page(&app.pool, room, app.partition(room), None, 0).await?;
            Ok(Position { epoch, seq: stored.last.seq })
        }
    }
}

/// Everything in `room` after `after`, in order.
pub(crate) async fn replay(app: &App, room: RoomId, after: Position) -> Result<Replay, Error> {
    if let Some(replay) = replay_of_tail(app, room, after).await? {
        return Ok(replay);
    }
    let limit = u32::try_from(REPLAY_MAX + 1).unwrap_or(u32::MAX);
    let (tail, stored) = both(app, room, |app| async move {
        messages::after(&app.pool, room, app.partition(room), after, limit).await
    })
    .await?;
    let complete_to = complete_to(&tail, &stored);
    let (Some(tail), Some(stored)) = (tail, stored) else {
        return Err(Error::unavailable("a replay needs both the log and Postgres"));
    };
    if !reaches_back(app, room, after, &tail, &stored).await? || after > complete_to {
        return Ok(Replay::Resync { head: complete_to });
    }
    let mut events: BTreeMap<Position, Happened> = BTreeMap::new();
    let mut changed: HashMap<MessageId, Position> = HashMap::new();
    for row in &stored.rows {
        let place = row.place_after(after);
        changed.insert(row.message.id, row.changed.unwrap_or(row.message.position));
        events.insert(place, happened_of(room, place, after, row));
    }
    for envelope in tail.entries.iter().filter(|entry| entry.position() > after) {
        if let Some(happened) = Happened::read(app.partitions(), envelope)
            && !is_covered(&happened, &changed)
        {
            events.insert(happened.position, happened);
        }
    }
    if events.len() > REPLAY_MAX {
        return Ok(Replay::Resync { head: complete_to });
    }
    // A place that no row and no entry explains may have been a like of the session.
    let is_explained = events.len() as u64 >= complete_to.seq.saturating_sub(after.seq);
    let mut events: Vec<Happened> = events.into_values().collect();
    if !is_explained {
        events.extend(session_likes(app, room, complete_to, &tail).await?);
    }
    Ok(Replay::Events { events, complete_to })
}

/// Everything after `after` if the tail alone has it all, as it has while Postgres is away.
async fn replay_of_tail(app: &App, room: RoomId, after: Position) -> Result<Option<Replay>, Error> {
    let tail = tail(app, room).await?;
    let Some(head) = tail.head.map(|head| head.position).filter(|head| head.epoch == after.epoch) else {
        return Ok(None);
    };
    let missed: Vec<&Envelope> = tail.entries.iter().rev().filter(|entry| entry.position() > after).collect();
    let is_whole = head >= after && missed.len() as u64 == head.seq - after.seq;
    if !is_whole || missed.len() > REPLAY_MAX {
        return Ok(None);
    }
    let events = missed.into_iter().filter_map(|entry| Happened::read(app.partitions(), entry)).collect();
    Ok(Some(Replay::Events { events, complete_to: head }))
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

fn is_covered(happened: &Happened, changed: &HashMap<MessageId, Position>) -> bool {
    let message = match &happened.what {
        Happening::MessagePosted(message) => message.id,
        Happening::LikesChanged { target: LikeTarget::Message { id, .. }, .. } => *id,
        _ => return false,
    };
    changed.get(&message).is_some_and(|changed| happened.position <= *changed)
}

fn happened_of(room: RoomId, place: Position, after: Position, row: &StoredMessage) -> Happened {
    let message = &row.message;
    let what = if message.position > after {
        Happening::MessagePosted(message.clone())
    } else {
        let target = LikeTarget::Message { id: message.id, no: message.no };
        Happening::LikesChanged { target, total: message.likes }
    };
    Happened { room, position: place, at: message.created_at, what }
}

/// Waits until Postgres has everything that was accepted in the room so far; false when it takes too long.
pub(crate) async fn stored_up_to_now(app: &App, room: RoomId) -> bool {
    let Ok(first) = app.log.tail(room, 1).await else { return false };
    let Some(newest) = first.entries.first().map(|entry| entry.entry) else { return true };
    let waiting = async {
        loop {
            match app.log.state(app.partition(room)).await {
                Ok(state) if state.watermark >= newest => return,
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    };
    tokio::time::timeout(STORED_WITHIN, waiting).await.is_ok()
}

/// The tail, then Postgres. One of them may be away, not both.
async fn both<'a, T, F>(
    app: &'a App,
    room: RoomId,
    read: impl FnOnce(&'a App) -> F,
) -> Result<(Option<Tail>, Option<Stored<T>>), Error>
where
    F: Future<Output = Result<Stored<T>, Error>>,
{
    let tail = match tail(app, room).await {
        Ok(tail) => Ok(tail),
        Err(Error::Unavailable(source)) => Err(source),
        Err(error) => return Err(error),
    };
    match (tail, read(app).await) {
        (Ok(tail), Ok(stored)) => Ok((Some(tail), Some(stored))),
        (Err(_), Ok(stored)) => Ok((None, Some(stored))),
        (Ok(tail), Err(Error::Unavailable(_))) => Ok((Some(tail), None)),
        (_, Err(error)) => Err(error),
    }
}

fn complete_to<T>(tail: &Option<Tail>, stored: &Option<Stored<T>>) -> Position {
    let head = tail.as_ref().map(|tail| {
        let quiet = Position { epoch: tail.epoch, seq: stored.as_ref().map_or(0, |stored| stored.last.seq) };
        tail.head.map_or(quiet, |head| head.position)
    });
    let last = stored.as_ref().map(|stored| stored.last);
    head.into_iter().chain(last).max().unwrap_or_default()
}

/// Whether anything may be missing: a store was away, the tail was longer than we walk, or Postgres answered from before
/// the point down to which the tail was read.
fn is_incomplete<T>(tail: &Option<Tail>, stored: &Option<Stored<T>>) -> bool {
    let (Some(tail), Some(stored)) = (tail, stored) else { return true };
    let stored_to = EntryId { epoch: stored.epoch, pseq: stored.watermark };
    tail.cut || stored_to < tail.watermark
}

/// Messages as tail and Postgres together know them.
struct Known {
    messages: BTreeMap<Position, Message>,
}

impl Known {
    fn unite(app: &App, tail: Option<&Tail>, stored: Option<&[StoredMessage]>) -> Self {
        let mut messages = BTreeMap::new();
        let mut changed: HashMap<MessageId, Position> = HashMap::new();
        for row in stored.unwrap_or_default() {
            changed.insert(row.message.id, row.changed.unwrap_or(row.message.position));
            messages.insert(row.message.position, row.message.clone());
        }
        let mut likes: HashMap<MessageId, i64> = HashMap::new();
        let entries = tail.map(|tail| tail.entries.as_slice()).unwrap_or_default();
        for happened in entries.iter().filter_map(|envelope| Happened::read(app.partitions(), envelope)) {
            if is_covered(&happened, &changed) {
                continue;
            }
            match happened.what {
                Happening::MessagePosted(message) => {
                    messages.entry(message.position).or_insert(message);
                }
                Happening::LikesChanged { target: LikeTarget::Message { id, .. }, total } => {
                    // Newest first: what is there already is later.
                    likes.entry(id).or_insert(total);
                }
                _ => {}
            }
        }
        for message in messages.values_mut() {
            if let Some(total) = likes.get(&message.id) {
                message.likes = *total;
            }
        }
        Self { messages }
    }
}

fn message_of(app: &App, envelope: &Envelope) -> Option<Message> {
    match Happened::read(app.partitions(), envelope)?.what {
        Happening::MessagePosted(message) => Some(message),
        _ => None,
    }
}

impl Happened {
    /// What an envelope says, or nothing for what no client is shown.
    pub(crate) fn read(partitions: u16, envelope: &Envelope) -> Option<Self> {
        let room = envelope.room?;
        let what = match envelope.event().ok()? {
            Event::MessageSent(sent) => Happening::MessagePosted(Message {
                id: sent.id,
                no: envelope.message_no(partitions),
                room,
                position: envelope.position(),
                author: Author { ..sent.author },
                text: Some(sent.text),
                nonce: sent.nonce,
                likes: 0,
                created_at: envelope.at(),
                edited_at: None,
                deleted_at: None,
            }),
            Event::LikeChanged(like) => {
                Happening::LikesChanged { target: like.target, total: envelope.total? }
            }
            Event::ViewersSeen(_) => return None,
        };
        Some(Self { room, position: envelope.position(), at: envelope.at(), what })
    }
}
