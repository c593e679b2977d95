//! Frames of the socket: one JSON object each, told apart by `type`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use shared::bus::Word;
use shared::id::{AccountId, MessageId, Position, RoomId};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{LetterBody, Status};
use crate::chat::{Happened, Happening};
use crate::dialect::wire::{self, ErrorFrame, Misread};
use crate::dialect::{Caps, Ear};
use crate::json_check::JsonLimits;

/// What a client says.
#[derive(Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FrameIn {
    /// Say something to a friend.
    SendMessage {
        receiver_id: Uuid,
        /// 1 to 4,000 characters, not only white space.
        content: String,
        /// Your own name for it, 1 to 64 characters, best a UUID of version 7: sending again under the same name never
        /// makes a second message.
        client_msg_id: Option<String>,
    },
    /// You have read a message that was sent to you.
    MarkRead { message_id: Uuid },
    /// You are writing to a friend, or no longer are.
    Typing { receiver_id: Uuid, is_typing: bool },
    /// The first frame of a socket that was opened with `resume=1`: the last place that you know of each room.
    Resume {
        /// `room_id` -> `epoch:seq`.
        #[serde(deserialize_with = "positions")]
        #[schema(value_type = HashMap<String, String>)]
        after: HashMap<RoomId, Position>,
    },
}

/// Rooms with their places; as many as fit into a frame.
fn positions<'de, D: serde::Deserializer<'de>>(from: D) -> Result<HashMap<RoomId, Position>, D::Error> {
    let given: HashMap<Uuid, String> = HashMap::deserialize(from)?;
    let read = |(room, place): (Uuid, String)| {
        let place = place.parse().map_err(serde::de::Error::custom)?;
        Ok((RoomId(room), place))
    };
    given.into_iter().map(read).collect()
}

impl FrameIn {
    /// Reads a frame.
    pub(crate) fn read(text: &str, limits: JsonLimits) -> Result<Self, Misread> {
        wire::read_frame(text, limits, |kind| match kind {
            "send_message" => Some("send_message needs the UUID receiver_id and a text content"),
            "mark_read" => Some("mark_read needs the UUID message_id"),
            "typing" => Some("typing needs the UUID receiver_id and is_typing, true or false"),
            "resume" => Some("resume needs after, an object from room_id to a position such as 1:42"),
            _ => None,
        })
    }
}

/// What a client is told.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FrameOut<'a> {
    /// You are in.
    ConnectionEstablished {
        user_id: Uuid,
        #[schema(examples("Connected to chat server"))]
        message: &'static str,
    },
    /// The friends who are here now.
    OnlineFriends { friends: Vec<Uuid> },
    /// Somebody wrote to you, or you wrote from another device.
    NewMessage { message: LetterBody<'a>, room_id: Uuid, epoch: u32, seq: u64 },
    /// What this socket sent is accepted.
    MessageSent {
        message_id: Uuid,
        status: Status,
        room_id: Uuid,
        epoch: u32,
        seq: u64,
        client_msg_id: &'a str,
    },
    /// What you wrote was read.
    MessageRead { message_id: Uuid, read_by: Uuid, room_id: Uuid, epoch: u32, seq: u64 },
    /// A friend writes to you, or no longer does.
    TypingIndicator { user_id: Uuid, is_typing: bool },
    /// With the cap `delivered`: what you wrote has reached a device, and so has everything before it.
    MessageDelivered { message_id: Uuid, delivered_to: Uuid, room_id: Uuid, epoch: u32, seq: u64 },
    /// With the cap `deleted`: a message was taken back.
    MessageDeleted { message_id: Uuid, deleted_by: Uuid, room_id: Uuid, epoch: u32, seq: u64 },
    /// With the cap `presence`: a friend came.
    FriendOnline { user_id: Uuid },
    /// With the cap `presence`: a friend went.
    FriendOffline { user_id: Uuid },
    /// To those who asked to resume: what you missed of this room can't be replayed, or you have not said where you were in
    /// it. Read the history anew and go on from this position.
    Resync { room_id: Uuid, epoch: u32, seq: u64 },
    /// What you sent was refused.
    #[cfg_attr(
        not(test),
        allow(dead_code, reason = "every dialect's errors are written alike; described here")
    )]
    Error(ErrorFrame<'a>),
}

impl<'a> FrameOut<'a> {
    /// What a socket of this dialect is told of something that happened, if anything.
    pub(crate) fn of(ear: &Ear, caps: Caps, happened: &'a Happened) -> Option<Self> {
        let room_id = happened.room.0;
        let (epoch, seq) = (happened.position.epoch, happened.position.seq);
        Some(match &happened.what {
            Happening::MessagePosted(message) if ear.is_origin_of(happened) => Self::MessageSent {
                message_id: message.id.0,
                status: Status::Sent,
                room_id,
                epoch,
                seq,
                client_msg_id: &message.nonce,
            },
            Happening::MessagePosted(message) => {
                let status = match message.read_at {
                    Some(_) => Status::Read,
                    None if ear.person == Some(message.author.id) => Status::Sent,
                    None => Status::Delivered,
                };
                let message = LetterBody::of(message, message.receiver?, status)?;
                Self::NewMessage { message, room_id, epoch, seq }
            }
            Happening::MessageRead { id, by, .. } if ear.person != Some(*by) => {
                Self::MessageRead { message_id: id.0, read_by: by.0, room_id, epoch, seq }
            }
            Happening::MessageDeleted { id, by, .. } if caps.deleted => {
                Self::MessageDeleted { message_id: id.0, deleted_by: by.0, room_id, epoch, seq }
            }
            Happening::Resync => Self::Resync { room_id, epoch, seq },
            // This dialect knows neither edits, nor likes, nor members; its sockets watch no room.
            Happening::MessageRead { .. }
            | Happening::MessageDeleted { .. }
            | Happening::MessageEdited { .. }
            | Happening::LikesChanged { .. }
            | Happening::MembershipChanged(_)
            | Happening::ViewerCount(_) => return None,
        })
    }

    /// What a socket is told of something of the moment, if anything.
    pub(crate) fn of_word(caps: Caps, word: &Word) -> Option<Self> {
        Some(match *word {
            Word::Typing { person, is_typing } => Self::TypingIndicator { user_id: person.0, is_typing },
            Word::Delivered { room, position, message, by } if caps.delivered => {
                let Position { epoch, seq } = position;
                Self::MessageDelivered {
                    message_id: message.0,
                    delivered_to: by.0,
                    room_id: room.0,
                    epoch,
                    seq,
                }
            }
            Word::Presence { person, online: true } if caps.presence => {
                Self::FriendOnline { user_id: person.0 }
            }
            Word::Presence { person, online: false } if caps.presence => {
                Self::FriendOffline { user_id: person.0 }
            }
            Word::Delivered { .. } | Word::Presence { .. } => return None,
        })
    }

    /// The answer to a send that had been accepted before.
    pub(crate) fn sent_before(message: MessageId, room: RoomId, position: Position, nonce: &'a str) -> Self {
        Self::MessageSent {
            message_id: message.0,
            status: Status::Sent,
            room_id: room.0,
            epoch: position.epoch,
            seq: position.seq,
            client_msg_id: nonce,
        }
    }

    /// The first frame of a socket.
    pub(crate) fn established(person: AccountId) -> Self {
        Self::ConnectionEstablished { user_id: person.0, message: "Connected to chat server" }
    }

    /// The JSON of the frame.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("frames have string keys and no failing parts")
    }
}

#[cfg(test)]
mod tests;
