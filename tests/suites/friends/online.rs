//! Who is here, who writes, and how much is unread.

use std::time::{Duration, Instant};

use harness::children::eventually;
use harness::person::{Node, Person};
use harness::stack::{Role, Stack};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{become_friends, friends};

/// Presence is right within so long after a node died.
const WITHIN: Duration = Duration::from_secs(30);

async fn online(person: &Person) -> Vec<String> {
    let answer = person.get("/api/v1/chat/friends/online").await.ok();
    let ids = answer["online_friends"].as_array().expect("a list").iter();
    ids.map(|id| id.as_str().expect("an id").to_owned()).collect()
}

async fn unread(person: &Person) -> i64 {
    let answer = person.get("/api/v1/chat/messages/unread-count").await.ok();
    assert!(answer.get("incomplete").is_none(), "{answer}");
    answer["unread_count"].as_i64().expect("a count")
}

#[tokio::test]
async fn two_devices_are_one_person_here_until_the_last_one_goes() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = friends(&stack, 2).await;
    let (mut anas, at_first) = ana.comes_online_with("&caps=presence").await;
    assert!(at_first.is_empty());
    let one = ben.comes_online().await;
    assert_eq!(anas.next("friend_online").await["user_id"].as_str(), Some(ben.id()));
    let two = ben.at(Node(1)).comes_online().await;
    let (_again, here) = ana.comes_online_with("").await;
    assert_eq!(here, [ben.id()], "two devices count once");
    one.close().await;
    ben.writes(&ana, "still here").await;
    anas.reads(1).await;
    assert!(anas.passed.iter().all(|frame| frame["type"] != "friend_offline"), "{:?}", anas.passed);
    assert_eq!(online(&ana).await, [ben.id()]);
    two.close().await;
    assert_eq!(anas.next("friend_offline").await["user_id"].as_str(), Some(ben.id()));
    assert_eq!(online(&ana).await, [""; 0]);
    drop((anas, _again));
    stack.finish().await;
}

#[tokio::test]
async fn who_was_at_a_node_that_died_is_not_here_for_long() {
    let mut stack = Stack::builder().nodes(2).processes().start().await;
    let (ana, ben) = friends(&stack, 2).await;
    let (mut anas, _) = ana.comes_online_with("&caps=presence").await;
    let bens = ben.comes_online().await;
    anas.next("friend_online").await;
    let mut second = stack.take(Role::Api, 2);
    let died_at = Instant::now();
    second.process().kill9();
    drop((second, bens));
    let gone = eventually(WITHIN, async || online(&ana).await.is_empty().then_some(()));
    gone.await.expect("a dead node's word lapses");
    let told = eventually(WITHIN, async || {
        let frame = tokio::time::timeout(WITHIN, anas.any()).await.ok()??;
        (frame["type"] == "friend_offline").then_some(())
    });
    told.await.expect("and who asked is told");
    assert!(died_at.elapsed() <= WITHIN, "after {:?}", died_at.elapsed());
    drop(anas);
    stack.finish().await;
}

#[tokio::test]
async fn a_hundred_typing_frames_a_second_are_one_and_the_stop_is_not_lost() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = friends(&stack, 2).await;
    let carl = stack.person("carl").await;
    let (mut anas, mut bens, mut carls) =
        (ana.comes_online().await, ben.comes_online().await, carl.comes_online().await);
    for number in 0..100 {
        let frame = json!({ "type": "typing", "receiver_id": ben.id(), "is_typing": number % 2 == 0 });
        anas.send(&frame).await;
    }
    assert_eq!(bens.next("typing_indicator").await["is_typing"], true);
    let stopped = bens.next("typing_indicator").await;
    assert_eq!((&stopped["is_typing"], stopped["user_id"].as_str()), (&json!(false), Some(ana.id())));
    // Sending ends it too, and so does going.
    for end in ["a message", "going"] {
        anas.send(&json!({ "type": "typing", "receiver_id": ben.id(), "is_typing": true })).await;
        assert_eq!(bens.next("typing_indicator").await["is_typing"], true, "{end}");
        if end == "a message" {
            anas.writes(&ben, "done").await;
        } else {
            anas.close().await;
            anas = ana.comes_online().await;
        }
        assert_eq!(bens.next("typing_indicator").await["is_typing"], false, "{end}");
    }
    // To a stranger it silently does nothing.
    anas.send(&json!({ "type": "typing", "receiver_id": carl.id(), "is_typing": true })).await;
    anas.writes(&ben, "after").await;
    anas.next("message_sent").await;
    assert!(anas.passed.iter().all(|frame| frame["type"] != "error"), "{:?}", anas.passed);
    carls.send(&json!({ "type": "typing", "receiver_id": ana.id(), "is_typing": true })).await;
    carls.send(&json!({ "type": "nothing" })).await;
    carls.next("error").await;
    assert!(carls.passed.is_empty(), "{:?}", carls.passed);
    drop((anas, bens, carls));
    stack.finish().await;
}

