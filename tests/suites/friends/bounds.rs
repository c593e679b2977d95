//! Bad input, and how much of anything one may ask for.

use futures_util::future::join_all;
use harness::http::Answer;
use harness::person::{Node, Person};
use harness::stack::Stack;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{REQUESTS, asks, does, friends_of, names};

#[tokio::test]
async fn what_is_malformed_is_refused_as_such() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    for id in ["1", "ana", "%00", "6f0b6f2e-52a5-4d0e-9d43-0f7d7a1c000"] {
        for path in [
            format!("{REQUESTS}/{id}/accept"),
            format!("{REQUESTS}/{id}/decline"),
            format!("/api/v1/friends/{id}/block"),
        ] {
            ana.post(&path, &json!({})).await.refused(422, "invalid");
        }
        for path in [format!("/api/v1/friends/{id}"), format!("/api/v1/friends/{id}/block")] {
            ana.delete(&path).await.refused(422, "invalid");
        }
        ana.post(REQUESTS, &json!({ "account_id": id })).await.refused(422, "invalid");
    }
    let id = Uuid::new_v4();
    for body in [
        json!({}),
        json!({ "account_id": null, "username": null }),
        json!({ "account_id": id, "username": "ben" }),
        json!({ "account_id": 7 }),
        json!({ "username": "" }),
        json!({ "username": " \u{200b} " }),
        json!({ "username": "x".repeat(65) }),
        json!([]),
    ] {
        ana.post(REQUESTS, &body).await.refused(422, "invalid");
    }
    for list in ["/api/v1/friends", REQUESTS, "/api/v1/friends/blocks"] {
        for query in ["limit=0", "limit=-1", "limit=x", "limit=", "cursor=1", "cursor="] {
            ana.get(&format!("{list}?{query}")).await.refused(422, "invalid");
        }
    }
    ana.post(REQUESTS, &json!({ "account_id": ana.id() })).await.refused(400, "invalid");
    ana.post(REQUESTS, &json!({ "username": "ana" })).await.refused(400, "invalid");
    ana.post(&format!("/api/v1/friends/{}/block", ana.id()), &json!({})).await.refused(400, "invalid");
    ana.post(&format!("/api/v1/friends/{id}/block"), &json!({})).await.refused(404, "not_found");
    assert_eq!(stack.count("select count(*) from hubbub.room where kind = 'direct'").await, 0);
    stack.finish().await;
}

