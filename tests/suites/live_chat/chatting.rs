//! People chat: over REST and by socket, on one node or on several, and all see one order.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use harness::person::{Node, texts};
use harness::stack::Stack;
use serde_json::{Value, json};

async fn people_chat_on(nodes: usize) {
    let stack = Stack::builder().nodes(nodes).workers(nodes.min(2)).start().await;
    let ana = stack.person("ana").await;
    let ben = stack.person("ben").await.at(Node(nodes));
    let carl = stack.person("carl").await.at(Node(nodes.div_ceil(2)));
    let (mut anas, mut bens) = (ana.connect().await, ben.connect().await);

    anas.say("one").await;
    assert_eq!(bens.hears(1).await, ["one"]);
    assert_eq!(anas.hears(1).await, ["one"], "the sender hears its own message");
    carl.says("two").await;
    assert_eq!(anas.hears(1).await, ["two"]);
    bens.say("three").await;
    assert_eq!(anas.hears(1).await, ["three"]);
    assert_eq!(bens.hears(2).await, ["two", "three"]);

    for node in 1..=nodes {
        assert_eq!(carl.at(Node(node)).reads().await, ["one", "two", "three"]);
    }
    stack.stored().await;
    let rows: Vec<String> = stack.rows().await.into_iter().map(|row| row.text).collect();
    assert_eq!(rows, ["one", "two", "three"]);
    drop((anas, bens));
    stack.finish().await;
}

#[tokio::test]
async fn people_chat_on_one_node() {
    people_chat_on(1).await;
}

#[tokio::test]
async fn people_chat_on_two_nodes() {
    people_chat_on(2).await;
}

#[tokio::test]
async fn people_chat_on_three_nodes() {
    people_chat_on(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_on_three_nodes_make_one_order_for_sockets_pages_and_rows() {
    const EACH: usize = 25;
    const ALL: usize = 6 * EACH;
    let stack = Stack::builder().nodes(3).workers(2).start().await;
    let ana = stack.person("ana").await;
    let mut listeners = Vec::new();
    for node in 1..=3 {
        listeners.push(ana.at(Node(node)).connect().await);
    }
    let senders = (1..=6).map(|number| {
        let ana = ana.at(Node(1 + number % 3));
        tokio::spawn(async move {
            let mut socket = ana.connect().await;
            for message in 0..EACH {
                let text = format!("{number}-{message}");
                if number <= 3 { socket.say(&text).await } else { drop(ana.says(&text).await) }
            }
            socket.hears(ALL).await
        })
    });
    let heard_by_senders = join_all(senders).await;
    let mut heard = Vec::new();
    for listener in &mut listeners {
        heard.push(listener.hears(ALL).await);
    }
    let order = heard[0].clone();
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), ALL, "nothing twice, nothing left out");
    assert!(heard.iter().all(|one| *one == order), "listeners agree");
    for one in heard_by_senders {
        assert_eq!(one.expect("a sender"), order, "senders agree");
    }
    for node in 1..=3 {
        let page = ana.at(Node(node)).get("/live-chat/messages?limit=100").await.ok();
        assert_eq!(texts(&page), order[ALL - 100..], "pages agree");
    }
    stack.stored().await;
    let rows: Vec<String> = stack.rows().await.into_iter().map(|row| row.text).collect();
    assert_eq!(rows, order, "rows agree");
    for number in 1..=6 {
        let mine: Vec<&String> =
            order.iter().filter(|text| text.starts_with(&format!("{number}-"))).collect();
        let sent: Vec<String> = (0..EACH).map(|message| format!("{number}-{message}")).collect();
        assert!(mine.into_iter().eq(&sent), "what one connection wrote keeps its order");
    }
    drop(listeners);
    stack.finish().await;
}

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
