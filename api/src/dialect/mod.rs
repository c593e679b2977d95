//! The client protocols. Each is a folder of the same four files: `mod` (what it is), `wire` (every byte of it), `rest`
//! and `socket` (its routes). A dialect extracts, parses, calls one verb of the core and answers; it decides nothing.
//!
//! What happened is written once per [`Encoding`] and node, and the bytes are shared by all connections that want them.

pub(crate) mod door;
pub(crate) mod friends;
pub(crate) mod live_chat;
pub(crate) mod wire;

use bytes::Bytes;
use shared::bus::Word;
use shared::event::Origin;
use shared::id::AccountId;
use utoipa_axum::router::OpenApiRouter;

use crate::app::Shared;
use crate::chat::Happened;

/// A form in which connections are told what happened: dialect, transport and what the client opted in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    /// Dialect live_chat on a raw WebSocket.
    LiveChat,
    /// Dialect friends on a raw WebSocket.
    Friends(Caps),
}

/// What a client understands beyond what its document says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Caps {
    /// Friends who come and go.
    pub(crate) presence: bool,
    /// Messages that have reached a device.
    pub(crate) delivered: bool,
    /// Messages that were taken back.
    pub(crate) deleted: bool,
}

impl Caps {
    /// Reads `a,b`; names that are not ours are ignored.
    pub(crate) fn parse(text: &str) -> Self {
        let has = |name| text.split(',').any(|given| given.trim() == name);
        Self { presence: has("presence"), delivered: has("delivered"), deleted: has("deleted") }
    }
}

/// Who is told: whatever the bytes of a frame depend on besides what happened. One value for each distinct sequence of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ear {
    pub(crate) encoding: Encoding,
    /// The person, where the dialect tells people apart.
    pub(crate) person: Option<AccountId>,
    /// The socket, where that which happened came from it and the dialect tells it otherwise than the others.
    pub(crate) socket: Option<Origin>,
}

impl Ear {
    /// Whether what happened came from this very socket.
    pub(crate) fn is_origin_of(&self, happened: &Happened) -> bool {
        self.socket.zip(happened.origin).is_some_and(|(socket, origin)| origin.is_beside(socket))
    }
}

impl Encoding {
    /// The dialect's name in metrics.
    pub(crate) const fn dialect(self) -> &'static str {
        match self {
            Self::LiveChat => live_chat::NAME,
            Self::Friends(_) => friends::NAME,
        }
    }

    /// Whether people in one room are told the same thing in different words.
    pub(crate) const fn tells_people_apart(self) -> bool {
        match self {
            Self::LiveChat => false,
            Self::Friends(_) => true,
        }
    }

    /// Whether a socket is told which friends come and go.
    pub(crate) const fn wants_presence(self) -> bool {
        match self {
            Self::LiveChat => false,
            Self::Friends(caps) => caps.presence,
        }
    }
}

/// The whole frame that tells what happened, or nothing where this encoding has no word for it.
pub(crate) fn encode(ear: &Ear, happened: &Happened) -> Option<Bytes> {
    match ear.encoding {
        Encoding::LiveChat => live_chat::encode(happened),
        Encoding::Friends(caps) => friends::encode(ear, caps, happened),
    }
}

/// The whole frame that tells something of the moment, or nothing where this encoding has no word for it.
pub(crate) fn encode_word(encoding: Encoding, word: &Word) -> Option<Bytes> {
    match encoding {
        Encoding::LiveChat => None,
        Encoding::Friends(caps) => friends::encode_word(caps, word),
    }
}

/// What a connection is told before it is closed because that which it watched is over.
pub(crate) fn closing_word(encoding: Encoding) -> Bytes {
    match encoding {
        Encoding::LiveChat => live_chat::closing_word(),
        // A friendship's socket watches nothing that has an end.
        Encoding::Friends(_) => Bytes::new(),
    }
}

/// The routes of all dialects.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    live_chat::routes().merge(friends::routes())
}
