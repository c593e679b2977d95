//! Handing a partition's entries on to the nodes that want them. Losing the race against another owner, or repeating a
//! batch, does no harm: the hub drops what it has seen.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use shared::Error;
use shared::bus::{Bus, Delivery, Notice, Topic};
use shared::event::Envelope;
use shared::id::{BootId, EntryId, Partition};
use shared::keys;
use shared::stream::{Cursor, Log, Progress, Reading, Work, forget_lag};

use crate::audience::{self, Routes};

/// Entries that go out together.
const BATCH: usize = 256;
/// How long one turn waits for a first entry.
const WAIT: Duration = Duration::from_millis(500);
/// How often the place is saved: what lies between is handed on again by a successor.
const SAVE_EVERY: Duration = Duration::from_millis(200);
/// How often the place is published as a consumer group.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// Failed turns after which nodes that take nothing are told to start anew.
const TRIES_MAX: u32 = 10;

/// Topics of which it is remembered who wanted them; past that all are forgotten.
const ROUTES_MAX: usize = 4_096;

/// What became of the batch for a node.
type Sent = (BootId, Result<Delivery, Error>);

/// The work on one partition.
pub struct Fanout {
    log: Log,
    bus: Bus,
    partition: Partition,
    cursor: Option<Cursor>,
    saved: Option<EntryId>,
    saved_at: Instant,
    published_at: Instant,
    published: Option<EntryId>,
    failures: BTreeMap<BootId, u32>,
    /// Who wanted what when it was last asked.
    routes: Routes,
}

impl Fanout {
    /// Begins where the last owner was, as the bus has it.
    #[must_use]
    pub fn new(log: Log, bus: Bus, partition: Partition) -> Self {
        let now = Instant::now();
        Self {
            log,
            bus,
            partition,
            cursor: None,
            saved: None,
            saved_at: now,
            published_at: now,
            published: None,
            failures: BTreeMap::new(),
            routes: Routes::new(),
        }
    }

    /// Goes on where the last owner was; without a word from one, at the end of the log, after all nodes were told to
    /// look for themselves.
    async fn find_place(&mut self) -> Result<Cursor, Error> {
        if let Some(at) = self.bus.fanout_cursor(self.partition).await? {
            self.saved = Some(at);
            return Ok(self.log.cursor(self.partition, at));
        }
        let end = self.log.state(self.partition).await?.newest.unwrap_or_default();
        self.tell_all(Notice::CompareHeads(self.partition)).await?;
        self.bus.save_fanout_cursor(self.partition, end).await?;
        self.saved = Some(end);
        Ok(self.log.cursor(self.partition, end))
    }

    async fn turn(&mut self, cursor: &mut Cursor) -> Result<Progress, Error> {
        let envelopes = cursor.read(Reading::Blocking(WAIT), BATCH).await?;
        let Some(last) = envelopes.last() else {
            self.note_place(cursor.at).await?;
            return Ok(Progress::Idle);
        };
        let last = last.entry;
        if has_hole(cursor.at, &envelopes) {
            tracing::warn!(partition = self.partition.number(), after = %cursor.at, "entries are missing from the log");
            self.tell_all(Notice::CompareHeads(self.partition)).await?;
        }
        self.hand_on(&envelopes).await?;
        cursor.at = last;
        self.note_place(last).await?;
        Ok(Progress::Worked)
    }

    /// Sends entries to who wanted their topics before, while it is asked who wants them now, and then to whoever came since:
    /// what is asked after an entry was read names every node that has to hear of it, and a node that hears of more drops it.
    async fn hand_on(&mut self, envelopes: &[Envelope]) -> Result<(), Error> {
        let topics = audience::topics(envelopes);
        let known: Routes =
            topics.iter().filter_map(|topic| Some((*topic, self.routes.get(topic)?.clone()))).collect();
        let ahead = audience::by_node(envelopes, &known, &Routes::new());
        let (sent, routes) = join(self.send(ahead), self.bus.routes(&topics)).await;
        let routes: Routes = topics.iter().copied().zip(routes?).collect();
        let rest = audience::by_node(envelopes, &routes, &known);
        if self.routes.len() + routes.len() > ROUTES_MAX {
            self.routes.clear();
        }
        self.routes.extend(routes);
        self.look_at(sent, &topics).await?;
        let sent = self.send(rest).await;
        self.look_at(sent, &topics).await
    }

