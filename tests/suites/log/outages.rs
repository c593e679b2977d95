//! Postgres away or set back, and a log with a hole: what can be kept is kept, and what is lost is put on record.

use std::time::{Duration, Instant};

use harness::children::{PATIENCE, eventually};
use harness::logs::{CAPS, LEASE, Line, Stage, place, somebody};
use harness::servers::{Database, PARTITIONS};
use persister::PostgresOffice;
use shared::error::Code;
use shared::id::{AccountId, BootId, EntryId, Position, RoomId};
use shared::keys;
use shared::stream::{Crew, Progress, Work, trim};

/// What was put on record as lost: after and before which entry.
async fn losses(stage: &Stage) -> Vec<(String, String)> {
    sqlx::query_as(
        "select lost->>'after', lost->>'before'
         from hubbub.partition, jsonb_array_elements(coalesce(lost_range, '[]')) as lost where id = $1",
    )
    .bind(i16::try_from(stage.partition.number()).expect("there are sixteen"))
    .fetch_all(&stage.pool)
    .await
    .expect("Postgres answers")
}

/// Takes an entry out of the log by hand.
async fn lose(stage: &Stage, entry: EntryId) {
    let mut delete = redis::cmd("XDEL");
    delete.arg(keys::log(stage.partition)).arg(entry.to_string());
    let gone: u32 = delete.query_async(&mut stage.redis().await).await.expect("the log's Redis answers");
    assert_eq!(gone, 1);
}

#[tokio::test]
async fn while_postgres_is_away_sends_go_on_and_all_of_them_are_stored_afterwards() {
    let (stage, servers) = Stage::with_servers(Database::Own).await;
    let mut persister = stage.open().await;
    stage.open_since_long().await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    voice.say_all(room, ana, &["before"]).await;
    stage.store_all(&mut persister).await;

    let mut said = vec!["before".to_owned()];
    let talk = async |said: &mut Vec<String>, times: usize| {
        for _ in 0..times {
            let text = said.len().to_string();
            voice.say_all(room, ana, &[&text]).await;
            said.push(text);
        }
    };
    talk(&mut said, 5).await;
    servers.postgres.stop().await;
    assert_eq!(persister.step().await.expect_err("Postgres is away").code(), Code::Unavailable);
    talk(&mut said, 20).await;
    assert!(persister.step().await.is_err());
    servers.postgres.start().await;
    talk(&mut said, 5).await;
    let back = eventually(PATIENCE, async || persister.step().await.ok()).await;
    assert_ne!(back, Some(Progress::LostLease), "nobody took over");
    talk(&mut said, 5).await;
    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await, said);
}

#[tokio::test]
async fn a_hole_in_the_log_is_put_on_record_and_holds_up_nothing() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    voice.say_all(room, ana, &["one", "two", "three", "four", "five"]).await;
    for pseq in [2, 4] {
        lose(&stage, EntryId { epoch: 1, pseq }).await;
    }
    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await, ["one", "three", "five"]);
    let lost = [("1-1", "1-3"), ("1-3", "1-5")].map(|(after, before)| (after.to_owned(), before.to_owned()));
    assert_eq!(losses(&stage).await, lost);

    let line = Line::new(room, ana, "six");
    let (said, ()) = tokio::join!(voice.say(&line), stage.let_open(&mut persister));
    let said = said.expect("a new epoch takes it within the deadline");
    assert!(said.position.epoch > 1 && said.position.seq == 6, "{said:?}");
    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await, ["one", "three", "five", "six"]);
    assert_eq!(losses(&stage).await.len(), 2, "a new epoch is no hole");
}

/// Says something, again and again under one name while the log is closed.
async fn says_when_open(stage: &Stage, room: RoomId, author: AccountId, text: &str) {
    let (voice, line) = (stage.producer(), Line::new(room, author, text));
    let said = eventually(PATIENCE, async || match voice.say(&line).await {
        Ok(placed) => Some(placed),
        Err(error) => {
            assert_eq!(error.code(), Code::Unavailable, "{text}");
            None
        }
    });
    said.await.expect("the log is opened");
}

async fn is_stored(stage: &Stage, room: RoomId, texts: &[&str]) {
    let stored = eventually(PATIENCE, async || (stage.texts(room).await == texts).then_some(()));
    assert!(stored.await.is_some(), "{texts:?} are not stored: {:?}", stage.texts(room).await);
}

