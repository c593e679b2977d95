//! The monitoring queries of the documents, as written there.

use harness::stack::Stack;
use serde_json::json;

#[tokio::test]
async fn the_documents_queries_tell_what_the_api_tells() {
    let stack = Stack::start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let socket = ana.connect().await;
    for text in ["one", "two", "three"] {
        ana.says(text).await;
    }
    for person in [&ana, &ben] {
        person.post("/live-chat/like", &json!({})).await.ok();
    }
    // Waits for the persister, as every answer that counts does.
    let stats = ben.get("/live-chat/stats").await.ok();
    stack.stored().await;
    let viewers = harness::children::eventually(harness::children::PATIENCE, async || {
        let active = "SELECT COUNT(*) FROM live_chat_viewers WHERE is_active = true;";
        (stack.count(active).await == 2).then_some(())
    });
    assert!(viewers.await.is_some(), "two people watch");
    assert_eq!(stats["viewer_count"], 2);
    let recent = "SELECT COUNT(*) FROM live_chat_messages 
WHERE created_at > NOW() - INTERVAL '1 hour';";
    assert_eq!((stack.count(recent).await, &stats["recent_messages"]), (3, &json!(3)));
    let likes = "SELECT total_likes FROM live_chat_sessions WHERE is_active = true;";
    assert_eq!((stack.count(likes).await, &stats["total_likes"]), (2, &json!(2)));
    assert_eq!(stack.count("select count(*) from live_chat_likes").await, 2);
    drop(socket);
    stack.finish().await;
}
