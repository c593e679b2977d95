//! What nobody learns by asking, and what is nobody else's.

use harness::http::Answer;
use harness::person::Person;
use harness::stack::Stack;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{REQUESTS, asks, become_friends, blocks, does, friends_of, names};

/// A body without what differs between any two answers.
fn same(answer: Answer) -> (u16, Value) {
    let mut body = answer.body;
    body.as_object_mut().expect("a refusal has a body").remove("request_id").expect("a request has an id");
    (answer.status, body)
}

async fn asked(person: &Person, body: Value) -> (u16, Value) {
    same(person.post(REQUESTS, &body).await)
}

#[tokio::test]
async fn s49_unknown_closed_and_blocked_people_are_told_apart_by_no_answer() {
    let stack = Stack::start().await;
    let (ana, ben, eve) = (stack.person("ana").await, stack.person("ben").await, stack.person("eve").await);
    let closed = stack.person("closed").await;
    stack.run("update hubbub.account set is_active = false where username = 'closed'").await;
    blocks(&ben, &ana).await;
    blocks(&ana, &eve).await;
    let unknown = asked(&ana, json!({ "account_id": Uuid::new_v4() })).await;
    assert_eq!((unknown.0, &unknown.1["code"]), (404, &json!("not_found")));
    for id in [ben.id(), eve.id(), closed.id()] {
        assert_eq!(asked(&ana, json!({ "account_id": id })).await, unknown, "{id}");
    }
    for name in ["nobody", "ben", "eve", "closed", "%", "be_"] {
        assert_eq!(asked(&ana, json!({ "username": name })).await, unknown, "{name}");
    }
    for seen in ["nobody", "ben", "eve", "closed"] {
        let found = ana.get(&format!("/api/v1/accounts?username={seen}")).await.ok();
        assert_eq!(names(&found, "accounts"), [""; 0], "{seen}");
    }
    let found = ben.get("/api/v1/accounts?username=ana").await.ok();
    assert_eq!(names(&found, "accounts"), [""; 0], "nor does the one who blocks see the other");
    assert_eq!(stack.count("select count(*) from hubbub.friendship where state <> 'none'").await, 0);
    // Ends of what is not there, whoever it is with.
    for id in [ben.id(), closed.id(), &Uuid::new_v4().to_string(), ana.id()] {
        does(&ana, Method::DELETE, &format!("/api/v1/friends/{id}")).await;
        does(&ana, Method::DELETE, &format!("/api/v1/friends/{id}/block")).await;
    }
    let rooms = stack.count("select count(*) from hubbub.room where kind = 'direct'").await;
    assert_eq!(rooms, 2, "nothing is made by ending what was not there");
    stack.finish().await;
}

#[tokio::test]
async fn s11_a_request_is_the_business_of_its_two_people() {
    let stack = Stack::start().await;
    let (ana, ben, eve) = (stack.person("ana").await, stack.person("ben").await, stack.person("eve").await);
    let request = asks(&ana, &ben).await;
    let answers = |id: &str, what: &str| format!("{REQUESTS}/{id}/{what}");
    for what in ["accept", "decline"] {
        let absent = same(eve.post(&answers(&Uuid::new_v4().to_string(), what), &json!({})).await);
        let others = same(eve.post(&answers(&request, what), &json!({})).await);
        assert_eq!((absent.0, &absent), (404, &others), "{what}");
        ana.post(&answers(&request, what), &json!({})).await.refused(403, "forbidden");
    }
    assert_eq!(names(&eve.get(REQUESTS).await.ok(), "incoming"), [""; 0]);
    assert_eq!(names(&ben.get(REQUESTS).await.ok(), "incoming"), ["ana"], "nobody has answered");
    ben.post(&answers(&request, "accept"), &json!({})).await.ok();
    assert_eq!(friends_of(&eve).await, [""; 0]);
    stack.finish().await;
}

#[tokio::test]
async fn s11_every_call_about_friends_wants_a_sign_in() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    let ben = stack.person("ben").await;
    become_friends(&ana, &ben).await;
    let nobody = ana.with_token("");
    let id = Uuid::new_v4();
    for path in ["/api/v1/accounts?username=be", "/api/v1/friends", REQUESTS, "/api/v1/friends/blocks"] {
        nobody.get(path).await.refused(401, "unauthorized");
    }
    for path in [
        REQUESTS.to_owned(),
        format!("{REQUESTS}/{id}/accept"),
        format!("{REQUESTS}/{id}/decline"),
        format!("/api/v1/friends/{}/block", ben.id()),
    ] {
        nobody.post(&path, &json!({ "username": "ben" })).await.refused(401, "unauthorized");
    }
    for path in [format!("/api/v1/friends/{}", ben.id()), format!("/api/v1/friends/{}/block", ben.id())] {
        nobody.delete(&path).await.refused(401, "unauthorized");
    }
    assert_eq!(friends_of(&ana).await, ["ben"]);
    stack.finish().await;
}
