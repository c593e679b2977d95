//! The history: newest page first, older ones by `before`, never more than the cap.

use harness::person::{Node, texts};
use harness::stack::Stack;

#[tokio::test]
async fn limit_and_before_page_through_everything_once() {
    let stack = Stack::builder().nodes(2).var("LIVE_CHAT_MESSAGE_HISTORY_LIMIT", "20").start().await;
    let ana = stack.person("ana").await;
    let all: Vec<String> = (0..45).map(|number| format!("m{number:02}")).collect();
    for text in &all[..30] {
        ana.says(text).await;
    }
    stack.stored().await;
    for text in &all[30..] {
        ana.says(text).await;
    }
    let read = async |query: &str| ana.at(Node(2)).get(&format!("/live-chat/messages{query}")).await;
    assert_eq!(texts(&read("?limit=3").await.ok()), all[42..]);
    for capped in ["", "?limit=20", "?limit=21", "?limit=1000000000"] {
        assert_eq!(texts(&read(capped).await.ok()), all[25..], "{capped}: oldest first, cut to the cap");
    }
    for bad in ["0", "-1", "x", "1e9", "1.5"] {
        read(&format!("?limit={bad}")).await.refused(422, "invalid");
    }
    read("?before=x").await.refused(422, "invalid");

    let mut found: Vec<String> = Vec::new();
    let mut page = read("?limit=7").await.ok();
    loop {
        found.splice(0..0, texts(&page));
        let Some(cursor) = page["next_cursor"].as_i64() else { break };
        page = read(&format!("?limit=7&before={cursor}")).await.ok();
    }
    assert_eq!(found, all, "no message twice, none left out, over log and Postgres");
    let oldest = read("?limit=1&before=1").await.ok();
    assert!(texts(&oldest).is_empty() && oldest["next_cursor"].is_null(), "{oldest}");
    stack.finish().await;
}

#[tokio::test]
async fn an_empty_session_has_an_empty_page() {
    let stack = Stack::start().await;
    let page = stack.person("ana").await.get("/live-chat/messages").await.ok();
    assert!(texts(&page).is_empty() && page["next_cursor"].is_null(), "{page}");
    stack.finish().await;
}

#[tokio::test]
async fn text_comes_back_as_it_was_written() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    let texts = [
        "  spaces stay  ",
        "<b>not bold</b> & \"quotes\" '",
        "Ünïcödé 日本語 \u{1f44d}\u{1f3fd} \u{200d}\u{202e}right to left",
        "tabs\tand\nlines\r\n",
        "\u{1}\u{7f}controls",
        "'; drop table hubbub.message; --",
    ];
    for text in texts {
        ana.says(text).await;
    }
    assert_eq!(ana.reads().await, texts, "from the log");
    stack.stored().await;
    assert_eq!(ana.reads().await, texts, "from Postgres");
    stack.finish().await;
}
