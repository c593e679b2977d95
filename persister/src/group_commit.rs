//! One transaction for what several partitions of one owner have to store at the same time: it costs Postgres little more than
//! one for a single entry.
//!
//! Promise: a partition's entries are stored together with its own watermark or not at all, whoever else is in the transaction.
//! Each fence is checked for itself, and what is fenced is left out. When the transaction fails, whatever the reason, nothing of
//! it is stored, and each partition stores by itself and finds out whose fault it was. It fails soon: a lock that somebody
//! holds and a connection that leads nowhere any more hold up one partition at most.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use shared::event::Envelope;
use shared::id::EntryId;
use shared::store;
use shared::store::partitions::{self, Hold};
use shared::telemetry::names;
use sqlx::PgPool;
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::persist;
use crate::row;

/// Transactions begin so far apart, unless a backlog fills them: one entry costs Postgres as much as many together. The
/// first entry after a pause is stored at once, and none waits longer than a third of what is promised for a busy log.
pub(crate) const APART: Duration = Duration::from_millis(50);
/// Partitions that waited for the same moment take so long, at most, to read what they have: the first waits for the others.
const GATHER: Duration = Duration::from_millis(2);
/// Longer than the server lets any of its statements take: by then nobody answers at the other end.
const WITHIN: Duration = Duration::from_secs(5);

/// The transactions that an owner's partitions have in common.
#[derive(Clone)]
pub struct GroupCommit(Arc<Shared>);

struct Shared {
    pool: PgPool,
    partitions: u16,
    apart: Duration,
    waiting: Mutex<Vec<Batch>>,
    /// Held by the one that stores for all.
    turn: tokio::sync::Mutex<()>,
    /// When the last transaction began.
    begun: Mutex<Option<Instant>>,
    /// Whether the last one that was shared failed.
    failing: AtomicBool,
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
    /// For the partitions that one owner has of `partitions`, with transactions that begin `apart` from each other.
    #[must_use]
    pub fn new(pool: PgPool, partitions: u16, apart: Duration) -> Self {
        Self(Arc::new(Shared {
            pool,
            partitions,
            apart,
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            begun: Mutex::default(),
            failing: AtomicBool::new(false),
        }))
    }

    /// Waits until a transaction may begin; whether that took any time.
    pub(crate) async fn due(&self) -> bool {
        let due = self.begun().map(|at| at + self.0.apart);
        let Some(due) = due.filter(|due| *due > Instant::now()) else { return false };
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
        tokio::time::sleep(GATHER.min(self.0.apart)).await;
        self.store_waiting().await;
        ended.try_recv().unwrap_or(Ended::Alone)
    }

    async fn store_waiting(&self) {
        let mut batches = std::mem::take(&mut *self.waiting());
        // Nobody waits any more for a turn that was cut off; what it read is read again.
        batches.retain(|batch| !batch.done.is_closed());
        *self.begun() = Some(Instant::now());
        let ended = if batches.len() > 1 { self.store_together(&batches).await } else { None };
        let ended = ended.unwrap_or_else(|| batches.iter().map(|_| Ended::Alone).collect());
        for (batch, ended) in batches.into_iter().zip(ended) {
            // Whoever was dropped meanwhile reads its place anew.
            let _ = batch.done.send(ended);
        }
    }

    /// What became of each batch; nothing when they could not be stored together.
    async fn store_together(&self, batches: &[Batch]) -> Option<Vec<Ended>> {
        let outcome = match tokio::time::timeout(WITHIN, self.write(batches)).await {
            Ok(Ok(ended)) => {
                metrics::counter!(names::SHARED_TRANSACTIONS, "outcome" => "ok").increment(1);
                self.0.failing.store(false, Ordering::Relaxed);
                return Some(ended);
            }
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        metrics::counter!(names::SHARED_TRANSACTIONS, "outcome" => "failed").increment(1);
        if !self.0.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                partitions = batches.len(),
                error = outcome,
                "can't be stored together; each partition tries alone"
            );
        }
        None
    }

    async fn write(&self, batches: &[Batch]) -> Result<Vec<Ended>, sqlx::Error> {
        let place = |batch: &Batch| batch.envelopes.last().map_or(batch.hold.watermark, |last| last.entry);
        let moves: Vec<(Hold, EntryId)> = batches.iter().map(|batch| (batch.hold, place(batch))).collect();
        let mut tx = store::begin_impatient(&self.0.pool).await?;
        let moved = partitions::advance_all(&mut tx, &moves).await?;
        let ours = batches.iter().zip(&moved).filter(|(_, moved)| **moved);
        let envelopes: Vec<Envelope> = ours.flat_map(|(batch, _)| batch.envelopes.iter().cloned()).collect();
        let rows = row::rows(&envelopes, self.0.partitions);
        persist::write_all(&mut tx, &rows).await?;
        tx.commit().await?;
        let parked = |hold: &Hold| {
            rows.parked.iter().filter(|parking| parking.envelope.partition == hold.partition).count()
        };
        let ended = |(batch, moved): (&Batch, &bool)| match moved {
            true => Ended::Stored { parked: parked(&batch.hold) },
            false => Ended::Fenced,
        };
        Ok(batches.iter().zip(&moved).map(ended).collect())
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.0.waiting.lock().expect("nothing panics while it holds this lock")
    }

    fn begun(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.begun.lock().expect("nothing panics while it holds this lock")
    }
}