    /// Puts batches into the inboxes of their nodes, side by side.
    async fn send(&self, batches: BTreeMap<BootId, Vec<Notice>>) -> Vec<Sent> {
        let deliver = |(node, batch): (BootId, Vec<Notice>)| async move {
            (node, self.bus.deliver(node, &batch).await)
        };
        join_all(batches.into_iter().map(deliver)).await
    }

    async fn look_at(&mut self, sent: Vec<Sent>, topics: &[Topic]) -> Result<(), Error> {
        let mut failed = None;
        for (node, outcome) in sent {
            match outcome {
                Ok(Delivery::Taken) => {
                    self.failures.remove(&node);
                }
                Ok(Delivery::Gone) => self.forget(node, topics).await?,
                Err(error) => failed = self.excuse(node, error).await?.or(failed),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// A node that is no more: nobody should look it up again.
    async fn forget(&mut self, node: BootId, topics: &[Topic]) -> Result<(), Error> {
        self.failures.remove(&node);
        for topic in topics {
            if let Some(nodes) = self.routes.get_mut(topic) {
                nodes.retain(|known| *known != node);
            }
            self.bus.unregister(*topic, node).await?;
        }
        Ok(())
    }

    /// A call that failed is repeated with its whole batch; but one node must not hold up all others for ever.
    async fn excuse(&mut self, node: BootId, error: Error) -> Result<Option<Error>, Error> {
        let failures = self.failures.entry(node).or_default();
        *failures += 1;
        if *failures < TRIES_MAX {
            return Ok(Some(error));
        }
        tracing::error!(%node, %error, "a node's inbox can't be written; it must start anew");
        self.failures.remove(&node);
        self.bus.expel(node).await?;
        Ok(None)
    }

    async fn tell_all(&self, notice: Notice) -> Result<(), Error> {
        for node in self.bus.nodes().await? {
            self.bus.deliver(node, std::slice::from_ref(&notice)).await?;
        }
        Ok(())
    }

    async fn note_place(&mut self, at: EntryId) -> Result<(), Error> {
        if self.saved != Some(at) && self.saved_at.elapsed() >= SAVE_EVERY {
            self.bus.save_fanout_cursor(self.partition, at).await?;
            self.saved = Some(at);
            self.saved_at = Instant::now();
        }
        if self.published_at.elapsed() >= PUBLISH_EVERY {
            // Each publishing is a synced write, so a quiet partition is left alone.
            if self.published != Some(at) {
                self.log.publish_fanout(self.partition, at).await?;
                self.published = Some(at);
            }
            let state = self.log.state(self.partition).await?;
            self.log.report_lag(self.partition, keys::FANOUT, &state, at).await?;
            // Told here, so that it is also known while no persister runs.
            self.log.report_lag(self.partition, keys::PERSISTER, &state, state.watermark).await?;
            self.published_at = Instant::now();
        }
        Ok(())
    }
}

/// Whether entries are missing before or among those that were read.
fn has_hole(at: EntryId, envelopes: &[Envelope]) -> bool {
    let places = envelopes.iter().map(|envelope| envelope.entry);
    std::iter::once(at).chain(places.clone()).zip(places).any(|(last, next)| !last.is_followed_by(next))
}

impl Drop for Fanout {
    /// The partition is somebody else's now, and so is the word on its lag.
    fn drop(&mut self) {
        for group in [keys::FANOUT, keys::PERSISTER] {
            forget_lag(self.partition, group);
        }
    }
}

impl Work for Fanout {
    async fn step(&mut self) -> Result<Progress, Error> {
        let mut cursor = match self.cursor.take() {
            Some(cursor) => cursor,
            None => self.find_place().await?,
        };
        let outcome = self.turn(&mut cursor).await;
        self.cursor = Some(cursor);
        outcome
    }
}
