//! Inboxes: what is on its way to one api node. Both ends of that wire stand here.
//!
//! A batch is one entry of the node's inbox, numbered without holes, so a node knows when it missed one. Losing an inbox
//! loses nothing: the node compares heads with the log and fetches what it lacks.

mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue as _, Value};

use super::{Bus, millis, script};
use crate::error::Error;
use crate::event::Envelope;
use crate::id::{AccountId, BootId, MessageId, Partition, Position, RoomId};
use crate::keys;
use crate::planted::Bug;
pub(crate) use wire::{decode, encode};

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
    /// Something of the moment between two people.
    Word {
        /// For whom it is.
        to: AccountId,
        /// What.
        word: Word,
    },
}

/// What people are told that has no place in any order and is kept nowhere: a lost one is only missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Somebody writes, or no longer does.
    Typing {
        /// Who.
        person: AccountId,
        /// Whether they do.
        is_typing: bool,
    },
    /// Messages have reached a socket of the person they were for, all up to this one.
    Delivered {
        /// Where.
        room: RoomId,
        /// The place of the message.
        position: Position,
        /// The last message.
        message: MessageId,
        /// Whom it reached.
        by: AccountId,
    },
    /// A friend came or went.
    Presence {
        /// Who.
        person: AccountId,
        /// Whether they are here now.
        online: bool,
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
