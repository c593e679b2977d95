//! Bodies of the REST calls about messages.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use shared::id::{AccountId, Position};
use shared::message::Message;
use shared::user::Author;
use utoipa::ToSchema;
use uuid::Uuid;

use super::AccountSummary;
use crate::chat::history::Letters;
use crate::dialect::wire::ZonedUtc;

/// How far a message has come. It only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LetterStatus)]
pub(crate) enum Status {
    /// Accepted.
    Sent,
    /// Written to a socket of its receiver.
    Delivered,
    /// Read.
    Read,
}

impl Status {
    /// Of a message, when messages up to `delivered` have reached its receiver.
    pub(crate) fn of(message: &Message, delivered: Position) -> Self {
        match message.read_at {
            Some(_) => Self::Read,
            None if message.position <= delivered => Self::Delivered,
            None => Self::Sent,
        }
    }
}

/// A person as messages show them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PersonBody<'a> {
    account_id: Uuid,
    #[schema(value_type = String)]
    username: Cow<'a, str>,
    #[schema(value_type = Option<String>, required = true)]
    full_name: Option<Cow<'a, str>>,
    /// Address of a picture.
    #[schema(value_type = Option<String>, required = true)]
    avatar: Option<Cow<'a, str>>,
}

impl<'a> PersonBody<'a> {
    fn of(author: &'a Author) -> Self {
        Self {
            account_id: author.id.0,
            username: Cow::Borrowed(&author.username),
            full_name: author.full_name.as_deref().map(Cow::Borrowed),
            avatar: author.avatar.as_deref().map(Cow::Borrowed),
        }
    }
}

/// A message as a socket is told it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Letter)]
pub(crate) struct LetterBody<'a> {
    message_id: Uuid,
    sender_id: Uuid,
    receiver_id: Uuid,
    /// The text as it was written: show it as text, never as markup.
    #[schema(value_type = String)]
    content: Cow<'a, str>,
    status: Status,
    created_at: ZonedUtc,
    sender: PersonBody<'a>,
    room_id: Uuid,
    /// The sender's own name for it.
    #[schema(value_type = String)]
    client_msg_id: Cow<'a, str>,
    epoch: u32,
    /// Its number in the room within the epoch.
    seq: u64,
}

impl<'a> LetterBody<'a> {
    /// `None` for what has no text to show: deleted, or stored in a form that nobody can read.
    pub(crate) fn of(message: &'a Message, receiver: AccountId, status: Status) -> Option<Self> {
        message.text.as_ref().map(|_| Self::standing(message, receiver, status))
    }

    /// The same for whatever became of it: without its text where it has none.
    fn standing(message: &'a Message, receiver: AccountId, status: Status) -> Self {
        Self {
            message_id: message.id.0,
            sender_id: message.author.id.0,
            receiver_id: receiver.0,
            content: Cow::Borrowed(message.text.as_deref().unwrap_or_default()),
            status,
            created_at: ZonedUtc(message.created_at),
            sender: PersonBody::of(&message.author),
            room_id: message.room.0,
            client_msg_id: Cow::Borrowed(&message.nonce),
            epoch: message.position.epoch,
            seq: message.position.seq,
        }
    }
}

/// A message as REST answers it: the same with its receiver and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FullLetter)]
pub(crate) struct FullLetterBody<'a> {
    #[serde(flatten)]
    letter: LetterBody<'a>,
    /// Whether it was taken back; then it has no content. Only the answer to a repeated send tells of such a message at all.
    is_deleted: bool,
    /// The last time that the message itself changed.
    updated_at: ZonedUtc,
    #[schema(required = true)]
    read_at: Option<ZonedUtc>,
    receiver: AccountSummary,
}

impl<'a> FullLetterBody<'a> {
    /// `None` for what has no text to show.
    pub(crate) fn of(message: &'a Message, receiver: AccountSummary, delivered: Position) -> Option<Self> {
        message.text.as_ref().map(|_| Self::standing(message, receiver, delivered))
    }

    /// The same for whatever became of it.
    pub(crate) fn standing(message: &'a Message, receiver: AccountSummary, delivered: Position) -> Self {
        let status = Status::of(message, delivered);
        let changed_at = message.deleted_at.or(message.edited_at).unwrap_or(message.created_at);
        Self {
            letter: LetterBody::standing(message, AccountId(receiver.account_id), status),
            is_deleted: message.deleted_at.is_some(),
            updated_at: ZonedUtc(changed_at),
            read_at: message.read_at.map(ZonedUtc),
            receiver,
        }
    }
}

/// What to send.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LetterToSend)]
pub(crate) struct SendBody {
    pub(crate) receiver_id: Uuid,
    /// 1 to 4,000 characters, not only white space.
    pub(crate) content: String,
    /// Your own name for it; the header `Idempotency-Key` is another place for it.
    pub(crate) client_msg_id: Option<String>,
}

/// A page of a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryBody<'a> {
    /// Newest first.
    messages: Vec<FullLetterBody<'a>>,
    /// Messages of the conversation that are not deleted.
    total: i64,
    skip: u64,
    limit: u32,
    /// Pass it as `cursor` for the next page, which stays the same whatever is sent meanwhile; null on the last one.
    #[schema(required = true, examples("1:42"))]
    next_cursor: Option<String>,
    room_id: Uuid,
    /// The place up to which this answer is complete: pass it in `resume`.
    #[schema(examples("1:42"))]
    position: String,
    /// Present and true when a store was away, so that something may be missing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    incomplete: bool,
}

impl<'a> HistoryBody<'a> {
    pub(crate) fn of(
        page: &'a Letters,
        people: &HashMap<AccountId, AccountSummary>,
        (skip, limit): (u64, u32),
        room: Uuid,
    ) -> Self {
        let letter = |message: &'a Message| {
            let receiver = message.receiver?;
            let delivered = page.delivered.get(&receiver).copied().unwrap_or_default();
            FullLetterBody::of(message, people.get(&receiver)?.clone(), delivered)
        };
        let last = page.messages.last().filter(|_| page.more);
        Self {
            messages: page.messages.iter().filter_map(letter).collect(),
            total: page.total,
            skip,
            limit,
            next_cursor: last.map(|message| message.position.to_string()),
            room_id: room,
            position: page.position.to_string(),
            incomplete: page.incomplete,
        }
    }
}

/// How many messages are unread.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnreadBody {
    pub(crate) unread_count: i64,
    /// Present and true when the count may be behind.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub(crate) incomplete: bool,
}

/// The friends who are here now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OnlineBody {
    pub(crate) online_friends: Vec<Uuid>,
}
