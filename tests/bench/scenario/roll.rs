//! A deploy: the api nodes are restarted one after the other under traffic. Everybody comes back, a few at a time, and
//! nobody misses anything.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use harness::children::eventually;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::compare;
use super::reader::{Audience, watch};
use crate::Plan;
use crate::disk::Probe;
use crate::frames::open;
use crate::machine;
use crate::phase::{Fate, fate_of, metronome};
use crate::report::Millis;
use crate::tally::{Schedule, Tally};
use crate::target::{Node, Target};
use crate::verdict::{Figure, Verdict, Wanted};

const VIEWERS: usize = 600;
const NODES: usize = 3;
const RATE: u32 = 20;
/// Over how long each node sends its viewers away: a third of the time that all may take, less a start.
const DRAIN_SECS: &str = "12";
/// From the first SIGTERM to the last viewer who is back.
const BACK_WITHIN_SECS: f64 = 45.0;
/// The share of all viewers that may come back in any one second.
const SHARE_A_SECOND: f64 = 0.1;
/// Messages are sent for at most so long.
const SECS_MAX: u32 = 240;
/// Handshakes under way at once in the beginning.
const HANDSHAKES: usize = 32;
/// How long people watch before the first node goes, and after the last one came back.
const BEFORE: Duration = Duration::from_secs(3);
/// How long everything may take to be as it was: all back, all accepted, all heard.
const SETTLE_WITHIN: Duration = Duration::from_secs(30);
/// A sender whose node failed turns to another.
const PAUSE: Duration = Duration::from_millis(50);

/// # Errors
/// When a socket is refused at the beginning.
pub(crate) async fn measure(plan: &Plan) -> Result<Verdict, Box<dyn Error>> {
    let (viewers, count) = (plan.viewers.unwrap_or(VIEWERS), plan.nodes.unwrap_or(NODES).max(2));
    let rate = plan.rate.first().copied().unwrap_or(RATE);
    let mut target = Target::own(count, &[("DRAIN_SECS", DRAIN_SECS)]).await;
    let nodes = target.take_nodes();
    machine::wait_for_calm(plan.calm).await;
    let schedule = Schedule { base: 1, count: (rate * SECS_MAX) as usize, start: Instant::now(), rate };
    let audience = Arc::new(Audience::new(Arc::new(target), count, Tally::new(viewers, schedule)));
    let _watching = gather(&audience, viewers).await?;

    let probe = Probe::start();
    let (sending, stop) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
    let schedule = Schedule { start: Instant::now(), ..schedule };
    let sending = tokio::spawn(send(audience.clone(), schedule, stop.clone(), sending));
    tokio::time::sleep(BEFORE).await;
    let began = Instant::now();
    let _nodes = roll(&audience, nodes, viewers).await;
    tokio::time::sleep(BEFORE).await;
    stop.store(true, Ordering::Relaxed);
    let sent = sending.await?;
    let accepted: Vec<usize> =
        sent.iter().filter_map(|(index, accepted)| accepted.then_some(*index)).collect();
    let missing = || audience.heard().tally.missing(&accepted, viewers);
    let _ = eventually(SETTLE_WITHIN, async || (missing() == 0).then_some(())).await;

    let number = |index: &usize| schedule.base + *index as u64;
    let acked: BTreeSet<u64> = accepted.iter().map(number).collect();
    let given_up: BTreeSet<u64> =
        sent.iter().filter(|(_, accepted)| !accepted).map(|(index, _)| number(index)).collect();
    let mut figures = figures(&audience, viewers, began, missing());
    figures.push(Figure::never("messages that were never accepted", given_up.len() as u64));
    let unknown = given_up.into_iter().chain([0]).collect();
    figures.extend(compare(&audience.target, &acked, &unknown).await);
    let mut counts = audience.heard().closes.clone();
    counts.insert("messages acked".to_owned(), acked.len() as u64);
    counts.insert("turned away on coming back".to_owned(), audience.heard().turned_away);
    Ok(Verdict {
        scenario: "roll",
        passed: false,
        processors: machine::processors(),
        nodes: count,
        viewers,
        fdatasync: Millis::of(&probe.finish()),
        figures,
        counts,
        phases: Vec::new(),
    }
    .judged())
}

