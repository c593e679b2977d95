//! What the log refuses though it could take it: too fast, or too much that is not stored.

use std::time::Duration;

use harness::logs::{CAPS, Line, RETAIN, Stage, refusal, somebody};
use shared::Error;
use shared::error::Code;
use shared::id::{AccountId, RoomId};
use shared::keys;
use shared::stream::{Caps, Placed, RateWindow, trim};

const MINUTE: Duration = Duration::from_secs(60);

fn three_a_minute(person: AccountId) -> Option<RateWindow> {
    Some(RateWindow { person, most: 3, window: MINUTE })
}

fn retry_after(outcome: Result<Placed, Error>, code: Code) -> Duration {
    match outcome {
        Err(Error::Refused(refusal)) if refusal.code == code => refusal.retry_after.expect("it says when"),
        other => panic!("{code:?}, not {other:?}"),
    }
}

/// Moves the oldest of the last three lines of a person back in time.
async fn age_the_oldest(stage: &Stage, room: RoomId, person: AccountId, by: Duration) {
    let (key, mut redis) = (keys::rate(stage.partition, room, person), stage.redis().await);
    let oldest: i64 =
        redis::cmd("LINDEX").arg(&key).arg(-1).query_async(&mut redis).await.expect("it is there");
    let back = oldest - i64::try_from(by.as_millis()).expect("a minute");
    redis::cmd("LSET").arg(&key).arg(-1).arg(back).exec_async(&mut redis).await.expect("it is there");
}

#[tokio::test]
async fn a_window_lets_exactly_its_number_through_over_all_nodes() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let (room, ana, ben) = (stage.room().await, somebody(), somebody());
    let nodes = [stage.producer(), stage.producer_to(stage.log_with(RETAIN, CAPS).await)];
    let known = Line::new(room, ana, "1").named("draft-1");
    nodes[0].say_within(&known, three_a_minute(ana)).await.expect("the first");
    // Neither a retry nor what is refused for another reason consumes anything.
    for _ in 0..5 {
        assert!(nodes[1].say_within(&known, three_a_minute(ana)).await.expect("a retry").again);
        let reused = Line { text: "other".into(), ..known.clone() };
        assert_eq!(refusal(nodes[1].say_within(&reused, three_a_minute(ana)).await), Code::NonceReused);
    }
    for (node, text) in [(1, "2"), (0, "3")] {
        nodes[node]
            .say_within(&Line::new(room, ana, text), three_a_minute(ana))
            .await
            .expect("within the rate");
    }
    for node in &nodes {
        let fourth = node.say_within(&Line::new(room, ana, "4"), three_a_minute(ana)).await;
        let wait = retry_after(fourth, Code::RateLimited);
        assert!(wait > MINUTE / 2 && wait <= MINUTE, "{wait:?}");
    }
    nodes[0].say_within(&Line::new(room, ben, "me too"), three_a_minute(ben)).await.expect("somebody else");

    age_the_oldest(&stage, room, ana, MINUTE).await;
    nodes[1].say_within(&Line::new(room, ana, "4"), three_a_minute(ana)).await.expect("the window moved on");
    let fifth = nodes[0].say_within(&Line::new(room, ana, "5"), three_a_minute(ana)).await;
    assert_eq!(refusal(fifth), Code::RateLimited);
}

#[tokio::test]
async fn two_nodes_at_once_let_no_more_through_than_one() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    let nodes = [stage.producer(), stage.producer_to(stage.log_with(RETAIN, CAPS).await)];
    let lines: Vec<Line> = (0..10).map(|n| Line::new(room, ana, n.to_string())).collect();
    let said = lines.iter().enumerate().map(|(n, line)| nodes[n % 2].say_within(line, three_a_minute(ana)));
    let said = futures_util::future::join_all(said).await;
    assert_eq!(said.iter().filter(|placed| placed.is_ok()).count(), 3);
}

#[tokio::test]
async fn a_full_backlog_sheds_heartbeats_first_refuses_then_and_drops_nothing() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    let tight = stage.log_with(RETAIN, Caps { entries: 4, ..CAPS }).await;
    let voice = stage.producer_to(tight);
    voice.say_all(room, ana, &["one", "two"]).await;
    assert_eq!(refusal(voice.beat(0.5).await), Code::Overloaded);
    voice.say_all(room, ana, &["three", "four"]).await;
    let fifth = voice.say(&Line::new(room, ana, "five")).await;
    assert!(retry_after(fifth, Code::Overloaded) >= Duration::from_secs(1));

    stage.store_all(&mut persister).await;
    voice.beat(0.5).await.expect("there is room again");
    voice.say_all(room, ana, &["five"]).await;
    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await, ["one", "two", "three", "four", "five"]);
}

#[tokio::test]
async fn what_is_retained_is_bounded_in_bytes_and_trimming_makes_room() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, text) = (stage.room().await, somebody(), "x".repeat(1_000));
    let tight = stage.log_with(Duration::ZERO, Caps { bytes: 6_000, ..CAPS }).await;
    let voice = stage.producer_to(tight.clone());
    let mut said = 0;
    let refused = loop {
        match voice.say(&Line::new(room, ana, text.as_str())).await {
            Ok(_) => said += 1,
            Err(error) => break error.code(),
        }
    };
    assert_eq!((refused, said), (Code::Overloaded, 4), "four times text, envelope and overhead");
    assert_eq!(trim(&tight, stage.partition).await.expect("the log answers"), 0, "nothing is stored yet");
    stage.store_all(&mut persister).await;
    trim(&tight, stage.partition).await.expect("the log answers");
    voice.say(&Line::new(room, ana, text.as_str())).await.expect("there is room again");
    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await.len(), 5);
}
