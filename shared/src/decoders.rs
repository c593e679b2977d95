//! The decoders of this crate that are not public, as `tests/fuzz` reaches them: whatever bytes come, it checks what comes
//! out. Nothing else may use them, and nothing here decides anything. They are part of every build, so that what is
//! searched for bugs is what runs.

use bytes::Bytes;
use redis::Value;

use crate::bus::{Notice, inbox};
use crate::event::Envelope;
use crate::id::Partition;
use crate::stream::{Head, cursor, tail};

/// The entries in an answer of XREAD: reached here because a reader of a log wants a connection to Redis.
#[must_use]
pub fn entries(partition: Partition, answer: Value) -> Option<Vec<Envelope>> {
    cursor::read_answer(partition, answer).ok()
}

/// A room's counter as the tail script answers it: the text is Lua's, and no type holds it.
#[must_use]
pub fn counter(epoch: u32, text: &str) -> Option<Head> {
    tail::read_counter(epoch, text)
}

/// The notices of an inbox batch: reached here because a reader of an inbox wants a connection to Redis.
#[must_use]
pub fn inbox(batch: Bytes) -> Option<Vec<Notice>> {
    inbox::decode(batch)
}

/// The other end of the same wire.
#[must_use]
pub fn inbox_batch(notices: &[Notice]) -> Vec<u8> {
    inbox::encode(notices)
}
