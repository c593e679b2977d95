//! Sending: what gets a place, what gets the place that it had, and what must ask Postgres first.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::children::{PATIENCE, eventually};
use harness::logs::{CAPS, Line, RETAIN, Stage, now_ms, place, refusal, somebody};
use shared::error::Code;
use shared::id::{EntryId, Position};
use shared::stream::{Reading, trim};
use uuid::{NoContext, Timestamp, Uuid};

/// A UUID version 7 that says it was made `seconds` from now.
fn made(seconds: i64) -> String {
    let at_ms = i64::try_from(now_ms()).expect("it is before 2262") + seconds * 1000;
    let (whole, rest) = (at_ms / 1000, at_ms % 1000);
    let whole = u64::try_from(whole).expect("it is after 1970");
    let nanos = u32::try_from(rest * 1_000_000).expect("it is below a second");
    Uuid::new_v7(Timestamp::from_unix(NoContext, whole, nanos)).to_string()
}

#[tokio::test]
async fn before_the_opening_a_send_is_unavailable_and_says_so_in_time() {
    let stage = Stage::start().await;
    let line = Line::new(stage.room().await, somebody(), "too early");
    let began = Instant::now();
    assert_eq!(refusal(stage.producer().say(&line).await), Code::Unavailable);
    assert!(began.elapsed() < Duration::from_secs(4), "the deadline of all tries is two seconds");
    assert!(stage.dump().await.is_empty(), "nothing was written");
}

#[tokio::test]
async fn a_send_that_waits_for_the_opening_is_accepted_after_it() {
    let stage = Stage::start().await;
    let line = Line::new(stage.room().await, somebody(), "early");
    let (mut persister, producer) = (stage.persister().await, stage.producer());
    let (said, _) = tokio::join!(producer.say(&line), stage.let_open(&mut persister));
    assert_eq!(said.expect("it is accepted").position, Position { epoch: 1, seq: 1 });
}

#[tokio::test]
async fn accepted_lines_are_numbered_without_holes_in_their_room_and_in_the_log() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let (here, there, ana) = (stage.room().await, stage.room().await, somebody());
    let voice = stage.producer();
    let mut places = Vec::new();
    for (room, text) in [(here, "one"), (here, "two"), (there, "uno"), (here, "three")] {
        let said = voice.say(&Line::new(room, ana, text)).await.expect("it is accepted");
        places.push((place(&said).pseq, said.position.seq, said.again));
    }
    assert_eq!(places, [(1, 1, false), (2, 2, false), (3, 1, false), (4, 3, false)]);

    let mut cursor = stage.log.cursor(stage.partition, EntryId::default());
    let entries = cursor.read(Reading::Now, 10).await.expect("the log answers");
    let chain: Vec<_> = entries.iter().map(|entry| (entry.entry.pseq, entry.seq, entry.prev)).collect();
    assert_eq!(
        chain,
        [(1, 1, 0), (2, 2, 1), (3, 1, 0), (4, 3, 2)],
        "each points to the one before it in its room"
    );
    assert!(entries.windows(2).all(|pair| pair[0].at_ms <= pair[1].at_ms), "time never runs backwards");
}

#[tokio::test]
async fn a_retry_gets_the_place_of_its_first_try_and_another_text_is_refused() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    let line = Line::new(room, ana, "hello").named("draft-1");
    let first = stage.producer().say(&line).await.expect("it is accepted");
    let again = stage.producer().say(&line).await.expect("it is known");
    assert!(!first.again && again.again);
    assert_eq!((first.position, first.no, first.at_ms), (again.position, again.no, again.at_ms));

    let other = Line { text: "good bye".into(), ..line.clone() };
    assert_eq!(refusal(stage.producer().say(&other).await), Code::NonceReused);
    let elsewhere = Line { room: stage.room().await, ..line.clone() };
    assert!(!stage.producer().say(&elsewhere).await.expect("another room, another message").again);
    let by_ben = Line { author: somebody(), ..line };
    assert!(!stage.producer().say(&by_ben).await.expect("another person, another message").again);
}

