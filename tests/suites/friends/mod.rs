//! Dialect friends: how people find each other, become friends and cease to be, what they write to each other, and what admins may
//! do about it.

mod admin;
mod arriving;
mod bounds;
mod chatting;
mod friendship;
mod online;
mod pages;
mod presence;
mod refusals;
mod resuming;
mod retrying;
mod secrets;

use harness::person::{Node, Person};
use harness::stack::Stack;
use reqwest::Method;
use serde_json::{Value, json};

const REQUESTS: &str = "/api/v1/friends/requests";

/// Asks by id; answers the request's id.
async fn asks(me: &Person, other: &Person) -> String {
    let answer = me.post(REQUESTS, &json!({ "account_id": other.id() })).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["id"].as_str().expect("a request has an id").to_owned()
}

async fn become_friends(one: &Person, other: &Person) {
    let request = asks(one, other).await;
    other.post(&format!("{REQUESTS}/{request}/accept"), &json!({})).await.ok();
}

/// Expects 204.
async fn does(person: &Person, method: Method, path: &str) {
    let answer = match method {
        Method::DELETE => person.delete(path).await,
        _ => person.post(path, &json!({})).await,
    };
    assert_eq!(answer.status, 204, "{path}: {answer:?}");
}

async fn blocks(me: &Person, other: &Person) {
    does(me, Method::POST, &format!("/api/v1/friends/{}/block", other.id())).await;
}

/// A list's user names, in order.
fn names<'a>(body: &'a Value, list: &str) -> Vec<&'a str> {
    let items = body[list].as_array().unwrap_or_else(|| panic!("no {list} in {body}"));
    let name = |item: &'a Value| item.get("account").unwrap_or(item)["username"].as_str();
    let mut names: Vec<&str> = items.iter().map(|item| name(item).expect("people have names")).collect();
    names.sort_unstable();
    names
}

async fn friends_of(person: &Person) -> Vec<String> {
    let body = person.get("/api/v1/friends").await.ok();
    names(&body, "friends").into_iter().map(str::to_owned).collect()
}

/// Two friends, the second of whom is at the last of so many nodes.
async fn friends(stack: &Stack, nodes: usize) -> (Person, Person) {
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await.at(Node(nodes)));
    become_friends(&ana, &ben).await;
    (ana, ben)
}

/// How far the messages of a conversation have come, newest first.
async fn statuses(person: &Person, other: &Person) -> Vec<String> {
    let letters = person.letters_with(other).await;
    letters.iter().map(|letter| letter["status"].as_str().expect("a status").to_owned()).collect()
}
