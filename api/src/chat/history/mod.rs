//! Reading a room: the tail of the log first, then Postgres, united by id, the later event winning. An entry leaves the
//! tail only after its rows are stored, so one of the two always has it; asked in the other order both could miss it.

mod fold;
mod letters;
mod replay;

use std::time::Duration;

use shared::Error;
use shared::event::{Envelope, Event};
use shared::id::{AccountId, EntryId, MessageId, MessageNo, Partition, Position, RoomId};
use shared::message::Message;
use shared::planted::Bug;
use shared::store::Stored;
use shared::store::messages::{self, StoredMessage};
use shared::stream::Tail;

pub(crate) use letters::{Letters, Which, has_begun, letters};
pub(crate) use replay::{REPLAY_MAX, Replay, replay};

use super::{Happened, Happening, TRIES, policy, seats};
use crate::app::App;

/// Most entries of a tail that a read walks over: above that, the backlog cap is near anyway.
const TAIL_MAX: usize = 5_000;
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
    /// The last membership change that took something away, as of this page.
    pub(crate) restricting: u64,
}

/// How far a room has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The newest position.
    pub(crate) position: Position,
    /// The last membership change that took something away: whoever was let in before it must be looked at again before
    /// being told anything.
    pub(crate) restricting: u64,
}

/// The room's tail.
pub(crate) async fn tail(app: &App, room: RoomId) -> Result<Tail, Error> {
    app.log.tail(room, TAIL_MAX).await
}

/// The newest part of it, down to what is enough.
pub(crate) async fn tail_until<W>(app: &App, room: RoomId, is_enough: impl Fn() -> W) -> Result<Tail, Error>
where
    W: FnMut(&Envelope) -> bool,
{
    app.log.tail_until(room, TAIL_MAX, is_enough).await
}

/// Says when more than `limit` messages before a position went by.
fn messages_before(before: Option<Position>, limit: u32) -> impl FnMut(&Envelope) -> bool {
    let mut left = limit;
    move |entry| {
        let is_wanted = before.is_none_or(|before| entry.position() < before);
        if !is_wanted || !matches!(entry.event(), Ok(Event::MessageSent(_))) {
            return false;
        }
        let is_one_more = left == 0;
        left = left.saturating_sub(1);
        is_one_more
    }
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
            let Head { position, restricting } = head(app, room).await?;
            return Ok(Page { messages: vec![], position, incomplete: false, more: false, restricting });
        }
        Some(Some(position)) => Some(position),
        None => None,
    };
    // A tail that holds the page and one message more has all that happened to them, too: that came later.
    let newest = tail_until(app, room, || messages_before(before, limit));
    let (tail, stored) =
        both(newest, async { messages::page(&app.pool, room, app.partition(room), before, limit + 1).await })
            .await?;
    let rows = stored.as_ref().map_or(&[][..], |stored| &stored.rows);
    let mut messages = fold::fold(rows, told(app, tail.as_ref()));
    messages.retain(|message| before.is_none_or(|before| message.position < before));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = messages.len() > limit;
    messages.drain(..messages.len().saturating_sub(limit));
    let Head { position, restricting } = complete_to(&tail, &stored);
    Ok(Page { messages, position, incomplete: is_incomplete(&tail, &stored), more, restricting })
}

