//! Entries that can't be stored: parked with their raw bytes, everything behind them goes on, and they can be redriven.

use std::time::{Duration, Instant};

use harness::logs::{Line, Stage, somebody};
use harness::process::Process;
use harness::servers::{Database, PARTITIONS};
use persister::commands;
use shared::event::{Event, MessageDeleted, MessageEdited};
use shared::id::{EntryId, RoomId};
use shared::stream::{Progress, Work, dead_letter};
use sqlx::Row as _;

async fn letters(stage: &Stage) -> Vec<dead_letter::DeadLetter> {
    let all = dead_letter::list(&stage.pool, 1_000).await.expect("Postgres answers");
    all.into_iter().filter(|letter| letter.envelope.partition == stage.partition).collect()
}

/// As an operator or a repaired release would: other bytes in place of the parked ones.
async fn repair(stage: &Stage, entry: EntryId, body: &[u8]) {
    sqlx::query("update hubbub.dead_letter set body = $1 where partition = $2 and pseq = $3")
        .bind(body)
        .bind(i16::try_from(stage.partition.number()).expect("there are sixteen"))
        .bind(i64::from(entry.pseq))
        .execute(&stage.pool)
        .await
        .expect("Postgres answers");
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

async fn messages_of_session(stage: &Stage, room: RoomId) -> i64 {
    sqlx::query("select total_messages from hubbub.live_session where room = $1")
        .bind(room.0)
        .fetch_one(&stage.pool)
        .await
        .expect("the room has a session")
        .get(0)
}

#[tokio::test]
async fn poison_is_parked_in_its_place_and_the_rest_is_stored_in_order() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, voice) = (a_session(&stage).await, somebody(), stage.producer());
    // Bodies that can't be read, and one that names an unknown event with a character that Postgres refuses even in the
    // reason for parking it.
    for (n, body) in [&b"{"[..], b"", &[0xff, 0xfe], b"[]", br#"{"event":"later"}"#, br#"{"event":"\u0000"}"#]
        .iter()
        .enumerate()
    {
        voice.say_all(room, ana, &[&format!("before {n}")]).await;
        voice.append_raw(Some(room), body).await;
    }
    // Values that only Postgres refuses.
    voice.say_all(room, ana, &["a\0b", "fine"]).await;
    voice.append_raw(None, b"nobody's").await;
    voice.say_all(room, ana, &["last"]).await;
    let last = stage.newest().await;
    while stage.watermark().await < last {
        assert_eq!(persister.step().await.expect("nothing stops"), Progress::Worked);
    }

    let mut expected: Vec<String> =
        (0..6).flat_map(|n| [format!("before {n}"), "unreadable".to_owned()]).collect();
    expected.extend(["unreadable", "fine", "last"].map(str::to_owned));
    assert_eq!(stage.texts(room).await, expected);
    let parked: Vec<(u32, Option<String>, Vec<u8>)> = letters(&stage)
        .await
        .into_iter()
        .map(|letter| (letter.envelope.entry.pseq, letter.sqlstate, letter.envelope.body.to_vec()))
        .collect();
    let raw = |at: usize| (parked[at].0, parked[at].1.as_deref(), parked[at].2.as_slice());
    assert_eq!(parked.len(), 8);
    assert_eq!(raw(0), (2, None, &b"{"[..]));
    assert_eq!(raw(2), (6, None, &[0xff, 0xfe][..]));
    assert_eq!((parked[6].0, parked[6].1.as_deref()), (13, Some("22021")), "the text with a NUL");
    assert_eq!(raw(7), (15, None, &b"nobody's"[..]));
    assert_eq!(messages_of_session(&stage, room).await, 8, "placeholders are no messages");

    // What was parked and is retained is parked once, however often it is read.
    stage.rewind_postgres(EntryId { epoch: 1, pseq: 3 }).await;
    let mut successor = stage.persister().await;
    stage.store_all(&mut successor).await;
    assert_eq!(letters(&stage).await.len(), 8);
    assert_eq!(stage.texts(room).await, expected);
}

