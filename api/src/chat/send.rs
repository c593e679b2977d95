//! Accepting a message.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use shared::Error;
use shared::event::{Envelope, Event, MessageSent, Origin};
use shared::id::{AccountId, MessageId, MessageNo, Nonce, Position, RoomId};
use shared::message::MessageText;
use shared::stream::{Append, Appended, Named, Placed, RateWindow};
use shared::user::{Account, Author};

use super::{TRIES, friends, policy, seats};
use crate::app::App;

/// What somebody wants to say, checked for its form.
#[derive(Clone)]
pub(crate) struct Draft {
    /// Where.
    pub(crate) room: RoomId,
    /// What.
    pub(crate) text: MessageText,
    /// The author's own name for it.
    pub(crate) nonce: Nonce,
    /// How many messages the author may send here in any 60 seconds.
    pub(crate) per_minute: Option<u32>,
    /// The socket that it comes from, where that one is told of it otherwise than the others.
    pub(crate) origin: Option<Origin>,
}

/// An accepted message.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    pub(crate) id: MessageId,
    pub(crate) no: MessageNo,
    pub(crate) position: Position,
    pub(crate) at: DateTime<Utc>,
    /// Its entry as this node need not wait for it; none for a message that had been accepted before.
    pub(crate) entry: Option<Envelope>,
}

/// A room without members: nobody's permission there can grow old.
const NO_MEMBERSHIP: u64 = 0;

/// Accepts a message: once this returns, it is ordered and durable in the log. A retry of the same nonce gives the same
/// receipt.
pub(crate) async fn send_message(app: &App, author: &Account, draft: Draft) -> Result<Receipt, Error> {
    let _under_way = app.limits.begin_append()?;
    app.limits.let_message_pass(author.id, draft.room)?;
    match append(app, author, draft, NO_MEMBERSHIP, &[]).await? {
        (Appended::Placed(placed), entry) => Ok(receipt(app, &placed, entry)),
        (Appended::Stale, _) => Err(Error::bug("a room without members took something away from one")),
    }
}

/// The same in a room that has members: the author's seat is checked, and the log checks that nothing was taken away since.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet has groups"))]
pub(crate) async fn send_as_member(app: &App, author: &Account, draft: Draft) -> Result<Receipt, Error> {
    let _under_way = app.limits.begin_append()?;
    app.limits.let_message_pass(author.id, draft.room)?;
    for _ in 0..TRIES {
        let seat = seats::allowed(app, draft.room, author.id, policy::may_send).await?;
        match append(app, author, draft.clone(), seat.number, &seat.people(author.id)).await? {
            (Appended::Placed(placed), entry) => return Ok(receipt(app, &placed, entry)),
            (Appended::Stale, _) => app.seats.forget(draft.room, author.id).await,
        }
    }
    Err(changes_too_fast())
}

/// The same between friends: whoever is not one, blocks or is blocked, or is nobody, is refused alike.
pub(crate) async fn send_to_friend(
    app: &App,
    author: &Account,
    friend: AccountId,
    draft: Draft,
) -> Result<Receipt, Error> {
    let _under_way = app.limits.begin_append()?;
    app.limits.let_message_pass(author.id, draft.room)?;
    for _ in 0..TRIES {
        let (room, seat) = friends::seat_of_pair(app, author.id, friend).await?;
        match append(app, author, draft.clone(), seat.number, &[author.id, friend]).await? {
            (Appended::Placed(placed), entry) => return Ok(receipt(app, &placed, entry)),
            (Appended::Stale, _) => app.seats.forget(room, author.id).await,
        }
    }
    Err(changes_too_fast())
}

fn changes_too_fast() -> Error {
    Error::unavailable("the room's members change faster than they can be looked up")
}

/// What is known of an entry before it has its place.
struct Unplaced {
    id: MessageId,
    room: RoomId,
    to: Vec<AccountId>,
    body: Vec<u8>,
}

async fn append(
    app: &App,
    author: &Account,
    draft: Draft,
    checked: u64,
    to: &[AccountId],
) -> Result<(Appended, Unplaced), Error> {
    let Draft { room, text, nonce, per_minute, origin } = draft;
    let send = Named::by(room, author.id, &nonce, text.as_str().as_bytes(), app.partitions());
    let id = send.id;
    let event = Event::MessageSent(MessageSent {
        id,
        author: Author::from(author),
        text: text.into_string(),
        nonce: nonce.as_str().to_owned(),
        origin,
    });
    let body = event.to_body();
    let rate = |most| RateWindow { person: author.id, most, window: Duration::from_secs(60) };
    let append = Append {
        partition: app.partition(room),
        room: Some(room),
        to,
        checked: Some(checked),
        change: None,
        send: Some(send),
        guard: None,
        rate: per_minute.map(rate),
        cap_share: 1.0,
        body: &body,
    };
    let appended = app.producer.append_if_current(&append).await?;
    Ok((appended, Unplaced { id, room, to: to.to_vec(), body }))
}

fn receipt(app: &App, placed: &Placed, unplaced: Unplaced) -> Receipt {
    let at = DateTime::from_timestamp_millis(placed.at_ms).unwrap_or_default();
    let Unplaced { id, room, to, body } = unplaced;
    let place = placed.no.place(app.partitions()).filter(|_| !placed.again);
    let entry = place.map(|(partition, entry)| Envelope {
        partition,
        entry,
        room: Some(room),
        to,
        seq: placed.position.seq,
        prev: 0,
        at_ms: placed.at_ms,
        total: None,
        body: Bytes::from(body),
    });
    Receipt { id, no: placed.no, position: placed.position, at, entry }
}
