//! What happens at the limits: readers who stop reading, more sends than can be taken, nodes that are restarted; and what a
//! message between two friends costs. Each scenario takes its ratios within one run, on a stack of its own, and judges them.

mod flood;
mod pairs;
mod reader;
mod roll;
mod stuck;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use harness::children::eventually;

pub(crate) use flood::measure as flood;
pub(crate) use pairs::measure as pairs;
pub(crate) use roll::measure as roll;
pub(crate) use stuck::measure as stuck;

use crate::crowd::Crowd;
use crate::phase::{self, Load};
use crate::report::Phase;
use crate::target::Target;
use crate::verdict::Figure;

/// How long Postgres may take to have everything, once nothing more is sent.
const STORED_WITHIN: Duration = Duration::from_secs(60);

/// A stack with viewers who listen, and the messages that went through it.
struct Room {
    target: Arc<Target>,
    next: u64,
    /// Numbers that were acked, and those of which nobody knows.
    acked: BTreeSet<u64>,
    unknown: BTreeSet<u64>,
}

impl Room {
    fn new(target: Target) -> Room {
        // Number 0 was sent until the target accepted it, perhaps more than once.
        let unknown = BTreeSet::from([0]);
        Room { target: Arc::new(target), next: 1, acked: BTreeSet::new(), unknown }
    }

    async fn phase(&mut self, crowd: &Crowd, rate: u32, secs: u32) -> Phase {
        let phase = phase::run(&self.target, crowd, Load { rate, secs }, &mut self.next).await;
        self.acked.extend(&phase.accepted);
        self.unknown.extend(&phase.unknown);
        phase
    }

    /// Compares what was acked with what Postgres has, once it has all.
    async fn compared(&self) -> Vec<Figure> {
        compare(&self.target, &self.acked, &self.unknown).await
    }
}

/// Compares what was acked with what Postgres has, once it has all.
async fn compare(target: &Target, acked: &BTreeSet<u64>, unknown: &BTreeSet<u64>) -> Vec<Figure> {
    let mut rows: BTreeMap<u64, u64> = BTreeMap::new();
    let all = eventually(STORED_WITHIN, async || {
        rows.clear();
        for number in target.stored().await.ok()? {
            *rows.entry(number).or_default() += 1;
        }
        acked.iter().all(|number| rows.contains_key(number)).then_some(())
    });
    // What is still missing then is lost, and the figure says how much.
    let _ = all.await;
    let lost = acked.iter().filter(|number| !rows.contains_key(number)).count();
    let twice = rows.iter().filter(|(number, count)| **number != 0 && **count > 1).count();
    let known = |number: &u64| acked.contains(number) || unknown.contains(number);
    let refused = rows.keys().filter(|number| !known(number)).count();
    vec![
        Figure::never("acked messages that are not stored", lost as u64),
        Figure::never("messages that are stored twice", twice as u64),
        Figure::never("refused messages that are stored", refused as u64),
    ]
}

/// What no phase may show.
fn nothing_lost(phases: &[Phase]) -> Vec<Figure> {
    let sum = |of: fn(&Phase) -> u64| phases.iter().map(of).sum();
    vec![
        Figure::never("acked messages that a viewer did not hear", sum(|phase| phase.traffic.lost)),
        Figure::never("messages that a viewer heard twice", sum(|phase| phase.traffic.doubles)),
        Figure::never("messages out of order", sum(|phase| phase.traffic.inversions)),
    ]
}
