//! Asking, answering, ending.

use harness::person::Node;
use harness::stack::Stack;
use reqwest::Method;
use serde_json::json;

use super::{REQUESTS, asks, become_friends, blocks, does, friends_of, names};

#[tokio::test]
async fn two_people_find_each_other_become_friends_and_part() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await.at(Node(2)));
    let summary = json!({ "account_id": ben.id(), "username": "ben", "full_name": null, "avatar": null });
    let found = ana.get("/api/v1/accounts?username=BE").await.ok();
    assert_eq!(found, json!({ "accounts": [summary] }));

    let asked = ana.post(REQUESTS, &json!({ "username": "Ben" })).await;
    assert_eq!(
        (asked.status, &asked.body["state"], &asked.body["account"]),
        (201, &json!("pending"), &summary)
    );
    let (id, created_at) = (asked.body["id"].clone(), asked.body["created_at"].clone());
    let made = created_at.as_str().expect("a time");
    assert!(made.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(made).is_ok(), "{made}");
    let open = json!({ "id": id, "account": summary, "created_at": created_at });
    let sent = ana.get(REQUESTS).await.ok();
    assert_eq!(sent, json!({ "incoming": [], "outgoing": [open], "next_cursor": null }));
    let received = ben.get(REQUESTS).await.ok();
    assert_eq!((names(&received, "incoming"), names(&received, "outgoing")), (vec!["ana"], vec![]));
    assert_eq!(received["incoming"][0]["id"], id);

    let accept = format!("{REQUESTS}/{}/accept", id.as_str().expect("an id"));
    for _ in 0..2 {
        let accepted = ben.post(&accept, &json!({})).await.ok();
        assert_eq!(
            (&accepted["state"], &accepted["account"]["username"]),
            (&json!("accepted"), &json!("ana"))
        );
    }
    let listed = ana.get("/api/v1/friends").await.ok();
    let mut friend = summary.clone();
    friend["online"] = json!(false);
    assert_eq!(listed, json!({ "friends": [friend], "next_cursor": null }));
    assert_eq!(friends_of(&ben).await, ["ana"]);
    assert_eq!(names(&ben.get(REQUESTS).await.ok(), "incoming"), [""; 0]);

    for _ in 0..2 {
        does(&ben, Method::DELETE, &format!("/api/v1/friends/{}", ana.id())).await;
    }
    assert_eq!((friends_of(&ana).await, friends_of(&ben).await), (vec![], vec![]));
    become_friends(&ben, &ana).await;
    assert_eq!(friends_of(&ana).await, ["ben"]);
    stack.finish().await;
}

#[tokio::test]
async fn a_request_is_made_once_and_a_crossing_one_is_its_answer() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    asks(&ana, &ben).await;
    let again = json!({ "account_id": ben.id() });
    ana.at(Node(2)).post(REQUESTS, &again).await.refused(409, "conflict");
    let crossing = ben.at(Node(2)).post(REQUESTS, &json!({ "username": "ana" })).await;
    assert_eq!((crossing.status, &crossing.body["state"]), (201, &json!("accepted")));
    assert_eq!(friends_of(&ana).await, ["ben"]);
    for person in [&ana, &ben] {
        let other = if person.name == "ana" { ben.id() } else { ana.id() };
        person.post(REQUESTS, &json!({ "account_id": other })).await.refused(409, "conflict");
    }
    stack.finish().await;
}

#[tokio::test]
async fn a_request_that_was_declined_or_taken_back_is_over() {
    let stack = Stack::start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let answers = |id: &str, what: &str| format!("{REQUESTS}/{id}/{what}");
    let first = asks(&ana, &ben).await;
    for _ in 0..2 {
        let declined = ben.post(&answers(&first, "decline"), &json!({})).await.ok();
        assert_eq!(declined["state"], "declined");
    }
    ben.post(&answers(&first, "accept"), &json!({})).await.refused(404, "not_found");
    let second = asks(&ana, &ben).await;
    assert_ne!(first, second, "a declined request accepts nothing");
    ben.post(&answers(&first, "accept"), &json!({})).await.refused(404, "not_found");
    does(&ana, Method::DELETE, &format!("/api/v1/friends/{}", ben.id())).await;
    ben.post(&answers(&second, "accept"), &json!({})).await.refused(404, "not_found");
    let third = asks(&ana, &ben).await;
    does(&ben, Method::DELETE, &format!("/api/v1/friends/{}", ana.id())).await;
    ben.post(&answers(&third, "accept"), &json!({})).await.ok();
    ben.post(&answers(&third, "decline"), &json!({})).await.refused(409, "conflict");
    assert_eq!(friends_of(&ana).await, ["ben"]);
    stack.finish().await;
}

#[tokio::test]
async fn a_block_ends_friendship_and_requests_and_its_end_brings_none_back() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await.at(Node(2)));
    let eve = stack.person("eve").await;
    become_friends(&ana, &ben).await;
    let request = asks(&eve, &ana).await;
    for other in [&ben, &eve] {
        blocks(&ana, other).await;
        blocks(&ana, other).await;
    }
    assert_eq!((friends_of(&ana).await, friends_of(&ben).await), (vec![], vec![]));
    assert_eq!(names(&ana.get(REQUESTS).await.ok(), "incoming"), [""; 0]);
    ana.post(&format!("{REQUESTS}/{request}/accept"), &json!({})).await.refused(404, "not_found");
    let blocked = ana.at(Node(2)).get("/api/v1/friends/blocks").await.ok();
    assert_eq!(names(&blocked, "blocks"), ["ben", "eve"]);
    assert_eq!(names(&ben.get("/api/v1/friends/blocks").await.ok(), "blocks"), [""; 0], "whose block it is");
    for _ in 0..2 {
        does(&ana, Method::DELETE, &format!("/api/v1/friends/{}/block", ben.id())).await;
    }
    assert_eq!(friends_of(&ana).await, [""; 0]);
    become_friends(&ben, &ana).await;
    assert_eq!(friends_of(&ben).await, ["ana"]);
    stack.finish().await;
}

#[tokio::test]
async fn a_name_that_two_people_have_names_nobody() {
    let stack = Stack::start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    stack.person("Ben").await;
    ana.post(REQUESTS, &json!({ "username": "ben" })).await.refused(409, "conflict");
    asks(&ana, &ben).await;
    stack.finish().await;
}
