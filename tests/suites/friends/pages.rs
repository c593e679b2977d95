//! Histories a page at a time.

use harness::person::Person;
use harness::stack::{Role, Stack};
use serde_json::{Value, json};

use super::friends;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_stay_the_same_while_new_messages_arrive() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = friends(&stack, 2).await;
    for number in 0..25 {
        ana.writes(&ben, &number.to_string()).await;
    }
    let path = format!("/api/v1/chat/messages/history/{}", ben.id());
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    for page in 0.. {
        let answer = ana.get(&format!("{path}?limit=7&cursor={cursor}")).await.ok();
        ben.writes(&ana, &format!("meanwhile {page}")).await;
        for letter in answer["messages"].as_array().expect("messages") {
            seen.push(letter["content"].as_str().expect("a text").to_owned());
        }
        assert_eq!(answer["total"], 25 + page, "exact, in the log or stored");
        match answer["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    let expected: Vec<String> = (0..25).rev().map(|number| number.to_string()).collect();
    assert_eq!(seen, expected);
    for stored in [false, true] {
        if stored {
            stack.stored().await;
        }
        let answer = ana.get(&format!("{path}?skip=27&limit=3")).await.ok();
        let texts: Vec<&str> = answer["messages"]
            .as_array()
            .expect("messages")
            .iter()
            .filter_map(|m| m["content"].as_str())
            .collect();
        assert_eq!(texts, ["1", "0"], "the end of 29, stored: {stored}");
        let beyond = ana.get(&format!("{path}?skip=99999999999999999999")).await.ok();
        assert_eq!((&beyond["messages"], &beyond["total"]), (&json!([]), &json!(29)));
    }
    stack.finish().await;
}

/// Every page of a few by `skip` is that part of the whole.
async fn pages_are_slices(me: &Person, other: &Person) {
    let whole = me.letters_with(other).await;
    for skip in 0..whole.len() + 2 {
        let path = format!("/api/v1/chat/messages/history/{}?skip={skip}&limit=3", other.id());
        let page = me.get(&path).await.ok();
        let expected: Vec<&Value> = whole.iter().skip(skip).take(3).collect();
        let found: Vec<&Value> = page["messages"].as_array().expect("messages").iter().collect();
        assert_eq!(found, expected, "skip {skip}");
        assert_eq!(page["total"], whole.len(), "skip {skip}");
        assert_eq!(page["next_cursor"].is_null(), skip + 3 >= whole.len(), "skip {skip}");
    }
}

#[tokio::test]
async fn skipping_counts_what_is_listed_wherever_it_is_kept() {
    let mut stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = friends(&stack, 2).await;
    let mut sent = Vec::new();
    for number in 0..10 {
        sent.push(ana.writes(&ben, &number.to_string()).await);
    }
    stack.stored().await;
    stack.stop(Role::Persister, 1).await;
    for number in 10..14 {
        sent.push(ana.writes(&ben, &number.to_string()).await);
    }
    for number in [2, 9, 12] {
        let path = format!("/api/v1/chat/messages/{}", sent[number]["message_id"].as_str().expect("an id"));
        assert_eq!(ana.delete(&path).await.status, 204);
    }
    let read = format!("/api/v1/chat/messages/{}/read", sent[5]["message_id"].as_str().expect("an id"));
    ben.put(&read, &json!({})).await.ok();
    pages_are_slices(&ben, &ana).await;
    stack.add(Role::Persister).await;
    stack.ready().await;
    stack.stored().await;
    pages_are_slices(&ana, &ben).await;
    stack.finish().await;
}
