//! Who works on which partition. A lease is a promise about time, so a pause can break it; therefore whatever an owner
//! writes must be harmless when it comes late (the persister's fence, the hub's sequence numbers), and a lease only
//! keeps two owners from doing the same work twice.
//!
//! Every worker knows who else is alive and computes the same owner for each partition (rendezvous hashing), so nobody
//! assigns anything. A worker that comes takes over its share as the others hand it on; one that goes leaves its share
//! to the others when its leases run out.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::error::Error;
use crate::id::{BootId, Partition};
use crate::shutdown::Shutdown;
use crate::telemetry::{Health, names};

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There was something to do; there may be more.
    Worked,
    /// There was nothing to do.
    Idle,
    /// Somebody else owns the partition now.
    LostLease,
}

/// A loop whose turns can be called one by one.
pub trait Work: Send + 'static {
    /// One turn: waits a little for something to do, does it, and says how it went. An error leaves everything as it was
    /// before, so the turn can be repeated; so does dropping it halfway.
    fn step(&mut self) -> impl Future<Output = Result<Progress, Error>> + Send;
}

/// Where leases are kept, and what is done with one.
pub trait Office: Send + Sync + 'static {
    /// What an owner holds: the partition and whatever makes its writes safe.
    type Hold: Clone + Send + Sync + 'static;
    /// The work on one partition.
    type Work: Work;

    /// The group whose work this is, as operators know it.
    const GROUP: &'static str;

    /// The partition of a hold.
    fn partition(hold: &Self::Hold) -> Partition;
    /// Says that `me` is alive and answers everybody who is, `me` included.
    fn attend(&self, me: BootId) -> impl Future<Output = Result<Vec<BootId>, Error>> + Send;
    /// Takes the lease of those `wanted` partitions that nobody holds, and of any partition that has been free for so
    /// long that its rightful owner can't be well.
    fn claim(
        &self,
        me: BootId,
        wanted: &[Partition],
    ) -> impl Future<Output = Result<Vec<Self::Hold>, Error>> + Send;
    /// Prolongs leases; answers the partitions that are still ours.
    fn renew(
        &self,
        me: BootId,
        held: &[Self::Hold],
    ) -> impl Future<Output = Result<Vec<Partition>, Error>> + Send;
    /// Gives leases back, so that the next owner need not wait for them to run out.
    fn release(&self, me: BootId, held: &[Self::Hold]) -> impl Future<Output = Result<(), Error>> + Send;
    /// Says that `me` is going.
    fn leave(&self, me: BootId) -> impl Future<Output = Result<(), Error>> + Send;
    /// Begins the work on a partition.
    fn begin(&self, hold: Self::Hold) -> Self::Work;
}

struct Running<H> {
    hold: H,
    stop: Shutdown,
    task: JoinHandle<()>,
}

/// One worker process: the partitions it holds and the task that works on each.
pub struct Crew<O: Office> {
    office: O,
    me: BootId,
    partitions: u16,
    running: HashMap<Partition, Running<O::Hold>>,
}

impl<O: Office> Crew<O> {
    /// A worker that holds nothing yet.
    pub fn new(office: O, me: BootId, partitions: u16) -> Self {
        Self { office, me, partitions, running: HashMap::new() }
    }

    /// How many partitions are being worked on.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.running.len()
    }

    /// Renews, hands on and takes over, every sixth of a lease, until `stop`; then gives everything back. `health` tells
    /// whether that goes well.
    pub async fn run(mut self, lease: Duration, health: Health, stop: Shutdown) {
        let mut failing = false;
        while !stop.begun() {
            match self.tick().await {
                Ok(()) => {
                    failing = false;
                    health.set_ready();
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "leases can't be kept up; trying on");
                    }
                    failing = true;
                    health.set_broken("leases can't be kept up");
                }
            }
            let held = u32::try_from(self.holds()).unwrap_or(u32::MAX);
            metrics::gauge!(names::LEASES_HELD, "group" => O::GROUP).set(held);
            let _ = tokio::time::timeout(lease / 6, stop.wait()).await;
        }
        health.set_draining();
        self.go().await;
    }

    /// One round of what [`Self::run`] repeats.
    pub async fn tick(&mut self) -> Result<(), Error> {
        let alive = self.office.attend(self.me).await?;
        self.drop_lost().await?;
        let mine: Vec<Partition> =
            Partition::all(self.partitions).filter(|p| owner(*p, &alive) == Some(self.me)).collect();
        self.hand_on(&mine).await?;
        let wanted: Vec<Partition> = mine.into_iter().filter(|p| !self.running.contains_key(p)).collect();
        for hold in self.office.claim(self.me, &wanted).await? {
            self.begin(hold);
        }
        Ok(())
    }

    /// Stops all work, waits for the turns under way, and gives the leases back.
    pub async fn go(&mut self) {
        let partitions: Vec<Partition> = self.running.keys().copied().collect();
        let released = self.release(&partitions).await;
        if let Err(error) = released.and(self.office.leave(self.me).await) {
            tracing::warn!(%error, "leases could not be given back; they will run out");
        }
    }

    async fn drop_lost(&mut self) -> Result<(), Error> {
        self.running.retain(|_, running| !running.task.is_finished());
        let held: Vec<O::Hold> = self.running.values().map(|running| running.hold.clone()).collect();
        if held.is_empty() {
            return Ok(());
        }
        let still = self.office.renew(self.me, &held).await?;
        self.running.retain(|partition, running| {
            let keep = still.contains(partition);
            if !keep {
                tracing::warn!(partition = partition.number(), "lease lost");
                running.stop.begin();
            }
            keep
        });
        Ok(())
    }

    async fn hand_on(&mut self, mine: &[Partition]) -> Result<(), Error> {
        let others: Vec<Partition> = self.running.keys().copied().filter(|p| !mine.contains(p)).collect();
        self.release(&others).await
    }

    async fn release(&mut self, partitions: &[Partition]) -> Result<(), Error> {
        let stopped: Vec<Running<O::Hold>> =
            partitions.iter().filter_map(|p| self.running.remove(p)).collect();
        if stopped.is_empty() {
            return Ok(());
        }
        for running in &stopped {
            running.stop.begin();
        }
        let mut holds = Vec::new();
        for running in stopped {
            if running.task.await.is_err() {
                tracing::error!(
                    partition = O::partition(&running.hold).number(),
                    "the work on a partition panicked"
                );
            }
            holds.push(running.hold);
        }
        self.office.release(self.me, &holds).await
    }

    fn begin(&mut self, hold: O::Hold) {
        let partition = O::partition(&hold);
        tracing::info!(partition = partition.number(), "lease taken");
        let stop = Shutdown::new();
        let work = self.office.begin(hold.clone());
        let task = tokio::spawn(work_until(work, partition, TURN_MOST, stop.clone()));
        self.running.insert(partition, Running { hold, stop, task });
    }
}

