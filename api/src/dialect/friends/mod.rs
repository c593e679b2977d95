//! Dialect friends: two people who are friends talk, and how they come to be friends.
//!
//! Promise: clients written for the first friend chat work unchanged. Ids are UUIDs, times RFC 3339 with `Z`; what is new (positions,
//! `client_msg_id`, resuming, caps) are further fields, parameters and frames that an old client never meets.
//! docs/protocol/friends.md tells it to authors of clients.

mod rest;
mod socket;
mod wire;

use bytes::Bytes;
use shared::bus::Word;
use shared::error::Refusal;
use shared::event::Origin;
use shared::id::{AccountId, Nonce, RoomId};
use shared::message::MessageText;
use shared::telemetry::names;
use utoipa_axum::router::OpenApiRouter;

use super::{Caps, Ear};
use crate::app::{App, Shared};
use crate::chat::Happened;
use crate::chat::send::Draft;
use crate::transport::websocket::frame::text_frame;

#[cfg(test)]
pub(crate) use wire::samples;
pub(crate) use wire::{FrameIn, FrameOut};

/// The dialect's name in metrics.
pub(crate) const NAME: &str = "friends";

/// All routes of the dialect.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    rest::routes().merge(socket::routes())
}

/// The frame that tells what happened, if this dialect tells it.
pub(crate) fn encode(ear: &Ear, caps: Caps, happened: &Happened) -> Option<Bytes> {
    FrameOut::of(ear, caps, happened).map(|frame| frame_of(&frame))
}

/// The frame that tells something of the moment, if this dialect tells it.
pub(crate) fn encode_word(caps: Caps, word: &Word) -> Option<Bytes> {
    FrameOut::of_word(caps, word).map(|frame| frame_of(&frame))
}

fn frame_of(frame: &FrameOut<'_>) -> Bytes {
    text_frame(&frame.to_json())
}

/// A message on its way to a friend, checked for its form.
fn draft(
    app: &App,
    me: AccountId,
    receiver: AccountId,
    text: String,
    nonce: Nonce,
    origin: Option<Origin>,
) -> Result<Draft, Refusal> {
    Ok(Draft {
        room: RoomId::of_pair(me, receiver),
        text: MessageText::parse(text, app.config.limits.text_chars)?,
        nonce,
        per_minute: None,
        origin,
    })
}

fn count_message() {
    metrics::counter!(names::MESSAGES, "dialect" => NAME).increment(1);
}
