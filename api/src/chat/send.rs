//! Accepting a message.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::Error;
use shared::event::{Event, MessageSent};
use shared::id::{MessageId, MessageNo, Nonce, Partition, Position, RoomId, digest};
use shared::message::MessageText;
use shared::stream::{Append, RateWindow};
use shared::user::{Account, Author};

use crate::app::App;

/// What somebody wants to say, checked for its form.
pub(crate) struct Draft {
    /// Where.
    pub(crate) room: RoomId,
    /// The membership number at which the author was found to be allowed.
    pub(crate) checked: u64,
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

/// Accepts a message: once this returns, it is ordered and durable in the log. A retry of the same nonce gives the same
/// receipt.
pub(crate) async fn send_message(app: &App, author: &Account, draft: Draft) -> Result<Receipt, Error> {
    app.limits.let_message_pass(author.id, draft.room)?;
    let Draft { room, checked, text, nonce, per_minute } = draft;
    let id = MessageId::named_by(room, author.id, &nonce, app.partitions());
    let digest = digest(text.as_str().as_bytes());
    let event = Event::MessageSent(MessageSent {
        id,
        author: Author::from(author),
        text: text.into_string(),
        nonce: nonce.as_str().to_owned(),
    });
    let placed = app
        .producer
        .append(&Append {
            partition: Partition::of(room, app.partitions()),
            room: Some(room),
            to: &[],
            checked: Some(checked),
            send: Some((id, &nonce, digest)),
            guard: None,
            rate: per_minute.map(|most| RateWindow {
                person: author.id,
                most,
                window: Duration::from_secs(60),
            }),
            cap_share: 1.0,
            body: &event.to_body(),
        })
        .await?;
    let at = DateTime::from_timestamp_millis(placed.at_ms).unwrap_or_default();
    Ok(Receipt { no: placed.no, position: placed.position, at })
}
