//! Raw WebSockets, RFC 6455 in full: [`handshake`] turns an HTTP request into a bare socket, [`frame`] reads and builds
//! frames, [`connection`] runs one task per connection. What a dialect has to bring is a [`connection::Session`].

pub(crate) mod connection;
pub(crate) mod echo;
pub(crate) mod frame;
pub(crate) mod handshake;
#[cfg(test)]
mod tests;

use crate::config::Config;
use crate::hub::outbox::{CLOSE_WITHIN, Closing, Outbox, OutboxLimits};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use connection::{Session, Timing};
use frame::FrameLimits;
use std::sync::Arc;

/// The figures of a route's connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) outbox: OutboxLimits,
    pub(crate) timing: Timing,
    pub(crate) frames: FrameLimits,
}

impl Settings {
    /// As the node's settings say.
    pub(crate) fn of(config: &Config) -> Settings {
        let Config { outbox_bytes_max: bytes_max, outbox_age: age_max, limits, .. } = config;
        Settings {
            outbox: OutboxLimits { bytes_max: *bytes_max, age_max: *age_max, close_within: CLOSE_WITHIN },
            timing: Timing {
                ping_after: limits.ping_after,
                pong_within: limits.pong_within,
                message_within: limits.ws_fragment_time,
            },
            frames: FrameLimits {
                frame_bytes: limits.ws_frame_bytes,
                message_bytes: limits.ws_message_bytes,
                fragments: limits.ws_fragments,
            },
        }
    }
}

/// Answers an upgrade request, and once the socket is ours runs the session that `open` makes for its outbox.
/// Everything that may refuse the client (token, origin, room) is asked before; here only the handshake itself can fail.
pub(crate) fn upgrade<S, F>(request: &mut Request, settings: Settings, open: F) -> Response
where
    S: Session + 'static,
    F: FnOnce(Arc<Outbox>) -> S + Send + 'static,
{
    let (response, upgrading) = match handshake::accept(request) {
        Ok(accepted) => accepted,
        Err(error) => return error.into_response(),
    };
    tokio::spawn(async move {
        // Otherwise the client left between request and answer.
        if let Some((stream, leftover)) = upgrading.socket().await {
            let outbox = Arc::new(Outbox::new(Arc::new(stream), settings.outbox, Closing::WebSocket));
            let session = Box::new(open(outbox.clone()));
            // In a task of its own, no larger than it needs: this one also has room for all that the upgrade took.
            tokio::spawn(connection::run(outbox, leftover, session, settings.timing, settings.frames));
        }
    });
    response
}
