//! Bodies of the REST calls.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::id::Position;
use shared::message::Message;
use shared::store::live::LiveSession;
use shared::user::Role;
use utoipa::ToSchema;
use uuid::Uuid;

use super::NaiveUtc;
use crate::chat::history::Page;
use crate::chat::live_session::Totals;
use crate::chat::send::Receipt;
use crate::dialect::wire::ZonedUtc;

/// A message, in pages and in `new_message` alike.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageBody<'a> {
    /// Grows with the order of the room; below 2^53.
    id: i64,
    /// The author's integer id.
    user_id: i64,
    #[schema(value_type = String)]
    username: Cow<'a, str>,
    /// Address of the author's picture, if there is one.
    #[schema(value_type = Option<String>, required = true)]
    profile_pic: Option<Cow<'a, str>>,
    /// The text as it was written: show it as text, never as markup.
    #[schema(value_type = String)]
    message: Cow<'a, str>,
    message_type: MessageType,
    /// Distinct people who like it.
    likes: i64,
    created_at: NaiveUtc,
    /// Whether the author wore the WINNER badge when sending.
    is_winner: bool,
    /// Whether the author wore the HOST badge when sending.
    is_host: bool,
    created_at_utc: ZonedUtc,
    room_id: Uuid,
    /// The sender's own name for it.
    #[schema(value_type = String)]
    client_msg_id: Cow<'a, str>,
    epoch: u32,
    /// Its number in the room within the epoch.
    seq: u64,
}

/// What a message is made of.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MessageType {
    /// Text.
    Text,
}

impl<'a> MessageBody<'a> {
    /// `None` for what has no text to show: deleted, or stored in a form that nobody can read.
    pub(crate) fn of(message: &'a Message) -> Option<Self> {
        let author = &message.author;
        Some(Self {
            id: message.no.0,
            user_id: author.no,
            username: Cow::Borrowed(&author.username),
            profile_pic: author.avatar.as_deref().map(Cow::Borrowed),
            message: Cow::Borrowed(message.text.as_deref()?),
            message_type: MessageType::Text,
            likes: message.likes,
            created_at: NaiveUtc(message.created_at),
            is_winner: author.roles.contains(Role::Winner),
            is_host: author.roles.contains(Role::Host),
            created_at_utc: ZonedUtc(message.created_at),
            room_id: message.room.0,
            client_msg_id: Cow::Borrowed(&message.nonce),
            epoch: message.position.epoch,
            seq: message.position.seq,
        })
    }
}

/// Whether the chat is open, and the session that it is open for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum StatusBody {
    /// Open.
    Open(OpenStatus),
    /// Closed until `next_start_time`.
    Closed(ClosedStatus),
    /// Switched off by `LIVE_CHAT_ENABLED`.
    Disabled(DisabledStatus),
}

/// The chat is open.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenStatus {
    enabled: bool,
    is_active: bool,
    session: SessionBody,
    /// The place of the room's newest event: what a socket passes as `after` to hear everything later. Null when that
    /// can't be told now.
    #[schema(required = true, examples("1:42"))]
    position: Option<String>,
    /// Present and true when a store was away, so that a number may be behind.
    #[serde(skip_serializing_if = "is_complete")]
    #[schema(required = false)]
    incomplete: bool,
}

/// The chat is closed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClosedStatus {
    enabled: bool,
    is_active: bool,
    /// Always null.
    #[schema(value_type = Option<SessionBody>, required = true)]
    session: (),
    /// When it opens next; null when no further draw is planned.
    #[schema(required = true)]
    next_start_time: Option<NaiveUtc>,
    #[schema(required = true)]
    next_start_time_utc: Option<ZonedUtc>,
}

/// The chat is switched off.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DisabledStatus {
    enabled: bool,
    is_active: bool,
    /// Always null.
    #[schema(value_type = Option<SessionBody>, required = true)]
    session: (),
    #[schema(examples("Live chat is disabled"))]
    message: &'static str,
}

impl StatusBody {
    pub(crate) fn open(session: SessionBody, head: Option<Position>, incomplete: bool) -> Self {
        let position = head.map(|head| head.to_string());
        Self::Open(OpenStatus { enabled: true, is_active: true, session, position, incomplete })
    }

    pub(crate) fn closed(next_start: Option<DateTime<Utc>>) -> Self {
        Self::Closed(ClosedStatus {
            enabled: true,
            is_active: false,
            session: (),
            next_start_time: next_start.map(NaiveUtc),
            next_start_time_utc: next_start.map(ZonedUtc),
        })
    }

    pub(crate) fn disabled() -> Self {
        let message = "Live chat is disabled";
        Self::Disabled(DisabledStatus { enabled: false, is_active: false, session: (), message })
    }
}

/// The session that is open.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionBody {
    /// 1, 2, 3 …: names the socket's address `/live-chat/ws/{id}`.
    id: i64,
    #[schema(examples("Draw Chat - January 01, 2024"))]
    name: String,
    viewer_count: u64,
    total_likes: i64,
    start_time: NaiveUtc,
    end_time: NaiveUtc,
    start_time_utc: ZonedUtc,
    end_time_utc: ZonedUtc,
    room_id: Uuid,
}

