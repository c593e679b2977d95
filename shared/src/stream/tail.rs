//! The tail of a room: what was accepted and may not be in Postgres yet, read from its head downwards.
//!
//! Every history, replay and repair reads the tail first and Postgres second. An entry leaves the tail only after its
//! COMMIT, so whatever the tail no longer has, Postgres shows; in the other order both could miss it.

use redis::Value;

use super::{Log, cursor, script};
use crate::error::Error;
use crate::event::Envelope;
use crate::id::{EntryId, MessageId, Partition, Position, RoomId};
use crate::keys;

/// Entries that one call of the script walks over, at about 7.5 us each.
const ENTRIES_PER_CALL: usize = 100;

/// What the log knows of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The room's newest position.
    pub position: Position,
    /// The last membership change.
    pub number: u64,
    /// The last change that took a right away from somebody.
    pub restricting: u64,
}

/// The newest part of a room.
#[derive(Clone, Debug)]
pub struct Tail {
    /// The epoch in which it was read.
    pub epoch: u32,
    /// The watermark that was published at the first call: the walk stopped there.
    pub watermark: EntryId,
    /// The head at the first call; none when nothing happened in the room since the log was opened.
    pub head: Option<Head>,
    /// The room's entries above the watermark, newest first.
    pub entries: Vec<Envelope>,
    /// Whether the walk stopped early because the caller had enough.
    pub cut: bool,
}

struct Call {
    epoch: u32,
    watermark: EntryId,
    head: Option<Head>,
    next: u32,
    entries: Vec<Envelope>,
}

impl Log {
    /// Walks `room` from its head down to the watermark, at most `most` entries; begins again when the epoch changes on
    /// the way.
    pub async fn tail(&self, room: RoomId, most: usize) -> Result<Tail, Error> {
        self.tail_until(room, most, || |_: &Envelope| false).await
    }

    /// The same for a caller who knows when to stop: every walk asks a new `is_enough` of each entry, newest first, and what
    /// lies below the first that is enough may be left out. That does not count as [cut](Tail::cut).
    pub async fn tail_until<W>(
        &self,
        room: RoomId,
        most: usize,
        is_enough: impl Fn() -> W,
    ) -> Result<Tail, Error>
    where
        W: FnMut(&Envelope) -> bool,
    {
        loop {
            let mut is_enough = is_enough();
            let first = self.tail_call(room, None).await?;
            let mut tail = Tail {
                epoch: first.epoch,
                watermark: first.watermark,
                head: first.head,
                entries: first.entries,
                cut: false,
            };
            let mut next = if tail.entries.iter().any(&mut is_enough) { 0 } else { first.next };
            let mut same_epoch = true;
            while next != 0 && same_epoch && tail.entries.len() < most {
                let call = self.tail_call(room, Some(next)).await?;
                same_epoch = call.epoch == tail.epoch;
                next = if call.entries.iter().any(&mut is_enough) { 0 } else { call.next };
                tail.entries.extend(call.entries);
            }
            if same_epoch {
                tail.cut = next != 0 || tail.entries.len() > most;
                tail.entries.truncate(most);
                return Ok(tail);
            }
        }
    }

    /// The room's head alone.
    pub async fn head(&self, room: RoomId) -> Result<(u32, Option<Head>), Error> {
        let call = self.walk(room, "", 0).await?;
        Ok((call.epoch, call.head))
    }

    /// The heads of rooms of one partition, in their order, and the epoch that they are of.
    pub async fn heads(
        &self,
        partition: Partition,
        rooms: &[RoomId],
    ) -> Result<(u32, Vec<Option<Head>>), Error> {
        let mut counters = redis::cmd("HMGET");
        counters.arg(keys::rooms(partition));
        for room in rooms {
            counters.arg(room.to_string());
        }
        // Both keys are of one partition, hence in one slot.
        let mut both = redis::pipe();
        both.atomic().cmd("HGET").arg(keys::meta(partition)).arg("epoch").add_command(counters);
        let (epoch, counters): (Option<u32>, Vec<Option<String>>) =
            both.query_async(&mut self.redis.clone()).await?;
        let epoch = epoch.unwrap_or(0);
        let read = |counter: Option<String>| counter.and_then(|counter| read_counter(epoch, &counter));
        Ok((epoch, counters.into_iter().map(read).collect()))
    }