#[tokio::test]
async fn many_at_once_under_one_name_are_one_message() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let line = Line::new(stage.room().await, somebody(), "hello").named("draft-1");
    let (one, other) = (stage.producer(), stage.producer_to(stage.log_with(RETAIN, CAPS).await));
    let said = join_all((0..20).map(|n| if n % 2 == 0 { one.say(&line) } else { other.say(&line) })).await;
    let said: Vec<_> = said.into_iter().map(|placed| placed.expect("each is accepted or known")).collect();
    assert_eq!(said.iter().filter(|placed| !placed.again).count(), 1);
    assert!(said.iter().all(|placed| placed.position == said[0].position && placed.no == said[0].no));
}

#[tokio::test]
async fn a_retry_is_known_for_ever_also_when_the_log_has_forgotten_it() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    // Names that say no time, and names of a time before the next epoch, recent or long ago.
    let names = || ["draft-1".to_owned(), Uuid::new_v4().to_string(), made(0), made(-400)];
    let mut said = Vec::new();
    for is_stored in [true, false] {
        for name in names() {
            let text = format!("{name}, stored before: {is_stored}");
            let line = Line::new(room, if is_stored { ana } else { somebody() }, text.as_str()).named(&name);
            // Long after the opening a name of just now is taken for new without asking Postgres.
            stage.open_since_long().await;
            let first = stage.producer().say(&line).await.expect("it is accepted");
            if is_stored {
                stage.store_all(&mut persister).await;
            }
            stage.reopen(&mut persister).await;

            let again = stage.producer().say(&line).await.expect("it is known");
            assert!(again.again, "{text}");
            assert_eq!((first.position, first.no, first.at_ms), (again.position, again.no, again.at_ms));
            let other = Line { text: "good bye".into(), ..line };
            assert_eq!(refusal(stage.producer().say(&other).await), Code::NonceReused, "{text}");
            said.push(text);
        }
    }
    let next = stage.producer().say(&Line::new(room, ana, "next")).await.expect("it is accepted");
    assert_eq!(next.position, Position { epoch: 9, seq: 9 }, "the room's numbers go on");
    stage.store_all(&mut persister).await;
    said.push("next".to_owned());
    assert_eq!(stage.texts(room).await, said);
}

#[tokio::test]
async fn a_retry_that_is_on_its_way_while_the_epoch_changes_is_the_same_message() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    let (voice, mut said) = (stage.producer(), Vec::new());
    for round in 0..5 {
        let text = round.to_string();
        let line = Line::new(room, ana, text.as_str()).named(&made(0));
        stage.open_since_long().await;
        let first = voice.say(&line).await.expect("it is accepted");
        // The log goes before it is stored; the retry waits at the closed door while the next owner stores what survived.
        stage.log.close(stage.partition).await.expect("the log answers");
        let (again, ()) = tokio::join!(voice.say(&line), stage.let_open(&mut persister));
        let again = again.expect("it is known");
        assert!(again.again, "round {round}");
        assert_eq!((first.position, first.no, first.at_ms), (again.position, again.no, again.at_ms));
        said.push(text);
    }
    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await, said);
    assert_eq!(stage.newest().await, EntryId { epoch: 5, pseq: 1 }, "no retry took a place of its own");
}

#[tokio::test]
async fn a_retry_of_a_sender_whose_clock_is_ahead_is_the_same_message_in_the_next_epoch() {
    const AHEAD_SECS: i64 = 4;
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    let line = Line::new(room, ana, "early").named(&made(AHEAD_SECS));
    let made_at = now_ms() + AHEAD_SECS.unsigned_abs() * 1_000;
    let first = stage.producer().say(&line).await.expect("it is accepted");
    stage.store_all(&mut persister).await;
    // Also after a second opening.
    for _ in 0..2 {
        stage.reopen(&mut persister).await;
    }
    // Its name says a time after the opening, which by now has passed.
    until(made_at).await;
    let again = stage.producer().say(&line).await.expect("it is known");
    assert!(again.again && again.position == first.position, "{again:?} is not {first:?}");
}

#[tokio::test]
async fn a_retry_of_a_sender_whose_clock_is_ahead_is_known_after_its_entry_is_gone() {
    const AHEAD_SECS: i64 = 3;
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    stage.open_since_long().await;
    let log = stage.log_with(Duration::from_secs(1), CAPS).await;
    let voice = stage.producer_to(log.clone());
    let line = Line::new(stage.room().await, somebody(), "early").named(&made(AHEAD_SECS));
    let made_at = now_ms() + AHEAD_SECS.unsigned_abs() * 1_000;
    let first = voice.say(&line).await.expect("it is accepted");
    stage.store_all(&mut persister).await;
    let gone = eventually(PATIENCE, async || (trim(&log, stage.partition).await.ok()? > 0).then_some(()));
    gone.await.expect("it is trimmed after a second");
    until(made_at).await;
    let again = voice.say(&line).await.expect("it is known");
    assert!(again.again && again.position == first.position, "{again:?} is not {first:?}");
}