/// The same for somebody who must be allowed to read the room, at the time of the page.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet has members"))]
pub(crate) async fn page_for(
    app: &App,
    person: AccountId,
    room: RoomId,
    before: Option<MessageNo>,
    limit: u32,
) -> Result<Page, Error> {
    for _ in 0..TRIES {
        let seat = seats::allowed(app, room, person, policy::may_read).await?;
        let page = page(app, room, before, limit).await?;
        if page.restricting <= seat.number {
            return Ok(page);
        }
        app.seats.forget(room, person).await;
    }
    Err(Error::unavailable("the room's members change faster than they can be looked up"))
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

/// A message of the room as it stands now.
pub(crate) async fn message(app: &App, room: RoomId, id: MessageId) -> Result<Option<Message>, Error> {
    let row = async { messages::by_id(&app.pool, id, app.partition(room)).await };
    let (tail, stored) = both(tail(app, room), row).await?;
    // What Postgres says of a message may have been changed by what only the tail has, not the other way round: a message
    // that is in the tail has its whole life there.
    let (Some(tail), is_known_to_all) = (tail, stored.is_some()) else {
        return Err(Error::unavailable("how a message stands can't be told without the log"));
    };
    let rows: Vec<StoredMessage> = stored.into_iter().filter_map(|stored| stored.rows).collect();
    let messages = fold::fold(&rows, told(app, Some(&tail)));
    match messages.into_iter().find(|message| message.id == id && message.room == room) {
        None if !is_known_to_all => {
            Err(Error::unavailable("an older message can't be told without Postgres"))
        }
        found => Ok(found),
    }
}

/// The room of a message, wherever that is.
pub(crate) async fn room_of(app: &App, id: MessageId) -> Result<Option<RoomId>, Error> {
    let Some(partition) = id.partition(app.partitions()) else { return Ok(None) };
    let retained = app.log.message(id).await;
    if let Ok(Some(Envelope { room: Some(room), .. })) = retained {
        return Ok(Some(room));
    }
    let stored = messages::by_id(&app.pool, id, partition).await?;
    match (stored.rows, retained) {
        (Some(found), _) => Ok(Some(found.message.room)),
        (None, Ok(_)) => Ok(None),
        (None, Err(error)) => Err(error),
    }
}

/// The room's newest position: of the log, or of Postgres while nothing happened since the log was opened.
pub(crate) async fn head(app: &App, room: RoomId) -> Result<Head, Error> {
    let (epoch, head) = app.log.head(room).await?;
    match head {
        Some(head) => Ok(Head { position: head.position, restricting: head.restricting }),
        None => {
            let stored = messages::page(&app.pool, room, app.partition(room), None, 0).await?;
            let position = Position { epoch, seq: stored.last.seq };
            Ok(Head { position, restricting: stored.restricting })
        }
    }
}

/// Waits until Postgres has everything that was accepted in the room so far; false when it takes too long.
pub(crate) async fn stored_up_to_now(app: &App, room: RoomId) -> bool {
    let Ok(first) = app.log.tail(room, 1).await else { return false };
    let newest = first.entries.first().map(|entry| (app.partition(room), entry.entry));
    are_stored(app, newest.as_slice()).await
}

/// Waits until Postgres has each of these partitions up to its entry; false when it takes too long.
pub(crate) async fn are_stored(app: &App, entries: &[(Partition, EntryId)]) -> bool {
    let waiting = async {
        for (partition, entry) in entries {
            while !matches!(app.log.state(*partition).await, Ok(state) if state.watermark >= *entry) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    };
    tokio::time::timeout(STORED_WITHIN, waiting).await.is_ok()
}

/// The tail, then Postgres. One of them may be away, not both.
async fn both<T>(
    tail: impl Future<Output = Result<Tail, Error>>,
    stored: impl Future<Output = Result<Stored<T>, Error>>,
) -> Result<(Option<Tail>, Option<Stored<T>>), Error> {
    let (tail, stored) = if Bug::PostgresFirst.is_planted() {
        let stored = stored.await;
        (tail.await, stored)
    } else {
        (tail.await, stored.await)
    };
    let tail = match tail {
        Ok(tail) => Ok(tail),
        Err(Error::Unavailable(source)) => Err(source),
        Err(error) => return Err(error),
    };
    match (tail, stored) {
        (Ok(tail), Ok(stored)) => Ok((Some(tail), Some(stored))),
        (Err(_), Ok(stored)) => Ok((None, Some(stored))),
        (Ok(tail), Err(Error::Unavailable(_))) => Ok((Some(tail), None)),
        (_, Err(error)) => Err(error),
    }
}

fn complete_to<T>(tail: &Option<Tail>, stored: &Option<Stored<T>>) -> Head {
    let head = tail.as_ref().map(|tail| {
        let quiet = Position { epoch: tail.epoch, seq: stored.as_ref().map_or(0, |stored| stored.last.seq) };
        tail.head.map_or(quiet, |head| head.position)
    });
    let last = stored.as_ref().map(|stored| stored.last);
    let logged = tail.as_ref().and_then(|tail| tail.head).map_or(0, |head| head.restricting);
    let committed = stored.as_ref().map_or(0, |stored| stored.restricting);
    Head {
        position: head.into_iter().chain(last).max().unwrap_or_default(),
        restricting: logged.max(committed),
    }
}

/// Whether anything may be missing: a store was away, the tail was longer than we walk, or Postgres answered from before
/// the point down to which the tail was read.
fn is_incomplete<T>(tail: &Option<Tail>, stored: &Option<Stored<T>>) -> bool {
    let (Some(tail), Some(stored)) = (tail, stored) else { return true };
    let stored_to = EntryId { epoch: stored.epoch, pseq: stored.watermark };
    tail.cut || stored_to < tail.watermark
}

/// What the tail tells, oldest first.
fn told(app: &App, tail: Option<&Tail>) -> Vec<Happened> {
    let entries = tail.map(|tail| tail.entries.as_slice()).unwrap_or_default();
    entries.iter().rev().filter_map(|envelope| Happened::read(app.partitions(), envelope)).collect()
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
        let event = envelope.event().ok()?;
        let origin = match &event {
            Event::MessageSent(sent) => sent.origin,
            _ => None,
        };
        let what = match event {
            Event::MessageSent(sent) => Happening::MessagePosted(Message {
                id: sent.id,
                no: envelope.message_no(partitions),
                room,
                position: envelope.position(),
                receiver: envelope.to.iter().copied().find(|person| *person != sent.author.id),
                author: sent.author,
                text: Some(sent.text),
                nonce: sent.nonce,
                likes: 0,
                created_at: envelope.at(),
                edited_at: None,
                deleted_at: None,
                read_at: None,
            }),
            Event::MessageEdited(edit) => {
                Happening::MessageEdited { id: edit.id, text: edit.text, at: envelope.at() }
            }
            Event::MessageDeleted(deletion) => {
                Happening::MessageDeleted { id: deletion.id, by: deletion.by, at: envelope.at() }
            }
            Event::MessageRead(read) => {
                Happening::MessageRead { id: read.id, by: read.by, at: envelope.at() }
            }
            Event::MembershipChanged(change) => Happening::MembershipChanged(change),
            Event::LikeChanged(like) => {
                Happening::LikesChanged { target: like.target, total: envelope.total? }
            }
            Event::ViewersSeen(_) => return None,
        };
        Some(Self { room, position: envelope.position(), at: envelope.at(), origin, what })
    }
}
