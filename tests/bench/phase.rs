//! One phase: messages at fixed times, whatever becomes of the earlier ones, and what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::children::eventually;
use shared::error::Code;
use shared::telemetry::names;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::crowd::Crowd;
use crate::disk::Probe;
use crate::machine::{Reading, Used, load_average};
use crate::metrics::Buckets;
use crate::report::{Cost, Millis, Phase, Traffic, cost};
use crate::tally::{Schedule, Tally, histogram, record};
use crate::target::Target;

/// Between the decision to begin and the first message.
pub(crate) const LEAD: Duration = Duration::from_millis(200);
/// How long the last deliveries may take before they count as lost.
pub(crate) const LAST_WITHIN: Duration = Duration::from_secs(5);

/// How hard and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Messages a second.
    pub(crate) rate: u32,
    /// Seconds.
    pub(crate) secs: u32,
}

/// What became of one send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Accepted,
    /// With the code that the body names, or the bare status of an answer that names none.
    Refused(String),
    /// Broken off, or not answered in time.
    Unanswered,
}

/// What became of the sends.
struct Sends {
    accepted: Vec<usize>,
    /// Neither accepted nor certainly not.
    unknown: Vec<usize>,
    refused: BTreeMap<String, u64>,
    unanswered: u64,
    /// When the last one was accepted, counted from the first intended send.
    accepted_until: Duration,
    /// From the intended send to the answer.
    answers: hdrhistogram::Histogram<u64>,
    /// From the intended send to the real one: the generator's own fault.
    lateness: hdrhistogram::Histogram<u64>,
}

/// Runs one phase, and moves `next` behind its last message.
pub(crate) async fn run(target: &Arc<Target>, crowd: &Crowd, load: Load, next: &mut u64) -> Phase {
    let count = load.rate as usize * load.secs as usize;
    let schedule = Schedule { base: *next, count, start: Instant::now() + LEAD, rate: load.rate };
    *next += count as u64;
    crowd.begin(Tally::new(crowd.size(), schedule));
    let meters = Meters::start(target).await;

    let sends = send_all(target, schedule).await;
    let viewers = crowd.size();
    let missing = || crowd.look(|tally| tally.missing(&sends.accepted, viewers));
    // What is still missing then is lost, and the report says how much.
    let _ = eventually(LAST_WITHIN, async || (missing() == 0).then_some(())).await;

    let meters = meters.stop(target);
    let lost = missing();
    let tally = crowd.end();
    let metered = meters.read(target, tally.delivered).await;
    Phase {
        rate: load.rate,
        secs: load.secs,
        viewers,
        traffic: Traffic {
            accepted: sends.accepted.len() as u64,
            failed: sends.refused.values().sum::<u64>() + sends.unanswered,
            refused: sends.refused,
            unanswered: sends.unanswered,
            expected: sends.accepted.len() as u64 * viewers as u64,
            delivered: tally.delivered,
            lost,
            doubles: tally.doubles,
            inversions: tally.inversions,
            strays: tally.strays,
            other_frames: tally.other_frames,
            closed_by_server: crowd.closed(),
            frame_bytes: tally.message_bytes / tally.delivered.max(1),
        },
        delivery: Millis::of(&tally.latency),
        answer: Millis::of(&sends.answers),
        lateness: Millis::of(&sends.lateness),
        fdatasync: metered.fdatasync,
        written_p99_at_most_ms: metered.written_p99_at_most_ms,
        persisted_p99_at_most_ms: metered.persisted_p99_at_most_ms,
        load_average: metered.load_average,
        cost: metered.cost,
        goodput: sends.accepted.len() as f64 / sends.accepted_until.as_secs_f64().max(f64::from(load.secs)),
        accepted: sends.accepted.iter().map(|index| schedule.base + *index as u64).collect(),
        unknown: sends.unknown.iter().map(|index| schedule.base + *index as u64).collect(),
    }
}

/// What is read at both ends of a phase.
pub(crate) struct Meters {
    probe: Probe,
    load_average: f64,
    metrics: Vec<String>,
    before: Reading,
}

/// Meters whose processor time has been read.
pub(crate) struct Stopped {
    meters: Meters,
    used: Used,
}