/// Opens the viewers' sockets, spread evenly.
async fn gather(audience: &Arc<Audience>, viewers: usize) -> std::io::Result<JoinSet<()>> {
    let mut opening = stream::iter(0..viewers)
        .map(|viewer| async move {
            let (node, path) = audience.target.seat(viewer);
            open(node, &path).await.map(|(stream, leftover)| (viewer, stream, leftover))
        })
        .buffer_unordered(HANDSHAKES);
    let mut watching = JoinSet::new();
    while let Some(opened) = opening.next().await {
        let (viewer, stream, leftover) = opened?;
        audience.heard().connected += 1;
        watching.spawn(watch(audience.clone(), viewer, stream, leftover));
    }
    Ok(watching)
}

/// Restarts the nodes one by one, the next when the last has come back and everybody sits somewhere.
async fn roll(audience: &Audience, mut nodes: Vec<Node>, viewers: usize) -> Vec<Node> {
    for (number, node) in nodes.iter_mut().enumerate() {
        node.process.terminate();
        audience.node_leaves(number);
        node.process.ended().await;
        node.process.restart();
        node.process.ready(&node.readyz).await;
        audience.node_returns(number);
        let all_back = async || (audience.heard().connected == viewers).then_some(());
        // Whoever is still away is counted in the end.
        let _ = eventually(SETTLE_WITHIN, all_back).await;
    }
    nodes
}

/// Sends at the schedule's times until told to stop; answers which messages were accepted.
async fn send(
    audience: Arc<Audience>,
    schedule: Schedule,
    stop: Arc<AtomicBool>,
    mut sends: JoinSet<(usize, bool)>,
) -> Vec<(usize, bool)> {
    let mut due = metronome(schedule);
    while let Some(index) = due.recv().await
        && !stop.load(Ordering::Relaxed)
    {
        let audience = audience.clone();
        sends.spawn(
            async move { (index, send_until_accepted(&audience, schedule.base + index as u64).await) },
        );
    }
    sends.join_all().await
}

/// Tries under one name, at another node after each failure; false when it took too long.
async fn send_until_accepted(audience: &Audience, number: u64) -> bool {
    let (nonce, until) = (Uuid::now_v7(), Instant::now() + SETTLE_WITHIN);
    while Instant::now() < until {
        let request = audience.target.post_at(audience.any_node(), number, nonce);
        if fate_of(request).await == Fate::Accepted {
            return true;
        }
        tokio::time::sleep(PAUSE).await;
    }
    false
}

fn figures(audience: &Audience, viewers: usize, began: Instant, missing: u64) -> Vec<Figure> {
    let heard = audience.heard();
    let last_back =
        heard.journeys.iter().map(|(_, back)| back.duration_since(began)).max().unwrap_or_default();
    let longest =
        heard.journeys.iter().map(|(cut, back)| back.duration_since(*cut)).max().unwrap_or_default();
    let busiest = busiest_second(heard.journeys.iter().map(|(_, back)| *back).collect());
    let most = viewers as f64 * SHARE_A_SECOND;
    vec![
        Figure::new("reconnects", heard.journeys.len() as f64, "", Wanted::AtLeast(viewers as f64)),
        Figure::new(
            "from the first SIGTERM until all are back",
            last_back.as_secs_f64(),
            "s",
            Wanted::AtMost(BACK_WITHIN_SECS),
        ),
        Figure::new("longest absence of one viewer", longest.as_secs_f64(), "s", Wanted::Anything),
        Figure::new("reconnects in the busiest second", busiest as f64, "", Wanted::AtMost(most)),
        Figure::never("viewers who are not back", (viewers - heard.connected) as u64),
        Figure::never("acked messages that a viewer did not hear", missing),
        Figure::never("messages that a viewer heard twice", heard.tally.doubles),
        Figure::never("messages out of order", heard.tally.inversions),
        Figure::never("times a viewer was told to read anew", heard.resyncs),
    ]
}

/// The most of these moments that lie within one second of each other.
fn busiest_second(mut moments: Vec<Instant>) -> usize {
    moments.sort_unstable();
    let within = |from: usize| {
        let until = moments[from] + Duration::from_secs(1);
        moments[from..].partition_point(|moment| *moment < until)
    };
    (0..moments.len()).map(within).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_second_may_begin_at_any_moment() {
        let start = Instant::now();
        let at = |millis: &[u64]| millis.iter().map(|ms| start + Duration::from_millis(*ms)).collect();
        assert_eq!(busiest_second(at(&[])), 0);
        assert_eq!(busiest_second(at(&[0, 900, 1_100, 1_800, 1_899, 1_900])), 4);
        assert_eq!(busiest_second(at(&[2_000, 0, 1_000])), 1);
    }
}