/// The live worker with the strongest claim.
fn owner(partition: Partition, alive: &[BootId]) -> Option<BootId> {
    alive.iter().copied().max_by_key(|boot| partition.claim(*boot))
}

/// Every call in a turn has a deadline where it goes, and the longest turn ends long before this: what takes longer waits at a
/// connection that leads nowhere any more. Meanwhile the leases would be kept up, and nobody else do the work.
const TURN_MOST: Duration = Duration::from_secs(30);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MOST: Duration = Duration::from_secs(1);

async fn work_until(mut work: impl Work, partition: Partition, turn_most: Duration, stop: Shutdown) {
    let mut backoff = BACKOFF_FIRST;
    while !stop.begun() {
        let turn = tokio::time::timeout(turn_most, work.step()).await;
        match turn.unwrap_or_else(|elapsed| Err(Error::unavailable(elapsed))) {
            Ok(Progress::LostLease) => return,
            Ok(Progress::Worked | Progress::Idle) => backoff = BACKOFF_FIRST,
            Err(error) => {
                if backoff == BACKOFF_FIRST {
                    tracing::warn!(partition = partition.number(), %error, "a turn failed; repeating it");
                }
                let _ = tokio::time::timeout(backoff, stop.wait()).await;
                backoff = (backoff * 2).min(BACKOFF_MOST);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::btree_set;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn workers(ids: &BTreeSet<u128>) -> Vec<BootId> {
        ids.iter().map(|id| BootId(Uuid::from_u128(*id))).collect()
    }

    proptest! {
        #[test]
        fn every_partition_has_one_owner_whoever_asks(ids in btree_set(any::<u128>(), 1..9), partitions in 1..65_u16) {
            let alive = workers(&ids);
            let other_way_round: Vec<BootId> = alive.iter().rev().copied().collect();
            for partition in Partition::all(partitions) {
                let owners = alive.iter().filter(|me| owner(partition, &alive) == Some(**me)).count();
                prop_assert_eq!(owners, 1, "{} has one owner", partition);
                prop_assert_eq!(owner(partition, &alive), owner(partition, &other_way_round));
            }
            prop_assert_eq!(owner(Partition::numbered(0), &[]), None);
        }

        #[test]
        fn who_comes_or_goes_moves_only_its_own(ids in btree_set(any::<u128>(), 2..9), which in any::<prop::sample::Index>()) {
            let all = workers(&ids);
            let one = *which.get(&all);
            let others: Vec<BootId> = all.iter().copied().filter(|worker| *worker != one).collect();
            for partition in Partition::all(64) {
                let (with, without) = (owner(partition, &all), owner(partition, &others));
                prop_assert!(with == Some(one) || with == without, "{} moved between two who stayed", partition);
                prop_assert!(without.is_some() && without != Some(one), "who is gone owns nothing");
            }
        }
    }

    /// The first turn waits for what never comes.
    struct Stuck {
        turns: u32,
        stop: Shutdown,
    }

    impl Work for Stuck {
        async fn step(&mut self) -> Result<Progress, Error> {
            self.turns += 1;
            if self.turns == 1 {
                std::future::pending::<()>().await;
            }
            self.stop.begin();
            Ok(Progress::Worked)
        }
    }

    #[tokio::test]
    async fn a_turn_that_never_ends_is_given_up_and_repeated() {
        let stop = Shutdown::new();
        let work = Stuck { turns: 0, stop: stop.clone() };
        let worked = work_until(work, Partition::numbered(0), Duration::from_millis(10), stop);
        tokio::time::timeout(TURN_MOST, worked).await.expect("the second turn is taken");
    }

    #[test]
    fn the_work_is_spread() {
        let alive = workers(&(1..=4).collect());
        for me in &alive {
            let mine = Partition::all(1_000).filter(|p| owner(*p, &alive) == Some(*me)).count();
            assert!((180..=320).contains(&mine), "{mine} of 1,000 among four");
        }
    }
}
