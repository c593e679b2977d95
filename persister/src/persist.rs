//! Storing a partition's entries: one transaction per batch, whose first statement moves the fenced watermark. If that
//! statement moves nothing, somebody else is the owner and nothing of the batch is stored; if the transaction is stored, so
//! is its place. A crash anywhere is a replay that changes nothing.

use std::time::{Duration, Instant};

use shared::event::Envelope;
use shared::id::{EntryId, Partition, RoomId};
use shared::planted::Bug;
use shared::store::partitions::{self, Hold};
use shared::store::{self, amendments, effects, live, membership, receipts, rooms};
use shared::stream::dead_letter::{self, Verdict};
use shared::stream::{Closing, Cursor, Log, Producer, Progress, Reading, Work, trim};
use shared::{Error, telemetry::names};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::group_commit::{Ended, GroupCommit};
use crate::row::{self, Rows};

/// Entries in one transaction at most.
const BATCH: usize = 500;
/// How long one turn waits for a first entry.
const WAIT: Duration = Duration::from_millis(500);
/// How often the owner looks whether the log is open, publishes its group, and trims.
const CHORES_EVERY: Duration = Duration::from_secs(1);
/// How often it looks for membership changes that nobody brought into the log.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// A change that is older than this in the outbox was left there by a crash: a request appends its own at once, and gives
/// up after two seconds.
const LEFT_BEHIND_SECS: f64 = 5.0;
/// Rooms that a sweep asks for at once.
const SWEPT_ROOMS: i64 = 100;

/// The work on one partition.
pub struct Persist {
    pub(crate) log: Log,
    pub(crate) pool: PgPool,
    pub(crate) hold: Hold,
    pub(crate) cursor: Cursor,
    chores_at: Option<Instant>,
    swept_at: Option<Instant>,
    group: GroupCommit,
    /// Whether the last read brought all that one transaction takes: then there is more, and nothing to wait for.
    has_backlog: bool,
    published: Option<EntryId>,
    pub(crate) closing: Option<Closing>,
}

/// How a partition's own transaction ended when it did not fail.
enum Outcome {
    Stored,
    Fenced,
}

impl Persist {
    /// Begins where `hold` says that Postgres is, and stores together with whoever else is in `group`.
    #[must_use]
    pub fn new(log: Log, pool: PgPool, hold: Hold, group: GroupCommit) -> Self {
        let cursor = log.cursor(hold.partition, hold.watermark);
        Self {
            log,
            pool,
            hold,
            cursor,
            chores_at: None,
            swept_at: None,
            group,
            has_backlog: false,
            published: None,
            closing: None,
        }
    }

    async fn turn(&mut self) -> Result<Progress, Error> {
        if Bug::FenceUnchecked.is_planted() {
            self.hold.fence = partitions::read(&self.pool, self.hold.partition).await?.fence;
        }
        if self.chores_at.is_none_or(|at| at.elapsed() >= CHORES_EVERY)
            && let Progress::LostLease = self.chores().await?
        {
            return Ok(Progress::LostLease);
        }
        if !self.has_backlog {
            self.group.due().await;
        }
        let mut envelopes = self.cursor.read(Reading::Blocking(WAIT), BATCH).await?;
        if envelopes.is_empty() {
            self.has_backlog = false;
            return Ok(Progress::Idle);
        }
        if envelopes.len() < BATCH && self.group.due().await {
            envelopes = self.cursor.read(Reading::Now, BATCH).await?;
        }
        self.has_backlog = envelopes.len() == BATCH;
        self.store_read(&envelopes).await
    }

    /// Lets the next turn begin with the chores.
    pub(crate) fn look_first(&mut self) {
        self.chores_at = None;
    }

