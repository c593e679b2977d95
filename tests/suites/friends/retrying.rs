//! A message that is sent again under its name is the one that there is.

use harness::children::{PATIENCE, eventually};
use harness::person::Node;
use harness::stack::{Role, Stack};
use serde_json::{Value, json};

use super::friends;

/// Told sooner, a device that notes the last place it heard of would come back behind what it was never told.
#[tokio::test]
async fn a_retry_is_answered_after_what_was_said_before_its_message() {
    // Heads are compared too late to be of help.
    let mut stack = Stack::builder().nodes(2).var("LEASE_MS", "6000").start().await;
    let (ana, ben) = friends(&stack, 2).await;
    let mut tablet = ana.at(Node(2)).comes_online().await;
    ana.writes(&ben, "zero").await;
    assert_eq!(tablet.reads(1).await, ["zero"]);
    stack.stop(Role::FanoutWorker, 1).await;
    ben.at(Node(1)).writes(&ana, "one").await;
    assert_eq!(ana.tries_to_write(&ben, "two", Some("n")).await.status, 201);
    tablet
        .send(&json!({ "type": "send_message", "receiver_id": ben.id(), "content": "two", "client_msg_id": "n" }))
        .await;
    // Nobody fans out, and the node has heard of neither: it fetches what comes before the answer.
    assert_eq!(tablet.reads(2).await, ["one", "two"]);
    assert!(tablet.passed.iter().all(|frame| frame["type"] != "message_sent"), "{:?}", tablet.passed);
    assert_eq!(tablet.next("message_sent").await["client_msg_id"], "n");
    stack.add(Role::FanoutWorker).await;
    drop(tablet);
    stack.finish().await;
}

#[tokio::test]
async fn the_answer_to_a_retry_tells_how_the_message_stands() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = friends(&stack, 2).await;
    let again = async || {
        let answer = ana.at(Node(2)).tries_to_write(&ben, "a secret", Some("n")).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body
    };
    let first = again().await;
    assert_eq!((again().await, &first["status"]), (first.clone(), &json!("sent")), "nothing came in between");
    let mut bens = ben.comes_online().await;
    bens.send(&json!({ "type": "mark_read", "message_id": first["message_id"] })).await;
    let read = eventually(PATIENCE, async || Some(again().await).filter(|again| again["status"] == "read"));
    let read = read.await.expect("ben has read it");
    assert!(read["read_at"].is_string() && read["content"] == "a secret", "{read}");
    let later = ana.writes(&ben, "and another").await;
    let arrived = eventually(PATIENCE, async || {
        let page = ana.letters_with(&ben).await;
        (page[0]["status"] == "delivered" && page[0]["message_id"] == later["message_id"]).then_some(())
    });
    arrived.await.expect("ben is there");
    let path = format!("/api/v1/chat/messages/{}", first["message_id"].as_str().expect("an id"));
    assert_eq!(ana.delete(&path).await.status, 204);
    for round in ["in the log", "stored"] {
        let gone: Value = again().await;
        assert_eq!((&gone["content"], &gone["is_deleted"]), (&json!(""), &json!(true)), "{round}: {gone}");
        assert_eq!((&gone["message_id"], &gone["seq"]), (&first["message_id"], &first["seq"]));
        stack.stored().await;
    }
    drop(bens);
    stack.finish().await;
}
