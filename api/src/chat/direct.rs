//! What two people do with their messages besides sending them: read them, take them back, count what is new.

use std::collections::BTreeSet;

use chrono::DateTime;
use shared::event::{Event, MessageRead};
use shared::id::{AccountId, EntryId, MessageId, Nonce, Partition, Position, RoomId};
use shared::message::Message;
use shared::room::RoomKind;
use shared::store::direct;
use shared::store::rooms::Seat;
use shared::stream::{Append, Appended, Named};
use shared::{Code, Error};

use super::{TRIES, amend, history, policy, seats};
use crate::app::App;

/// A message of one of somebody's direct rooms, and that person's seat there.
pub(crate) struct Letter {
    pub(crate) message: Message,
    pub(crate) seat: Seat,
}

/// The room in which a person talks, or has talked, with another.
///
/// # Errors
/// `not_found` where they are no friends and nothing was ever written, whether there is a room or not.
pub(crate) async fn conversation(app: &App, me: AccountId, other: AccountId) -> Result<RoomId, Error> {
    let room = RoomId::of_pair(me, other);
    let seat = seats::allowed(app, room, me, policy::may_read).await?;
    if seat.is_friend || history::has_begun(app, room).await? {
        return Ok(room);
    }
    Err(policy::no_such_room().into())
}

/// Marks a message as read. Only its receiver can, and doing it twice is doing it once; the answer is the message as it stands
/// then.
///
/// # Errors
/// `not_found` for whatever was not sent to `reader`.
pub(crate) async fn mark_read(app: &App, reader: AccountId, id: MessageId) -> Result<Letter, Error> {
    for _ in 0..TRIES {
        let mut letter = find(app, reader, id).await?;
        if letter.message.author.id == reader || letter.message.text.is_none() {
            return Err(no_such_message());
        }
        if letter.message.read_at.is_some() {
            return Ok(letter);
        }
        match append_read(app, reader, &letter).await? {
            Appended::Placed(placed) => {
                letter.message.read_at = DateTime::from_timestamp_millis(placed.at_ms);
                return Ok(letter);
            }
            Appended::Stale => app.seats.forget(letter.message.room, reader).await,
        }
    }
    Err(Error::unavailable("the room's members change faster than they can be looked up"))
}

/// A message that was accepted before, as it stands now, and up to where messages have reached `receiver`.
///
/// # Errors
/// `Unavailable` when a store that is away may know better.
pub(crate) async fn as_it_stands(
    app: &App,
    room: RoomId,
    id: MessageId,
    receiver: AccountId,
) -> Result<(Message, Position), Error> {
    let message = history::message(app, room, id).await?;
    let message = message.ok_or_else(|| Error::unavailable("an accepted message can't be found now"))?;
    Ok((message, direct::delivered(&app.pool, room, receiver).await?))
}

/// Takes a message back. Only its author can.
///
/// # Errors
/// `not_found` for whatever `author` did not write. Doing it twice is doing it once.
pub(crate) async fn take_back(app: &App, author: AccountId, id: MessageId) -> Result<(), Error> {
    let letter = find(app, author, id).await?;
    if letter.message.author.id != author {
        return Err(no_such_message());
    }
    amend::delete_message(app, author, letter.message.room, id).await
}

/// How many messages a person has not read, and whether that may be behind.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub(crate) async fn unread(app: &App, person: AccountId) -> Result<(i64, bool), Error> {
    let rooms = direct::rooms_of(&app.pool, &[person], DateTime::UNIX_EPOCH).await?;
    let partitions: BTreeSet<Partition> = rooms.iter().map(|(_, room)| app.partition(room.room)).collect();
    let is_complete = match heads_of(app, &partitions).await {
        Ok(heads) => history::are_stored(app, &heads).await,
        Err(_) => false,
    };
    Ok((direct::unread(&app.pool, person).await?, !is_complete))
}

/// What these partitions have accepted so far.
async fn heads_of(app: &App, partitions: &BTreeSet<Partition>) -> Result<Vec<(Partition, EntryId)>, Error> {
    let mut heads = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let state = app.log.state(*partition).await?;
        heads.push((*partition, EntryId { epoch: state.epoch.unwrap_or(0), pseq: state.head }));
    }
    Ok(heads)
}

/// A message of a direct room that `person` is in, as it stands now.
async fn find(app: &App, person: AccountId, id: MessageId) -> Result<Letter, Error> {
    let room = history::room_of(app, id).await?.ok_or_else(no_such_message)?;
    let seat = seats::allowed(app, room, person, policy::may_read).await.map_err(hidden)?;
    if seat.kind != RoomKind::Direct {
        return Err(no_such_message());
    }
    let message = history::message(app, room, id).await?.ok_or_else(no_such_message)?;
    Ok(Letter { message, seat })
}

async fn append_read(app: &App, reader: AccountId, letter: &Letter) -> Result<Appended, Error> {
    let Letter { message, seat } = letter;
    let room: RoomId = message.room;
    let nonce = Nonce::of_read(message.id);
    let event = Event::MessageRead(MessageRead { id: message.id, no: message.no, by: reader });
    let body = event.to_body();
    let append = Append {
        partition: app.partition(room),
        room: Some(room),
        to: &seat.people(reader),
        checked: Some(seat.number),
        change: None,
        send: Some(Named::by(room, reader, &nonce, &body, app.partitions())),
        guard: None,
        rate: None,
        cap_share: 1.0,
        body: &body,
    };
    app.producer.append_if_current(&append).await
}

/// A room that one may not see has no messages.
fn hidden(error: Error) -> Error {
    if error.code() == Code::NotFound { no_such_message() } else { error }
}

fn no_such_message() -> Error {
    Error::refused(Code::NotFound, "Message not found")
}
