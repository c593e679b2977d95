//! What a run found out: one line for whoever waits for it, and everything as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::board::{Ack, Findings};
use crate::check::{Compared, Evidence};
use crate::faults::Done;
use crate::people::reader::Reads;
use crate::people::sender::Fate;

/// For so long after its end a fault still counts as trouble, because servers recover.
const RECOVERY: Duration = Duration::from_secs(2);

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) passed: bool,
    pub(crate) seed: u64,
    pub(crate) secs: u64,
    pub(crate) messages: Messages,
    pub(crate) calls: Calls,
    pub(crate) reads: Reads,
    pub(crate) compared: Compared,
    /// Messages whose whole way was free of faults.
    pub(crate) calm: Latency,
    /// Those that met one.
    pub(crate) trouble: Latency,
    pub(crate) faults: Vec<FaultReport>,
    /// The messages that took longest.
    pub(crate) slowest: Vec<Slow>,
    /// Promises that were broken.
    pub(crate) findings: Findings,
    /// Where the services' logs are kept after a failure.
    pub(crate) logs: Option<PathBuf>,
}

#[derive(Serialize)]
pub(crate) struct Messages {
    pub(crate) sent: usize,
    pub(crate) acked: usize,
    pub(crate) given_up: usize,
    /// Accepted messages a second, over the whole time of load.
    pub(crate) goodput: f64,
    pub(crate) worst_ack_ms: u64,
}

#[derive(Serialize)]
pub(crate) struct Calls {
    pub(crate) refusals: BTreeMap<String, u64>,
    pub(crate) unanswered: u64,
}