impl SessionBody {
    pub(crate) fn of(session: &LiveSession, viewer_count: u64, total_likes: i64) -> Self {
        Self {
            id: session.id,
            name: session.name.clone(),
            viewer_count,
            total_likes,
            start_time: NaiveUtc(session.starts_at),
            end_time: NaiveUtc(session.ends_at),
            start_time_utc: ZonedUtc(session.starts_at),
            end_time_utc: ZonedUtc(session.ends_at),
            room_id: session.room.0,
        }
    }
}

/// A page of messages.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessagesBody<'a> {
    /// Oldest first.
    messages: Vec<MessageBody<'a>>,
    /// The place up to which this answer is complete: pass it as `after` to a socket.
    #[schema(examples("1:42"))]
    position: String,
    /// Pass it as `before` for the page of older messages; null when there is none.
    #[schema(required = true)]
    next_cursor: Option<i64>,
    /// Present and true when a store was away, so that something may be missing.
    #[serde(skip_serializing_if = "is_complete")]
    #[schema(required = false)]
    incomplete: bool,
}

impl<'a> From<&'a Page> for MessagesBody<'a> {
    fn from(page: &'a Page) -> Self {
        // Of what was looked at, not of what is shown: a page of nothing but deleted messages must not end the paging.
        let oldest = page.messages.first().map(|message| message.no.0);
        Self {
            messages: page.messages.iter().filter_map(MessageBody::of).collect(),
            position: page.position.to_string(),
            next_cursor: oldest.filter(|_| page.more),
            incomplete: page.incomplete,
        }
    }
}

/// Who watches.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ViewersBody {
    pub(crate) viewer_count: u64,
    pub(crate) session_id: i64,
    pub(crate) session_name: String,
    /// Present and true when a store was away, so that the number may be behind.
    #[serde(skip_serializing_if = "is_complete")]
    #[schema(required = false)]
    pub(crate) incomplete: bool,
}

/// How much the session is liked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LikesBody {
    pub(crate) total_likes: i64,
    pub(crate) session_id: i64,
    pub(crate) session_name: String,
    /// Present and true when a store was away, so that the number may be behind.
    #[serde(skip_serializing_if = "is_complete")]
    #[schema(required = false)]
    pub(crate) incomplete: bool,
}

/// Everything that is counted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatsBody {
    session_id: i64,
    session_name: String,
    viewer_count: u64,
    total_likes: i64,
    total_messages: i64,
    /// Of the last hour.
    recent_messages: i64,
    is_active: bool,
    start_time: NaiveUtc,
    end_time: NaiveUtc,
    start_time_utc: ZonedUtc,
    end_time_utc: ZonedUtc,
    /// Present and true when a store was away, so that something may be missing.
    #[serde(skip_serializing_if = "is_complete")]
    #[schema(required = false)]
    incomplete: bool,
}

impl StatsBody {
    pub(crate) fn of(session: &LiveSession, viewers: (u64, bool), totals: &Totals) -> Self {
        let (viewer_count, viewers_unknown) = viewers;
        Self {
            session_id: session.id,
            session_name: session.name.clone(),
            viewer_count,
            total_likes: totals.likes,
            total_messages: totals.messages,
            recent_messages: totals.recent_messages,
            is_active: true,
            start_time: NaiveUtc(session.starts_at),
            end_time: NaiveUtc(session.ends_at),
            start_time_utc: ZonedUtc(session.starts_at),
            end_time_utc: ZonedUtc(session.ends_at),
            incomplete: totals.incomplete || viewers_unknown,
        }
    }
}

/// A like of the session was given or taken back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionLiked {
    #[schema(examples("Session liked successfully"))]
    pub(crate) message: &'static str,
    pub(crate) total_likes: i64,
}

/// A like of a message was given or taken back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageLiked {
    #[schema(examples("Message liked successfully"))]
    pub(crate) message: &'static str,
    pub(crate) likes: i64,
}

/// A message to be sent.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct SendBody {
    /// 1 to 1,000 characters, not only white space.
    #[schema(min_length = 1, max_length = 1000)]
    pub(crate) message: String,
    /// Your own name for this message, 1 to 64 characters, best a UUID of version 7. Sending again under the same name
    /// never makes a second message. The header `Idempotency-Key` may carry it instead.
    #[schema(min_length = 1, max_length = 64)]
    pub(crate) client_msg_id: Option<String>,
}

/// A message was accepted: it is ordered, durable and on its way to everybody.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sent {
    #[schema(examples("Message sent successfully"))]
    message: &'static str,
    message_id: i64,
    created_at: NaiveUtc,
    created_at_utc: ZonedUtc,
    room_id: Uuid,
    client_msg_id: String,
    epoch: u32,
    seq: u64,
}

impl Sent {
    pub(crate) fn of(session: &LiveSession, nonce: &str, receipt: &Receipt) -> Self {
        Self {
            message: "Message sent successfully",
            message_id: receipt.no.0,
            created_at: NaiveUtc(receipt.at),
            created_at_utc: ZonedUtc(receipt.at),
            room_id: session.room.0,
            client_msg_id: nonce.to_owned(),
            epoch: receipt.position.epoch,
            seq: receipt.position.seq,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_complete(incomplete: &bool) -> bool {
    !*incomplete
}

#[cfg(test)]
mod tests;
