//! Reading one's own writes: a read that starts after an ack shows it, on every node, whatever is away behind them.

use harness::person::{Node, texts};
use harness::stack::{Role, Stack};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_after_an_ack_shows_it_on_every_node() {
    let stack = Stack::builder().nodes(3).start().await;
    let ana = stack.person("ana").await;
    let mut said: Vec<String> = Vec::new();
    for turn in 0..60 {
        let text = format!("m{turn}");
        ana.at(Node(1 + turn % 3)).says(&text).await;
        said.push(text);
        let page = ana.at(Node(1 + (turn + 1) % 3)).get("/live-chat/messages?limit=10").await.ok();
        assert_eq!(texts(&page), said[said.len().saturating_sub(10)..]);
        assert!(page.get("incomplete").is_none(), "{page}");
    }
    stack.finish().await;
}

#[tokio::test]
async fn also_while_no_persister_runs() {
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
