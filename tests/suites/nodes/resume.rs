//! Coming back: exactly what was missed, in order, on any node; or an honest word that it can't be had.

use futures_util::future::join_all;
use harness::children::{PATIENCE, eventually};
use harness::load::Said;
use harness::person::{Node, Person};
use harness::stack::Stack;
use serde_json::{Value, json};

/// What a client is told of the room, in order. Totals of the session are no part of it: whoever comes back is told how
/// they stand, changed or not.
fn told(frames: &[Value]) -> Vec<String> {
    let tell = |frame: &Value| match frame["type"].as_str()? {
        "new_message" => Some(frame["message"]["message"].as_str()?.to_owned()),
        "message_like_update" => Some(format!("{} likes", frame["likes"])),
        "resync" => Some(format!("resync {}", position(frame))),
        _ => None,
    };
    frames.iter().filter_map(tell).collect()
}

fn position(frame: &Value) -> String {
    format!("{}:{}", frame["epoch"], frame["seq"])
}

/// Waits until a send is accepted: the log has to be opened first.
async fn says_when_possible(person: &Person, text: &str) {
    let nonce = uuid::Uuid::now_v7().to_string();
    let accepted = eventually(PATIENCE, async || {
        let answer = person.tries_to_say(text, Some(&nonce)).await.expect("the node answers");
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        (answer.status == 200).then_some(())
    });
    assert!(accepted.await.is_some(), "{text} was never accepted");
}

#[tokio::test]
async fn a_client_that_comes_back_on_another_node_hears_exactly_what_it_missed() {
    let stack = Stack::builder().nodes(3).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    // Node 2 holds the room in memory all along; node 3 hears of it for the first time.
    let watcher = ben.at(Node(2)).connect().await;
    let mut socket = ana.connect().await;
    let first = ben.says("one").await;
    let last = position(&socket.next("new_message").await);
    socket.close().await;

    ben.says("two").await;
    let like = format!("/live-chat/like-message/{}", first["message_id"]);
    ben.post(&like, &json!({})).await.ok();
    ben.says("three").await;
    ben.post("/live-chat/like", &json!({})).await.ok();
    ben.says("four").await;
    for (node, stored) in [(2, false), (3, false), (1, true), (2, true), (3, true)] {
        if stored {
            stack.stored().await;
        }
        let mut back = ana.at(Node(node)).resume(&last).await;
        assert_eq!(back.hears(3).await, ["two", "three", "four"], "node {node}, stored: {stored}");
        let frames = back.catches_up().await;
        assert_eq!(told(&frames), ["1 likes"], "node {node}, stored: {stored}");
        let total = frames.iter().rev().find(|frame| frame["type"] == "session_like_update");
        assert_eq!(
            total.map(|frame| &frame["total_likes"]),
            Some(&json!(1)),
            "node {node}, stored: {stored}"
        );
        drop(back);
    }
    let mut back = ana.at(Node(3)).resume(&last).await;
    assert_eq!(back.hears(3).await, ["two", "three", "four"]);
    ben.says("five").await;
    assert_eq!(back.hears(1).await, ["five"], "and then it goes on");
    drop((watcher, back));
    stack.finish().await;
}

#[tokio::test]
async fn who_is_up_to_date_misses_nothing_and_hears_nothing_twice() {
    let stack = Stack::builder().nodes(2).start().await;
    let ana = stack.person("ana").await;
    let receipt = ana.says("one").await;
    for node in [1, 2] {
        let mut back = ana.at(Node(node)).resume(&position(&receipt)).await;
        assert_eq!(told(&back.catches_up().await), [""; 0]);
        drop(back);
    }
    let page = ana.get("/live-chat/messages").await.ok();
    let status = ana.at(Node(2)).get("/live-chat/status").await.ok();
    assert_eq!(page["position"], status["position"]);
    let mut back = ana.resume(status["position"].as_str().expect("a position")).await;
    ana.at(Node(2)).says("two").await;
    assert_eq!(back.hears(1).await, ["two"]);
    assert_eq!(back.passed.iter().filter(|frame| frame["type"] == "resync").count(), 0);
    drop(back);
    stack.finish().await;
}

#[tokio::test]
async fn a_fresh_socket_gets_no_history_and_no_word_of_resync() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    ana.says("before").await;
    let mut socket = ana.connect().await;
    assert_eq!(told(&socket.catches_up().await), [""; 0]);
    drop(socket);
    stack.finish().await;
}

#[tokio::test]
async fn a_new_epoch_of_the_log_is_no_gap() {
    let mut stack = Stack::builder().nodes(2).start().await;
    let ana = stack.person("ana").await;
    let mut away = ana.connect().await;
    let mut stays = ana.at(Node(2)).connect().await;
    ana.says("one").await;
    let last = position(&away.next("new_message").await);
    away.close().await;
    ana.says("two").await;
    stack.servers.log.kill9();
    stack.servers.log.start().await;
    says_when_possible(&ana, "three").await;
    ana.says("four").await;
    assert_eq!(stays.hears(4).await, ["one", "two", "three", "four"], "whoever stays notices nothing");

    for node in [1, 2] {
        let mut back = ana.at(Node(node)).resume(&last).await;
        assert_eq!(back.hears(3).await, ["two", "three", "four"], "node {node}");
        assert_eq!(told(&back.catches_up().await), [""; 0], "node {node}");
        drop(back);
    }
    let epochs: Vec<i32> = {
        stack.stored().await;
        stack.rows().await.iter().map(|row| row.position.0).collect()
    };
    assert!(epochs[0] == epochs[1] && epochs[1] < epochs[2] && epochs[2] == epochs[3], "{epochs:?}");
    drop(stays);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_thousand_missed_or_a_place_that_never_was_is_a_resync() {
    let stack = Stack::builder().nodes(2).start().await;
    let ana = stack.person("ana").await;
    let watcher = ana.at(Node(2)).connect().await;
    let first = ana.says("first").await;
    let messages = (0..20).map(|lane| {
        let ana = ana.clone();
        async move {
            for number in 0..51 {
                ana.says(&format!("{lane}-{number}")).await;
            }
        }
    });
    join_all(messages).await;
    let page = ana.get("/live-chat/messages?limit=100").await.ok();
    let newest = Said::of(&page["messages"][99]);
    let epoch = newest.position.epoch;
    let head = newest.position.to_string();
    let near = format!("{epoch}:{}", newest.position.seq - 1_000);
    for node in [1, 2] {
        let mut back = ana.at(Node(node)).resume(&near).await;
        back.hears(1_000).await;
        assert_eq!(
            told(&back.catches_up().await),
            [""; 0],
            "node {node}: a thousand are replayed, and no more"
        );
        drop(back);
        let ahead = format!("{epoch}:{}", newest.position.seq + 1);
        let later = format!("{}:1", epoch + 1);
        for from in [position(&first), ahead, later] {
            let mut back = ana.at(Node(node)).resume(&from).await;
            assert_eq!(
                told(&back.catches_up().await),
                [format!("resync {head}")],
                "node {node}, from {from}"
            );
            drop(back);
        }
    }
    drop(watcher);
    stack.finish().await;
}
