//! Reading one's own writes: a read that starts after an ack shows it, on every node, whatever is away behind them.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::person::{Node, Person, texts};
use harness::stack::{Role, Stack};
use serde_json::json;

#[tokio::test]
async fn messages_and_likes_are_read_also_while_no_persister_runs() {
    let mut stack = Stack::builder().nodes(2).start().await;
    let ana = stack.person("ana").await;
    ana.says("stored").await;
    ana.post("/live-chat/like", &json!({})).await.ok();
    stack.stored().await;
    stack.stop(Role::Persister, 1).await;
    let mut socket = ana.at(Node(2)).connect().await;
    for text in ["one", "two"] {
        let id = ana.says(text).await["message_id"].clone();
        let like = format!("/live-chat/like-message/{id}");
        assert_eq!(ana.at(Node(2)).post(&like, &json!({})).await.ok()["likes"], 1);
    }
    assert_eq!(socket.hears(2).await, ["one", "two"], "live delivery needs no persister");
    let page = ana.at(Node(2)).get("/live-chat/messages").await.ok();
    assert_eq!(texts(&page), ["stored", "one", "two"]);
    let likes: Vec<i64> =
        page["messages"].as_array().expect("messages").iter().filter_map(|m| m["likes"].as_i64()).collect();
    assert_eq!(likes, [0, 1, 1]);
    assert!(page.get("incomplete").is_none(), "log and Postgres together know it all: {page}");
    let stats = ana.get("/live-chat/stats").await.ok();
    assert_eq!(stats["incomplete"], true, "a count that waited in vain says so: {stats}");
    assert_eq!(ana.delete("/live-chat/like").await.ok()["total_likes"], 0);
    assert_eq!(ana.at(Node(2)).get("/live-chat/likes").await.ok()["total_likes"], 0);
    assert_eq!(stack.rows().await.len(), 1);
    drop(socket);
    stack.finish().await;
}

/// How a persister can be away.
#[derive(Clone, Copy, Debug)]
enum Away {
    Killed,
    Paused,
}

/// People who write and read at the same time.
const LANES: usize = 4;
const NODES: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_shows_every_ack_while_the_persister_is_dead() {
    acks_are_read(Away::Killed, 200, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_shows_every_ack_while_the_persister_is_paused() {
    acks_are_read(Away::Paused, 200, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: a minute, and ten thousand messages"]
async fn ten_thousand_acks_are_read_while_the_persister_is_dead_for_a_minute() {
    acks_are_read(Away::Killed, 10_000, Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: a minute, and ten thousand messages"]
async fn ten_thousand_acks_are_read_while_the_persister_is_paused_for_a_minute() {
    acks_are_read(Away::Paused, 10_000, Duration::from_secs(60)).await;
}

/// At least so many acks, over at least so long, each read at another node than the one that gave it.
async fn acks_are_read(away: Away, pairs: usize, at_least: Duration) {
    let mut stack = Stack::builder().nodes(NODES).processes().start().await;
    let mut people = Vec::new();
    for lane in 0..LANES {
        people.push(stack.person(&format!("lane{lane}")).await);
    }
    people[0].says("stored").await;
    stack.stored().await;
    let persister = stack.service(Role::Persister, 1).process();
    match away {
        Away::Killed => persister.kill9(),
        Away::Paused => persister.pause(),
    }
    let until = Instant::now() + at_least;
    let lanes = people.iter().map(|person| write_and_read(person, pairs / LANES, until));
    let mut said: Vec<String> = join_all(lanes).await.concat();
    assert!(said.len() >= pairs);
    assert_eq!(stack.rows().await.len(), 1, "nobody stored anything meanwhile");

    let persister = stack.service(Role::Persister, 1).process();
    match away {
        Away::Killed => persister.restart(),
        Away::Paused => persister.resume(),
    }
    stack.ready().await;
    stack.stored().await;
    said.push("stored".to_owned());
    said.sort_unstable();
    let mut rows: Vec<String> = stack.rows().await.into_iter().map(|row| row.text).collect();
    rows.sort_unstable();
    assert!(rows == said, "{} acks became {} rows", said.len(), rows.len());
    stack.finish().await;
}

async fn write_and_read(person: &Person, pairs: usize, until: Instant) -> Vec<String> {
    let mut said = Vec::new();
    while said.len() < pairs || Instant::now() < until {
        let turn = said.len();
        let text = format!("{} {turn}", person.name);
        person.at(Node(1 + turn % NODES)).says(&text).await;
        let page = person.at(Node(1 + (turn + 1) % NODES)).get("/live-chat/messages?limit=50").await.ok();
        assert!(texts(&page).contains(&text), "{text} was accepted and is not read: {:?}", texts(&page));
        assert!(page.get("incomplete").is_none(), "{page}");
        said.push(text);
    }
    said
}
