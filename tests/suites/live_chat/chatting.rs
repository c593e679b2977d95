//! What talking in the live chat has of its own: the session that is there when somebody needs it, and badges. The rest is in the
//! contract of all dialects.

use futures_util::future::join_all;
use harness::person::Node;
use harness::stack::Stack;
use serde_json::{Value, json};

#[tokio::test]
async fn three_nodes_that_need_it_at_once_create_one_session() {
    let stack = Stack::builder().nodes(3).start().await;
    let ana = stack.person("ana").await;
    let calls = (0..12).map(|call| {
        let ana = ana.at(Node(1 + call % 3));
        async move { ana.get("/live-chat/status").await.ok() }
    });
    let sessions: Vec<Value> =
        join_all(calls).await.into_iter().map(|body| body["session"].clone()).collect();
    assert!(
        sessions.iter().all(|session| session["id"] == 1 && session["room_id"] == sessions[0]["room_id"])
    );
    assert_eq!(stack.count("select count(*) from hubbub.live_session").await, 1);
    stack.finish().await;
}

#[tokio::test]
async fn badges_are_those_of_the_moment_of_sending() {
    let stack = Stack::start().await;
    let guest = stack.person("kim").await;
    guest.says("as a guest").await;
    let host = stack.person_with("kim", &["host"]).await;
    host.says("as the host").await;
    let winner = stack.person_with("kim", &["winner"]).await;
    let mut socket = winner.connect().await;
    socket.say("as the winner").await;
    let heard = socket.next("new_message").await;
    assert_eq!((&heard["message"]["is_winner"], &heard["message"]["is_host"]), (&json!(true), &json!(false)));
    stack.stored().await;
    let page = guest.get("/live-chat/messages").await.ok();
    let badges: Vec<(bool, bool)> = page["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|message| (message["is_host"] == true, message["is_winner"] == true))
        .collect();
    assert_eq!(badges, [(false, false), (true, false), (false, true)]);
    assert_eq!(host.account["id"], guest.account["id"], "one person all along");
    drop(socket);
    stack.finish().await;
}