#[derive(Serialize)]
pub(crate) struct Latency {
    pub(crate) acks: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// A message that took long, by when it was first sent.
#[derive(Serialize)]
pub(crate) struct Slow {
    pub(crate) sent_ms: u64,
    pub(crate) took_ms: u64,
}

#[derive(Serialize)]
pub(crate) struct FaultReport {
    pub(crate) fault: String,
    pub(crate) at_ms: u64,
    pub(crate) healed_ms: u64,
    /// The longest time without any ack from its begin until five seconds after its end.
    pub(crate) silence_ms: u64,
    /// From its end until a message was accepted that was first sent after it.
    pub(crate) recovery_ms: Option<u64>,
    pub(crate) left_out: Option<String>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Messages {
    pub(crate) fn of(evidence: &Evidence, acks: &[Ack], load: Duration) -> Messages {
        let all = || evidence.rooms.iter().flat_map(|of| &of.sent).flatten();
        let worst = acks.iter().map(|ack| ack.known.saturating_sub(ack.sent)).max().unwrap_or_default();
        Messages {
            sent: all().count(),
            acked: all().filter(|sent| matches!(sent.fate, Fate::Accepted(_))).count(),
            given_up: all().filter(|sent| matches!(sent.fate, Fate::GivenUp)).count(),
            goodput: acks.len() as f64 / load.as_secs_f64(),
            worst_ack_ms: millis(worst),
        }
    }
}

impl Latency {
    fn of(mut took: Vec<Duration>) -> Latency {
        took.sort_unstable();
        let at = |percent: usize| {
            let index = (took.len() * percent).div_ceil(100).saturating_sub(1);
            took.get(index).copied().unwrap_or_default().as_secs_f64() * 1_000.0
        };
        Latency { acks: took.len(), p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
    }

    /// Of the acks that met no fault, and of those that did.
    pub(crate) fn in_calm_and_trouble(acks: &[Ack], faults: &[Done]) -> (Latency, Latency) {
        let met = |ack: &Ack| {
            faults.iter().any(|fault| ack.known >= fault.began && ack.sent <= fault.healed + RECOVERY)
        };
        let took = |ack: &Ack| ack.known.saturating_sub(ack.sent);
        let (trouble, calm): (Vec<&Ack>, Vec<&Ack>) = acks.iter().partition(|ack| met(ack));
        (
            Latency::of(calm.into_iter().map(took).collect()),
            Latency::of(trouble.into_iter().map(took).collect()),
        )
    }
}

impl Slow {
    /// The slowest, slowest first.
    pub(crate) fn of(acks: &[Ack]) -> Vec<Slow> {
        const MOST: usize = 20;
        let slow = |ack: &Ack| Slow {
            sent_ms: millis(ack.sent),
            took_ms: millis(ack.known.saturating_sub(ack.sent)),
        };
        let mut all: Vec<Slow> = acks.iter().map(slow).collect();
        all.sort_unstable_by_key(|slow| std::cmp::Reverse(slow.took_ms));
        all.truncate(MOST);
        all
    }
}

impl FaultReport {
    /// One for each fault; `acks` in the order in which they became known.
    pub(crate) fn of(faults: &[Done], acks: &[Ack]) -> Vec<FaultReport> {
        const AFTERMATH: Duration = Duration::from_secs(5);
        let report = |done: &Done| {
            let (begin, end) = (done.began, done.healed + AFTERMATH);
            let within = acks.iter().map(|ack| ack.known).filter(|known| (begin..end).contains(known));
            let mut last = begin;
            let mut silence = Duration::ZERO;
            for known in within.chain([end.min(acks.last().map_or(end, |ack| ack.known))]) {
                silence = silence.max(known.saturating_sub(last));
                last = known;
            }
            let after = acks.iter().filter(|ack| ack.sent >= done.healed).map(|ack| ack.known).min();
            FaultReport {
                fault: done.planned.fault.to_string(),
                at_ms: millis(done.began),
                healed_ms: millis(done.healed),
                silence_ms: millis(silence),
                recovery_ms: after.map(|known| millis(known.saturating_sub(done.healed))),
                left_out: done.left_out.clone(),
            }
        };
        faults.iter().map(report).collect()
    }
}

/// The line of verdict; after a failure also what was broken.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "PASS" } else { "FAIL" };
        let happened = self.faults.iter().filter(|fault| fault.left_out.is_none());
        let (silence, recovery) = happened.clone().fold((0, 0), |(silence, recovery), fault| {
            (silence.max(fault.silence_ms), recovery.max(fault.recovery_ms.unwrap_or(0)))
        });
        write!(
            f,
            "torture: {verdict} seed={} secs={} sent={} acked={} given_up={} stored={} friends={} partitions={} read={} \
             heard={} lives={} faults={} left_out={} restarts={} epochs={} resyncs={}+{} refusals={} unanswered={} \
             goodput={:.0}/s calm_p50_ms={:.1} calm_p99_ms={:.1} trouble_p50_ms={:.1} trouble_p99_ms={:.1} \
             worst_ack_ms={} worst_silence_ms={silence} worst_recovery_ms={recovery}",
            self.seed,
            self.secs,
            self.messages.sent,
            self.messages.acked,
            self.messages.given_up,
            self.compared.rows,
            self.compared.between_friends,
            self.compared.partitions,
            self.compared.read,
            self.compared.heard,
            self.compared.lives,
            happened.count(),
            self.faults.iter().filter(|fault| fault.left_out.is_some()).count(),
            self.compared.restarts,
            self.compared.epochs,
            self.compared.resyncs_too_far,
            self.compared.resyncs_no_source,
            self.calls.refusals.values().sum::<u64>(),
            self.calls.unanswered,
            self.messages.goodput,
            self.calm.p50_ms,
            self.calm.p99_ms,
            self.trouble.p50_ms,
            self.trouble.p99_ms,
            self.messages.worst_ack_ms,
        )?;
        for (promise, finding) in &self.findings.0 {
            write!(f, "\n  broken {} times: {promise}", finding.count)?;
            for fact in &finding.first {
                write!(f, "\n    {fact}")?;
            }
        }
        if let Some(logs) = &self.logs {
            write!(f, "\n  the services' logs are kept in {}", logs.display())?;
        }
        writeln!(f)
    }
}
