//! What people do in the friends dialect.

use serde_json::{Value, json};

use crate::http::Answer;
use crate::person::Person;
use crate::socket::Socket;

impl Person {
    /// The address of the friends' socket, token included.
    pub fn friends_url(&self, more: &str) -> String {
        format!("ws://{}/api/v1/chat/ws/chat?token={}{more}", self.address(), self.token)
    }

    /// Opens the friends' socket and takes its first two frames off.
    ///
    /// # Panics
    /// When the node refuses.
    pub async fn comes_online(&self) -> Socket {
        self.comes_online_with("").await.0
    }

    /// The same with more in the query; also answers who was said to be online.
    ///
    /// # Panics
    /// When the node refuses, or begins otherwise.
    pub async fn comes_online_with(&self, more: &str) -> (Socket, Vec<String>) {
        let opened = Socket::open(&self.name, &self.friends_url(more), &[]).await;
        let mut socket = opened.unwrap_or_else(|refusal| panic!("{} was not let in: {refusal:?}", self.name));
        let first = socket.any().await.expect("a frame");
        assert_eq!(first["type"], "connection_established", "{first}");
        let second = socket.any().await.expect("a frame");
        assert_eq!(second["type"], "online_friends", "{second}");
        let friends = second["friends"].as_array().expect("a list").iter();
        (socket, friends.map(|id| id.as_str().expect("an id").to_owned()).collect())
    }

    /// Comes back behind the places that another socket had heard of.
    ///
    /// # Panics
    /// When the node refuses.
    pub async fn comes_back(&self, after: &Socket) -> Socket {
        let (mut socket, _) = self.comes_online_with("&resume=1").await;
        let places = after.places.iter().map(|(room, place)| (room.clone(), json!(place.to_string())));
        socket.send(&json!({ "type": "resume", "after": places.collect::<serde_json::Map<_, _>>() })).await;
        socket
    }

    /// Sends a message over REST; answers whatever came.
    pub async fn tries_to_write(&self, to: &Person, text: &str, nonce: Option<&str>) -> Answer {
        let mut body = json!({ "receiver_id": to.id(), "content": text });
        if let Some(nonce) = nonce {
            body["client_msg_id"] = nonce.into();
        }
        self.post("/api/v1/chat/messages/", &body).await
    }

    /// Sends a message over REST; answers it.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn writes(&self, to: &Person, text: &str) -> Value {
        let answer = self.tries_to_write(to, text, None).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body
    }

    /// The messages of a conversation, newest first.
    pub async fn letters_with(&self, other: &Person) -> Vec<Value> {
        let page = self.get(&format!("/api/v1/chat/messages/history/{}?limit=100", other.id())).await.ok();
        page["messages"].as_array().expect("a page has messages").clone()
    }
}

impl Socket {
    /// Writes to a friend.
    pub async fn writes(&mut self, to: &Person, text: &str) {
        self.send(&json!({ "type": "send_message", "receiver_id": to.id(), "content": text })).await;
    }

    /// The texts of the next `count` messages of friends.
    pub async fn reads(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::with_capacity(count);
        for _ in 0..count {
            let frame = self.next("new_message").await;
            texts.push(frame["message"]["content"].as_str().unwrap_or_default().to_owned());
        }
        texts
    }
}
