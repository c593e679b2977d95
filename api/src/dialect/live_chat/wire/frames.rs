//! Frames of the socket: one JSON object each, told apart by `type`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::error::{Code, Error, Refusal};
use shared::event::LikeTarget;
use shared::id::Nonce;
use utoipa::ToSchema;
use uuid::Uuid;

use super::MessageBody;
use crate::chat::{Happened, Happening};
use crate::json_check::{self, JsonLimits};
use crate::respond::sentence;

/// What a client says.
#[derive(Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FrameIn {
    /// Say something.
    Message {
        /// 1 to 1,000 characters, not only white space.
        message: String,
        /// Your own name for it, 1 to 64 characters, best a UUID of version 7: sending again under the same name never
        /// makes a second message.
        client_msg_id: Option<String>,
    },
    /// Are you there?
    Ping,
}

/// A frame that is none of [`FrameIn`]: why, and the name of the send that it was to be, if it said one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misread {
    pub(crate) why: Refusal,
    pub(crate) client_msg_id: Option<String>,
}

impl FrameIn {
    /// Reads a frame.
    pub(crate) fn read(text: &str, limits: JsonLimits) -> Result<Self, Misread> {
        let misread = |why| Misread { why, client_msg_id: None };
        let invalid = |why| Refusal::new(Code::Invalid, why);
        let frame = json_check::read(text.as_bytes(), limits).map_err(misread)?;
        let kind = frame.get("type").and_then(Value::as_str);
        let expected = match kind {
            Some("message") => "A message needs a text `message`, and `client_msg_id` is text or absent",
            Some("ping") => "A ping is {\"type\":\"ping\"}",
            Some(_) => return Err(misread(invalid("Unknown type of frame"))),
            None => return Err(misread(invalid("A frame must be a JSON object with a type"))),
        };
        let named = frame.get("client_msg_id").and_then(Value::as_str);
        // Said back only if it can be a name, so that nobody makes us send large or unprintable things.
        let client_msg_id = named.filter(|name| Nonce::parse(name).is_ok()).map(str::to_owned);
        serde_json::from_value(frame).map_err(|_| Misread { why: invalid(expected), client_msg_id })
    }
}

/// What a client is told.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FrameOut<'a> {
    /// Somebody, perhaps you, said something.
    NewMessage { message: MessageBody<'a>, room_id: Uuid, epoch: u32, seq: u64 },
    /// A like of the session was given or taken back.
    SessionLikeUpdate { total_likes: i64, room_id: Uuid, epoch: u32, seq: u64 },
    /// A like of a message was given or taken back.
    MessageLikeUpdate { message_id: i64, likes: i64, room_id: Uuid, epoch: u32, seq: u64 },
    /// How many people watch. It takes no place in the room's order: `epoch` and `seq` are those of the newest event.
    ViewerCountUpdate { viewer_count: u64, room_id: Uuid, epoch: u32, seq: u64 },
    /// What you missed since `after` can't be replayed: read the history anew and go on from this position.
    Resync { room_id: Uuid, epoch: u32, seq: u64 },
    /// The answer to `ping`.
    Pong,
    /// What you sent was refused, or the chat is over.
    Error(ErrorFrame<'a>),
}

/// Why something was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorFrame<'a> {
    /// For people.
    #[schema(value_type = String)]
    message: Cow<'a, str>,
    /// For programs; stable.
    #[schema(value_type = String, examples("rate_limited"))]
    code: &'static str,
    /// Which send it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    client_msg_id: Option<Cow<'a, str>>,
    /// When it is worth trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after_ms: Option<u64>,
}

impl<'a> ErrorFrame<'a> {
    /// What a client may know of an error, and the send that it is about.
    pub(crate) fn of(error: &'a Error, client_msg_id: Option<&'a str>) -> Self {
        let wait = match error {
            Error::Refused(refusal) => refusal.retry_after,
            Error::Unavailable(_) | Error::Bug(_) => None,
        };
        Self {
            message: Cow::Borrowed(sentence(error)),
            code: error.code().as_str(),
            client_msg_id: client_msg_id.map(Cow::Borrowed),
            retry_after_ms: wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)),
        }
    }
}

impl<'a> FrameOut<'a> {
    /// What this dialect's clients are told of something that happened, if anything.
    pub(crate) fn of(happened: &'a Happened) -> Option<Self> {
        let room_id = happened.room.0;
        let (epoch, seq) = (happened.position.epoch, happened.position.seq);
        Some(match &happened.what {
            Happening::MessagePosted(message) => {
                Self::NewMessage { message: MessageBody::of(message)?, room_id, epoch, seq }
            }
            Happening::LikesChanged { target: LikeTarget::Session, total } => {
                Self::SessionLikeUpdate { total_likes: *total, room_id, epoch, seq }
            }
            Happening::LikesChanged { target: LikeTarget::Message { no, .. }, total } => {
                Self::MessageLikeUpdate { message_id: no.0, likes: *total, room_id, epoch, seq }
            }
            Happening::ViewerCount(viewer_count) => {
                Self::ViewerCountUpdate { viewer_count: *viewer_count, room_id, epoch, seq }
            }
            Happening::Resync => Self::Resync { room_id, epoch, seq },
            // The live chat knows neither edits nor members.
            Happening::MessageEdited { .. }
            | Happening::MessageDeleted { .. }
            | Happening::MembershipChanged(_) => return None,
        })
    }

    /// The JSON of the frame.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("frames have string keys and no failing parts")
    }
}

#[cfg(test)]
mod tests;