#[tokio::test]
async fn an_older_copy_of_the_log_knows_retries_of_clocks_that_were_ahead() {
    const AHEAD_SECS: i64 = 3;
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let line = Line::new(stage.room().await, somebody(), "early").named(&made(AHEAD_SECS));
    let made_at = now_ms() + AHEAD_SECS.unsigned_abs() * 1_000;
    let before = stage.dump().await;
    let first = stage.producer().say(&line).await.expect("it is accepted");
    stage.store_all(&mut persister).await;
    stage.restore(&before).await;
    stage.reopen(&mut persister).await;
    until(made_at).await;
    let again = stage.producer().say(&line).await.expect("it is known");
    assert!(again.again && again.position == first.position, "{again:?} is not {first:?}");
}

/// Waits until a name that says this time, in milliseconds since 1970, is one of the past.
async fn until(ms: u64) {
    let passed = eventually(PATIENCE, async || (now_ms() > ms).then_some(())).await;
    passed.expect("time passes");
}

#[tokio::test]
async fn only_a_name_that_may_be_old_needs_postgres() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    stage.producer().say(&Line::new(room, ana, "the room is known now")).await.expect("it is accepted");
    let alone = stage.producer_without_postgres();
    let named = |name: &str| Line::new(room, ana, name).named(name);

    // Made within a second of the opening: the first try may have been before it.
    let just_opened = named(&made(0));
    stage.open_since_long().await;
    let before = stage.newest().await;
    alone.say(&Line::new(room, ana, "ours")).await.expect("a name of our own is new");
    alone.say(&named(&made(0))).await.expect("a young name is new");
    alone.say(&named(&made(-200))).await.expect("younger than half of what is retained is young");
    assert_eq!(stage.newest().await.pseq, before.pseq + 3);

    let doubtful =
        [named("draft-1"), named(&Uuid::new_v4().to_string()), named(&made(-400)), named(&made(60))];
    let answers = join_all(doubtful.iter().map(|line| alone.say(line))).await;
    for (line, answer) in doubtful.iter().zip(answers) {
        assert_eq!(refusal(answer), Code::Unavailable, "{}", line.text);
    }
    assert_eq!(stage.newest().await.pseq, before.pseq + 3, "none of them was accepted");
    for line in doubtful.iter().chain([&just_opened]) {
        assert!(!stage.producer().say(line).await.expect("Postgres says that it is new").again);
    }
}

#[tokio::test]
async fn a_young_name_is_looked_up_in_the_first_second_of_an_epoch() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    stage.producer().say(&Line::new(room, ana, "the room is known now")).await.expect("it is accepted");
    stage.reopen(&mut persister).await;
    stage.producer().say(&Line::new(room, ana, "and again")).await.expect("it is accepted");
    let young = Line::new(room, ana, "young").named(&made(0));
    assert_eq!(refusal(stage.producer_without_postgres().say(&young).await), Code::Unavailable);
}

#[tokio::test]
async fn a_room_goes_on_where_postgres_has_it_and_an_unknown_one_is_not_found() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    sqlx::query("update hubbub.room set last_epoch = 0, last_seq = 41 where id = $1")
        .bind(room.0)
        .execute(&stage.pool)
        .await
        .expect("Postgres answers");
    let unknown = Line::new(room, ana, "nobody knows the room");
    assert_eq!(refusal(stage.producer_without_postgres().say(&unknown).await), Code::Unavailable);
    let said = stage.producer().say(&Line::new(room, ana, "here")).await.expect("it is accepted");
    assert_eq!(said.position, Position { epoch: 1, seq: 42 });

    let nowhere = Line::new(stage.unknown_room(), ana, "nowhere");
    assert_eq!(refusal(stage.producer().say(&nowhere).await), Code::NotFound);
}

#[tokio::test]
async fn what_is_accepted_while_nobody_stores_is_stored_later_in_order() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    stage.producer().say_all(room, ana, &["one", "two", "three"]).await;
    assert!(stage.texts(room).await.is_empty());
    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await, ["one", "two", "three"]);
}
