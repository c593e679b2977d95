//! The torture run: a whole stack under load, in which everything that can break is broken by a schedule that a seed repeats;
//! at the end every promise of delivery is checked against rows, log, pages and what everybody heard.
//! docs/operations.md says how to read it.

mod board;
mod check;
mod faults;
mod guests;
mod people;
mod report;
mod rng;
mod room;
mod run;
mod schedule;
mod site;

use std::path::PathBuf;

use clap::Parser;
use harness::children::keep_logs;
use harness::servers::Backend;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use uuid::Uuid;

use report::Report;
use schedule::Shape;

/// Breaks a stack of its own in every way it knows and checks that nothing accepted is lost.
#[derive(Parser)]
#[command(name = "torture")]
pub(crate) struct Cli {
    /// Seconds of load; starting, checking and stopping take half a minute more.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=3_600))]
    secs: u64,
    /// Messages a second.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    rate: u64,
    /// Api nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=8))]
    api: u64,
    /// Fan-out workers.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=8))]
    fanout: u64,
    /// Persisters.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=8))]
    persister: u64,
    /// Draws the schedule; one is drawn and told unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// Only show the schedule.
    #[arg(long)]
    dry_run: bool,
    /// Also write the report to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Cli {
    fn shape(&self) -> Shape {
        let number = |number: u64| usize::try_from(number).unwrap_or(1);
        Shape { api: number(self.api), fanout: number(self.fanout), persister: number(self.persister) }
    }
}

/// Small enough to be typed.
fn drawn_seed() -> u64 {
    u64::from(Uuid::new_v4().as_fields().0) % 1_000_000
}

#[expect(clippy::print_stderr, clippy::print_stdout, reason = "the schedule and the verdict are for people")]
fn main() {
    let cli = Cli::parse();
    let seed = cli.seed.unwrap_or_else(drawn_seed);
    let plan = schedule::draw(seed, cli.secs, cli.shape());
    eprintln!("torture: seed {seed}, {} faults in {} s", plan.len(), cli.secs);
    for planned in &plan {
        eprintln!("{planned}");
    }
    if cli.dry_run {
        return;
    }
    if Backend::chosen() != Backend::Local {
        eprintln!("torture: it breaks its servers, so they have to be its own: set TEST_BACKEND=local");
        std::process::exit(2);
    }
    let json = cli.json.clone();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    // On a task of its own, because the harness panics where it can't go on.
    let run = LocalSet::new()
        .block_on(&runtime, async { tokio::task::spawn_local(run::run(cli, seed, plan)).await });
    let kept = std::env::temp_dir().join(format!("hubbub-torture-{seed}"));
    let passed = match run {
        Ok(mut report) => {
            if !report.passed {
                report.logs = keep_logs(&kept).is_ok().then_some(kept);
            }
            print!("{report}");
            write_json(json, &report);
            report.passed
        }
        Err(error) => {
            let logs = keep_logs(&kept).map(|()| kept.display().to_string()).unwrap_or_default();
            println!("torture: FAIL seed={seed} the run itself broke: {error}\n  logs are kept in {logs}");
            false
        }
    };
    // Whatever still runs is ended by the harness's watchdog: a failed run has no orderly end.
    std::process::exit(i32::from(!passed));
}

#[expect(clippy::print_stderr, reason = "there is no other place to say it")]
fn write_json(path: Option<PathBuf>, report: &Report) {
    let Some(path) = path else { return };
    let written = serde_json::to_vec_pretty(report).map_err(std::io::Error::from);
    if let Err(error) = written.and_then(|json| std::fs::write(&path, json)) {
        eprintln!("torture: {} can't be written: {error}", path.display());
    }
}
