//! Reading a log from one's own place. No pending list and no acknowledgements: where a worker has come is its own
//! business (a row in Postgres, a key on the bus), so a woken former owner can't take entries away from its successor.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, ParsingError, Value};

use super::Log;
use crate::error::Error;
use crate::event::{Envelope, entry_id};
use crate::id::{EntryId, Partition};
use crate::keys;

/// A reader of one log, with a connection of its own because its reads block.
pub struct Cursor {
    client: redis::Client,
    connection: Option<MultiplexedConnection>,
    partition: Partition,
    key: String,
    /// The last entry that was dealt with; reading goes on behind it.
    pub at: EntryId,
}

/// How a read should wait.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    /// Answer at once with what is there.
    Now,
    /// Wait this long for a first entry.
    Blocking(Duration),
}

/// How much longer than the block itself a blocking read may take.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

impl Log {
    /// A reader of `partition` that goes on behind `at`.
    #[must_use]
    pub fn cursor(&self, partition: Partition, at: EntryId) -> Cursor {
        Cursor { client: self.client.clone(), connection: None, partition, key: keys::log(partition), at }
    }
}

impl Cursor {
    /// Up to `most` entries behind the cursor, oldest first. Does not move the cursor.
    pub async fn read(&mut self, reading: Reading, most: usize) -> Result<Vec<Envelope>, Error> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(most);
        let mut timeout = ANSWER_GRACE;
        if let Reading::Blocking(wait) = reading {
            let ms = u64::try_from(wait.as_millis().max(1)).unwrap_or(u64::MAX);
            command.arg("BLOCK").arg(ms);
            timeout += wait;
        }
        command.arg("STREAMS").arg(&self.key).arg(self.at.to_string());

        // A future dropped in mid-read, like a failed one, leaves the connection unusable: it is put back on success only.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.client).await?,
        };
        let answer = tokio::time::timeout(timeout, command.query_async::<Value>(&mut connection)).await;
        let answer = answer.map_err(Error::unavailable)??;
        self.connection = Some(connection);
        Ok(read_answer(self.partition, answer).map_err(redis::RedisError::from)?)
    }
}

async fn connect(client: &redis::Client) -> Result<MultiplexedConnection, Error> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(2)))
        .set_response_timeout(None);
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

/// XREAD answers nil, or one stream with its entries.
pub(crate) fn read_answer(partition: Partition, answer: Value) -> Result<Vec<Envelope>, ParsingError> {
    let streams: Option<Vec<(Value, Value)>> = FromRedisValue::from_redis_value(answer)?;
    let Some((_, entries)) = streams.into_iter().flatten().next() else { return Ok(Vec::new()) };
    read_entries(partition, entries)
}

/// The entries of XREAD, XRANGE or a script that hands them through.
pub(super) fn read_entries(partition: Partition, entries: Value) -> Result<Vec<Envelope>, ParsingError> {
    let entries: Vec<(Vec<u8>, Vec<Vec<u8>>)> = FromRedisValue::from_redis_value(entries)?;
    entries
        .into_iter()
        .map(|(id, flat)| {
            let id = entry_id(&id).map_err(|malformed| ParsingError::from(malformed.to_string()))?;
            let mut fields = Vec::with_capacity(flat.len() / 2);
            let mut flat = flat.into_iter();
            while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
                fields.push((name, value));
            }
            Ok(Envelope::from_fields(partition, id, fields))
        })
        .collect()
}
