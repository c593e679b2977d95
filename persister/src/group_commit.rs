//! One transaction for what several partitions of one owner have to store at the same time: it costs Postgres little more than
//! one for a single entry.
//!
//! Promise: a partition's entries are stored together with its own watermark or not at all, whoever else is in the transaction.
//! Each fence is checked for itself, and what is fenced is left out. When the transaction fails, whatever the reason, nothing of
//! it is stored, and each partition stores by itself and finds out whose fault it was.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use shared::event::Envelope;
use shared::id::{EntryId, Partition};
use shared::store;
use shared::store::partitions::{self, Hold};
use sqlx::PgPool;
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::persist;
use crate::row;

/// Transactions begin so far apart, unless a backlog fills them: one entry costs Postgres as much as many together. The
/// first entry after a pause is stored at once, and none waits longer than a third of what is promised for a busy log.
const APART: Duration = Duration::from_millis(50);
/// Partitions that waited for the same moment take so long, at most, to read what they have: the first waits for the others.
const GATHER: Duration = Duration::from_millis(2);

/// The transactions that an owner's partitions have in common.
#[derive(Clone)]
pub(crate) struct GroupCommit(Arc<Shared>);

struct Shared {
    pool: PgPool,
    partitions: u16,
    /// Whether there are others to be waited for.
    has_others: bool,
    waiting: Mutex<Vec<Batch>>,
    /// Held by the one that stores for all.
    turn: tokio::sync::Mutex<()>,
    /// When the last transaction began.
    begun: Mutex<Option<Instant>>,
}

/// What one partition has to store.
struct Batch {
    hold: Hold,
    envelopes: Vec<Envelope>,
    done: oneshot::Sender<Ended>,
}

/// What became of a batch.
pub(crate) enum Ended {
    /// It is stored; so many of its entries could not be read and were parked.
    Stored { parked: usize },
    /// The partition is somebody else's, or was moved on.
    Fenced,
    /// It is to be stored by itself: there was no other, or it could not be done together.
    Alone,
}

impl GroupCommit {
    /// For all partitions of an owner.
    pub(crate) fn of_many(pool: PgPool, partitions: u16) -> Self {
        Self::new(pool, partitions, true)
    }

    /// For a partition by itself.
    pub(crate) fn of_one(pool: PgPool, partitions: u16) -> Self {
        Self::new(pool, partitions, false)
    }

    fn new(pool: PgPool, partitions: u16, has_others: bool) -> Self {
        Self(Arc::new(Shared {
            pool,
            partitions,
            has_others,
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            begun: Mutex::default(),
        }))
    }

    /// Waits until a transaction may begin; whether that took any time. A partition by itself waits once for each, so that a
    /// turn after one that was cut off is not held up again.
    pub(crate) async fn due(&self) -> bool {
        let begun = if self.0.has_others { *self.begun() } else { self.begun().take() };
        let Some(due) = begun.map(|at| at + APART).filter(|due| *due > Instant::now()) else { return false };
        tokio::time::sleep_until(due.into()).await;
        true
    }

    /// Stores a batch together with those that come at the same time.
    pub(crate) async fn store(&self, hold: Hold, envelopes: Vec<Envelope>) -> Ended {
        let (done, mut ended) = oneshot::channel();
        self.waiting().push(Batch { hold, envelopes, done });
        let _turn = self.0.turn.lock().await;
        match ended.try_recv() {
            Ok(ended) => return ended,
            // Whoever stored for all was dropped while doing so.
            Err(TryRecvError::Closed) => return Ended::Alone,
            Err(TryRecvError::Empty) => {}
        }
        if self.0.has_others {
            tokio::time::sleep(GATHER).await;
        }
        self.store_waiting().await;
        ended.try_recv().unwrap_or(Ended::Alone)
    }

    async fn store_waiting(&self) {
        let mut batches = std::mem::take(&mut *self.waiting());
        // Nobody waits any more for a turn that was cut off; what it read is read again.
        batches.retain(|batch| !batch.done.is_closed());
        *self.begun() = Some(Instant::now());
        let stored = if batches.len() > 1 { self.write(&batches).await } else { Ok(None) };
        let stored = stored.unwrap_or_else(|error| {
            tracing::debug!(%error, "partitions can't be stored together");
            None
        });
        for batch in batches {
            let ended = match &stored {
                Some(stored) => stored.ended(batch.hold.partition),
                None => Ended::Alone,
            };
            // Whoever was dropped meanwhile reads its place anew.
            let _ = batch.done.send(ended);
        }
    }

    async fn write(&self, batches: &[Batch]) -> Result<Option<Stored>, sqlx::Error> {
        let moves: Vec<(Hold, EntryId)> =
            batches.iter().filter_map(|batch| Some((batch.hold, batch.envelopes.last()?.entry))).collect();
        let mut tx = store::begin(&self.0.pool).await?;
        let moved: HashSet<Partition> = partitions::advance_all(&mut tx, &moves).await?.into_iter().collect();
        let ours = batches.iter().filter(|batch| moved.contains(&batch.hold.partition));
        let envelopes: Vec<Envelope> = ours.flat_map(|batch| batch.envelopes.iter().cloned()).collect();
        let rows = row::rows(&envelopes, self.0.partitions);
        persist::write_all(&mut tx, &rows).await?;
        tx.commit().await?;
        let parked = rows.parked.iter().map(|parking| parking.envelope.partition).collect();
        Ok(Some(Stored { moved, parked }))
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.0.waiting.lock().expect("nothing panics while it holds this lock")
    }

    fn begun(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.begun.lock().expect("nothing panics while it holds this lock")
    }
}

/// What one transaction did.
struct Stored {
    moved: HashSet<Partition>,
    /// The partition of each entry that was parked.
    parked: Vec<Partition>,
}

impl Stored {
    fn ended(&self, partition: Partition) -> Ended {
        if self.moved.contains(&partition) {
            Ended::Stored { parked: self.parked.iter().filter(|parked| **parked == partition).count() }
        } else {
            Ended::Fenced
        }
    }
}
