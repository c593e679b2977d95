//! One socket from its upgrade to its end: joins the room, then reads what the client says, a frame at a time.

use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use shared::error::{Code, Error, Refusal};
use shared::store::live::LiveSession;

use super::Entry;
use crate::app::Shared;
use crate::chat::send;
use crate::dialect::Encoding;
use crate::dialect::door::tell;
use crate::dialect::live_chat::wire::{FrameIn, FrameOut};
use crate::dialect::live_chat::{closing_word, count_message, draft, frame_of};
use crate::dialect::wire::nonce;
use crate::hub::outbox::{CloseReason, Outbox};
use crate::hub::{Connection, Joined, Start};
use crate::json_check::JsonLimits;
use crate::limits::{Bucket, SocketPlace};
use crate::transport::websocket::connection::Session;

/// Somebody's stay in the room.
pub(super) struct Visit {
    app: Shared,
    session: LiveSession,
    connection: Arc<Connection>,
    start: Start,
    /// Held until the visit ends: dropping it leaves the room.
    joined: Option<Joined>,
    /// What this socket has left of its frames a second.
    frames: Bucket,
    _place: SocketPlace,
}

impl Visit {
    pub(super) fn new(app: Shared, entry: Entry, outbox: Arc<Outbox>) -> Self {
        let Entry { caller, session, start, place } = entry;
        let connection = Arc::new(Connection {
            origin: app.hub.draw_origin(),
            account: caller.account,
            outbox,
            encoding: Encoding::LiveChat,
            expires_at: caller.expires_at,
            resumes: matches!(start, Start::Resume(_)),
            ends_at: Some(session.ends_at),
        });
        let frames = Bucket::new(Instant::now());
        Self { app, session, connection, start, joined: None, frames, _place: place }
    }

    /// Does what a frame asks for; on failure also says which send it was about.
    async fn handle(&mut self, text: &str) -> Result<(), (Error, Option<String>)> {
        self.let_pass().map_err(|refusal| (refusal.into(), None))?;
        let limits = &self.app.config.limits;
        let limits = JsonLimits { depth: limits.json_depth, keys: limits.json_keys };
        match FrameIn::read(text, limits).map_err(|misread| (misread.why.into(), misread.client_msg_id))? {
            FrameIn::Ping => {
                self.connection.outbox.send(frame_of(&FrameOut::Pong));
                Ok(())
            }
            FrameIn::Message { message, client_msg_id } => {
                let sent = self.send(message, client_msg_id.as_deref()).await;
                sent.map_err(|error| (error, client_msg_id))
            }
        }
    }

    /// Everybody in the room gets a `new_message`, the sender too, so there is nothing to answer.
    async fn send(&self, message: String, client_msg_id: Option<&str>) -> Result<(), Error> {
        if !self.session.is_open(Utc::now()) {
            self.end();
            return Ok(());
        }
        let draft = draft(&self.app, &self.session, message, nonce(client_msg_id)?)?;
        send::send_message(&self.app, &self.connection.account, draft).await?;
        count_message();
        Ok(())
    }

    /// Takes a frame off what this socket may send.
    fn let_pass(&mut self) -> Result<(), Refusal> {
        let rate = self.app.config.limits.frame_rate();
        self.frames.take(rate, Instant::now()).map_err(|wait| {
            Refusal::new(Code::RateLimited, "Too many frames, please slow down").retry_after(wait)
        })
    }

    /// The window is over. The hub's sweep says so to everybody; a sender hears it at once.
    fn end(&self) {
        self.connection.outbox.send(closing_word());
        self.connection.outbox.close(CloseReason::Forbidden);
    }
}

impl Session for Visit {
    async fn on_open(&mut self) {
        let (room, connection) = (self.session.room, self.connection.clone());
        match self.app.hub.join(&self.app, room, connection, self.start, None).await {
            Ok(joined) => self.joined = Some(joined),
            Err(error) => {
                tell(&self.connection.outbox, &error, None);
                self.connection.outbox.close(CloseReason::Internal);
            }
        }
    }

    async fn on_text(&mut self, text: &str) {
        if let Err((error, client_msg_id)) = self.handle(text).await {
            tell(&self.connection.outbox, &error, client_msg_id.as_deref());
        }
    }

    async fn on_binary(&mut self, _: &[u8]) {
        let refusal = self
            .let_pass()
            .err()
            .unwrap_or_else(|| Refusal::new(Code::Invalid, "Binary frames are not taken here, send text"));
        tell(&self.connection.outbox, &refusal.into(), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_at_rest_is_small() {
        assert!(size_of::<Visit>() <= 320, "{} bytes", size_of::<Visit>());
    }
}
