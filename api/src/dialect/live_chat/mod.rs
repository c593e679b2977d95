//! Dialect live_chat: everybody in one room around a scheduled draw, by REST and a raw WebSocket.
//!
//! Promise: clients written for the first live chat work unchanged. Ids are integers, times naive UTC; what is new
//! (positions, `client_msg_id`, resuming) are further fields and parameters that an old client never meets.
//! docs/protocol/live_chat.md tells it to authors of clients.

mod rest;
mod socket;
pub(crate) mod wire;

use bytes::Bytes;
use shared::error::{Code, Refusal};
use shared::id::Nonce;
use shared::message::MessageText;
use shared::store::live::LiveSession;
use shared::telemetry::names;
use utoipa_axum::router::OpenApiRouter;

use crate::app::{App, Shared};
use crate::chat::Happened;
use crate::chat::send::Draft;
use crate::transport::websocket::frame::text_frame;

use crate::dialect::wire::ErrorFrame;
#[cfg(test)]
pub(crate) use wire::samples;
pub(crate) use wire::{FrameIn, FrameOut};

/// The dialect's name in metrics.
pub(crate) const NAME: &str = "live_chat";

/// All routes of the dialect.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    rest::routes().merge(socket::routes())
}

/// The frame that tells what happened, if this dialect tells it.
pub(crate) fn encode(happened: &Happened) -> Option<Bytes> {
    FrameOut::of(happened).map(|frame| frame_of(&frame))
}

/// What a socket is told when its window has ended.
pub(crate) fn closing_word() -> Bytes {
    frame_of(&FrameOut::Error(ErrorFrame::of(&not_active().into(), None)))
}

fn frame_of(frame: &FrameOut<'_>) -> Bytes {
    text_frame(&frame.to_json())
}

/// The one answer to everything that needs an open chat while there is none.
fn not_active() -> Refusal {
    Refusal::new(Code::NotActive, "Chat is not active")
}

/// A message on its way into the session, checked for its form.
fn draft(app: &App, session: &LiveSession, text: String, nonce: Nonce) -> Result<Draft, Refusal> {
    Ok(Draft {
        room: session.room,
        text: MessageText::parse(text, app.config.limits.live_text_chars)?,
        nonce,
        per_minute: Some(app.config.live_chat.max_messages_per_user_per_minute),
        origin: None,
    })
}

fn count_message() {
    metrics::counter!(names::MESSAGES, "dialect" => NAME).increment(1);
}
