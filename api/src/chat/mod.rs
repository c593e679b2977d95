//! The core: what people can do, whatever protocol they speak. Knows no HTTP, no JSON and no socket; a dialect parses,
//! calls one verb here, and answers.

pub(crate) mod amend;
pub(crate) mod direct;
pub(crate) mod draw_window;
pub(crate) mod friends;
pub(crate) mod history;
pub(crate) mod like;
pub(crate) mod live_session;
pub(crate) mod policy;
pub(crate) mod rooms;
pub(crate) mod seats;
pub(crate) mod send;
pub(crate) mod viewers;

use chrono::{DateTime, Utc};
use shared::event::{LikeTarget, MembershipChanged, Origin};
use shared::id::{AccountId, MessageId, Position, RoomId};
use shared::message::Message;

/// How often a decision is made anew because something was taken away in the room meanwhile.
const TRIES: usize = 8;

/// Something that people in a room are shown.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    /// Where.
    pub(crate) room: RoomId,
    /// After which everything up to here is known. For what takes no number of its own: the room's newest.
    pub(crate) position: Position,
    /// When it was accepted.
    pub(crate) at: DateTime<Utc>,
    /// Which socket brought it about, where that is told.
    pub(crate) origin: Option<Origin>,
    /// What.
    pub(crate) what: Happening,
}

/// What can be shown.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all of them are messages, and they are shared rather than moved"
)]
pub(crate) enum Happening {
    /// Somebody said something.
    MessagePosted(Message),
    /// A message has another text.
    MessageEdited {
        /// Which one.
        id: MessageId,
        /// What it says now.
        text: String,
        /// Since when.
        at: DateTime<Utc>,
    },
    /// A message is gone; its place stays.
    MessageDeleted {
        /// Which one.
        id: MessageId,
        /// Who took it back.
        by: AccountId,
        /// Since when.
        at: DateTime<Utc>,
    },
    /// The receiver of a message has read it.
    MessageRead {
        /// Which one.
        id: MessageId,
        /// Who read it.
        by: AccountId,
        /// When.
        at: DateTime<Utc>,
    },
    /// Somebody is something else in the room.
    MembershipChanged(MembershipChanged),
    /// A like was given or taken back.
    LikesChanged {
        /// What it is about.
        target: LikeTarget,
        /// Distinct people who like it now.
        total: i64,
    },
    /// How many people watch.
    ViewerCount(u64),
    /// What was missed can't be replayed: read the history anew.
    Resync,
}

#[cfg(test)]
pub(crate) mod tests;
