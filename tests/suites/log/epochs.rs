//! Every start of the log's Redis is a new epoch, in which nothing is given out twice and nothing that was acked is missing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::children::{PATIENCE, eventually};
use harness::disk::SlowDisk;
use harness::logs::{Line, Stage, place, refusal, somebody};
use harness::servers::Database;
use shared::error::Code;
use shared::id::{EntryId, Position, RoomId};
use shared::keys;
use shared::store::partitions;
use shared::stream::Work;
use tokio::task::JoinHandle;

#[tokio::test]
async fn a_restarted_log_takes_nothing_until_it_is_opened_and_goes_on_counting_then() {
    let (stage, mut servers) = Stage::with_servers(Database::Shared).await;
    let mut persister = stage.open().await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    let mut said = Vec::new();
    for (epoch, is_killed) in [(2, false), (3, true)] {
        let (stored, in_the_log) = (format!("{epoch} stored"), format!("{epoch} in the log"));
        voice.say_all(room, ana, &[&stored]).await;
        stage.store_all(&mut persister).await;
        voice.say_all(room, ana, &[&in_the_log]).await;
        said.extend([stored, in_the_log]);

        if is_killed {
            servers.log.kill9();
        } else {
            servers.log.stop().await;
        }
        servers.log.start().await;
        // The producer's connection comes back by itself, and must not pass for one to the process that was opened: the log
        // answers on it, still names the epoch, and takes nothing.
        let back = eventually(PATIENCE, async || stage.log.state(stage.partition).await.ok()).await;
        let back = back.expect("the connection comes back");
        assert_eq!((back.open, back.epoch), (false, Some(epoch - 1)));
        let unopened = stage.dump().await;
        assert_eq!(refusal(voice.say(&Line::new(room, ana, "too early")).await), Code::Unavailable);
        assert!(stage.dump().await == unopened, "a process that was not opened took something");

        stage.let_open(&mut persister).await;
        let opened = format!("{epoch} opened");
        let placed = voice.say(&Line::new(room, ana, opened.as_str())).await.expect("it is open");
        said.push(opened);
        let seq = u64::try_from(said.len()).expect("a few");
        assert_eq!((placed.position, place(&placed)), (Position { epoch, seq }, EntryId { epoch, pseq: 1 }));
    }
    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await, said);
}

/// Lines that eight people say without pause until the log is away: those that were acked.
fn talk(stage: &Stage, room: RoomId, said: &Arc<AtomicUsize>) -> Vec<JoinHandle<Vec<(String, Position)>>> {
    let person = |_| {
        let (voice, person, said) = (stage.producer(), somebody(), said.clone());
        tokio::spawn(async move {
            let mut acked = Vec::new();
            for n in 0.. {
                let line = Line::new(room, person, format!("{person} {n}"));
                match voice.say(&line).await {
                    Ok(placed) => acked.push((line.text, placed.position)),
                    Err(error) => {
                        assert_eq!(error.code(), Code::Unavailable, "nobody knows what became of it");
                        break;
                    }
                }
                said.fetch_add(1, Ordering::Relaxed);
            }
            acked
        })
    };
    (0..8).map(person).collect()
}

/// Every line that was acked is stored in its place, and what is stored has no hole and no double.
async fn all_are_stored(stage: &Stage, room: RoomId, acked: &[(String, Position)]) {
    let mut stored: BTreeMap<String, Position> = BTreeMap::new();
    for (epoch, seq, text) in stage.stored(room).await {
        let place = Position { epoch: epoch.cast_unsigned(), seq: seq.cast_unsigned() };
        assert_eq!(stored.insert(text, place), None);
    }
    for (text, position) in acked {
        assert_eq!(stored.get(text), Some(position), "{text} was acked");
    }
    let mut seqs: Vec<u64> = stored.values().map(|place| place.seq).collect();
    seqs.sort_unstable();
    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "what survived has no hole and no double");
}

#[tokio::test]
async fn a_log_that_was_killed_under_load_has_everything_that_it_acked() {
    let (stage, mut servers) = Stage::with_servers(Database::Shared).await;
    let mut persister = stage.open().await;
    let (room, said) = (stage.room().await, Arc::new(AtomicUsize::new(0)));
    let people = talk(&stage, room, &said);
    let enough = eventually(PATIENCE, async || (said.load(Ordering::Relaxed) > 500).then_some(())).await;
    enough.expect("five hundred lines are acked");
    servers.log.kill9();
    let acked: Vec<_> =
        join_all(people).await.into_iter().flat_map(|acked| acked.expect("no panic")).collect();

    servers.log.start().await;
    stage.let_open(&mut persister).await;
    stage.store_all(&mut persister).await;
    all_are_stored(&stage, room, &acked).await;
}

/// How much longer each sync takes on a slow disk. A log that syncs beside its work, each second, is syncing most of the
/// time then, and keeps in memory what it accepts meanwhile.
const SYNC_MS: u64 = 800;

#[tokio::test]
#[ignore = "needs strace"]
async fn also_when_its_disk_is_slow() {
    let (stage, mut servers) = Stage::with_servers(Database::Shared).await;
    let mut persister = stage.open().await;
    let (room, mut acked) = (stage.room().await, Vec::new());
    for _ in 0..3 {
        let process = servers.log.process_id().expect("a server of this machine");
        let disk = SlowDisk::attach(process, SYNC_MS).await.expect("strace may hold it back");
        let (said, began) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let people = talk(&stage, room, &said);
        let enough = eventually(PATIENCE, async || {
            let is_syncing = began.elapsed() > Duration::from_millis(2 * SYNC_MS);
            (is_syncing && said.load(Ordering::Relaxed) > 15).then_some(())
        });
        enough.await.expect("lines are acked");
        servers.log.kill9();
        for person in people {
            acked.extend(person.await.expect("nobody panics"));
        }
        disk.release().await;
        servers.log.start().await;
        stage.let_open(&mut persister).await;
        stage.store_all(&mut persister).await;
    }
    all_are_stored(&stage, room, &acked).await;
}