/// What follows upon a hole is stored within this time: the chores find the log closed at their next turn, a second later.
const WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_hole_stalls_neither_its_own_partition_nor_any_other() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    let office = PostgresOffice::new(stage.log.clone(), stage.pool.clone(), LEASE);
    let mut crew = Crew::new(office, BootId::draw(), PARTITIONS);
    let (here, elsewhere, ana) = (stage.room().await, stage.room_elsewhere().await, somebody());
    crew.tick().await.expect("Postgres answers");
    for room in [here, elsewhere] {
        says_when_open(&stage, room, ana, "before").await;
        is_stored(&stage, room, &["before"]).await;
    }
    // Nobody stores anything while the log takes three more and loses the first of them.
    crew.go().await;
    for text in ["lost", "two", "three"] {
        says_when_open(&stage, here, ana, text).await;
    }
    lose(&stage, EntryId { epoch: 1, pseq: 2 }).await;
    says_when_open(&stage, elsewhere, ana, "meanwhile").await;

    let began = Instant::now();
    crew.tick().await.expect("Postgres answers");
    is_stored(&stage, elsewhere, &["before", "meanwhile"]).await;
    says_when_open(&stage, here, ana, "later").await;
    is_stored(&stage, here, &["before", "two", "three", "later"]).await;
    assert!(began.elapsed() < WITHIN, "{:?}", began.elapsed());
    assert_eq!(losses(&stage).await, [("1-1".to_owned(), "1-3".to_owned())]);
    let others: i64 =
        sqlx::query_scalar("select count(*) from hubbub.partition where lost_range is not null or epoch > 1")
            .fetch_one(&stage.pool)
            .await
            .expect("Postgres answers");
    assert_eq!(others, 1, "only the partition with the hole has a record and a new epoch");
    crew.go().await;
}

#[tokio::test]
async fn a_former_owner_that_meets_a_hole_puts_nothing_on_record() {
    let stage = Stage::start().await;
    let mut former = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    stage.producer().say_all(room, ana, &["one", "two", "three"]).await;
    stage.lapse().await;
    let mut owner = stage.persister().await;
    stage.store_all(&mut owner).await;
    let hasty = stage.log_with(Duration::ZERO, CAPS).await;
    trim(&hasty, stage.partition).await.expect("the log answers");
    stage.producer().say_all(room, ana, &["four"]).await;
    assert_eq!(former.step().await.expect("both answer"), Progress::LostLease);
    assert!(losses(&stage).await.is_empty());
    stage.store_all(&mut owner).await;
    assert_eq!(stage.texts(room).await, ["one", "two", "three", "four"]);
}

#[tokio::test]
async fn a_postgres_that_came_back_older_is_brought_up_again_from_what_the_log_retains() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    voice.say_all(room, ana, &["one", "two"]).await;
    stage.store_all(&mut persister).await;
    stage.reopen(&mut persister).await;
    voice.say_all(room, ana, &["three", "four"]).await;
    stage.store_all(&mut persister).await;

    sqlx::query("delete from hubbub.message where room = $1 and content <> 'one'")
        .bind(room.0)
        .execute(&stage.pool)
        .await
        .expect("Postgres answers");
    stage.rewind_postgres(EntryId { epoch: 1, pseq: 1 }).await;
    let mut persister = stage.persister().await;
    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await, ["one", "two", "three", "four"]);
    assert_eq!(stage.watermark().await, EntryId { epoch: 2, pseq: 2 });
    assert!(losses(&stage).await.is_empty());
    let said = voice.say(&Line::new(room, ana, "five")).await.expect("the log was never closed");
    assert_eq!((said.position, place(&said).pseq), (Position { epoch: 2, seq: 5 }, 3));
}

#[tokio::test]
async fn a_log_that_is_ahead_with_nothing_left_to_read_is_followed() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    stage.reopen(&mut persister).await;
    voice.say_all(room, ana, &["one", "two"]).await;
    stage.store_all(&mut persister).await;
    let hasty = stage.log_with(Duration::ZERO, CAPS).await;
    trim(&hasty, stage.partition).await.expect("the log answers");

    stage.rewind_postgres(EntryId { epoch: 1, pseq: 0 }).await;
    let mut persister = stage.persister().await;
    let followed = eventually(PATIENCE, async || {
        persister.step().await.expect("the turn goes well");
        (stage.watermark().await == EntryId { epoch: 2, pseq: 2 }).then_some(())
    });
    followed.await.expect("Postgres is where the log is");
    let said = voice.say(&Line::new(room, ana, "three")).await.expect("the log was never closed");
    assert_eq!(place(&said), EntryId { epoch: 2, pseq: 3 });
    stage.store_all(&mut persister).await;
    assert!(stage.texts(room).await.contains(&"three".to_owned()));
}