/// What they say.
pub(crate) struct Metered {
    pub(crate) fdatasync: Millis,
    pub(crate) written_p99_at_most_ms: Option<f64>,
    pub(crate) persisted_p99_at_most_ms: Option<f64>,
    pub(crate) load_average: f64,
    pub(crate) cost: Cost,
}

impl Meters {
    pub(crate) async fn start(target: &Target) -> Meters {
        let probe = Probe::start();
        let (load_average, metrics) = (load_average(), target.metrics().await);
        Meters { probe, load_average, metrics, before: Reading::take(&target.processes) }
    }

    /// At the end of what is measured.
    pub(crate) fn stop(self, target: &Target) -> Stopped {
        let used = Reading::take(&target.processes).since(&self.before);
        Stopped { meters: self, used }
    }
}

impl Stopped {
    /// Puts processor time in relation to `delivered` messages.
    pub(crate) async fn read(self, target: &Target, delivered: u64) -> Metered {
        let Stopped { meters, used } = self;
        let (disk, metrics) = (meters.probe.finish(), target.metrics().await);
        let bound = |name: &str| {
            let added = Buckets::read(&metrics, name).since(&Buckets::read(&meters.metrics, name));
            added.quantile_bound(0.99).map(|seconds| seconds * 1_000.0)
        };
        Metered {
            fdatasync: Millis::of(&disk),
            written_p99_at_most_ms: bound(names::DELIVERY_LATENCY),
            persisted_p99_at_most_ms: bound(names::PERSIST_DELAY),
            load_average: meters.load_average,
            cost: cost(&target.processes, &used, delivered),
        }
    }
}

async fn send_all(target: &Arc<Target>, schedule: Schedule) -> Sends {
    let mut due = metronome(schedule);
    let mut sends = JoinSet::new();
    let mut lateness = histogram();
    while let Some(index) = due.recv().await {
        record(&mut lateness, schedule.due(index).elapsed());
        let target = target.clone();
        sends.spawn(async move {
            let fate = fate_of(target.post(schedule.base + index as u64)).await;
            (index, fate, schedule.due(index).elapsed())
        });
    }
    let mut done = Sends {
        accepted: Vec::new(),
        unknown: Vec::new(),
        refused: BTreeMap::new(),
        unanswered: 0,
        accepted_until: Duration::ZERO,
        answers: histogram(),
        lateness,
    };
    while let Some(sent) = sends.join_next().await {
        let (index, fate, took) = sent.expect("a send does not panic");
        done.note(index, fate, took, schedule);
    }
    done
}

impl Sends {
    fn note(&mut self, index: usize, fate: Fate, took: Duration, schedule: Schedule) {
        match fate {
            Fate::Accepted => {
                self.accepted.push(index);
                record(&mut self.answers, took);
                let answered = schedule.due(index) + took - schedule.start;
                self.accepted_until = self.accepted_until.max(answered);
            }
            Fate::Refused(code) => {
                if code == Code::Unavailable.as_str() {
                    self.unknown.push(index);
                }
                *self.refused.entry(code).or_default() += 1;
            }
            Fate::Unanswered => {
                self.unknown.push(index);
                self.unanswered += 1;
            }
        }
    }
}

/// Sends, and says what came of it.
pub(crate) async fn fate_of(request: reqwest::RequestBuilder) -> Fate {
    let Ok(answer) = request.send().await else { return Fate::Unanswered };
    let status = answer.status();
    let Ok(body) = answer.bytes().await else { return Fate::Unanswered };
    if status.is_success() {
        return Fate::Accepted;
    }
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    Fate::Refused(body["code"].as_str().map_or_else(|| status.as_u16().to_string(), str::to_owned))
}

/// Whether a refusal has one of the stable codes, and not just a status.
pub(crate) fn is_coded(refusal: &str) -> bool {
    !refusal.bytes().all(|byte| byte.is_ascii_digit()) && refusal != Code::Internal.as_str()
}

/// Says when each message is due. A thread of its own, since timers of the runtime tick in milliseconds.
pub(crate) fn metronome(schedule: Schedule) -> mpsc::UnboundedReceiver<usize> {
    let (ticks, due) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for index in 0..schedule.count {
            std::thread::sleep(schedule.due(index).saturating_duration_since(Instant::now()));
            if ticks.send(index).is_err() {
                return;
            }
        }
    });
    due
}
