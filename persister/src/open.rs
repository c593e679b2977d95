//! Opening a partition: every start of the log's Redis is a new epoch.
//!
//! Whether a restart kept everything can't be told from here: what was accepted but not stored may be gone, and its numbers
//! must not be given again. So the owner closes the partition, stores whatever survived, moves Postgres to a new epoch, and
//! only then lets this run of Redis take appends. Each step is guarded against whatever may happen in between: the row by
//! its fence and its old value, the opening by the closing that it must follow upon. An owner that was paused halfway can
//! neither open a partition that its successor has begun to open, nor let anything in that the successor would not read.

use std::time::Duration;

use shared::Error;
use shared::id::EntryId;
use shared::store::partitions;
use shared::stream::{Progress, State};

use crate::persist::Persist;

/// By how much a sender's clock may be ahead for its retries to be known also when the log forgot that it was.
const CLOCKS_AHEAD: Duration = Duration::from_secs(60);

impl Persist {
    /// Brings the log and Postgres to one epoch, after `state` showed that they are not in one or that the log is closed.
    pub(crate) async fn reconcile(&mut self, state: &State) -> Result<Progress, Error> {
        if state.open && state.epoch > Some(self.hold.watermark.epoch) {
            self.catch_up(state).await
        } else {
            self.open(state).await
        }
    }

    async fn open(&mut self, state: &State) -> Result<Progress, Error> {
        // A log that lacks what is stored has lost its end, and with it whose clocks were ahead.
        let reached = EntryId { epoch: state.epoch.unwrap_or(0), pseq: state.head };
        let doubt = if reached < self.hold.watermark { CLOCKS_AHEAD } else { Duration::ZERO };
        self.close().await?;
        if self.store_survivors().await? == Progress::LostLease {
            return Ok(Progress::LostLease);
        }
        let epoch = state.epoch.unwrap_or(0).max(self.hold.watermark.epoch) + 1;
        let opened = EntryId { epoch, pseq: 0 };
        if !partitions::advance(&self.pool, &self.hold, opened).await? {
            return Ok(Progress::LostLease);
        }
        self.hold.watermark = opened;
        self.cursor.at = opened;
        let closing = self.closing.take().expect("the opening began with closing");
        if self.log.open(&closing, epoch, doubt).await? {
            tracing::info!(partition = self.hold.partition.number(), epoch, "log opened");
            Ok(Progress::Worked)
        } else {
            Err(Error::unavailable(
                "the log was closed again, or its Redis replaced, while it was being opened",
            ))
        }
    }

    /// From here on nothing is appended until this owner opens the log, and nothing that another began to open is opened.
    async fn close(&mut self) -> Result<(), Error> {
        self.closing = Some(self.log.close(self.hold.partition).await?);
        Ok(())
    }

    /// Postgres came back from before the log's epoch: store again what the log still has.
    async fn catch_up(&mut self, state: &State) -> Result<Progress, Error> {
        if self.store_survivors().await? == Progress::LostLease {
            return Ok(Progress::LostLease);
        }
        if state.epoch > Some(self.hold.watermark.epoch) {
            self.adopt(state).await
        } else {
            Ok(Progress::Worked)
        }
    }

    /// The log is in a later epoch and has nothing left to read: go on where it is.
    async fn adopt(&mut self, state: &State) -> Result<Progress, Error> {
        let at = EntryId { epoch: state.epoch.unwrap_or(0), pseq: state.head };
        if !partitions::advance(&self.pool, &self.hold, at).await? {
            return Ok(Progress::LostLease);
        }
        tracing::error!(partition = self.hold.partition.number(), after = %self.hold.watermark, at = %at,
            "Postgres is older than the log; what neither of them has is lost");
        self.hold.watermark = at;
        self.cursor.at = at;
        Ok(Progress::Worked)
    }

    async fn store_survivors(&mut self) -> Result<Progress, Error> {
        loop {
            match self.store_some().await? {
                Progress::Worked => {}
                ended => return Ok(ended),
            }
        }
    }

    /// Entries between the watermark and `found` are in neither place. If this worker is still the owner, that is put on
    /// record and the partition goes on behind the gap, in a new epoch.
    pub(crate) async fn lost_range(&mut self, found: EntryId) -> Result<Progress, Error> {
        let partition = self.hold.partition;
        let row = partitions::read(&self.pool, partition).await?;
        if row.fence != self.hold.fence {
            return Ok(Progress::LostLease);
        }
        if row.watermark != self.hold.watermark {
            return self.read_place().await;
        }
        self.close().await?;
        let before = EntryId { epoch: found.epoch, pseq: found.pseq - 1 };
        if !partitions::record_loss(&self.pool, &self.hold, before).await? {
            return Ok(Progress::LostLease);
        }
        tracing::error!(partition = partition.number(), after = %self.hold.watermark, before = %found,
            "entries are lost: neither the log nor Postgres has them");
        self.hold.watermark = before;
        self.cursor.at = before;
        self.look_first();
        Ok(Progress::Worked)
    }
}
