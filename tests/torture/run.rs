//! One run, from the first process to the verdict.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use harness::children::eventually;
use harness::person::{Node, Person};
use shared::id::Position;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_local};
use uuid::Uuid;

use crate::Cli;
use crate::board::{Board, HOME_WITHIN};
use crate::check::{self, Evidence};
use crate::faults::{self, Done};
use crate::people::Caller;
use crate::people::liker::{self, Liked};
use crate::people::reader::{self, Reads};
use crate::people::sender::{self, Sent};
use crate::people::talker;
use crate::people::watcher::{Growing, Watcher};
use crate::report::{Calls, FaultReport, Latency, Messages, Report, Slow};
use crate::rng::Rng;
use crate::schedule::Planned;
use crate::site::Site;

/// People: who sends over REST, who over sockets, who only watches, and who likes.
const SENDERS: usize = 12;
const TALKERS: usize = 4;
const WATCHERS: usize = 4;
const LIKERS: usize = 8;
/// How long somebody may take to notice that time is up.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
/// How long a stack that was just made may take to open its room.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// The people of a run at their work.
struct People {
    sending: Vec<(String, JoinHandle<Vec<Sent>>)>,
    talking: Vec<(String, oneshot::Receiver<Vec<Sent>>)>,
    listeners: Vec<Growing>,
    liking: Vec<(Uuid, JoinHandle<Liked>)>,
    reading: JoinHandle<Reads>,
    /// They listen until the end.
    listening: Vec<JoinHandle<()>>,
    reader: Caller,
}

/// Everything; a panic says that the run itself broke.
pub(crate) async fn run(cli: Cli, seed: u64, plan: Vec<Planned>) -> Report {
    let site = Arc::new(Site::start(cli.shape(), cli.secs).await);
    let (signed_in, start) = sign_in(&site).await;
    let board = Arc::new(Board::new());
    let supervisor = spawn_local({
        let (site, board) = (site.clone(), board.clone());
        async move { site.supervise(&board).await }
    });
    let people = People::begin(&cli, seed, signed_in, start, &board);
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
        messages: Messages::of(&evidence.sent, &acks, load),
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

/// Signs everybody in, and waits until the room is open; answers its head.
async fn sign_in(site: &Site) -> (Vec<Person>, Position) {
    let stack = site.stack.lock().await;
    let mut people = Vec::new();
    let names =
        [("sender", SENDERS), ("talker", TALKERS), ("watcher", WATCHERS), ("liker", LIKERS), ("reader", 1)];
    for (kind, number) in names {
        for index in 1..=number {
            let person = stack.person(&format!("{kind}{index}")).await;
            // Known at every node, as somebody who has been there before.
            for node in 1..=site.shape.api {
                person.at(Node(node)).get("/auth/me").await.ok();
            }
            people.push(person);
        }
    }
    let asker = people[0].clone();
    let head = eventually(OPEN_WITHIN, async || {
        let status = asker.get("/live-chat/status").await;
        status.body["position"].as_str()?.parse().ok()
    });
    (people, head.await.expect("the room opens"))
}

impl People {
    fn begin(cli: &Cli, seed: u64, signed_in: Vec<Person>, start: Position, board: &Arc<Board>) -> People {
        let all = u32::try_from(SENDERS + TALKERS).unwrap_or(u32::MAX);
        let pace = Duration::from_secs(1) * all / u32::try_from(cli.rate).unwrap_or(1);
        let nodes = cli.shape().api;
        let mut callers = signed_in.into_iter().map(|person| {
            let rng = Rng::named(seed, &person.name);
            Caller::new(person, nodes, rng, board.clone())
        });
        let senders: Vec<Caller> = callers.by_ref().take(SENDERS).collect();
        let talkers: Vec<Caller> = callers.by_ref().take(TALKERS).collect();
        let watchers: Vec<Caller> = callers.by_ref().take(WATCHERS).collect();
        let likers: Vec<Caller> = callers.by_ref().take(LIKERS).collect();
        let reader = callers.next().expect("a reader was signed in");

        let (mut listeners, mut listening, mut talking) = (Vec::new(), Vec::new(), Vec::new());
        for caller in watchers {
            let watcher = Watcher::new(caller, start);
            listeners.push(watcher.record.clone());
            listening.push(tokio::spawn(watcher.watches()));
        }
        for caller in talkers {
            let name = caller.person.name.clone();
            let watcher = Watcher::new(caller, start);
            listeners.push(watcher.record.clone());
            let (done, sent) = oneshot::channel();
            listening.push(tokio::spawn(talker::talks(watcher, pace, done)));
            talking.push((name, sent));
        }
        let send = |caller: Caller| (caller.person.name.clone(), tokio::spawn(sender::sends(caller, pace)));
        let like = |caller: Caller| (account(&caller.person), tokio::spawn(liker::likes(caller)));
        People {
            sending: senders.into_iter().map(send).collect(),
            talking,
            listeners,
            liking: likers.into_iter().map(like).collect(),
            reading: tokio::spawn(reader::reads(reader.clone())),
            listening,
            reader,
        }
    }

    /// Waits until everybody has brought to an end what was under way.
    async fn come_home(self, faults: Vec<Done>, board: &Board) -> (Evidence, Vec<JoinHandle<()>>, Reads) {
        const PROMISE: &str = "everything sent is answered in the end";
        let deadline = tokio::time::Instant::now() + HOME_WITHIN + NOTICED_WITHIN;
        let mut sent = Vec::new();
        for (name, task) in self.sending {
            match tokio::time::timeout_at(deadline, task).await {
                Ok(Ok(messages)) => sent.push(messages),
                late => board.broken(PROMISE, format!("{name}: {late:?}")),
            }
        }
        for (name, messages) in self.talking {
            match tokio::time::timeout_at(deadline, messages).await {
                Ok(Ok(messages)) => sent.push(messages),
                late => board.broken(PROMISE, format!("{name}: {late:?}")),
            }
        }
        let mut liked = Vec::new();
        for (person, task) in self.liking {
            match tokio::time::timeout_at(deadline, task).await {
                Ok(Ok(left)) => liked.push((person, left)),
                late => board.broken("every like is answered in the end", format!("{person}: {late:?}")),
            }
        }
        let reads = match tokio::time::timeout_at(deadline, self.reading).await {
            Ok(Ok(reads)) => reads,
            late => {
                board.broken("every read is answered in the end", format!("{late:?}"));
                Reads::default()
            }
        };
        let evidence = Evidence { sent, listeners: self.listeners, liked, faults, reader: self.reader };
        (evidence, self.listening, reads)
    }
}

fn account(person: &Person) -> Uuid {
    let id = person.account["account_id"].as_str().or(person.account["id"].as_str());
    id.and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no account id in {}", person.account))
}