#[tokio::test]
async fn a_dead_letter_can_be_listed_shown_and_redriven_into_its_place() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, voice) = (a_session(&stage).await, somebody(), stage.producer());
    voice.say_all(room, ana, &["one", "t\0wo", "three"]).await;
    voice.append_raw(Some(room), b"\xffnothing").await;
    stage.store_all(&mut persister).await;
    let [two, nothing] = [2, 4].map(|pseq| EntryId { epoch: 1, pseq });

    let listed = commands::list(&stage.pool).await.expect("Postgres answers");
    let ours = format!("{} {two}", stage.partition);
    let line = listed.lines().find(|line| line.starts_with(&ours)).expect("it is listed");
    assert!(line.contains("22021") && line.contains(&room.to_string()), "{line}");
    let shown = commands::show(&stage.pool, stage.partition, nothing).await.expect("it is there");
    assert!(shown.ends_with("\\xffnothing\n"), "{shown}");
    assert!(commands::show(&stage.pool, stage.partition, EntryId { epoch: 1, pseq: 99 }).await.is_err());

    for unchanged in [two, nothing] {
        assert!(commands::redrive(&stage.pool, stage.partition, unchanged, PARTITIONS).await.is_err());
    }
    assert_eq!(
        stage.texts(room).await,
        ["one", "unreadable", "three", "unreadable"],
        "a failed redrive changes nothing"
    );

    let body = letters(&stage).await.remove(0).envelope.body;
    let mended = String::from_utf8(body.to_vec()).expect("it is JSON").replace("\\u0000", "");
    repair(&stage, two, mended.as_bytes()).await;
    for _ in 0..2 {
        commands::redrive(&stage.pool, stage.partition, two, PARTITIONS).await.expect("it can be stored");
    }
    assert_eq!(stage.texts(room).await, ["one", "two", "three", "unreadable"]);
    assert_eq!(messages_of_session(&stage, room).await, 3, "each message counts once");
    assert_eq!(letters(&stage).await.len(), 1, "what was redriven is no longer listed");
    let shown = commands::show(&stage.pool, stage.partition, two).await.expect("it is kept");
    assert!(shown.contains("redriven at"), "{shown}");
}

#[tokio::test]
async fn a_message_that_was_deleted_while_it_was_parked_comes_back_without_its_text() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    let line = Line::new(room, ana, "no\0t for long");
    let placed = voice.say(&line).await.expect("the log takes any text");
    stage.store_all(&mut persister).await;
    let body = letters(&stage).await.remove(0).envelope.body;
    let mended = String::from_utf8(body.to_vec()).expect("it is JSON").replace("\\u0000", "");
    for text in [Some("edited"), None] {
        let (id, no, by) = (line.id(), placed.no, ana);
        let event = match text {
            Some(text) => Event::MessageEdited(MessageEdited { id, no, by, text: text.to_owned() }),
            None => Event::MessageDeleted(MessageDeleted { id, no, by }),
        };
        voice.append_raw(Some(room), &event.to_body()).await;
    }
    stage.store_all(&mut persister).await;
    let entry = EntryId { epoch: 1, pseq: 1 };
    repair(&stage, entry, mended.as_bytes()).await;
    commands::redrive(&stage.pool, stage.partition, entry, PARTITIONS).await.expect("it can be stored");
    let (content, is_deleted): (Option<String>, bool) =
        sqlx::query_as("select content, deleted_at is not null from hubbub.message where id = $1")
            .bind(line.id().0)
            .fetch_one(&stage.pool)
            .await
            .expect("it is a row");
    assert_eq!((content, is_deleted), (None, true));
}

