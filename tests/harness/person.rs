//! Somebody with a token, who talks to one node at a time.

use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::http::Answer;
use crate::raw::Raw;
use crate::socket::Socket;

/// Which api node, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node(pub usize);

/// Where the nodes listen; nodes come and go while people hold this.
pub(crate) type Addresses = Arc<RwLock<Vec<SocketAddr>>>;

/// Longest that a call over REST may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Somebody signed in.
#[derive(Clone)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The token.
    pub token: String,
    /// The account as sign-in told it.
    pub account: Value,
    node: Node,
    addresses: Addresses,
    http: reqwest::Client,
}

impl Person {
    pub(crate) async fn sign_in(
        name: &str,
        roles: &[&str],
        node: Node,
        addresses: Addresses,
        http: reqwest::Client,
    ) -> Person {
        let nobody = Person {
            name: name.to_owned(),
            token: String::new(),
            account: Value::Null,
            node,
            addresses,
            http,
        };
        let login = json!({ "username": name, "roles": roles });
        let signed_in = nobody.post("/auth/dev-login", &login).await.ok();
        let token = signed_in["access_token"].as_str().expect("a token").to_owned();
        Person { token, account: signed_in["account"].clone(), ..nobody }
    }

    /// The same person at another node.
    #[must_use]
    pub fn at(&self, node: Node) -> Person {
        Person { node, ..self.clone() }
    }

    /// The same person with another token.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Person {
        Person { token: token.into(), ..self.clone() }
    }

    /// Where this person's node listens.
    pub fn address(&self) -> SocketAddr {
        let addresses = self.addresses.read().expect("nothing panics while it holds this lock");
        addresses[self.node.0 - 1]
    }

    /// A request of any kind, not sent yet and without the token.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address())).timeout(PATIENCE)
    }

    fn signed(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.request(method, path);
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    async fn asks(&self, request: reqwest::RequestBuilder) -> Answer {
        let response =
            request.send().await.unwrap_or_else(|error| panic!("{} got no answer: {error}", self.name));
        Answer::of(response).await
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.asks(self.signed(Method::GET, path)).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.asks(self.signed(Method::POST, path).json(body)).await
    }

    /// POST with any body that says it is JSON.
    pub async fn post_raw(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.signed(Method::POST, path).header("content-type", "application/json");
        self.asks(request.body(body)).await
    }

    /// PUT with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.asks(self.signed(Method::PUT, path).json(body)).await
    }

    /// The UUID of the account.
    ///
    /// # Panics
    /// When sign-in did not tell it.
    pub fn id(&self) -> &str {
        self.account["account_id"].as_str().expect("sign-in tells the account's id")
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.asks(self.signed(Method::DELETE, path)).await
    }

    /// Sends over REST; answers whatever came, nothing when the node broke the connection.
    pub async fn tries_to_say(&self, text: &str, nonce: Option<&str>) -> Option<Answer> {
        let mut body = json!({ "message": text });
        if let Some(nonce) = nonce {
            body["client_msg_id"] = nonce.into();
        }
        let request = self.signed(Method::POST, "/live-chat/send-message").json(&body);
        Some(Answer::of(request.send().await.ok()?).await)
    }

    /// Says something over REST and answers the receipt.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn says(&self, text: &str) -> Value {
        self.tries_to_say(text, None).await.expect("an answer").ok()
    }

    /// Texts of the newest messages, oldest first.
    pub async fn reads(&self) -> Vec<String> {
        texts(&self.get("/live-chat/messages?limit=1000").await.ok())
    }

    /// The address of a socket in session `session`, token included.
    pub fn socket_url(&self, session: i64, more: &str) -> String {
        format!("ws://{}{}{more}", self.address(), self.socket_path(session))
    }

    /// The same without the host.
    pub fn socket_path(&self, session: i64) -> String {
        format!("/live-chat/ws/{session}?token={}", self.token)
    }

    /// Opens a socket in the stack's first session.
    ///
    /// # Panics
    /// When the node refuses.
    pub async fn connect(&self) -> Socket {
        let opened = Socket::open(&self.name, &self.socket_url(1, ""), &[]).await;
        opened.unwrap_or_else(|refusal| panic!("{} was not let in: {refusal:?}", self.name))
    }

    /// Opens a socket that goes on behind `position`.
    ///
    /// # Panics
    /// When the node refuses.
    pub async fn resume(&self, position: &str) -> Socket {
        let opened = Socket::open(&self.name, &self.socket_url(1, &format!("&after={position}")), &[]).await;
        opened.unwrap_or_else(|refusal| panic!("{} was not let in: {refusal:?}", self.name))
    }

    /// The same where the node may be away or refuse for now.
    pub async fn tries_to_resume(&self, position: &str) -> Option<Socket> {
        let url = self.socket_url(1, &format!("&after={position}"));
        Socket::try_open(&self.name, &url, &[]).await.ok()?.ok()
    }

    /// Expects not to be let into `session`.
    ///
    /// # Panics
    /// When the node does let in.
    pub async fn is_kept_out_of(&self, session: &str) -> Answer {
        let url = format!("ws://{}/live-chat/ws/{session}?token={}", self.address(), self.token);
        match Socket::open(&self.name, &url, &[]).await {
            Ok(_) => panic!("{} was let into session {session}", self.name),
            Err(refusal) => refusal,
        }
    }

    /// A socket that obeys nobody.
    pub async fn connect_raw(&self) -> Raw {
        Raw::websocket(self.address(), &self.socket_path(1)).await
    }
}

/// The texts of a page of messages.
pub fn texts(page: &Value) -> Vec<String> {
    let messages = page["messages"].as_array().expect("a page has messages");
    messages.iter().map(|message| message["message"].as_str().unwrap_or_default().to_owned()).collect()
}
