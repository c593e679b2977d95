//! The core: what people can do, whatever protocol they speak. Knows no HTTP, no JSON and no socket; a dialect parses,
//! calls one verb here, and answers.

pub(crate) mod draw_window;
pub(crate) mod history;
pub(crate) mod like;
pub(crate) mod live_session;
pub(crate) mod send;
pub(crate) mod viewers;

use chrono::{DateTime, Utc};
use shared::event::LikeTarget;
use shared::id::{Position, RoomId};
use shared::message::Message;

/// Something that people in a room are shown.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    /// Where.
    pub(crate) room: RoomId,
    /// After which everything up to here is known. For what takes no number of its own: the room's newest.
    pub(crate) position: Position,
    /// When it was accepted.
    pub(crate) at: DateTime<Utc>,
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