#[tokio::test]
async fn s49_a_search_is_for_two_letters_at_least_and_finds_few() {
    let stack = Stack::builder().var("LIMIT_LOOKUP_PEOPLE", "3").start().await;
    let me = stack.person("searcher").await;
    for name in ["anna", "Anno", "an%", "ann_x", "annette", "zoe"] {
        stack.person(name).await;
    }
    for short in ["", "?username=", "?username=a", "?username=%20a%20", "?username=%C3%A4", "?name=anna"] {
        me.get(&format!("/api/v1/accounts{short}")).await.refused(422, "invalid");
    }
    let find = async |text: &str| {
        let found = me.get(&format!("/api/v1/accounts?username={text}")).await.ok();
        names(&found, "accounts").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(find("an").await.len(), 3, "of five");
    assert_eq!(find("ANN").await.len(), 3, "of four");
    assert_eq!(find("an%25").await, ["an%"]);
    assert_eq!(find("ann_").await, ["ann_x"]);
    assert_eq!(find("%25%25").await, [""; 0]);
    assert_eq!(find("nna").await, [""; 0], "from the beginning");
    assert_eq!(find("zo%00e").await, ["zoe"], "as names are kept");
    assert_eq!(find("search").await, [""; 0], "oneself");
    stack.finish().await;
}

#[tokio::test]
async fn a_thousand_friend_requests_are_a_few() {
    let stack = Stack::builder().nodes(2).var("LIMIT_FRIEND_REQUESTS_OPEN", "5").start().await;
    let ana = stack.person("ana").await;
    let mut people = Vec::new();
    for number in 0..24 {
        people.push(stack.person(&format!("person {number}")).await);
    }
    // All at the same moment, so that each would see few others that are open.
    let asked = people.iter().enumerate().map(|(number, person)| {
        let (node, body) = (Node(1 + number % 2), json!({ "account_id": person.id() }));
        let ana = ana.at(node);
        async move { ana.post(REQUESTS, &body).await }
    });
    let (taken, refused): (Vec<Answer>, Vec<Answer>) =
        join_all(asked).await.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(taken.len(), 5, "over both nodes");
    for answer in refused {
        assert!(
            answer.refused(429, "rate_limited").get("retry_after_ms").is_none(),
            "time alone does not help"
        );
    }
    let open = ana.get(REQUESTS).await.ok();
    assert_eq!(names(&open, "outgoing").len(), 5);
    let taken_back = open["outgoing"][0]["account"]["account_id"].as_str().expect("an id").to_owned();
    does(&ana, reqwest::Method::DELETE, &format!("/api/v1/friends/{taken_back}")).await;
    let another = people.iter().find(|person| person.id() == taken_back).expect("one of them");
    asks(&ana, another).await;
    stack.finish().await;
}

#[tokio::test]
async fn s24_changes_and_look_ups_have_a_rate() {
    let stack = Stack::builder()
        .var("LIMIT_FRIEND_CHANGES_PER_MINUTE", "3")
        .var("LIMIT_LOOKUPS_PER_MINUTE", "3")
        .start()
        .await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let block = format!("/api/v1/friends/{}/block", ben.id());
    for _ in 0..3 {
        ana.get("/api/v1/accounts?username=ben").await.ok();
        does(&ana, reqwest::Method::POST, &block).await;
    }
    let id = Uuid::new_v4();
    for answer in [
        ana.get("/api/v1/accounts?username=ben").await,
        ana.post(&block, &json!({})).await,
        ana.delete(&block).await,
        ana.delete(&format!("/api/v1/friends/{}", ben.id())).await,
        ana.post(REQUESTS, &json!({ "username": "ben" })).await,
        ana.post(&format!("{REQUESTS}/{id}/accept"), &json!({})).await,
        ana.post(&format!("{REQUESTS}/{id}/decline"), &json!({})).await,
    ] {
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        answer.refused(429, "rate_limited");
    }
    ben.get("/api/v1/accounts?username=an").await.ok();
    stack.finish().await;
}

/// Every page of a list, by its cursors; the names in the order in which they came.
async fn pages(me: &Person, path: &str, list: &str) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = me.get(&format!("{path}?limit=1000{cursor}")).await.ok();
        let items = page[list].as_array().expect("a list");
        assert!(items.len() <= 2, "{page}");
        let name = |item: &Value| item.get("account").unwrap_or(item)["username"].as_str().map(str::to_owned);
        all.extend(items.iter().filter_map(name));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[tokio::test]
async fn s26_lists_come_in_pages_with_nothing_twice_and_nothing_missing() {
    let stack = Stack::builder().var("LIMIT_LIST_ITEMS", "2").start().await;
    let ana = stack.person("ana").await;
    let mut expected = Vec::new();
    for number in 0..5 {
        let (friend, asker, foe) = (
            stack.person(&format!("friend {number}")).await,
            stack.person(&format!("asker {number}")).await,
            stack.person(&format!("foe {number}")).await,
        );
        super::become_friends(&friend, &ana).await;
        asks(&asker, &ana).await;
        super::blocks(&ana, &foe).await;
        expected.push(number.to_string());
    }
    let of = |kind: &str| expected.iter().map(|number| format!("{kind} {number}")).collect::<Vec<_>>();
    let mut friends = pages(&ana, "/api/v1/friends", "friends").await;
    friends.sort();
    assert_eq!(friends, of("friend"));
    let mut foes = pages(&ana, "/api/v1/friends/blocks", "blocks").await;
    foes.sort();
    assert_eq!(foes, of("foe"));
    let mut askers = pages(&ana, REQUESTS, "incoming").await;
    askers.reverse();
    assert_eq!(askers, of("asker"), "newest first");
    assert_eq!(friends_of(&ana).await.len(), 2, "unasked, a page is one");
    stack.finish().await;
}
