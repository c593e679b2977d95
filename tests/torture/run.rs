//! One run, from the first process to the verdict.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::spawn_local;

use crate::Cli;
use crate::board::Board;
use crate::check;
use crate::faults;
use crate::guests::Guests;
use crate::people::{People, Terms};
use crate::report::{Calls, FaultReport, Latency, Messages, Report, Slow};
use crate::schedule::Planned;
use crate::site::Site;

/// Everything; a panic says that the run itself broke.
pub(crate) async fn run(cli: Cli, seed: u64, plan: Vec<Planned>) -> Report {
    let site = Arc::new(Site::start(cli.shape(), cli.secs).await);
    let guests = Guests::sign_in(&site).await;
    let board = Arc::new(Board::new());
    let supervisor = spawn_local({
        let (site, board) = (site.clone(), board.clone());
        async move { site.supervise(&board).await }
    });
    let rate = u32::try_from(cli.rate).unwrap_or(u32::MAX);
    let people = People::begin(&guests, &Terms { seed, nodes: cli.shape().api, rate, board: board.clone() });
    let done = faults::run(&site, &plan, &board).await;
    tokio::time::sleep(Duration::from_secs(cli.secs).saturating_sub(board.now())).await;
    board.close();
    let load = board.now();
    let (evidence, listening, reads) = people.come_home(done, &board).await;
    supervisor.abort();
    // Its end is that it was aborted.
    let _ = supervisor.await;
    let (acks, refusals, unanswered, mut findings) = board.read();
    let mut compared = check::all(&site, &evidence, &mut findings).await;
    compared.restarts = site.restarts.load(Ordering::Relaxed);
    for task in listening {
        task.abort();
    }
    if findings.0.is_empty() {
        let site = Arc::into_inner(site).expect("every fault is over");
        if let Err(error) = spawn_local(site.finish()).await {
            findings.add("everything stops when told to", error.to_string());
        }
    } else {
        // Left as it is, to be looked at in its logs; the end of this process ends it.
        std::mem::forget(site);
    }
    let (calm, trouble) = Latency::in_calm_and_trouble(&acks, &evidence.faults);
    Report {
        passed: findings.0.is_empty(),
        seed,
        secs: cli.secs,
        messages: Messages::of(&evidence, &acks, load),
        calls: Calls { refusals, unanswered },
        reads,
        compared,
        calm,
        trouble,
        faults: FaultReport::of(&evidence.faults, &acks),
        slowest: Slow::of(&acks),
        findings,
        logs: None,
    }
}