    /// The entry of a message by its id, while its nonce is remembered.
    pub async fn message(&self, id: MessageId) -> Result<Option<Envelope>, Error> {
        let Some(partition) = id.partition(self.partitions) else { return Ok(None) };
        let mut redis = self.redis.clone();
        let memo: Option<String> = redis::cmd("HGET")
            .arg(keys::memo(partition))
            .arg(format!("n:{id}"))
            .query_async(&mut redis)
            .await?;
        let epoch: Option<u32> =
            redis::cmd("HGET").arg(keys::meta(partition)).arg("epoch").query_async(&mut redis).await?;
        let pseq = memo.and_then(|memo| memo.split(' ').next()?.parse().ok());
        match epoch.zip(pseq) {
            Some((epoch, pseq)) => self.entry(partition, EntryId { epoch, pseq }).await,
            None => Ok(None),
        }
    }

    async fn tail_call(&self, room: RoomId, from: Option<u32>) -> Result<Call, Error> {
        let from = from.map(|pseq| pseq.to_string()).unwrap_or_default();
        self.walk(room, &from, ENTRIES_PER_CALL).await
    }

    async fn walk(&self, room: RoomId, from: &str, most: usize) -> Result<Call, Error> {
        let partition = Partition::of(room, self.partitions);
        type Answer = (u32, u32, u32, String, u32, Value);
        let (epoch, wepoch, wpseq, counter, next, entries): Answer = script::TAIL
            .key(keys::meta(partition))
            .key(keys::rooms(partition))
            .key(keys::log(partition))
            .arg(room.to_string())
            .arg(from)
            .arg(most)
            .invoke_async(&mut self.redis.clone())
            .await?;
        Ok(Call {
            epoch,
            watermark: EntryId { epoch: wepoch, pseq: wpseq },
            head: read_counter(epoch, &counter),
            next,
            entries: cursor::read_entries(partition, entries).map_err(redis::RedisError::from)?,
        })
    }

    /// When the first entry behind `at` was accepted, in milliseconds since 1970; none when there is no such entry.
    pub async fn accepted_after(&self, partition: Partition, at: EntryId) -> Result<Option<i64>, Error> {
        let found: Value = redis::cmd("XRANGE")
            .arg(keys::log(partition))
            .arg(format!("({at}"))
            .arg("+")
            .arg("COUNT")
            .arg(1)
            .query_async(&mut self.redis.clone())
            .await?;
        let entries = cursor::read_entries(partition, found).map_err(redis::RedisError::from)?;
        Ok(entries.first().map(|entry| entry.at_ms))
    }

    /// The entry of a log by its place, while it is retained.
    pub async fn entry(&self, partition: Partition, entry: EntryId) -> Result<Option<Envelope>, Error> {
        let id = entry.to_string();
        let found: Value = redis::cmd("XRANGE")
            .arg(keys::log(partition))
            .arg(&id)
            .arg(&id)
            .query_async(&mut self.redis.clone())
            .await?;
        let mut entries = cursor::read_entries(partition, found).map_err(redis::RedisError::from)?;
        Ok(entries.pop())
    }
}

/// `seq prev number restricting`, as `append.lua` keeps it.
pub(crate) fn read_counter(epoch: u32, counter: &str) -> Option<Head> {
    let mut words = counter.split_ascii_whitespace().map(str::parse::<u64>);
    let mut word = || words.next()?.ok();
    let (seq, _prev, number, restricting) = (word()?, word()?, word()?, word()?);
    Some(Head { position: Position { epoch, seq }, number, restricting })
}
