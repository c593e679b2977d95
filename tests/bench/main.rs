//! The benchmark of the live room: open loop, so that a server that stalls cannot hide it, and every figure beside the
//! conditions under which it was taken. docs/benchmarks.md says how to read it.

mod crowd;
mod disk;
mod frames;
mod idle;
mod machine;
mod metrics;
mod peer;
mod phase;
mod report;
mod scenario;
mod tally;
mod target;
mod verdict;

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use tokio::runtime::Builder;

use crowd::Crowd;
use phase::Load;
use report::{Report, TargetReport};
use target::Target;

/// Bytes of a frame of ours, when the peer is measured alone.
const FRAME_BYTES: usize = 500;

/// Loads the live room and says what that cost.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    plan: Plan,
}

#[derive(Subcommand)]
enum Command {
    /// Be the peer that the figures are compared with.
    Peer {
        /// Where viewers connect; loopback only.
        #[arg(long, value_parser = loopback)]
        sockets: SocketAddr,
        /// Where frames are posted; loopback only.
        #[arg(long, value_parser = loopback)]
        feed: SocketAddr,
    },
}

/// What to do. Everything is bounded: a benchmark that runs away takes the machine with it.
#[derive(Args)]
struct Plan {
    /// What to find out.
    #[arg(long, default_value = "cost", value_enum)]
    scenario: Scenario,
    /// Sockets in the room: 1,000 unless given; 300 in `stuck`, 100 in `flood`, 600 in `roll`. In `pairs` people, two to a room.
    #[arg(long, value_parser = whole::<1, 15_000>)]
    viewers: Option<usize>,
    /// Api nodes to start: 2 unless given; 3 in `roll`.
    #[arg(long, value_parser = whole::<1, 8>)]
    nodes: Option<usize>,
    /// Messages a second: one phase each in `cost` and `pairs`, 20 and 60, and 500 and 1,500, unless given. The other
    /// scenarios take the first: 60 in `stuck`, 20 in `roll`, and `flood` begins to look for its own at 50.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=5_000))]
    rate: Vec<u32>,
    /// Seconds of a phase.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    secs: u32,
    /// Seconds of load before the first phase.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    warm_up: u32,
    /// Idle sockets whose memory is measured; 0 leaves that out.
    #[arg(long, default_value_t = 2_000, value_parser = whole::<0, 15_000>)]
    idle: usize,
    /// Seconds to wait before each phase until nobody else uses the machine.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=3_600))]
    calm: u32,
    /// Measure a running stack by its file of addresses, such as .local/env, instead of starting one.
    #[arg(long)]
    env: Option<PathBuf>,
    /// What to measure. The ratio needs both.
    #[arg(long, value_delimiter = ',', default_values_t = [Which::Hubbub, Which::Peer], value_enum)]
    targets: Vec<Which>,
    /// Also write the report to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What a run finds out. All but the first judge what they measure, and end with 1 when it is not good enough.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// What a delivery and a connection cost.
    Cost,
    /// What 20 readers who stop reading do to the others.
    Stuck,
    /// What becomes of three times what can be sustained.
    Flood,
    /// What becomes of the viewers while the nodes are restarted one by one.
    Roll,
    /// What a message between two friends costs, and how soon it is there.
    Pairs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Hubbub,
    Peer,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Peer { sockets, feed }) => {
            Builder::new_multi_thread().enable_all().build()?.block_on(peer::serve(sockets, feed))?;
            Ok(ExitCode::SUCCESS)
        }
        // One thread: the generator shall leave the machine to the servers, and needs no locks that wait.
        None => Builder::new_current_thread().enable_all().build()?.block_on(run(&cli.plan)),
    }
}

async fn run(plan: &Plan) -> Result<ExitCode, Box<dyn Error>> {
    let verdict = match plan.scenario {
        Scenario::Cost => {
            tell(plan, &measure(plan).await?)?;
            return Ok(ExitCode::SUCCESS);
        }
        Scenario::Stuck => scenario::stuck(plan).await?,
        Scenario::Flood => scenario::flood(plan).await?,
        Scenario::Roll => scenario::roll(plan).await?,
        Scenario::Pairs => scenario::pairs(plan).await?,
    };
    tell(plan, &verdict)?;
    Ok(if verdict.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "a report belongs on standard output")]
fn tell(plan: &Plan, report: &(impl Serialize + fmt::Display)) -> Result<(), Box<dyn Error>> {
    if let Some(path) = &plan.json {
        std::fs::write(path, serde_json::to_vec_pretty(report)?)?;
    }
    print!("{report}");
    Ok(())
}

async fn measure(plan: &Plan) -> Result<Report, Box<dyn Error>> {
    let mut targets = Vec::new();
    if plan.targets.contains(&Which::Hubbub) {
        let ours = match &plan.env {
            Some(env) => Target::given(env).await,
            None => Target::own(plan.nodes.unwrap_or(2), &[]).await,
        };
        targets.push(measure_target(plan, ours).await?);
    }
    if plan.targets.contains(&Which::Peer) {
        let as_ours = targets.last().and_then(|ours: &TargetReport| ours.phases.last());
        let frame_bytes = as_ours.map_or(Ok(FRAME_BYTES), |phase| phase.traffic.frame_bytes.try_into())?;
        targets.push(measure_target(plan, Target::peer(frame_bytes).await).await?);
    }
    Ok(Report::new(targets))
}

/// The target is stopped at the end, so that the next one has the machine to itself.
async fn measure_target(plan: &Plan, target: Target) -> Result<TargetReport, Box<dyn Error>> {
    let target = Arc::new(target);
    let idle = if plan.idle == 0 { None } else { Some(idle::measure(&target, plan.idle).await?) };
    let crowd = Crowd::gather(&target, 0..plan.viewers.unwrap_or(1_000)).await?;
    // Number 0 was sent until the target accepted it.
    let mut next = 1;
    let mut phases = Vec::new();
    let rates: &[u32] = if plan.rate.is_empty() { &[20, 60] } else { &plan.rate };
    for (index, rate) in rates.iter().copied().enumerate() {
        if index == 0 {
            phase::run(&target, &crowd, Load { rate, secs: plan.warm_up }, &mut next).await;
        }
        machine::wait_for_calm(plan.calm).await;
        phases.push(phase::run(&target, &crowd, Load { rate, secs: plan.secs }, &mut next).await);
    }
    Ok(TargetReport { name: target.name, nodes: target.holders.len(), idle, phases })
}

fn whole<const LEAST: usize, const MOST: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {LEAST} to {MOST}"))
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    address.ok_or_else(|| "must be an address of this machine with port, such as 127.0.0.1:9900".to_owned())
}
