//! Twenty readers stop reading. They are cut off, cost little until then, and the others do not notice.

use std::error::Error;
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};

use super::{Room, nothing_lost};
use crate::Plan;
use crate::crowd::Crowd;
use crate::frames::upgrade;
use crate::machine::{self, resident_bytes};
use crate::metrics::counted;
use crate::report::{Millis, Phase};
use crate::target::Target;
use crate::verdict::{Figure, Verdict, Wanted};

/// Viewers of whom [`STUCK`] will stop reading.
const VIEWERS: usize = 300;
const STUCK: usize = 20;
const RATE: u32 = 60;
/// So many times without stuck readers, and as often with them, in turn: a machine that grows slower meanwhile harms both.
const ROUNDS: usize = 2;
/// How soon after the first message that they do not read all of them have to be cut off.
const CLOSED_WITHIN_SECS: f64 = 15.0;
/// How much longer the others may wait for their messages.
const P99_RATIO_MAX: f64 = 1.3;
/// `OUTBOX_BYTES_MAX` as it is unless set: what each of them may hold.
const OUTBOX_BYTES_MAX: f64 = 1_048_576.0;
const MIB: f64 = 1_048_576.0;
/// What the kernel of a stuck reader takes for it. Left to itself it would take megabytes, and for so long nobody could know
/// that the reader is stuck.
const RECEIVE_BYTES: u32 = 16_384;
/// Between two looks at the nodes.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// # Errors
/// When a socket is refused.
pub(crate) async fn measure(plan: &Plan) -> Result<Verdict, Box<dyn Error>> {
    let viewers = plan.viewers.unwrap_or(VIEWERS).max(STUCK + 1);
    let rate = plan.rate.first().copied().unwrap_or(RATE);
    let mut room = Room::new(Target::own(plan.nodes.unwrap_or(2), &[]).await);
    let target = room.target.clone();
    let readers = 0..viewers - STUCK;
    let crowd = Crowd::gather(&target, readers.clone()).await?;
    room.phase(&crowd, rate, plan.warm_up).await;

    let (mut without, mut with) = (Vec::new(), Vec::new());
    let mut watch = Watch::default();
    for _ in 0..ROUNDS {
        machine::wait_for_calm(plan.calm).await;
        let all_read = Crowd::gather(&target, readers.end..viewers).await?;
        // Looking costs something, so both kinds of phases pay for it.
        without.push(watched(&mut room, &crowd, rate, plan.secs, &mut Watch::default()).await);
        drop(all_read);

        machine::wait_for_calm(plan.calm).await;
        let stuck = stuck_readers(&target, readers.end..viewers).await?;
        with.push(watched(&mut room, &crowd, rate, plan.secs, &mut watch).await);
        drop(stuck);
    }
    let mut figures = figures(&without, &with, &watch);
    let phases: Vec<Phase> = without.into_iter().chain(with).collect();
    figures.extend(nothing_lost(&phases));
    figures.extend(room.compared().await);
    let fdatasync = phases.last().map_or(Millis::default(), |phase| phase.fdatasync);
    Ok(Verdict {
        scenario: "stuck",
        passed: false,
        processors: machine::processors(),
        nodes: target.holders.len(),
        viewers,
        fdatasync,
        figures,
        counts: [("rounds".to_owned(), ROUNDS as u64), ("stuck readers of each".to_owned(), STUCK as u64)]
            .into(),
        phases,
    }
    .judged())
}

async fn watched(room: &mut Room, crowd: &Crowd, rate: u32, secs: u32, watch: &mut Watch) -> Phase {
    let target = room.target.clone();
    watch.begin(&target).await;
    tokio::select! {
        phase = room.phase(crowd, rate, secs) => phase,
        never = watch.keep_looking(&target) => never,
    }
}

fn figures(without: &[Phase], with: &[Phase], watch: &Watch) -> Vec<Figure> {
    let p99 =
        |phases: &[Phase]| phases.iter().map(|phase| phase.delivery.p99).sum::<f64>() / phases.len() as f64;
    let closed = |phases: &[Phase]| phases.last().map_or(0, |phase| phase.traffic.closed_by_server);
    let never_closed = (STUCK * ROUNDS).saturating_sub(watch.closed_after.len());
    let slowest = watch.closed_after.iter().max().copied().unwrap_or_default();
    vec![
        Figure::new("p99 of the others, nobody stuck", p99(without), "ms", Wanted::Anything),
        Figure::new("p99 of the others, 20 stuck", p99(with), "ms", Wanted::Anything),
        Figure::new(
            "ratio of the two",
            p99(with) / p99(without).max(0.001),
            "",
            Wanted::AtMost(P99_RATIO_MAX),
        ),
        Figure::new(
            "slowest close of a stuck reader",
            slowest.as_secs_f64(),
            "s",
            Wanted::AtMost(CLOSED_WITHIN_SECS),
        ),
        Figure::never("stuck readers that were not closed", never_closed as u64),
        Figure::new(
            "memory that the nodes took meanwhile, at most",
            watch.grown_bytes as f64 / MIB,
            "MiB",
            Wanted::AtMost(STUCK as f64 * OUTBOX_BYTES_MAX / MIB),
        ),
        Figure::never("others who were closed", closed(with) as u64),
    ]
}

/// Sockets that nobody reads from.
async fn stuck_readers(target: &Target, viewers: std::ops::Range<usize>) -> std::io::Result<Vec<TcpStream>> {
    let mut stuck = Vec::new();
    for viewer in viewers {
        let (node, path) = target.seat(viewer);
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
        stuck.push(upgrade(socket.connect(node).await?, node, &path).await?.0);
    }
    Ok(stuck)
}

/// What the nodes say of slow readers, and what they weigh meanwhile.
#[derive(Default)]
struct Watch {
    began: Option<Instant>,
    closes_before: u64,
    bytes_before: u64,
    seen: u64,
    /// Of every stuck reader, over all rounds.
    closed_after: Vec<Duration>,
    /// The most that the nodes grew by in one round.
    grown_bytes: u64,
}

impl Watch {
    async fn begin(&mut self, target: &Target) {
        self.closes_before = closes(target).await;
        self.bytes_before = weight(target);
        self.seen = 0;
        self.began = Some(Instant::now());
    }

    /// Looks until it is dropped.
    async fn keep_looking<T>(&mut self, target: &Target) -> T {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let closed = closes(target).await.saturating_sub(self.closes_before);
            let after = self.began.map_or(Duration::ZERO, |began| began.elapsed());
            for _ in self.seen..closed {
                self.closed_after.push(after);
            }
            self.seen = self.seen.max(closed);
            self.grown_bytes = self.grown_bytes.max(weight(target).saturating_sub(self.bytes_before));
        }
    }
}

async fn closes(target: &Target) -> u64 {
    counted(&target.metrics().await, "hubbub_outbox_closes_total", "slow_reader")
}

fn weight(target: &Target) -> u64 {
    target.holders.iter().map(|process| resident_bytes(process.pid)).sum()
}
