//! What is in the log: events, and the envelopes in which they travel. Both ends of that wire stand here.
//!
//! An entry of a log is a flat list of fields. Everything that routing needs stands beside the body, so the fan-out
//! worker never opens it; the body is JSON, because operators read parked entries and because a field can be added while
//! two versions of a service run side by side.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{AccountId, BootId, EntryId, Malformed, MessageId, MessageNo, Partition, Position, RoomId};
use crate::user::Author;

/// Anything durable that happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Somebody said something.
    MessageSent(MessageSent),
    /// Somebody liked something, or took that back. The new total stands beside the body.
    LikeChanged(LikeChanged),
    /// A message was given another text.
    MessageEdited(MessageEdited),
    /// A message was taken back.
    MessageDeleted(MessageDeleted),
    /// Somebody to whom a message was sent has read it.
    MessageRead(MessageRead),
    /// Somebody came to be something in the room, or ceased to be it.
    MembershipChanged(MembershipChanged),
    /// A node's word on who watches the rooms of one partition. Belongs to no room and takes no position.
    ViewersSeen(ViewersSeen),
}

/// A message as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageSent {
    /// Named by room, author and nonce.
    pub id: MessageId,
    /// Who wrote it, as shown at that time.
    pub author: Author,
    /// What was written.
    pub text: String,
    /// The nonce, by which a retry is known for ever.
    pub nonce: String,
    /// The socket that sent it, which some dialects tell otherwise than all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// One frame of one socket of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The node's process.
    pub node: BootId,
    /// The socket's name there.
    pub connection: u64,
    /// Which of the socket's sends it is; 0 names the socket itself.
    #[serde(default)]
    pub send: u32,
}

impl Origin {
    /// Whether both are of one socket.
    #[must_use]
    pub fn is_beside(self, other: Self) -> bool {
        (self.node, self.connection) == (other.node, other.connection)
    }
}

/// A like given or taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LikeChanged {
    /// What it is about.
    pub target: LikeTarget,
    /// Whose like it is.
    pub person: AccountId,
    /// Given, or taken back.
    pub liked: bool,
}

/// What can be liked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LikeTarget {
    /// The live session that the room is.
    Session,
    /// One message.
    Message {
        /// Its id.
        id: MessageId,
        /// Its integer twin, which the live chat shows.
        no: MessageNo,
    },
}

impl LikeTarget {
    /// The id under which likes are kept: of the message, or of the room for its session.
    #[must_use]
    pub fn id(self, room: RoomId) -> uuid::Uuid {
        match self {
            Self::Session => room.0,
            Self::Message { id, .. } => id.0,
        }
    }
}

/// A message with another text. What it was before is in the log alone, for as long as that retains it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageEdited {
    /// Which message.
    pub id: MessageId,
    /// Its integer twin.
    pub no: MessageNo,
    /// Who did it.
    pub by: AccountId,
    /// What it says now.
    pub text: String,
}

/// A message that was taken back. Its place stays, its text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageDeleted {
    /// Which message.
    pub id: MessageId,
    /// Its integer twin.
    pub no: MessageNo,
    /// Who did it.
    pub by: AccountId,
}

/// A message that its receiver has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRead {
    /// Which message.
    pub id: MessageId,
    /// Its integer twin.
    pub no: MessageNo,
    /// Who read it.
    pub by: AccountId,
}

/// What somebody is in a room from here on. Permission is checked at the number of such a change, where the order is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipChanged {
    /// 1, 2, 3 … within the room, as Postgres gave it.
    pub number: u64,
    /// Whom it is about.
    pub person: AccountId,
    /// Who did it.
    pub by: AccountId,
    /// What the person is now.
    pub became: Became,
}

/// What a membership change makes of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Became {
    /// A member.
    Member,
    /// A member who may change the room and its members.
    Admin,
    /// A member who may no longer do that.
    Demoted,
    /// No member any more, by the person's own wish or somebody else's.
    Gone,
    /// No member any more, and not to come back.
    Banned,
    /// Free to come back; not a member by that.
    Unbanned,
    /// Somebody who hears nothing from the other person of a direct room, and to whom the other may not write.
    Blocking,
    /// Somebody who took that back.
    Unblocking,
    /// A friend of the other person of a direct room; so is that one from here on.
    Befriended,
    /// No friend of theirs any more, nor they of this person.
    Unfriended,
}