    /// What the owner does besides storing: opening the log after every start of Redis, publishing, trimming.
    async fn chores(&mut self) -> Result<Progress, Error> {
        let state = self.log.state(self.hold.partition).await?;
        let is_ours = state.open && state.epoch == Some(self.hold.watermark.epoch);
        if !is_ours && self.reconcile(&state).await? == Progress::LostLease {
            return Ok(Progress::LostLease);
        }
        let at = self.hold.watermark;
        if self.published != Some(at) {
            self.log.publish_watermark(self.hold.partition, at, true).await?;
            self.published = Some(at);
        }
        trim(&self.log, self.hold.partition).await?;
        if self.swept_at.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
            // What can't be logged now holds up nothing that can be stored.
            if let Err(error) = self.sweep(LEFT_BEHIND_SECS).await {
                tracing::warn!(partition = self.hold.partition.number(), %error, "left changes of members could not be logged");
            }
            self.swept_at = Some(Instant::now());
        }
        self.chores_at = Some(Instant::now());
        Ok(Progress::Idle)
    }

    /// Brings membership changes into the log that were committed at least `older_than` seconds ago and left there.
    ///
    /// # Errors
    /// `Unavailable` while a store is away; the next sweep goes on.
    pub async fn sweep(&self, older_than: f64) -> Result<(), Error> {
        let producer = Producer::new(self.log.clone(), self.pool.clone());
        let ours = |room: &RoomId| Partition::of(*room, self.log.partitions()) == self.hold.partition;
        let mut after = RoomId(Uuid::nil());
        loop {
            let rooms = membership::left_behind(&self.pool, older_than, after, SWEPT_ROOMS).await?;
            let Some(last) = rooms.last().copied() else { return Ok(()) };
            for room in rooms.into_iter().filter(ours) {
                producer.log_changes(room).await?;
            }
            after = last;
        }
    }

    /// Reads and stores one batch of what is there, by itself.
    pub(crate) async fn store_some(&mut self) -> Result<Progress, Error> {
        let envelopes = self.cursor.read(Reading::Now, BATCH).await?;
        let Some(first) = envelopes.first() else { return Ok(Progress::Idle) };
        if !self.hold.watermark.is_followed_by(first.entry) {
            return self.lost_range(first.entry).await;
        }
        self.store(unbroken(&envelopes)).await
    }

    /// Stores what was read: together with others, unless it fills a transaction alone.
    async fn store_read(&mut self, envelopes: &[Envelope]) -> Result<Progress, Error> {
        let Some(first) = envelopes.first() else { return Ok(Progress::Idle) };
        if !self.hold.watermark.is_followed_by(first.entry) {
            return self.lost_range(first.entry).await;
        }
        let envelopes = unbroken(envelopes);
        if self.has_backlog {
            return self.store(envelopes).await;
        }
        match self.group.store(self.hold, envelopes.to_vec()).await {
            Ended::Stored { parked } => {
                self.note_stored(envelopes, parked);
                self.publish(self.hold.watermark).await;
                Ok(Progress::Worked)
            }
            Ended::Fenced => self.read_place().await,
            Ended::Alone => self.store(envelopes).await,
        }
    }

    /// Stores a batch; what some value in it makes impossible is bisected out and parked.
    async fn store(&mut self, envelopes: &[Envelope]) -> Result<Progress, Error> {
        let mut waiting = vec![envelopes];
        while let Some(part) = waiting.pop() {
            let partitions = self.log.partitions();
            let outcome = match self.store_rows(part, row::rows(part, partitions)).await {
                Err(error) => match dead_letter::judge(&error) {
                    Verdict::Poison if part.len() > 1 => {
                        let (first, second) = part.split_at(part.len() / 2);
                        waiting.extend([second, first]);
                        continue;
                    }
                    Verdict::Poison => self.park(&part[0], &error).await?,
                    Verdict::Away => return self.look_again(error.into()).await,
                    Verdict::Bug => {
                        tracing::error!(partition = self.hold.partition.number(), %error, "storing stopped: this is a bug");
                        return Err(error.into());
                    }
                },
                Ok(outcome) => outcome,
            };
            if let Outcome::Fenced = outcome {
                return self.read_place().await;
            }
        }
        Ok(Progress::Worked)
    }

    async fn park(&mut self, envelope: &Envelope, error: &sqlx::Error) -> Result<Outcome, Error> {
        let state = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .map(std::borrow::Cow::into_owned);
        let rows = row::parked(envelope, state, &error.to_string(), self.log.partitions());
        Ok(self.store_rows(std::slice::from_ref(envelope), rows).await?)
    }

    async fn store_rows(&mut self, envelopes: &[Envelope], rows: Rows<'_>) -> Result<Outcome, sqlx::Error> {
        let Some(last) = envelopes.last() else { return Ok(Outcome::Stored) };
        let mut tx = store::begin(&self.pool).await?;
        let moved = if Bug::WatermarkApart.is_planted() {
            partitions::advance(&self.pool, &self.hold, last.entry).await?
        } else {
            partitions::advance(&mut *tx, &self.hold, last.entry).await?
        };
        if !moved {
            return Ok(Outcome::Fenced);
        }
        write_all(&mut tx, &rows).await?;
        tx.commit().await?;
        self.note_stored(envelopes, rows.parked.len());
        self.publish(last.entry).await;
        Ok(Outcome::Stored)
    }

    fn note_stored(&mut self, envelopes: &[Envelope], parked: usize) {
        let now = chrono::Utc::now().timestamp_millis();
        for envelope in envelopes {
            let delay = u64::try_from(now - envelope.at_ms).unwrap_or(0);
            metrics::histogram!(names::PERSIST_DELAY).record(Duration::from_millis(delay).as_secs_f64());
        }
        if parked > 0 {
            tracing::error!(
                partition = self.hold.partition.number(),
                parked,
                "entries can't be stored and were parked"
            );
            metrics::counter!(names::DEAD_LETTERS).increment(parked as u64);
        }
        if let Some(last) = envelopes.last() {
            self.hold.watermark = last.entry;
            self.cursor.at = last.entry;
        }
    }

    /// Tells the log what is stored. Late is harmless, so a failure is left to the next chores.
    async fn publish(&mut self, at: EntryId) {
        if self.log.publish_watermark(self.hold.partition, at, false).await.is_err() {
            self.chores_at = None;
        }
    }

    /// After an error of which nobody knows whether the COMMIT happened: the row says.
    async fn look_again(&mut self, error: Error) -> Result<Progress, Error> {
        match self.read_place().await {
            Ok(Progress::LostLease) => Ok(Progress::LostLease),
            _ => Err(error),
        }
    }

    /// Goes on where the row says that Postgres is. A watermark that is not where it was left, under our own fence, is the
    /// work of a COMMIT whose answer was never read.
    pub(crate) async fn read_place(&mut self) -> Result<Progress, Error> {
        let row = partitions::read(&self.pool, self.hold.partition).await?;
        if row.fence != self.hold.fence {
            return Ok(Progress::LostLease);
        }
        self.hold.watermark = row.watermark;
        self.cursor.at = row.watermark;
        self.published = None;
        self.look_first();
        Ok(Progress::Worked)
    }
}