#[tokio::test]
async fn a_message_from_another_device_ends_it_too() {
    let stack = Stack::builder().nodes(3).start().await;
    let (ana, ben) = friends(&stack, 3).await;
    let mut anas = ana.comes_online().await;
    let mut devices = [ben.at(Node(2)).comes_online().await, ben.comes_online().await];
    anas.send(&json!({ "type": "typing", "receiver_id": ben.id(), "is_typing": true })).await;
    for device in &mut devices {
        assert_eq!(device.next("typing_indicator").await["is_typing"], true);
    }
    ana.at(Node(2)).writes(&ben, "from elsewhere").await;
    for device in &mut devices {
        assert_eq!(device.next("typing_indicator").await["is_typing"], false);
        assert!(device.passed.iter().all(|frame| frame["type"] != "new_message"), "{:?}", device.passed);
        assert_eq!(device.reads(1).await, ["from elsewhere"]);
    }
    drop((anas, devices));
    stack.finish().await;
}

#[tokio::test]
async fn who_is_no_friend_any_more_is_not_seen_writing() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = friends(&stack, 2).await;
    let (mut anas, mut bens) = (ana.comes_online().await, ben.comes_online().await);
    // Ana's node knows from here on that she may write to ben. (Typing would hold up the next word of it for a second.)
    anas.writes(&ben, "and that is that").await;
    assert_eq!(bens.reads(1).await, ["and that is that"]);
    assert_eq!(ben.delete(&format!("/api/v1/friends/{}", ana.id())).await.status, 204);
    anas.send(&json!({ "type": "typing", "receiver_id": ben.id(), "is_typing": true })).await;
    anas.send(&json!({ "type": "nothing" })).await;
    anas.next("error").await;
    // What was said to others comes; what was said to ben would have come before it.
    let carl = stack.person("carl").await;
    become_friends(&carl, &ben).await;
    carl.writes(&ben, "hello").await;
    assert_eq!(bens.reads(1).await, ["hello"]);
    assert!(bens.passed.iter().all(|frame| frame["type"] != "typing_indicator"), "{:?}", bens.passed);
    drop((anas, bens));
    stack.finish().await;
}

#[tokio::test]
async fn who_vanished_is_not_left_writing() {
    let mut stack = Stack::builder().nodes(2).processes().start().await;
    let (ana, ben) = friends(&stack, 1).await;
    let ana = ana.at(Node(2));
    let (mut anas, mut bens) = (ana.comes_online().await, ben.comes_online().await);
    anas.send(&json!({ "type": "typing", "receiver_id": ben.id(), "is_typing": true })).await;
    assert_eq!(bens.next("typing_indicator").await["is_typing"], true);
    let mut second = stack.take(Role::Api, 2);
    second.process().kill9();
    assert_eq!(bens.next("typing_indicator").await["is_typing"], false, "six seconds later");
    drop((second, anas, bens));
    stack.finish().await;
}

/// What one of two people does; the number names one of the messages sent before.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Write(bool),
    Read(usize, usize),
    Delete(usize),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => any::<bool>().prop_map(Deed::Write),
        3 => (any::<usize>(), 1..3_usize).prop_map(|(n, node)| Deed::Read(n, node)),
        1 => any::<usize>().prop_map(Deed::Delete),
    ];
    prop::collection::vec(deed, 1..25)
}

/// A message as counting by hand has it.
struct Letter {
    id: String,
    from_ana: bool,
    is_new: bool,
}

async fn counts_agree(ana: &Person, ben: &Person, deeds: Vec<Deed>) {
    let (before_ana, before_ben) = (unread(ana).await, unread(ben).await);
    let mut letters: Vec<Letter> = Vec::new();
    for deed in deeds {
        let count = letters.len();
        let named = |n: usize| n.checked_rem(count);
        match deed {
            Deed::Write(from_ana) => {
                let (from, to) = if from_ana { (ana, ben) } else { (ben, ana) };
                let sent: Value = from.writes(to, "x").await;
                let id = sent["message_id"].as_str().expect("an id").to_owned();
                letters.push(Letter { id, from_ana, is_new: true });
            }
            Deed::Read(n, node) => {
                let Some(letter) = named(n).map(|n| &mut letters[n]) else { continue };
                let reader = if letter.from_ana { ben } else { ana };
                let answer = reader
                    .at(Node(node))
                    .put(&format!("/api/v1/chat/messages/{}/read", letter.id), &json!({}))
                    .await;
                assert!(matches!(answer.status, 200 | 404), "{answer:?}");
                letter.is_new = false;
            }
            Deed::Delete(n) => {
                let Some(letter) = named(n).map(|n| &mut letters[n]) else { continue };
                let author = if letter.from_ana { ana } else { ben };
                let answer = author.delete(&format!("/api/v1/chat/messages/{}", letter.id)).await;
                assert_eq!(answer.status, 204, "{answer:?}");
                letter.is_new = false;
            }
        }
    }
    let counted = |from_ana: bool| {
        i64::try_from(letters.iter().filter(|letter| letter.from_ana == from_ana && letter.is_new).count())
            .expect("few")
    };
    assert_eq!(unread(ben).await - before_ben, counted(true), "ben's");
    assert_eq!(unread(ana).await - before_ana, counted(false), "ana's");
}

#[test]
fn unread_counts_equal_counting_by_hand() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (stack, ana, ben) = runtime.block_on(async {
        let stack = Stack::builder().nodes(2).start().await;
        let (ana, ben) = friends(&stack, 1).await;
        (stack, ana, ben)
    });
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 12, ..ProptestConfig::default() });
    let outcome = runner.run(&deeds(), |deeds| {
        runtime.block_on(counts_agree(&ana, &ben, deeds));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    runtime.block_on(stack.finish());
}