impl Became {
    /// Whether the change takes a right away from somebody, so that what was allowed before it must be checked again.
    #[must_use]
    pub fn takes_away(self) -> bool {
        match self {
            Self::Demoted | Self::Gone | Self::Banned | Self::Blocking | Self::Unfriended => true,
            Self::Member | Self::Admin | Self::Unbanned | Self::Unblocking | Self::Befriended => false,
        }
    }

    /// Whether the person may no longer hear the room.
    #[must_use]
    pub fn shuts_out(self) -> bool {
        matches!(self, Self::Gone | Self::Banned)
    }
}

/// Who was watching, as one node saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewersSeen {
    /// Room, person, and until when they count as watching unless more is heard, in milliseconds since 1970. A time that
    /// has passed says that the person left.
    pub seen: Vec<(RoomId, AccountId, i64)>,
}

impl Event {
    /// The body of the entry.
    #[must_use]
    pub fn to_body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("events have string keys and no failing parts")
    }

    /// The event in a body.
    pub fn from_body(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

/// Room + position + event: what travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Which log holds it.
    pub partition: Partition,
    /// Where in that log.
    pub entry: EntryId,
    /// The room it happened in; heartbeats have none.
    pub room: Option<RoomId>,
    /// Whom it concerns beyond those who watch the room.
    pub to: Vec<AccountId>,
    /// Its number in the room; 0 for what takes none.
    pub seq: u64,
    /// The entry of the room's previous event in this epoch; 0 when there is none.
    pub prev: u32,
    /// When it was accepted, in milliseconds since 1970. Never runs backwards within a partition.
    pub at_ms: i64,
    /// The total that a like left behind.
    pub total: Option<i64>,
    /// The event, unopened.
    pub body: Bytes,
}

impl Envelope {
    /// Its place in the room's history.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { epoch: self.entry.epoch, seq: self.seq }
    }

    /// When it was accepted.
    #[must_use]
    pub fn at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.at_ms).unwrap_or_default()
    }

    /// The integer id of the message that it is, if it is one.
    #[must_use]
    pub fn message_no(&self, partitions: u16) -> MessageNo {
        MessageNo::of(self.entry, self.partition, partitions)
    }

    /// Opens the body.
    pub fn event(&self) -> Result<Event, serde_json::Error> {
        Event::from_body(&self.body)
    }

    /// The envelope of a log entry. An entry that lacks a number still gives one, with what could be read: it can't be
    /// left out, because whoever reads the log must get past it.
    #[must_use]
    pub fn from_fields(partition: Partition, entry: EntryId, fields: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let mut envelope = Self {
            partition,
            entry,
            room: None,
            to: Vec::new(),
            seq: 0,
            prev: 0,
            at_ms: 0,
            total: None,
            body: Bytes::new(),
        };
        for (name, value) in fields {
            match name.as_slice() {
                b"room" => envelope.room = read(&value),
                b"to" => envelope.to = people(&value),
                b"seq" => envelope.seq = read(&value).unwrap_or(0),
                b"prev" => envelope.prev = read(&value).unwrap_or(0),
                b"at" => envelope.at_ms = read(&value).unwrap_or(0),
                b"total" => envelope.total = read(&value),
                b"body" => envelope.body = Bytes::from(value),
                _ => {}
            }
        }
        envelope
    }
}

fn read<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn people(value: &[u8]) -> Vec<AccountId> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// The `to` field of an entry.
#[must_use]
pub fn to_field(people: &[AccountId]) -> String {
    people.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Reads the field list of a log entry as Redis gives it.
pub(crate) fn entry_id(text: &[u8]) -> Result<EntryId, Malformed> {
    read(text).ok_or(Malformed("entry id"))
}

#[cfg(test)]
mod tests;