/// Writes all that rows say. Repeating it changes nothing.
pub(crate) async fn write_all(tx: &mut PgConnection, rows: &Rows<'_>) -> Result<(), sqlx::Error> {
    write(&mut *tx, rows).await?;
    dead_letter::amend(&mut *tx, &rows.amendments).await?;
    effects::move_heads(&mut *tx, &rows.heads, &rows.newest).await?;
    for parking in &rows.parked {
        dead_letter::park(&mut *tx, parking).await?;
    }
    Ok(())
}

/// Writes what rows say, all but the rooms' heads and what is parked. Repeating it changes nothing.
pub(crate) async fn write(tx: &mut PgConnection, rows: &Rows<'_>) -> Result<(), sqlx::Error> {
    rooms::hold(&mut *tx, &rows.peopled.iter().copied().collect::<Vec<_>>()).await?;
    // People before what they say to each other: an older Postgres may not know yet that they met, and then could count
    // nothing as unread.
    for logged in &rows.changes {
        membership::settle(&mut *tx, logged).await?;
    }
    effects::insert_messages(&mut *tx, &rows.messages).await?;
    effects::apply_likes(&mut *tx, &rows.likes).await?;
    // Read before deleted: a message that was both in one batch is taken off what is unread once.
    receipts::read(&mut *tx, &rows.reads).await?;
    amendments::apply(&mut *tx, &rows.amendments).await?;
    if !rows.sightings.is_empty() {
        live::see(&mut *tx, &rows.sightings).await?;
    }
    Ok(())
}

/// The entries up to the first hole: what is behind one is read again, so that the hole is seen.
fn unbroken(envelopes: &[Envelope]) -> &[Envelope] {
    let hole = envelopes.windows(2).position(|pair| !pair[0].entry.is_followed_by(pair[1].entry));
    hole.map_or(envelopes, |last| &envelopes[..=last])
}

impl Work for Persist {
    async fn step(&mut self) -> Result<Progress, Error> {
        let outcome = self.turn().await;
        if outcome.is_err() {
            // Whatever failed may have been Redis being replaced: look before anything else is stored.
            self.look_first();
        }
        outcome
    }
}
