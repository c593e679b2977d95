//! The client protocols. Each is a folder of the same four files: `mod` (what it is), `wire` (every byte of it), `rest`
//! and `socket` (its routes). A dialect extracts, parses, calls one verb of the core and answers; it decides nothing.
//!
//! What happened is written once per [`Encoding`] and node, and the bytes are shared by all connections that want them.

pub(crate) mod live_chat;

use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;

use crate::app::Shared;
use crate::chat::Happened;

/// A form in which connections are told what happened: dialect, transport and what the client opted in to. One value
/// for each distinct sequence of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    /// Dialect live_chat on a raw WebSocket.
    LiveChat,
}

impl Encoding {
    /// All of them.
    pub(crate) const ALL: [Self; 1] = [Self::LiveChat];

    /// The dialect's name in metrics.
    pub(crate) const fn dialect(self) -> &'static str {
        match self {
            Self::LiveChat => live_chat::NAME,
        }
    }
}

/// The whole frame that tells what happened, or nothing where this encoding has no word for it.
pub(crate) fn encode(encoding: Encoding, happened: &Happened) -> Option<Bytes> {
    match encoding {
        Encoding::LiveChat => live_chat::encode(happened),
    }
}

/// What a connection is told before it is closed because that which it watched is over.
pub(crate) fn closing_word(encoding: Encoding) -> Bytes {
    match encoding {
        Encoding::LiveChat => live_chat::closing_word(),
    }
}

/// The routes of all dialects.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    live_chat::routes()
}
