//! Friends: two who have to become so first. A sender's own socket is told that it was sent, all others what was said.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use shared::id::{AccountId, Position, RoomId};

use super::{Adapter, Spoken, spoken};
use crate::person::Person;

const REQUESTS: &str = "/api/v1/friends/requests";

pub(super) struct Friends;

fn account(person: &Person) -> AccountId {
    AccountId(person.id().parse().expect("an account's id is a UUID"))
}

impl Adapter for Friends {
    fn bring_together<'a>(&self, one: &'a Person, other: &'a Person) -> BoxFuture<'a, String> {
        Box::pin(async move {
            let asked = one.post(REQUESTS, &json!({ "account_id": other.id() })).await;
            assert_eq!(asked.status, 201, "{asked:?}");
            let request = asked.body["id"].as_str().expect("a request has an id");
            other.post(&format!("{REQUESTS}/{request}/accept"), &json!({})).await.ok();
            RoomId::of_pair(account(one), account(other)).to_string()
        })
    }

    fn longest(&self) -> usize {
        4_000
    }

    fn send_path(&self) -> &'static str {
        "/api/v1/chat/messages"
    }

    fn body(&self, to: &str, text: &Value) -> Value {
        json!({ "receiver_id": to, "content": text })
    }

    fn accepted(&self) -> u16 {
        201
    }

    fn page(&self, with: &str, cursor: Option<&str>) -> String {
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        format!("/api/v1/chat/messages/history/{with}?limit=100{cursor}")
    }

    fn messages(&self, page: &Value) -> Vec<Spoken> {
        let messages = page["messages"].as_array().expect("a page has messages").iter().rev();
        messages.map(|message| spoken(message, "content").expect("messages have places")).collect()
    }

    fn take_back(&self, id: &str) -> Option<String> {
        Some(format!("/api/v1/chat/messages/{id}"))
    }

    fn socket(&self, after: Option<Position>) -> String {
        let resume = if after.is_some() { "resume=1" } else { "" };
        format!("/api/v1/chat/ws/chat?{resume}")
    }

    fn greetings(&self) -> &'static [&'static str] {
        &["connection_established", "online_friends"]
    }

    fn first_words(&self, room: &str, after: Position) -> Option<Value> {
        Some(json!({ "type": "resume", "after": { room: after.to_string() } }))
    }

    fn frame_type(&self) -> &'static str {
        "send_message"
    }

    fn heard(&self, frame: &Value) -> Option<Spoken> {
        match frame["type"].as_str()? {
            "new_message" => spoken(&frame["message"], "content"),
            "message_sent" => spoken(frame, "content"),
            _ => None,
        }
    }
}