/// Makes Postgres run into real trouble over a text that names it. Of the SQLSTATEs that a value can cause, our own schema
/// and statements can be brought to raise 22021 alone, which needs no help; these three it raises in a trigger, inside the
/// statement that inserts.
pub(super) async fn plant_trouble(stage: &Stage) {
    for statement in [
        "create function hubbub.dig(depth integer) returns integer language plpgsql as
         $$ begin return hubbub.dig(depth + 1); end $$",
        r#"create function hubbub.trouble() returns trigger language plpgsql as $$ begin
             case new.content
                 when '22P05' then perform '"\u0000"'::jsonb;
                 when '22P02' then perform new.content::integer;
                 when '54001' then perform hubbub.dig(0);
                 else null;
             end case;
             return new;
         end $$"#,
        "create trigger trouble before insert on hubbub.message for each row execute function hubbub.trouble()",
    ] {
        sqlx::query(statement).execute(&stage.pool).await.expect("Postgres takes a trigger");
    }
}

/// Poison is parked, and what stands behind it stored, within this time from when the owner meets it.
const PARKED_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn whatever_a_value_makes_postgres_raise_is_parked_in_time_and_redriven_by_the_command() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    plant_trouble(&stage).await;
    let mut persister = stage.open().await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    let states = ["22P05", "22P02", "54001"];
    // More than one batch, with poison at its beginning, in its middle, and twice in a row at its end.
    let mut said: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    for (at, state) in [(0, "22P05"), (300, "22P02"), (498, "54001"), (499, "22P05")] {
        state.clone_into(&mut said[at]);
    }
    for text in &said {
        voice.say_all(room, ana, &[text]).await;
    }
    let began = Instant::now();
    stage.store_all(&mut persister).await;
    assert!(began.elapsed() < PARKED_WITHIN, "{:?}", began.elapsed());
    let readable =
        |text: &String| if states.contains(&text.as_str()) { "unreadable".into() } else { text.clone() };
    assert_eq!(stage.texts(room).await, said.iter().map(readable).collect::<Vec<String>>());
    let parked = letters(&stage).await;
    let found: Vec<(u32, Option<&str>)> =
        parked.iter().map(|letter| (letter.envelope.entry.pseq, letter.sqlstate.as_deref())).collect();
    let at = |pseq: u32, state| (pseq, Some(state));
    assert_eq!(found, [at(1, "22P05"), at(301, "22P02"), at(499, "54001"), at(500, "22P05")]);

    // A newer release no longer runs into it.
    sqlx::query("drop trigger trouble on hubbub.message")
        .execute(&stage.pool)
        .await
        .expect("Postgres answers");
    let partition = stage.partition.number().to_string();
    for letter in parked {
        let entry = letter.envelope.entry.to_string();
        let command = ["dead-letters", "redrive", &partition, &entry];
        let answer = Process::run("persister", &command, stage.variables()).await;
        assert!(answer.contains("redriven"), "{answer}");
    }
    assert_eq!(stage.texts(room).await, said, "each in its place");
    assert!(letters(&stage).await.is_empty());
}

#[tokio::test]
async fn a_broken_rule_of_ours_stops_the_partition_and_parks_nothing() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    let taken = Line::new(room, ana, "who put this here?");
    sqlx::query(
        "insert into hubbub.message (id, no, room, author, epoch, seq, content, digest, nonce, created_at)
         values ($1, 1, $2, $3, 1, 2, 'who put this here?', '', '', now())",
    )
    .bind(taken.id().0)
    .bind(room.0)
    .bind(ana.0)
    .execute(&stage.pool)
    .await
    .expect("Postgres answers");
    voice.say_all(room, ana, &["one", "two", "three"]).await;

    let stopped = persister.step().await.expect_err("the place is taken");
    assert_eq!(stopped.code(), shared::error::Code::Internal);
    assert!(persister.step().await.is_err(), "and it stays so");
    assert!(letters(&stage).await.is_empty());
    assert_eq!(stage.watermark().await, EntryId { epoch: 1, pseq: 0 }, "nothing of the batch is stored");

    sqlx::query("delete from hubbub.message where id = $1")
        .bind(taken.id().0)
        .execute(&stage.pool)
        .await
        .expect("Postgres answers");
    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await, ["one", "two", "three"]);
}
