//! Client protocols: wire types and routes. Everything they have in common is elsewhere.

use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;

use crate::app::Shared;
use crate::chat::Happened;

/// In which form a connection is told things: dialect x transport x what it opted in to. Connections of one encoding share
/// the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    /// The live chat over a raw WebSocket.
    LiveChat,
}

impl Encoding {
    pub(crate) const ALL: [Self; 1] = [Self::LiveChat];

    /// The dialect's name in metrics.
    pub(crate) fn dialect(self) -> &'static str {
        match self {
            Self::LiveChat => "live_chat",
        }
    }
}

/// The frame in which `happened` is told, or nothing where that encoding is not told of it.
pub(crate) fn encode(encoding: Encoding, _happened: &Happened) -> Option<Bytes> {
    match encoding {
        Encoding::LiveChat => None,
    }
}

/// The last word before a connection is closed because what it watched is over.
pub(crate) fn closing_word(encoding: Encoding) -> Bytes {
    match encoding {
        Encoding::LiveChat => Bytes::new(),
    }
}

/// The routes of all dialects.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
}
