//! Names of things. Every name is its own type, so a room can't be passed where a person is meant.
//!
//! Two names carry the partition inside them, so that a name alone leads to the log that holds the thing: a message's
//! UUID (version 8, top ten payload bits) and its integer twin. Both are derived, never drawn: the UUID from
//! (room, sender, nonce), the integer from the place in the log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

macro_rules! uuid_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                Uuid::try_parse(text).map(Self).map_err(|_| Malformed(stringify!($name)))
            }
        }
    };
}

uuid_name!(
    /// A person or a program that may sign in.
    AccountId
);
uuid_name!(
    /// A conversation of any kind.
    RoomId
);
uuid_name!(
    /// A message; see [`MessageId::named_by`].
    MessageId
);
uuid_name!(
    /// One life of one process: a new one is drawn at every start, and whenever a node finds itself forgotten.
    BootId
);

impl BootId {
    /// A name no other life has had.
    #[must_use]
    pub fn draw() -> Self {
        Self(Uuid::now_v7())
    }
}

/// A text that does not have the form of the name in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

/// The first eight bytes of a SHA-256, big-endian: our one hash for spreading things.
fn hash64(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    u64::from_be_bytes(digest[..8].try_into().expect("a SHA-256 has 32 bytes"))
}

/// SHA-256 of a body as the client sent it, by which a retry is told from another message under the same nonce.
#[must_use]
pub fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// One of the P parts that the rooms are spread over: `hash(room) % P`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u16);

impl Partition {
    /// A message UUID has room for ten bits of partition.
    pub const MOST: u16 = 1024;

    /// The partition that holds `room` when there are `partitions` of them.
    #[must_use]
    pub fn of(room: RoomId, partitions: u16) -> Self {
        let part = hash64(room.0.as_bytes()) % u64::from(partitions);
        Self(u16::try_from(part).expect("a remainder of a u16 fits one"))
    }

    /// The partition with this number, which came from our own tables or keys.
    #[must_use]
    pub const fn numbered(number: u16) -> Self {
        Self(number)
    }

    /// 0 to P-1.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// All of them, in order.
    pub fn all(partitions: u16) -> impl Iterator<Item = Self> {
        (0..partitions).map(Self)
    }

    /// How strongly `owner` claims this partition: the live worker with the largest claim should own it (rendezvous
    /// hashing), so a worker that comes or goes moves only its own share.
    #[must_use]
    pub fn claim(self, owner: BootId) -> u64 {
        let mut bytes = [0; 18];
        bytes[..2].copy_from_slice(&self.0.to_be_bytes());
        bytes[2..].copy_from_slice(owner.0.as_bytes());
        hash64(&bytes)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

/// A place in a room's history: the epoch of its partition and a number that is dense per room and epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Which life of the log gave the number.
    pub epoch: u32,
    /// 1, 2, 3 … without holes within an epoch; 0 is before everything.
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

impl FromStr for Position {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let bad = Malformed("position");
        let (epoch, seq) = text.split_once(':').ok_or(bad)?;
        Ok(Self { epoch: digits(epoch).ok_or(bad)?, seq: digits(seq).ok_or(bad)? })
    }
}

/// A place in a partition's log; also the id of the Redis Stream entry, so Redis itself refuses an older one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId {
    /// Which life of the log.
    pub epoch: u32,
    /// 1, 2, 3 … without holes within an epoch and partition; 0 is before the first entry.
    pub pseq: u32,
}

impl EntryId {
    /// The entry that must follow this one if nothing is missing.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { epoch: self.epoch, pseq: self.pseq + 1 }
    }

    /// Whether nothing is missing between this entry and `later`. An epoch may end anywhere, so its first entry follows upon
    /// anything.
    #[must_use]
    pub fn is_followed_by(self, later: Self) -> bool {
        later == self.next() || (later.epoch > self.epoch && later.pseq == 1)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.pseq)
    }
}

impl FromStr for EntryId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let bad = Malformed("entry id");
        let (epoch, pseq) = text.split_once('-').ok_or(bad)?;
        Ok(Self { epoch: digits(epoch).ok_or(bad)?, pseq: digits(pseq).ok_or(bad)? })
    }
}

/// A number written in digits alone (`u64::from_str` would also take a plus sign).
fn digits<N: FromStr>(text: &str) -> Option<N> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// The integer by which two of the dialects know a message: `(epoch * 2^32 + pseq) * P + partition`, below 2^53 so that
/// a JavaScript number holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageNo(pub i64);

