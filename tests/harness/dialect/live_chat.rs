//! Live chat: whoever is signed in is in.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use shared::id::Position;

use super::{Adapter, Spoken, spoken};
use crate::person::Person;

pub(super) struct LiveChat;

impl Adapter for LiveChat {
    fn bring_together<'a>(&self, one: &'a Person, _: &'a Person) -> BoxFuture<'a, String> {
        Box::pin(async move {
            let status = one.get("/live-chat/status").await.ok();
            status["session"]["room_id"].as_str().expect("the chat is open").to_owned()
        })
    }

    fn longest(&self) -> usize {
        1_000
    }

    fn send_path(&self) -> &'static str {
        "/live-chat/send-message"
    }

    fn body(&self, _: &str, text: &Value) -> Value {
        json!({ "message": text })
    }

    fn accepted(&self) -> u16 {
        200
    }

    fn page(&self, _: &str, cursor: Option<&str>) -> String {
        let before = cursor.map(|cursor| format!("&before={cursor}")).unwrap_or_default();
        format!("/live-chat/messages?limit=100{before}")
    }

    fn messages(&self, page: &Value) -> Vec<Spoken> {
        let messages = page["messages"].as_array().expect("a page has messages").iter();
        messages.map(|message| spoken(message, "message").expect("messages have places")).collect()
    }

    fn take_back(&self, _: &str) -> Option<String> {
        None
    }

    fn socket(&self, after: Option<Position>) -> String {
        let after = after.map(|after| format!("after={after}")).unwrap_or_default();
        format!("/live-chat/ws/1?{after}")
    }

    fn greetings(&self) -> &'static [&'static str] {
        &[]
    }

    fn first_words(&self, _: &str, _: Position) -> Option<Value> {
        None
    }

    fn frame_type(&self) -> &'static str {
        "message"
    }

    fn heard(&self, frame: &Value) -> Option<Spoken> {
        (frame["type"] == "new_message").then(|| spoken(&frame["message"], "message"))?
    }
}
