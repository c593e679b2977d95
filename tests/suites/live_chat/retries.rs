//! A retry is the same message: one id, one place, one row, whichever way and wherever it comes in again.

use futures_util::future::join_all;
use harness::person::Node;
use harness::stack::Stack;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn the_same_nonce_is_the_same_message_over_rest_and_socket_on_all_nodes() {
    let stack = Stack::builder().nodes(2).start().await;
    let ana = stack.person("ana").await;
    let mut socket = ana.at(Node(2)).connect().await;
    let first = ana.tries_to_say("once", Some("n")).await.expect("an answer").ok();
    let same = ["message_id", "seq", "epoch", "created_at_utc", "client_msg_id"];
    for round in ["while it is in the log", "when it is stored"] {
        let again = ana.at(Node(2)).tries_to_say("once", Some("n")).await.expect("an answer").ok();
        assert!(same.iter().all(|name| again[name] == first[name]), "{round}: {again} is not {first}");
        stack.stored().await;
    }
    socket.say_as("once", "n").await;
    socket.say("something new").await;
    assert_eq!(socket.hears(2).await, ["once", "something new"], "nobody hears it twice");
    stack.stored().await;
    assert_eq!(stack.rows().await.len(), 2);
    drop(socket);
    stack.finish().await;
}

#[tokio::test]
async fn a_socket_that_says_it_again_is_told_that_it_was_said() {
    let stack = Stack::start().await;
    let mut socket = stack.person("ana").await.connect().await;
    socket.say_as("once", "n").await;
    assert_eq!(socket.hears(1).await, ["once"]);
    socket.say_as("once", "n").await;
    let passed = socket.catches_up().await;
    assert!(!passed.iter().any(|frame| frame["type"] == "error"), "a retry is no error: {passed:?}");
    drop(socket);
    stack.finish().await;
}

#[tokio::test]
async fn a_nonce_names_one_text() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    ana.tries_to_say("one", Some("n")).await.expect("an answer").ok();
    ana.at(Node(2)).tries_to_say("two", Some("n")).await.expect("an answer").refused(409, "nonce_reused");
    let mut socket = ana.connect().await;
    socket.say_as("three", "n").await;
    let error = socket.next("error").await;
    assert_eq!((error["code"].as_str(), error["client_msg_id"].as_str()), (Some("nonce_reused"), Some("n")));
    ben.tries_to_say("two", Some("n")).await.expect("an answer").ok();
    assert_eq!(ana.reads().await, ["one", "two"], "another person's nonce is another name");
    drop(socket);
    stack.finish().await;
}

#[tokio::test]
async fn the_idempotency_key_header_is_a_nonce() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    let send = async |key: &str, body: serde_json::Value| {
        let request = ana.request(Method::POST, "/live-chat/send-message").bearer_auth(&ana.token);
        let response = request.header("Idempotency-Key", key).json(&body).send().await.expect("an answer");
        harness::http::Answer::of(response).await
    };
    let first = send("key-1", json!({ "message": "once" })).await.ok();
    assert_eq!(first["client_msg_id"], "key-1");
    let again = send("key-1", json!({ "message": "once" })).await.ok();
    assert_eq!(again["message_id"], first["message_id"]);
    send("key-1", json!({ "message": "other" })).await.refused(409, "nonce_reused");
    let named = send("key-1", json!({ "message": "other", "client_msg_id": "n" })).await.ok();
    assert_eq!(named["client_msg_id"], "n", "the body's own name wins");
    for bad in ["", &"x".repeat(65)] {
        assert_eq!(send(bad, json!({ "message": "m" })).await.status, 422, "{bad}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_tries_at_once_are_one_message() {
    let stack = Stack::builder().nodes(3).start().await;
    let ana = stack.person("ana").await;
    let tries = (0..10).map(|call| {
        let ana = ana.at(Node(1 + call % 3));
        async move { ana.tries_to_say("once", Some("n")).await.expect("an answer").ok()["message_id"].clone() }
    });
    let ids = join_all(tries).await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    stack.stored().await;
    assert_eq!(stack.rows().await.len(), 1);
    stack.finish().await;
}
