//! The log: one Redis Stream per partition, in which every durable event gets its place before anybody is told of it.
//!
//! Who writes is [`Producer`]; who reads are workers with their own [`Cursor`], one owner per partition at a time. What is
//! guaranteed and why stands in `docs/decisions/log.md`; in short:
//!
//! * an append answers OK only after the entry is in the fsynced file (`appendfsync always`);
//! * numbers are given inside the script that appends, so there is one order and no hole;
//! * every start of the Redis process is a new epoch: until the persister has opened it, it takes no append;
//! * nothing above the watermark is ever trimmed.

pub(crate) mod cursor;
pub mod dead_letter;
mod producer;
mod settings;
pub(crate) mod tail;
mod trim;
mod worker;

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use uuid::Uuid;

pub use cursor::{Cursor, Reading};
pub use producer::{Append, Appended, Change, Guard, Named, Placed, Producer, RateWindow, Wanted};
pub use settings::{Finding, SettingsReport};
pub use tail::{Head, Tail};
pub use trim::trim;
pub use worker::{Crew, Office, Progress, Work};

use crate::error::Error;
use crate::id::{EntryId, Partition};
use crate::keys;
use crate::telemetry::names;

/// Most of the backlog that a partition may hold before it refuses.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Entries that Postgres does not have yet.
    pub entries: u64,
    /// Bytes of retained entries.
    pub bytes: u64,
}

/// One Redis that plays the log role.
#[derive(Clone)]
pub struct Log {
    client: redis::Client,
    redis: ConnectionManager,
    partitions: u16,
    retain: Duration,
    caps: Caps,
}

/// Which process answers for a partition, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Redis' name for this run of its process.
    pub run: String,
    /// Whether this run was opened.
    pub open: bool,
    /// The epoch it records, if it ever was opened.
    pub epoch: Option<u32>,
    /// The last entry given in that epoch.
    pub head: u32,
    /// The published watermark.
    pub watermark: EntryId,
    /// The newest entry that the stream really holds.
    pub newest: Option<EntryId>,
}

/// A partition that was closed, by whom and in which run of Redis: what it takes to open it again.
#[derive(Clone, Debug)]
pub struct Closing {
    partition: Partition,
    run: String,
    token: Uuid,
}

impl Log {
    /// Reports how far the group that has come to `at` lags behind, in entries and in the age of the oldest one that it has
    /// not done.
    pub async fn report_lag(
        &self,
        partition: Partition,
        group: &'static str,
        state: &State,
        at: EntryId,
    ) -> Result<(), Error> {
        // Whoever has read nothing of this epoch yet lacks all of it.
        let lacking = match state.epoch {
            Some(epoch) if epoch == at.epoch => Some(state.head.saturating_sub(at.pseq)),
            Some(epoch) if epoch > at.epoch => Some(state.head),
            _ => None,
        };
        let known = state.open && lacking.is_some();
        let entries = lacking.filter(|_| known).unwrap_or(0);
        let oldest = if entries > 0 { self.accepted_after(partition, at).await? } else { None };
        let age = oldest.map_or(0, |at_ms| chrono::Utc::now().timestamp_millis() - at_ms);
        let labels = [("partition", partition.to_string()), ("group", group.to_owned())];
        metrics::gauge!(names::LOG_LAG_KNOWN, &labels).set(if known { 1.0 } else { 0.0 });
        metrics::gauge!(names::LOG_LAG_ENTRIES, &labels).set(entries);
        let seconds = Duration::from_millis(u64::try_from(age).unwrap_or(0)).as_secs_f64();
        metrics::gauge!(names::LOG_LAG_SECONDS, &labels).set(seconds);
        Ok(())
    }
}

/// Takes back what was said of a group's lag: whoever reads the partition now says it.
pub fn forget_lag(partition: Partition, group: &'static str) {
    let labels = [("partition", partition.to_string()), ("group", group.to_owned())];
    for name in [names::LOG_LAG_KNOWN, names::LOG_LAG_ENTRIES, names::LOG_LAG_SECONDS] {
        metrics::gauge!(name, &labels).set(0.0);
    }
}

/// A connection that reconnects by itself and never makes a caller wait long for a server that is away.
pub async fn connect(url: &str) -> Result<ConnectionManager, Error> {
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(Duration::from_secs(2)))
        .set_connection_timeout(Some(Duration::from_secs(2)))
        .set_number_of_retries(1)
        .set_min_delay(Duration::from_millis(50))
        .set_max_delay(Duration::from_millis(500));
    let client = redis::Client::open(url)?;
    Ok(ConnectionManager::new_with_config(client, config).await?)
}