#[tokio::test]
async fn an_opening_that_comes_late_changes_nothing() {
    let (stage, mut servers) = Stage::with_servers(Database::Shared).await;
    let (log, partition) = (&stage.log, stage.partition);

    // Of a run that is over.
    let before = log.close(partition).await.expect("the log answers");
    servers.log.stop().await;
    servers.log.start().await;
    let late = eventually(PATIENCE, async || log.open(&before, 7, Duration::ZERO).await.ok()).await;
    assert_eq!(late, Some(false));

    // After somebody else's closing: what got in between the two would be read by nobody.
    let paused = log.close(partition).await.expect("the log answers");
    let mut persister = stage.open().await;
    stage.producer().say_all(stage.room().await, somebody(), &["one"]).await;
    let dump = stage.dump().await;
    assert!(!log.open(&paused, 99, Duration::ZERO).await.expect("the log answers"));
    assert!(stage.dump().await == dump, "it changed something");
    let paused = log.close(partition).await.expect("the log answers");
    let successor = log.close(partition).await.expect("the log answers");
    assert!(!log.open(&paused, 8, Duration::ZERO).await.expect("the log answers"), "the successor has begun");

    // Of an epoch that is not above the recorded one.
    assert!(!log.open(&successor, 1, Duration::ZERO).await.expect("the log answers"));
    assert!(log.open(&successor, 9, Duration::ZERO).await.expect("the log answers"));
    assert!(
        !log.open(&successor, 10, Duration::ZERO).await.expect("the log answers"),
        "a closing is good for one opening"
    );
    stage.let_open(&mut persister).await;
}

#[tokio::test]
async fn an_opener_that_is_killed_anywhere_leaves_nothing_that_its_successor_can_not_open() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    let mut said = Vec::new();
    for n in 0..12_u64 {
        let text = n.to_string();
        stage.producer().say_all(room, ana, &[&text]).await;
        said.push(text);
        stage.log.close(stage.partition).await.expect("the log answers");
        // A turn takes a few milliseconds; it ends in the middle of one or the other statement.
        let cut = Duration::from_micros(300 * n);
        let _ = tokio::time::timeout(cut, persister.step()).await;
        if n % 2 == 0 {
            stage.lapse().await;
            persister = stage.persister().await;
        }
        stage.let_open(&mut persister).await;
    }
    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await, said);
}

#[tokio::test]
async fn the_published_watermark_follows_postgres_and_never_runs_ahead() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    for round in 1..=3 {
        stage.producer().say_all(room, ana, &["a", "b"]).await;
        let published = stage.log.state(stage.partition).await.expect("the log answers").watermark;
        assert_eq!(published, EntryId { epoch: 1, pseq: 2 * (round - 1) });
        persister.step().await.expect("the turn goes well");
        let published = stage.log.state(stage.partition).await.expect("the log answers").watermark;
        assert_eq!(published, stage.watermark().await);
        assert_eq!(published.pseq, 2 * round);
    }
    // Late words change nothing.
    for late in [EntryId { epoch: 1, pseq: 3 }, EntryId { epoch: 0, pseq: 99 }] {
        stage.log.publish_watermark(stage.partition, late, false).await.expect("the log answers");
    }
    let published = stage.log.state(stage.partition).await.expect("the log answers").watermark;
    assert_eq!(published, EntryId { epoch: 1, pseq: 6 });
}

#[tokio::test]
async fn consumer_groups_show_a_true_lag_while_nobody_works_and_none_afterwards() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let mut fanout = fanout_worker::Fanout::new(stage.log.clone(), stage.bus.clone(), stage.partition);
    let (room, ana) = (stage.room().await, somebody());
    for (round, waiting) in [(0, 3), (1, 5), (2, 2)] {
        lag_becomes(&stage, 0, &mut persister, &mut fanout).await;
        let texts: Vec<String> = (0..waiting).map(|n| format!("{round} {n}")).collect();
        stage.producer().say_all(room, ana, &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(stage.lag(keys::PERSISTER).await, Some(waiting));
        assert_eq!(stage.lag(keys::FANOUT).await, Some(waiting));
        if round == 1 {
            stage.store_all(&mut persister).await;
            stage.reopen(&mut persister).await;
        }
    }
    lag_becomes(&stage, 0, &mut persister, &mut fanout).await;
    let hold = partitions::read(&stage.pool, stage.partition).await.expect("Postgres answers");
    assert_eq!(hold.watermark, EntryId { epoch: 2, pseq: 2 });
}

/// Both workers work until both groups lag by `lag`.
async fn lag_becomes(stage: &Stage, lag: u64, persister: &mut impl Work, fanout: &mut impl Work) {
    let reached = async {
        while (stage.lag(keys::PERSISTER).await, stage.lag(keys::FANOUT).await) != (Some(lag), Some(lag)) {
            let (stored, handed) = tokio::join!(persister.step(), fanout.step());
            stored.expect("the turn goes well");
            handed.expect("the turn goes well");
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("the groups are published");
}
