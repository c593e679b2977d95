//! Frames of the socket: one JSON object each, told apart by `type`.

use serde::{Deserialize, Serialize};
use shared::event::LikeTarget;
use utoipa::ToSchema;
use uuid::Uuid;

use super::MessageBody;
use crate::chat::{Happened, Happening};
use crate::dialect::wire::{self, ErrorFrame, Misread};
use crate::json_check::JsonLimits;

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

impl FrameIn {
    /// Reads a frame.
    pub(crate) fn read(text: &str, limits: JsonLimits) -> Result<Self, Misread> {
        wire::read_frame(text, limits, |kind| match kind {
            "message" => Some("A message needs a text `message`, and `client_msg_id` is text or absent"),
            "ping" => Some("A ping is {\"type\":\"ping\"}"),
            _ => None,
        })
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
            // The live chat knows neither edits, nor receipts, nor members.
            Happening::MessageEdited { .. }
            | Happening::MessageDeleted { .. }
            | Happening::MessageRead { .. }
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
