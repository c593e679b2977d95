//! Inboxes: what is on its way to one api node. Both ends of that wire stand here.
//!
//! A batch is one entry of the node's inbox, numbered without holes, so a node knows when it missed one. Losing an inbox
//! loses nothing: the node compares heads with the log and fetches what it lacks.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue as _, Value};
use uuid::Uuid;

use super::{Bus, millis, script};
use crate::error::Error;
use crate::event::Envelope;
use crate::id::{AccountId, BootId, EntryId, Partition, RoomId};
use crate::keys;
use crate::planted::Bug;

/// Batches that an inbox holds at most; older ones fall off, which the node sees as a hole in the numbers.
const BATCHES_MAX: u32 = 2_000;
/// Batches that a node takes in one read.
const BATCHES_PER_READ: u32 = 64;

/// One thing that a node is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An event of the log.
    Envelope(Envelope),
    /// Something of this partition may have been missed: compare heads with the log.
    CompareHeads(Partition),
    /// What was known of this account no longer holds: look again before its sockets go on.
    AccountChanged(AccountId),
    /// How many people watch a room. Lives nowhere else, so a lost one is only late.
    ViewerCount {
        /// The room.
        room: RoomId,
        /// Distinct people.
        count: u64,
    },
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is in the inbox.
    Taken,
    /// That node is no more.
    Gone,
}

impl Bus {
    /// Puts a batch into the inbox of `node`.
    pub async fn deliver(&self, node: BootId, notices: &[Notice]) -> Result<Delivery, Error> {
        let number: i64 = script::DELIVER
            .key(keys::alive(node))
            .key(keys::inbox(node))
            .key(keys::inbox_number(node))
            .arg(encode(notices))
            .arg(BATCHES_MAX)
            .invoke_async(&mut self.redis())
            .await?;
        Ok(if number == 0 { Delivery::Gone } else { Delivery::Taken })
    }

    /// Begins the life of `node`: from now on batches are taken for it.
    pub async fn open_inbox(&self, node: BootId, ttl: Duration) -> Result<Inbox, Error> {
        redis::cmd("SET")
            .arg(keys::alive(node))
            .arg("1")
            .arg("PX")
            .arg(millis(ttl))
            .exec_async(&mut self.redis())
            .await?;
        self.attend(keys::NODES, node, ttl).await?;
        Ok(Inbox { client: self.client.clone(), connection: None, key: keys::inbox(node), read: 0 })
    }

    /// Prolongs the life of `node`, which has read up to `read`; answers the number of the last batch given, or none when
    /// the node was forgotten.
    pub async fn stay_alive(&self, node: BootId, ttl: Duration, read: u64) -> Result<Option<u64>, Error> {
        let last: i64 = script::ALIVE
            .key(keys::alive(node))
            .key(keys::inbox(node))
            .key(keys::inbox_number(node))
            .arg(millis(ttl))
            .arg(read)
            .invoke_async(&mut self.redis())
            .await?;
        self.attend(keys::NODES, node, ttl).await?;
        Ok(u64::try_from(last).ok())
    }

    /// Ends the life of `node`.
    pub async fn close_inbox(&self, node: BootId) -> Result<(), Error> {
        let mut redis = self.redis();
        redis::cmd("ZREM").arg(keys::NODES).arg(node.to_string()).exec_async(&mut redis).await?;
        Ok(redis::cmd("DEL")
            .arg(keys::alive(node))
            .arg(keys::inbox(node))
            .arg(keys::inbox_number(node))
            .exec_async(&mut redis)
            .await?)
    }

    /// Ends the life of a node that takes nothing, so that it finds out and compares heads.
    pub async fn expel(&self, node: BootId) -> Result<(), Error> {
        Ok(redis::cmd("DEL").arg(keys::alive(node)).exec_async(&mut self.redis()).await?)
    }

    /// Every api node that is alive.
    pub async fn nodes(&self) -> Result<Vec<BootId>, Error> {
        let alive: Vec<String> =
            redis::cmd("ZRANGE").arg(keys::NODES).arg(0).arg(-1).query_async(&mut self.redis()).await?;
        Ok(alive.iter().filter_map(|boot| boot.parse().ok()).collect())
    }
}

/// The reading end of a node's inbox.
pub struct Inbox {
    client: Arc<redis::Client>,
    connection: Option<MultiplexedConnection>,
    key: String,
    /// The number of the last batch read.
    pub read: u64,
}

/// What a read brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// What the node is told, in order.
    pub notices: Vec<Notice>,
    /// Whether a batch is missing before or among them.
    pub missed: bool,
}