impl Log {
    /// Connects to the Redis at `url`.
    pub async fn connect(url: &str, partitions: u16, retain: Duration, caps: Caps) -> Result<Self, Error> {
        let client = redis::Client::open(url)?;
        Ok(Self { redis: connect(url).await?, client, partitions, retain, caps })
    }

    /// How many partitions the rooms are spread over.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    /// Whether the server answers at all.
    pub async fn ping(&self) -> Result<(), Error> {
        Ok(redis::cmd("PING").exec_async(&mut self.redis.clone()).await?)
    }

    /// Who answers for `partition`, and whether it was opened.
    pub async fn state(&self, partition: Partition) -> Result<State, Error> {
        type Answer = (String, String, String, u32, u32, u32, String);
        let (run, open, epoch, head, wepoch, wpseq, newest): Answer = script::STATE
            .key(keys::meta(partition))
            .key(keys::log(partition))
            .invoke_async(&mut self.redis.clone())
            .await?;
        Ok(State {
            run,
            open: open == "1",
            epoch: epoch.parse().ok(),
            head,
            watermark: EntryId { epoch: wepoch, pseq: wpseq },
            newest: newest.parse().ok(),
        })
    }

    /// Closes `partition`: it takes no append until it is opened again with what this answers.
    pub async fn close(&self, partition: Partition) -> Result<Closing, Error> {
        let token = Uuid::now_v7();
        let run = script::CLOSE
            .key(keys::meta(partition))
            .arg(token.to_string())
            .invoke_async(&mut self.redis.clone())
            .await?;
        Ok(Closing { partition, run, token })
    }

    /// Opens a partition in `epoch`; false when its Redis was replaced or another opening was begun since `closing`. For
    /// `doubt` from then on it is asked of Postgres whether a name is new, however young it says to be.
    pub async fn open(&self, closing: &Closing, epoch: u32, doubt: Duration) -> Result<bool, Error> {
        let partition = closing.partition;
        let answer: String = script::OPEN
            .key(keys::meta(partition))
            .key(keys::rooms(partition))
            .key(keys::memo(partition))
            .key(keys::log(partition))
            .arg(&closing.run)
            .arg(epoch)
            .arg(closing.token.to_string())
            .arg(doubt.as_millis().to_string())
            .invoke_async(&mut self.redis.clone())
            .await?;
        Ok(answer == "OPENED")
    }

    /// Publishes the watermark, and with `group` also the persister's place for `XINFO GROUPS`.
    pub async fn publish_watermark(
        &self,
        partition: Partition,
        at: EntryId,
        group: bool,
    ) -> Result<(), Error> {
        self.publish(partition, keys::PERSISTER, at, true, group).await
    }

    /// Publishes the place of the fan-out group.
    pub async fn publish_fanout(&self, partition: Partition, at: EntryId) -> Result<(), Error> {
        self.publish(partition, keys::FANOUT, at, false, true).await
    }

    async fn publish(
        &self,
        partition: Partition,
        group: &str,
        at: EntryId,
        watermark: bool,
        move_group: bool,
    ) -> Result<(), Error> {
        let flag = |on: bool| if on { "1" } else { "0" };
        Ok(script::PUBLISH
            .key(keys::meta(partition))
            .key(keys::log(partition))
            .arg(group)
            .arg(at.epoch)
            .arg(at.pseq)
            .arg(flag(watermark))
            .arg(flag(move_group))
            .invoke_async(&mut self.redis.clone())
            .await?)
    }
}

/// The scripts, each read once.
mod script {
    use std::sync::LazyLock;

    use redis::Script;

    use crate::planted;

    macro_rules! scripts {
        ($($name:ident = $file:literal),* $(,)?) => {
            $(pub(super) static $name: LazyLock<Script> =
                LazyLock::new(|| Script::new(&planted::script(include_str!(concat!("lua/", $file)))));)*
        };
    }

    scripts! {
        APPEND = "append.lua",
        OPEN = "open.lua",
        STATE = "state.lua",
        CLOSE = "close.lua",
        PUBLISH = "publish.lua",
        TAIL = "tail.lua",
        TRIM = "trim.lua",
    }
}
