//! Two owners of one partition: the older one is harmless, and never waited for longer than its lease.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use harness::children::{PATIENCE, eventually};
use harness::logs::{LEASE, Stage, pool, somebody};
use harness::servers::Database;
use persister::Persist;
use shared::id::{BootId, RoomId};
use shared::store::partitions;
use shared::stream::{Progress, Work};
use sqlx::PgPool;

#[tokio::test]
async fn of_two_owners_the_older_stores_nothing_and_steps_down_every_time() {
    let stage = Stage::start().await;
    let mut owner = stage.open().await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    let mut said = Vec::new();
    for round in 0..20 {
        let text = round.to_string();
        voice.say_all(room, ana, &[&text]).await;
        said.push(text);
        stage.lapse().await;
        let mut successor = stage.persister().await;
        if round % 2 == 0 {
            // The older wakes first, with a batch that nobody has stored yet.
            assert_eq!(owner.step().await.expect("Postgres answers"), Progress::LostLease, "round {round}");
            assert!(stage.texts(room).await.len() < said.len());
        }
        stage.store_all(&mut successor).await;
        if round % 2 == 1 {
            voice.say_all(room, ana, &["by the way"]).await;
            said.push("by the way".into());
            assert_eq!(owner.step().await.expect("Postgres answers"), Progress::LostLease, "round {round}");
        }
        stage.store_all(&mut successor).await;
        owner = successor;
    }
    assert_eq!(stage.texts(room).await, said);
}

#[tokio::test]
async fn two_owners_at_once_store_everything_once() {
    let stage = Stage::start().await;
    let mut older = stage.open().await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    let mut said = Vec::new();
    for round in 0..20 {
        for half in ["a", "b"] {
            let text = format!("{round}{half}");
            voice.say_all(room, ana, &[&text]).await;
            said.push(text);
        }
        stage.lapse().await;
        let mut newer = stage.persister().await;
        let (one, other) = tokio::join!(older.step(), newer.step());
        assert_eq!(one.expect("Postgres answers"), Progress::LostLease, "round {round}");
        assert_eq!(other.expect("Postgres answers"), Progress::Worked, "round {round}");
        older = newer;
    }
    assert_eq!(stage.texts(room).await, said);
}

#[tokio::test]
async fn a_former_owner_can_neither_open_nor_give_up_a_partition() {
    let stage = Stage::start().await;
    let former = stage.claim(LEASE).await;
    stage.lapse().await;
    let mut owner = stage.open().await;
    let mut woken = stage.work(&stage.pool, former);
    assert_eq!(woken.step().await.expect("both answer"), Progress::LostLease);
    partitions::release(&stage.pool, &[former]).await.expect("Postgres answers");
    let renewed = partitions::renew(&stage.pool, &[former], LEASE).await.expect("Postgres answers");
    assert!(renewed.is_empty());
    let claimed = partitions::claim(&stage.pool, BootId::draw(), &[stage.partition], LEASE).await;
    assert!(claimed.expect("Postgres answers").is_empty(), "the lease is the owner's");

    // The woken one may have closed the log in passing; its owner opens it again.
    stage.let_open(&mut owner).await;
    let (room, ana) = (stage.room().await, somebody());
    stage.producer().say_all(room, ana, &["one"]).await;
    stage.store_all(&mut owner).await;
    assert_eq!(stage.texts(room).await, ["one"]);
}

#[tokio::test]
async fn an_owner_that_is_paused_inside_its_transaction_is_followed_within_its_lease() {
    owners_are_paused(2).await;
}

#[tokio::test]
#[ignore = "long: twenty leases"]
async fn of_twenty_owners_that_are_paused_inside_their_transactions_each_is_followed_and_fenced() {
    owners_are_paused(20).await;
}

async fn owners_are_paused(rounds: usize) {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    let (room, ana) = (stage.room().await, somebody());
    let sessions = pool(&stage.database_url, DEADLINE);
    let mut owner = stage.work(&sessions, stage.claim(LEASE).await);
    stage.let_open(&mut owner).await;
    let mut said = Vec::new();
    for round in 0..rounds {
        let before = format!("{round} before");
        stage.producer().say_all(room, ana, &[&before]).await;
        stage.store_all(&mut owner).await;
        said.push(before);
        owner = is_paused_and_followed(&stage, &sessions, owner, room, &mut said).await;
    }
    assert_eq!(stage.texts(room).await, said);
}

/// As a worker of a lease of 900 ms gives its sessions.
const SHORT_LEASE: Duration = Duration::from_millis(900);
const DEADLINE: Duration = Duration::from_millis(600);

/// One round; answers the successor, which is the next owner.
async fn is_paused_and_followed(
    stage: &Stage,
    sessions: &PgPool,
    mut owner: Persist,
    room: RoomId,
    said: &mut Vec<String>,
) -> Persist {
    let (ana, round) = (somebody(), said.len());
    let during = format!("{round} during");
    stage.producer().say_all(room, ana, &[&during]).await;
    said.push(during);
    let mut wall = stage.wall().await;
    let began = Instant::now();
    let mut turn = Box::pin(owner.step());
    let inside = eventually(PATIENCE, async || {
        assert!((&mut turn).now_or_never().is_none(), "the turn can't end behind the wall");
        wall.holds_up().await
    });
    inside.await.expect("the turn is inside its transaction");
    // From here on nobody polls the turn: its process is paused, and its session idle within the transaction.
    wall.falls().await;
    stage.lapse().await;

    let mut successor = None;
    while successor.is_none() {
        let free = partitions::claim(&stage.pool, BootId::draw(), &[stage.partition], LEASE).await;
        let free = free.expect("Postgres answers").into_iter().find(|hold| hold.partition == stage.partition);
        successor = free.map(|hold| stage.work(sessions, hold));
        assert!(began.elapsed() < PATIENCE, "the paused owner holds its row for ever");
        tokio::task::yield_now().await;
    }
    assert!(began.elapsed() < 2 * SHORT_LEASE, "round {round}: {:?}", began.elapsed());
    let mut successor = successor.expect("the loop ends with one");
    stage.store_all(&mut successor).await;
    assert_eq!(&stage.texts(room).await, said, "round {round}");

    // The owner wakes.
    let woken = turn.await;
    assert!(!matches!(woken, Ok(Progress::Worked)), "round {round}: {woken:?}");
    let after = format!("{round} after");
    stage.producer().say_all(room, ana, &[&after]).await;
    said.push(after);
    let lost =
        eventually(PATIENCE, async || matches!(owner.step().await, Ok(Progress::LostLease)).then_some(()))
            .await;
    lost.expect("it finds out");
    assert!(stage.texts(room).await.len() < said.len(), "round {round}: the woken one stored something");
    stage.store_all(&mut successor).await;
    successor
}
