//! Storing: once, in order, and all of it, wherever a turn is cut off.

use std::time::Duration;

use harness::children::PATIENCE;
use harness::logs::{LEASE, Line, Stage, somebody};
use shared::id::{EntryId, RoomId};
use shared::stream::{Progress, Wanted, Work};

async fn count_of_session(stage: &Stage, room: RoomId) -> (i64, i64) {
    sqlx::query_as("select total_messages, total_likes from hubbub.live_session where room = $1")
        .bind(room.0)
        .fetch_one(&stage.pool)
        .await
        .expect("the room has a session")
}

async fn a_session(stage: &Stage) -> RoomId {
    let room = stage.room().await;
    sqlx::query(
        "insert into hubbub.live_session (room, name, starts_at, ends_at)
         values ($1, 'a draw', clock_timestamp(), clock_timestamp() + interval '1 hour')",
    )
    .bind(room.0)
    .execute(&stage.pool)
    .await
    .expect("Postgres answers");
    room
}

#[tokio::test]
async fn a_batch_that_is_read_again_changes_nothing() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, ben, voice) = (a_session(&stage).await, somebody(), somebody(), stage.producer());
    let line = Line::new(room, ana, "like me");
    let no = voice.say(&line).await.expect("it is accepted").no;
    for (person, wanted) in [(ana, Wanted::Liked), (ben, Wanted::Liked), (ana, Wanted::NotLiked)] {
        voice.like(room, Some((line.id(), no)), person, wanted).await.expect("it counts");
        voice.like(room, None, person, wanted).await.expect("it counts");
    }
    voice.say_all(room, ana, &["two", "three"]).await;
    stage.store_all(&mut persister).await;
    let once = (
        stage.stored(room).await,
        stage.stored_likes(line.id().0).await,
        count_of_session(&stage, room).await,
    );
    assert_eq!(once.1, 1);
    assert_eq!(once.2, (3, 1));

    for from in [0, 1, 4, 8] {
        stage.rewind_postgres(EntryId { epoch: 1, pseq: from }).await;
        let mut successor = stage.persister().await;
        stage.store_all(&mut successor).await;
        let again = (
            stage.stored(room).await,
            stage.stored_likes(line.id().0).await,
            count_of_session(&stage, room).await,
        );
        assert_eq!(again, once, "read again from {from}");
    }
}

#[tokio::test]
async fn a_turn_that_is_cut_off_anywhere_loses_and_doubles_nothing() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, voice) = (a_session(&stage).await, somebody(), stage.producer());
    let mut said = Vec::new();
    for n in 0..60_u64 {
        for half in ["a", "b"] {
            let text = format!("{n}{half}");
            voice.say_all(room, ana, &[&text]).await;
            said.push(text);
        }
        // A turn takes two to five milliseconds.
        let _ = tokio::time::timeout(Duration::from_micros(100 * n), persister.step()).await;
        if n % 3 == 0 {
            // What a process that died leaves: its lease, and a row that may or may not have moved.
            stage.lapse().await;
            persister = stage.persister().await;
        }
    }
    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await, said);
    assert_eq!(count_of_session(&stage, room).await.0, 120);
}

#[tokio::test]
async fn a_session_that_ends_before_its_commit_takes_the_watermark_back_with_it() {
    let (stage, _servers) = Stage::with_servers(harness::servers::Database::Shared).await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    stage.producer().say_all(room, ana, &["one", "two"]).await;

    let mut wall = stage.wall().await;
    let killed = async {
        let waiting = wall.stops_somebody().await;
        wall.ends(waiting).await;
    };
    let (turn, ()) = tokio::join!(persister.step(), killed);
    assert_eq!(turn.expect_err("the session is gone").code(), shared::error::Code::Unavailable);
    wall.falls().await;
    assert_eq!(stage.watermark().await, EntryId { epoch: 1, pseq: 0 });
    assert!(stage.texts(room).await.is_empty());

    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await, ["one", "two"]);
}

#[tokio::test]
async fn a_commit_whose_answer_was_never_read_is_found_in_the_row() {
    let stage = Stage::start().await;
    let hold = stage.claim(LEASE).await;
    let [mut first, mut second] = [(); 2].map(|()| stage.work(&stage.pool, hold));
    stage.let_open(&mut first).await;
    let (room, ana) = (stage.room().await, somebody());
    stage.producer().say_all(room, ana, &["one", "two"]).await;
    stage.store_all(&mut first).await;

    // The same owner, as it is when it did not hear of its last two transactions.
    stage.producer().say_all(room, ana, &["three"]).await;
    let _ = second.step().await;
    stage.store_all(&mut second).await;
    assert_eq!(stage.texts(room).await, ["one", "two", "three"]);
    assert_eq!(second.step().await.expect("it is still the owner"), Progress::Idle);
}

#[tokio::test]
async fn a_commit_becomes_visible_with_its_watermark_or_not_at_all() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    let talk = async {
        for n in 0..200 {
            voice.say_all(room, ana, &[&n.to_string()]).await;
        }
    };
    let look = async {
        loop {
            let (watermark, rows): (i64, i64) = sqlx::query_as(
                "select p.watermark, (select count(*) from hubbub.message where room = $1)
                 from hubbub.partition p where p.id = $2",
            )
            .bind(room.0)
            .bind(i16::try_from(stage.partition.number()).expect("there are sixteen"))
            .fetch_one(&stage.pool)
            .await
            .expect("Postgres answers");
            assert_eq!(watermark, rows);
            if rows == 200 {
                return;
            }
        }
    };
    let store = async {
        loop {
            persister.step().await.expect("the turn goes well");
        }
    };
    let done = async { tokio::join!(talk, look) };
    tokio::select! {
        done = tokio::time::timeout(PATIENCE, done) => { done.expect("all is stored"); }
        () = store => {}
    }
}
