//! Who is watching: people, not sockets, on whatever node.

use harness::children::{PATIENCE, eventually};
use harness::person::{Node, Person};
use harness::socket::Socket;
use harness::stack::Stack;
use serde_json::json;

/// Waits until the socket is told this count.
async fn is_told(socket: &mut Socket, count: u64) {
    let is_it =
        |frame: &serde_json::Value| frame["type"] == "viewer_count_update" && frame["viewer_count"] == count;
    if !socket.passed.iter().rev().take(1).any(is_it) {
        socket.until(&format!("viewer count {count}"), is_it).await;
    }
    socket.passed.clear();
}

async fn count_settles(person: &Person, count: u64) {
    let path = "/live-chat/viewers";
    let settled =
        eventually(PATIENCE, async || (person.get(path).await.ok()["viewer_count"] == count).then_some(()));
    assert!(settled.await.is_some(), "the count is {}, not {count}", person.get(path).await.text);
}

#[tokio::test]
async fn a_person_with_two_tabs_counts_once_and_stays_when_one_closes() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let mut anas = ana.connect().await;
    is_told(&mut anas, 1).await;
    let first = ben.at(Node(1)).connect().await;
    is_told(&mut anas, 2).await;
    let second = ben.at(Node(2)).connect().await;
    // The count says nothing of the second tab, the seats do: both of ben's and ana's.
    let seats = eventually(PATIENCE, async || (stack.seats().await == 3).then_some(()));
    assert!(seats.await.is_some(), "{} seats are taken", stack.seats().await);
    count_settles(&ana, 2).await;
    first.close().await;
    // The next change shows that nothing was announced for the tab that closed: it goes from 2 to 3, not from 1.
    let carls = stack.person("carl").await.at(Node(2)).connect().await;
    let change = anas.next("viewer_count_update").await;
    assert_eq!(change["viewer_count"], 3);
    second.close().await;
    is_told(&mut anas, 2).await;
    carls.close().await;
    is_told(&mut anas, 1).await;
    drop(anas);
    stack.finish().await;
}

#[tokio::test]
async fn a_call_over_rest_counts_until_the_persons_last_socket_closes() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await.at(Node(2)));
    assert_eq!(ana.get("/live-chat/viewers").await.ok()["viewer_count"], 1, "the caller is seen by the call");
    assert_eq!(ben.get("/live-chat/viewers").await.ok()["viewer_count"], 2);
    assert_eq!(ana.get("/live-chat/viewers").await.ok()["viewer_count"], 2, "again is no second time");
    let bens = ben.connect().await;
    count_settles(&ana, 2).await;
    bens.close().await;
    count_settles(&ana, 1).await;
    assert_eq!(
        ben.get("/live-chat/status").await.ok()["session"]["viewer_count"],
        2,
        "the next call counts again"
    );
    stack.finish().await;
}

#[tokio::test]
async fn postgres_knows_the_viewers_too() {
    let stack = Stack::start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let anas = ana.connect().await;
    ben.get("/live-chat/viewers").await.ok();
    let active = "select count(*) from live_chat_viewers where is_active = true";
    let settles = async |count| {
        let settled = eventually(PATIENCE, async || (stack.count(active).await == count).then_some(())).await;
        assert!(settled.is_some(), "{} are active, not {count}", stack.count(active).await);
    };
    settles(2).await;
    anas.close().await;
    settles(1).await;
    stack.finish().await;
}

#[tokio::test]
async fn a_node_that_drains_takes_its_viewers_with_it() {
    let mut stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await.at(Node(2)));
    let mut anas = ana.connect().await;
    let mut bens = ben.connect().await;
    is_told(&mut anas, 2).await;
    let node = stack.take(harness::stack::Role::Api, 2);
    node.stop();
    assert_eq!(bens.closed().await, Some(1012));
    is_told(&mut anas, 1).await;
    node.ended().await;
    assert_eq!(ana.get("/live-chat/stats").await.ok()["viewer_count"], json!(1));
    drop(anas);
    stack.finish().await;
}
