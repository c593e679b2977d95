//! The figures, for people and as JSON, each beside the conditions under which it was taken.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::machine::{Used, Watched};

/// Everything that one run found out.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) processors: usize,
    pub(crate) targets: Vec<TargetReport>,
    /// Ours divided by the peer's, per rate; below 1 is better.
    pub(crate) cost_ratios: BTreeMap<u32, f64>,
}

/// What was found out about one target.
#[derive(Serialize)]
pub(crate) struct TargetReport {
    pub(crate) name: &'static str,
    /// Processes that hold sockets.
    pub(crate) nodes: usize,
    pub(crate) idle: Option<Idle>,
    pub(crate) phases: Vec<Phase>,
}

/// Memory of connections at rest.
#[derive(Serialize)]
pub(crate) struct Idle {
    pub(crate) connections: usize,
    /// In RAM, of the processes that hold the sockets, before and after.
    pub(crate) before_bytes: u64,
    pub(crate) after_bytes: u64,
    pub(crate) bytes_per_connection: u64,
}

/// One phase.
#[derive(Serialize)]
pub(crate) struct Phase {
    pub(crate) rate: u32,
    pub(crate) secs: u32,
    pub(crate) viewers: usize,
    pub(crate) traffic: Traffic,
    /// From the intended send to the arrival at a viewer.
    pub(crate) delivery: Millis,
    /// From the intended send to the answer to the sender.
    pub(crate) answer: Millis,
    /// From the intended to the actual send: what the generator itself adds.
    pub(crate) lateness: Millis,
    pub(crate) fdatasync: Millis,
    /// The servers' own figures, as upper bounds of the bucket.
    pub(crate) written_p99_at_most_ms: Option<f64>,
    pub(crate) persisted_p99_at_most_ms: Option<f64>,
    /// Of the minute before.
    pub(crate) load_average: f64,
    pub(crate) cost: Cost,
    /// Accepted messages a second, over at least the time in which they were offered.
    pub(crate) goodput: f64,
    /// Numbers of the messages that were accepted, and of those of which nobody knows.
    #[serde(skip)]
    pub(crate) accepted: Vec<u64>,
    #[serde(skip)]
    pub(crate) unknown: Vec<u64>,
}

/// What went where.
#[derive(Serialize)]
pub(crate) struct Traffic {
    pub(crate) accepted: u64,
    /// Refused, or without an answer.
    pub(crate) failed: u64,
    /// Refusals by code.
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) unanswered: u64,
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) doubles: u64,
    pub(crate) inversions: u64,
    pub(crate) strays: u64,
    pub(crate) other_frames: u64,
    pub(crate) closed_by_server: usize,
    pub(crate) frame_bytes: u64,
}

/// A distribution in milliseconds.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Millis {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// Processor time.
#[derive(Serialize)]
pub(crate) struct Cost {
    /// Of all server processes, per delivered message.
    pub(crate) us_per_delivery: f64,
    pub(crate) us_per_delivery_by_process: BTreeMap<String, f64>,
    /// In processors, of all server processes, of the generator, and of everybody else on this machine.
    pub(crate) servers: f64,
    pub(crate) generator: f64,
    pub(crate) others: f64,
}

impl Millis {
    pub(crate) fn of(micros: &Histogram<u64>) -> Millis {
        let millis = |micros: u64| micros as f64 / 1_000.0;
        Millis {
            p50: millis(micros.value_at_quantile(0.5)),
            p99: millis(micros.value_at_quantile(0.99)),
            max: millis(micros.max()),
        }
    }
}

/// Puts processor time in relation to deliveries.
pub(crate) fn cost(watched: &[Watched], used: &Used, delivered: u64) -> Cost {
    let deliveries = delivered.max(1) as f64;
    let per_delivery = |seconds: f64| round(seconds * 1e6 / deliveries);
    let processors = |seconds: f64| round(seconds / used.wall.as_secs_f64().max(0.001));
    let servers = used.each.iter().map(std::time::Duration::as_secs_f64).sum::<f64>();
    let names = watched.iter().map(|process| process.name.clone());
    let each = used.each.iter().map(|each| per_delivery(each.as_secs_f64()));
    Cost {
        us_per_delivery: per_delivery(servers),
        us_per_delivery_by_process: names.zip(each).collect(),
        servers: processors(servers),
        generator: processors(used.generator.as_secs_f64()),
        others: processors(used.others.as_secs_f64()),
    }
}

fn round(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}

impl Report {
    /// Compares the first target with the second, if there is one.
    pub(crate) fn new(targets: Vec<TargetReport>) -> Report {
        let mut cost_ratios = BTreeMap::new();
        if let [ours, peer] = targets.as_slice() {
            for (our, their) in ours.phases.iter().zip(&peer.phases) {
                let ratio = our.cost.us_per_delivery / their.cost.us_per_delivery.max(0.001);
                cost_ratios.insert(our.rate, round(ratio));
            }
        }
        Report { processors: crate::machine::processors(), targets, cost_ratios }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} processors, shared with the generator", self.processors)?;
        for target in &self.targets {
            writeln!(out, "\n{}, nodes: {}", target.name, target.nodes)?;
            if let Some(idle) = &target.idle {
                let kib = idle.bytes_per_connection as f64 / 1_024.0;
                writeln!(out, "  {} idle connections: {kib:.2} KiB each", idle.connections)?;
            }
            target.phases.iter().try_for_each(|phase| write!(out, "{phase}"))?;
        }
        if !self.cost_ratios.is_empty() {
            writeln!(out)?;
        }
        for (rate, ratio) in &self.cost_ratios {
            writeln!(out, "at {rate}/s a delivery costs {ratio:.2} times what it costs the peer")?;
        }
        Ok(())
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (traffic, cost) = (&self.traffic, &self.cost);
        writeln!(out, "  {}/s for {} s to {} viewers", self.rate, self.secs, self.viewers)?;
        writeln!(
            out,
            "    deliveries {} of {}: {} lost, {} doubles, {} inversions; {} sends failed, {} sockets closed; \
             {} bytes a frame, {} other frames",
            traffic.delivered,
            traffic.expected,
            traffic.lost,
            traffic.doubles,
            traffic.inversions,
            traffic.failed,
            traffic.closed_by_server,
            traffic.frame_bytes,
            traffic.other_frames,
        )?;
        let rows = [
            ("send to arrival", self.delivery),
            ("send to answer", self.answer),
            ("generator late", self.lateness),
            ("fdatasync", self.fdatasync),
        ];
        for (name, Millis { p50, p99, max }) in rows {
            writeln!(out, "    {name:<16} p50 {p50:8.2} ms   p99 {p99:8.2} ms   max {max:8.2} ms")?;
        }
        let bounds = [
            ("accepted to written", self.written_p99_at_most_ms),
            ("accepted to stored", self.persisted_p99_at_most_ms),
        ];
        for (name, bound) in bounds.iter().filter_map(|(name, bound)| Some((name, (*bound)?))) {
            writeln!(out, "    {name}, as the servers count: p99 at most {bound} ms")?;
        }
        let mut by_process = String::new();
        for (name, micros) in &cost.us_per_delivery_by_process {
            write!(by_process, "  {name} {micros:.2}")?;
        }
        writeln!(out, "    processor time per delivery {:.2} us:{by_process}", cost.us_per_delivery)?;
        writeln!(
            out,
            "    processors busy: servers {:.2}, generator {:.2}, others {:.2}; load average before {:.1}",
            cost.servers, cost.generator, cost.others, self.load_average
        )
    }
}