impl MessageNo {
    /// The number of the message whose entry is `entry` in `partition`.
    #[must_use]
    pub fn of(entry: EntryId, partition: Partition, partitions: u16) -> Self {
        let place = (i64::from(entry.epoch) << 32) + i64::from(entry.pseq);
        Self(place * i64::from(partitions) + i64::from(partition.0))
    }

    /// Where in which log that message is, or `None` for a number that we never give.
    #[must_use]
    pub fn place(self, partitions: u16) -> Option<(Partition, EntryId)> {
        let number = u64::try_from(self.0).ok()?;
        let (place, part) = (number / u64::from(partitions), number % u64::from(partitions));
        let entry = EntryId {
            epoch: u32::try_from(place >> 32).ok()?,
            pseq: u32::try_from(place & 0xffff_ffff).expect("masked to 32 bits"),
        };
        (entry.pseq > 0).then_some((Partition(u16::try_from(part).expect("a remainder of a u16")), entry))
    }
}

impl fmt::Display for MessageNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The sender's own name for a send: 1 to 64 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Nonce {
    text: String,
    drawn_here: bool,
}

impl Nonce {
    /// Enough for a UUID with room to spare.
    pub const CHARS_MAX: usize = 64;

    /// A nonce that a client gave.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let fits = (1..=Self::CHARS_MAX).contains(&text.chars().count());
        if !fits || text.chars().any(char::is_control) {
            return Err(Malformed("client_msg_id"));
        }
        Ok(Self { text: text.to_owned(), drawn_here: false })
    }

    /// A nonce for a client that gave none: such a send can't be retried, and is never looked up.
    #[must_use]
    pub fn draw() -> Self {
        Self { text: Uuid::now_v7().to_string(), drawn_here: true }
    }

    /// The name of a room's membership change: whoever repeats it, it is the same entry.
    #[must_use]
    pub fn of_change(number: u64) -> Self {
        Self { text: format!("change {number}"), drawn_here: true }
    }

    /// The name of a person's reading of a message: whoever repeats it, it is the same entry.
    #[must_use]
    pub fn of_read(message: MessageId) -> Self {
        Self { text: format!("read {message}"), drawn_here: true }
    }

    /// As the client wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it was never a client's to name, so that Postgres need not be asked whether it was used before.
    #[must_use]
    pub fn is_drawn_here(&self) -> bool {
        self.drawn_here
    }

    /// When the client says it made the nonce, in milliseconds since 1970: only a UUID version 7 says so.
    #[must_use]
    pub fn made_at_ms(&self) -> Option<u64> {
        let uuid = Uuid::try_parse(&self.text).ok().filter(|u| u.get_version_num() == 7)?;
        let (seconds, nanos) = uuid.get_timestamp()?.to_unix();
        Some(seconds * 1000 + u64::from(nanos) / 1_000_000)
    }
}

impl MessageId {
    /// The id of the message that `sender` calls `nonce` in `room`. A retry of the same nonce is the same message at
    /// every stage; the same nonce in another room is another message.
    #[must_use]
    pub fn named_by(room: RoomId, sender: AccountId, nonce: &Nonce, partitions: u16) -> Self {
        let mut hash = Sha256::new();
        hash.update(room.0.as_bytes());
        hash.update(sender.0.as_bytes());
        hash.update(nonce.as_str().as_bytes());
        let digest = hash.finalize();
        let mut bytes: [u8; 16] = digest[..16].try_into().expect("a SHA-256 has 32 bytes");
        let partition = Partition::of(room, partitions).0.to_be_bytes();
        bytes[0] = (partition[0] << 6) | (partition[1] >> 2);
        bytes[1] = (partition[1] << 6) | (bytes[1] & 0x3f);
        Self(Uuid::new_v8(bytes))
    }

    /// The partition that a message of ours names, or `None` for a UUID that can't be one.
    #[must_use]
    pub fn partition(self, partitions: u16) -> Option<Partition> {
        let bytes = self.0.as_bytes();
        let number = u16::from_be_bytes([bytes[0], bytes[1]]) >> 6;
        (self.0.get_version_num() == 8 && number < partitions).then_some(Partition(number))
    }
}

#[cfg(test)]
mod tests;
