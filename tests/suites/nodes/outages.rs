//! Servers that are away for a while: what goes on, what says that it is incomplete, and what comes back by itself.

use std::time::{Duration, Instant};

use harness::children::{PATIENCE, eventually};
use harness::person::{Node, texts};
use harness::stack::{Role, Stack};
use serde_json::json;

#[tokio::test]
async fn without_postgres_people_go_on_talking() {
    let stack = Stack::builder().nodes(2).own_postgres().start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await.at(Node(2)));
    ben.get("/live-chat/status").await.ok();
    let mut socket = ben.connect().await;
    ana.says("before").await;
    stack.stored().await;
    stack.servers.postgres.stop().await;

    for text in ["one", "two"] {
        socket.say(text).await;
        assert_eq!(socket.hears(1).await.len(), 1, "live delivery goes on");
    }
    // A sender whose nonce says when it was made needs no look into Postgres, once the log has been open for a second.
    let accepted = eventually(PATIENCE, async || {
        let nonce = uuid::Uuid::now_v7().to_string();
        let answer = ana.tries_to_say("three", Some(&nonce)).await.expect("an answer");
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        (answer.status == 200).then_some(answer.body)
    });
    let id = accepted.await.expect("it was accepted")["message_id"].clone();
    ben.post(&format!("/live-chat/like-message/{id}"), &json!({})).await.ok();
    let page = ben.get("/live-chat/messages").await.ok();
    assert_eq!(page["incomplete"], true, "{page}");
    let read = texts(&page);
    assert!(read.ends_with(&["one".to_owned(), "two".to_owned(), "three".to_owned()]), "{read:?}");
    let status = ana.get("/live-chat/status").await.ok();
    assert_eq!(status["is_active"], true, "{status}");

    stack.servers.postgres.start().await;
    stack.stored().await;
    let complete = eventually(PATIENCE, async || {
        let page = ben.get("/live-chat/messages").await.ok();
        (page.get("incomplete").is_none()).then(|| texts(&page))
    });
    let complete = complete.await.expect("pages are complete again");
    assert_eq!(complete.len(), 4);
    assert_eq!(complete[0], "before");
    drop(socket);
    stack.finish().await;
}

#[tokio::test]
async fn without_the_log_a_node_is_not_ready() {
    let mut stack = Stack::start().await;
    let ana = stack.person("ana").await;
    let is = async |status: u16| {
        eventually(PATIENCE, async || (ana.get("/readyz").await.status == status).then_some(())).await
    };
    assert!(is(200).await.is_some());
    stack.servers.log.kill9();
    assert!(is(503).await.is_some(), "readiness tells");
    stack.servers.log.start().await;
    assert!(is(200).await.is_some(), "readiness tells that, too");
    stack.finish().await;
}

#[tokio::test]
async fn without_the_bus_everything_is_heard_once_it_is_back() {
    let mut stack = Stack::builder().nodes(2).start().await;
    let ana = stack.person("ana").await;
    let mut socket = ana.at(Node(2)).connect().await;
    ana.says("before").await;
    assert_eq!(socket.hears(1).await, ["before"]);
    stack.servers.bus.kill9();
    ana.says("during").await;
    assert_eq!(ana.at(Node(2)).reads().await, ["before", "during"], "reads need no bus");
    stack.servers.bus.start().await;
    assert_eq!(socket.hears(1).await, ["during"], "nobody had to come back for it");
    ana.says("after").await;
    assert_eq!(socket.hears(1).await, ["after"]);
    drop(socket);
    stack.finish().await;
}

#[tokio::test]
async fn a_node_keeps_its_name_on_the_bus_also_under_a_short_lease() {
    let stack = Stack::builder().var("LEASE_MS", "600").start().await;
    let first = stack.names_on_the_bus().await;
    assert_eq!(first.len(), 1, "{first:?}");
    let mut socket = stack.person("ana").await.connect().await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        socket.say("still the same?").await;
        socket.hears(1).await;
        assert_eq!(stack.names_on_the_bus().await, first);
    }
    drop(socket);
    stack.finish().await;
}

#[tokio::test]
async fn the_groups_show_how_far_behind_a_stopped_persister_is() {
    let mut stack = Stack::start().await;
    let ana = stack.person("ana").await;
    stack.stored().await;
    stack.stop(Role::Persister, 1).await;
    for number in 0..5 {
        ana.says(&format!("m{number}")).await;
    }
    let lags = |lag: (i64, i64)| {
        eventually(PATIENCE, {
            let stack = &stack;
            async move || (stack.lag().await == lag).then_some(())
        })
    };
    assert!(lags((0, 5)).await.is_some(), "fanout and persister lag {:?}", stack.lag().await);
    stack.add(Role::Persister).await;
    let caught_up = eventually(PATIENCE, async || (stack.lag().await == (0, 0)).then_some(()));
    assert!(caught_up.await.is_some(), "fanout and persister lag {:?}", stack.lag().await);
    stack.finish().await;
}
