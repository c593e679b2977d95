//! What has reached a device, and that its author is told once, of what is noted.

use std::collections::HashSet;

use harness::person::{Node, Person};
use harness::socket::Socket;
use harness::stack::{Role, Stack};
use serde_json::Value;

use super::{become_friends, friends, statuses};

fn deliveries(frames: &[Value]) -> Vec<&Value> {
    frames.iter().filter(|frame| frame["type"] == "message_delivered").collect()
}

/// Writes to a friend, and waits until the author is told that it arrived.
async fn arrives(author: &mut Socket, to: &Person) -> Value {
    author.writes(to, "hello").await;
    let sent = author.next("message_sent").await;
    author
        .until("its arrival", |frame| {
            frame["type"] == "message_delivered" && frame["message_id"] == sent["message_id"]
        })
        .await
}

#[tokio::test]
async fn of_a_message_that_reaches_two_devices_at_two_nodes_its_author_is_told_once() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = friends(&stack, 2).await;
    let (mut anas, _) = ana.comes_online_with("&caps=delivered").await;
    let (phone, tablet) = (ben.comes_online().await, ben.at(Node(1)).comes_online().await);
    let mut told = Vec::new();
    // Each node notes marks once a second: what the other tells of one message comes before this one tells of the next but one.
    for _ in 0..4 {
        told.push(arrives(&mut anas, &ben).await);
    }
    told.append(&mut anas.passed);
    let told = deliveries(&told);
    let distinct: HashSet<&str> = told.iter().filter_map(|frame| frame["message_id"].as_str()).collect();
    assert_eq!(told.len(), distinct.len(), "{told:?}");
    drop((anas, phone, tablet));
    stack.finish().await;
}

#[tokio::test]
async fn an_arrival_is_told_when_it_is_noted() {
    let mut stack = Stack::start().await;
    let (ana, ben) = friends(&stack, 1).await;
    let carl = stack.person("carl").await;
    become_friends(&ana, &carl).await;
    stack.stored().await;
    // It would wait for the row that is locked below.
    stack.stop(Role::Persister, 1).await;
    let (mut anas, _) = ana.comes_online_with("&caps=delivered").await;
    let (mut bens, carls) = (ben.comes_online().await, carl.comes_online().await);
    let mut lock = shared::store::begin(&stack.pool).await.expect("Postgres answers");
    let locked = sqlx::query(
        "select from hubbub.member m join hubbub.account a on a.id = m.account and a.username = 'ben' for update of m",
    );
    assert_eq!(locked.execute(&mut *lock).await.expect("Postgres answers").rows_affected(), 1);
    anas.writes(&ben, "held up").await;
    let held_up = anas.next("message_sent").await;
    assert_eq!(bens.reads(1).await, ["held up"]);
    // What came before the second of these would have been told by then.
    for _ in 0..2 {
        arrives(&mut anas, &carl).await;
    }
    assert!(deliveries(&anas.passed).is_empty(), "{:?}", anas.passed);
    assert_eq!(statuses(&ana, &ben).await, ["sent"]);
    lock.rollback().await.expect("Postgres answers");
    let told = anas.next("message_delivered").await;
    assert_eq!(told["message_id"], held_up["message_id"]);
    assert_eq!(statuses(&ana, &ben).await, ["delivered"], "and it is so");
    drop((anas, bens, carls));
    stack.finish().await;
}