impl Inbox {
    /// Waits up to `wait` for batches and takes them.
    pub async fn take(&mut self, wait: Duration) -> Result<Arrived, Error> {
        // A future dropped in mid-read leaves the connection unusable, so it is put back on success only.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.client).await?,
        };
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(BATCHES_PER_READ).arg("BLOCK").arg(millis(wait).max(1));
        command.arg("STREAMS").arg(&self.key).arg(format!("{}-0", self.read));
        let answer = tokio::time::timeout(
            wait + Duration::from_secs(2),
            command.query_async::<Value>(&mut connection),
        );
        let answer = answer.await.map_err(Error::unavailable)??;
        self.connection = Some(connection);

        type Streams = Option<Vec<(Value, Vec<(String, Vec<Value>)>)>>;
        let streams = Streams::from_redis_value(answer).map_err(redis::RedisError::from)?;
        let mut arrived = Arrived::default();
        for (id, fields) in streams.into_iter().flatten().flat_map(|(_, entries)| entries) {
            let number: u64 = id.split('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            let batch = fields.into_iter().nth(1).and_then(|batch| Vec::<u8>::from_redis_value(batch).ok());
            let notices = batch.and_then(|batch| decode(Bytes::from(batch)));
            let is_next = number == self.read + 1 || Bug::InboxNumbersUnchecked.is_planted();
            arrived.missed |= !is_next || notices.is_none();
            arrived.notices.extend(notices.into_iter().flatten());
            self.read = number;
        }
        Ok(arrived)
    }
}

async fn connect(client: &redis::Client) -> Result<MultiplexedConnection, Error> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(2)))
        .set_response_timeout(None);
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

/// First byte of a batch, so that a later form can be told from this one.
const FORM: u8 = 1;
const ENVELOPE: u8 = 1;
const COMPARE_HEADS: u8 = 2;
const ACCOUNT_CHANGED: u8 = 3;
const VIEWER_COUNT: u8 = 4;

pub(crate) fn encode(notices: &[Notice]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 * notices.len());
    out.put_u8(FORM);
    for notice in notices {
        match notice {
            Notice::Envelope(envelope) => {
                out.put_u8(ENVELOPE);
                put_envelope(&mut out, envelope);
            }
            Notice::CompareHeads(partition) => {
                out.put_u8(COMPARE_HEADS);
                out.put_u16(partition.number());
            }
            Notice::AccountChanged(account) => {
                out.put_u8(ACCOUNT_CHANGED);
                out.put_slice(account.0.as_bytes());
            }
            Notice::ViewerCount { room, count } => {
                out.put_u8(VIEWER_COUNT);
                out.put_slice(room.0.as_bytes());
                out.put_u64(*count);
            }
        }
    }
    out
}

fn put_envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    out.put_u16(envelope.partition.number());
    out.put_u32(envelope.entry.epoch);
    out.put_u32(envelope.entry.pseq);
    out.put_slice(envelope.room.map_or(Uuid::nil(), |room| room.0).as_bytes());
    out.put_u64(envelope.seq);
    out.put_u32(envelope.prev);
    out.put_i64(envelope.at_ms);
    out.put_u8(u8::from(envelope.total.is_some()));
    out.put_i64(envelope.total.unwrap_or(0));
    out.put_u32(u32::try_from(envelope.to.len()).unwrap_or(0));
    for person in &envelope.to {
        out.put_slice(person.0.as_bytes());
    }
    out.put_u32(u32::try_from(envelope.body.len()).unwrap_or(0));
    out.put_slice(&envelope.body);
}

/// The notices of a batch, or none when it is not of our form. Bodies share the batch's memory.
pub(crate) fn decode(mut batch: Bytes) -> Option<Vec<Notice>> {
    if batch.try_get_u8().ok()? != FORM {
        return None;
    }
    let mut notices = Vec::new();
    while batch.has_remaining() {
        notices.push(match batch.get_u8() {
            ENVELOPE => Notice::Envelope(take_envelope(&mut batch)?),
            COMPARE_HEADS => Notice::CompareHeads(Partition::numbered(batch.try_get_u16().ok()?)),
            ACCOUNT_CHANGED => Notice::AccountChanged(AccountId(take_uuid(&mut batch)?)),
            VIEWER_COUNT => {
                Notice::ViewerCount { room: RoomId(take_uuid(&mut batch)?), count: batch.try_get_u64().ok()? }
            }
            _ => return None,
        });
    }
    Some(notices)
}

