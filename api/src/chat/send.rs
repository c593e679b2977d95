//! Accepting a message.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::Error;
use shared::event::{Event, MessageSent};
use shared::id::{MessageId, MessageNo, Nonce, Partition, Position, RoomId, digest};
use shared::message::MessageText;
use shared::stream::{Append, Appended, Placed, RateWindow};
use shared::user::{Account, Author};

use super::{TRIES, policy, seats};
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
}

/// An accepted message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt {
    pub(crate) no: MessageNo,
    pub(crate) position: Position,
    pub(crate) at: DateTime<Utc>,
}

/// A room without members: nobody's permission there can grow old.
const NO_MEMBERSHIP: u64 = 0;

/// Accepts a message: once this returns, it is ordered and durable in the log. A retry of the same nonce gives the same
/// receipt.
pub(crate) async fn send_message(app: &App, author: &Account, draft: Draft) -> Result<Receipt, Error> {
    let _under_way = app.limits.begin_append()?;
    app.limits.let_message_pass(author.id, draft.room)?;
    match append(app, author, draft, NO_MEMBERSHIP).await? {
        Appended::Placed(placed) => Ok(receipt(&placed)),
        Appended::Stale => Err(Error::bug("a room without members took something away from one")),
    }
}

/// The same in a room that has members: the author's seat is checked, and the log checks that nothing was taken away since.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet has members"))]
pub(crate) async fn send_as_member(app: &App, author: &Account, draft: Draft) -> Result<Receipt, Error> {
    let _under_way = app.limits.begin_append()?;
    app.limits.let_message_pass(author.id, draft.room)?;
    for _ in 0..TRIES {
        let seat = seats::allowed(app, draft.room, author.id, policy::may_send).await?;
        match append(app, author, draft.clone(), seat.number).await? {
            Appended::Placed(placed) => return Ok(receipt(&placed)),
            Appended::Stale => app.seats.forget(draft.room, author.id).await,
        }
    }
    Err(Error::unavailable("the room's members change faster than they can be looked up"))
}

async fn append(app: &App, author: &Account, draft: Draft, checked: u64) -> Result<Appended, Error> {
    let Draft { room, text, nonce, per_minute } = draft;
    let id = MessageId::named_by(room, author.id, &nonce, app.partitions());
    let digest = digest(text.as_str().as_bytes());
    let event = Event::MessageSent(MessageSent {
        id,
        author: Author::from(author),
        text: text.into_string(),
        nonce: nonce.as_str().to_owned(),
    });
    let rate = |most| RateWindow { person: author.id, most, window: Duration::from_secs(60) };
    app.producer
        .append_if_current(&Append {
            partition: Partition::of(room, app.partitions()),
            room: Some(room),
            to: &[],
            checked: Some(checked),
            change: None,
            send: Some((id, &nonce, digest)),
            guard: None,
            rate: per_minute.map(rate),
            cap_share: 1.0,
            body: &event.to_body(),
        })
        .await
}

fn receipt(placed: &Placed) -> Receipt {
    let at = DateTime::from_timestamp_millis(placed.at_ms).unwrap_or_default();
    Receipt { no: placed.no, position: placed.position, at }
}
