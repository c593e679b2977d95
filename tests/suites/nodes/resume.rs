//! Coming back to the live chat: what was liked meanwhile comes along. What holds for messages is in the contract of all dialects.

use harness::person::Node;
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