fn take_envelope(batch: &mut Bytes) -> Option<Envelope> {
    let partition = Partition::numbered(batch.try_get_u16().ok()?);
    let entry = EntryId { epoch: batch.try_get_u32().ok()?, pseq: batch.try_get_u32().ok()? };
    let room = take_uuid(batch)?;
    let (seq, prev) = (batch.try_get_u64().ok()?, batch.try_get_u32().ok()?);
    let at_ms = batch.try_get_i64().ok()?;
    let (has_total, total) = (batch.try_get_u8().ok()? == 1, batch.try_get_i64().ok()?);
    let people = batch.try_get_u32().ok()?;
    let to = (0..people).map(|_| take_uuid(batch).map(AccountId)).collect::<Option<Vec<_>>>()?;
    let length = usize::try_from(batch.try_get_u32().ok()?).ok()?;
    if batch.remaining() < length {
        return None;
    }
    Some(Envelope {
        partition,
        entry,
        room: (!room.is_nil()).then_some(RoomId(room)),
        to,
        seq,
        prev,
        at_ms,
        total: has_total.then_some(total),
        body: batch.split_to(length),
    })
}

fn take_uuid(batch: &mut Bytes) -> Option<Uuid> {
    let mut bytes = [0; 16];
    batch.try_copy_to_slice(&mut bytes).ok()?;
    Some(Uuid::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn envelope(total: Option<i64>, to: Vec<AccountId>, body: &[u8]) -> Envelope {
        Envelope {
            partition: Partition::numbered(7),
            entry: EntryId { epoch: 3, pseq: 99 },
            room: Some(RoomId(Uuid::from_u128(5))),
            to,
            seq: 12,
            prev: 98,
            at_ms: 1_700_000_000_123,
            total,
            body: Bytes::copy_from_slice(body),
        }
    }

    #[test]
    fn a_batch_reads_what_it_writes() {
        let person = AccountId(Uuid::from_u128(9));
        let notices = vec![
            Notice::Envelope(envelope(None, vec![], b"{}")),
            Notice::CompareHeads(Partition::numbered(3)),
            Notice::Envelope(Envelope {
                room: None,
                ..envelope(Some(-4), vec![person, person], &[0, 255, 10])
            }),
            Notice::AccountChanged(person),
            Notice::ViewerCount { room: RoomId(Uuid::from_u128(5)), count: 1_000 },
        ];
        assert_eq!(decode(Bytes::from(encode(&notices))), Some(notices));
        assert_eq!(decode(Bytes::from(encode(&[]))), Some(vec![]));
    }

    fn notice() -> impl Strategy<Value = Notice> {
        let person = any::<u128>().prop_map(|id| AccountId(Uuid::from_u128(id)));
        let (to, body) = (prop::collection::vec(person, 0..4), prop::collection::vec(any::<u8>(), 0..80));
        let numbers = any::<(u16, u32, u32, u64, u32, i64, Option<i64>)>();
        // The nil id stands for no room.
        let room = prop::option::of(1..=u128::MAX).prop_map(|id| id.map(|id| RoomId(Uuid::from_u128(id))));
        let envelope = (numbers, room, to, body).prop_map(|(numbers, room, to, body)| {
            let (part, epoch, pseq, seq, prev, at_ms, total) = numbers;
            let (partition, entry) = (Partition::numbered(part), EntryId { epoch, pseq });
            Envelope { partition, entry, room, to, seq, prev, at_ms, total, body: body.into() }
        });
        let count = any::<(u128, u64)>();
        prop_oneof![
            4 => envelope.prop_map(Notice::Envelope),
            1 => any::<u16>().prop_map(|part| Notice::CompareHeads(Partition::numbered(part))),
            1 => any::<u128>().prop_map(|id| Notice::AccountChanged(AccountId(Uuid::from_u128(id)))),
            1 => count.prop_map(|(id, count)| Notice::ViewerCount { room: RoomId(Uuid::from_u128(id)), count }),
        ]
    }

    proptest! {
        #[test]
        fn any_batch_reads_what_it_writes(notices in prop::collection::vec(notice(), 0..6)) {
            prop_assert_eq!(decode(Bytes::from(encode(&notices))), Some(notices));
        }

        #[test]
        fn rubbish_is_told_from_a_batch_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(Bytes::from(bytes));
        }

        #[test]
        fn a_cut_batch_is_never_read_as_a_whole_one(body in proptest::collection::vec(any::<u8>(), 0..60), cut in 1_usize..60) {
            let whole = encode(&[Notice::Envelope(envelope(Some(1), vec![], &body))]);
            let cut = whole.len().saturating_sub(cut).max(2);
            prop_assert_eq!(decode(Bytes::copy_from_slice(&whole[..cut])), None);
        }
    }
}
