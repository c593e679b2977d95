//! Somebody who talks to somebody in one dialect, at one node at a time.

use reqwest::Method;
use serde_json::{Value, json};
use shared::id::{Position, RoomId};
use tokio::net::TcpSocket;

use super::{Adapter, Dialect, Line, Nonsense, Spoken, spoken};
use crate::http::Answer;
use crate::person::{Node, Person};
use crate::raw::{Raw, upgrade_request};
use crate::socket::Socket;

/// Names and values of headers.
type Headers<'a> = [(&'static str, &'a str)];

/// One of two.
#[derive(Clone)]
pub struct Talker {
    /// Who it is.
    pub person: Person,
    pub(super) dialect: Dialect,
    /// Whom they talk to.
    pub(super) to: String,
    pub(super) room: String,
}

impl Talker {
    pub(super) fn new(dialect: Dialect, person: &Person, to: &str, room: &str) -> Talker {
        Talker { person: person.clone(), dialect, to: to.to_owned(), room: room.to_owned() }
    }

    fn adapter(&self) -> &'static dyn Adapter {
        self.dialect.adapter()
    }

    /// The same person at another node.
    #[must_use]
    pub fn at(&self, node: usize) -> Talker {
        Talker { person: self.person.at(Node(node)), ..self.clone() }
    }

    /// The same person with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Talker {
        Talker { person: self.person.with_token(token), ..self.clone() }
    }

    /// The room in which they talk.
    pub fn room(&self) -> RoomId {
        RoomId(self.room.parse().expect("a room's id is a UUID"))
    }

    fn body(&self, text: &str, nonce: Option<&str>) -> Value {
        let mut body = self.adapter().body(&self.to, &json!(text));
        if let Some(nonce) = nonce {
            body["client_msg_id"] = nonce.into();
        }
        body
    }

    /// Sends over REST; nothing when the node broke the connection, the answer when it refused.
    pub async fn attempts(&self, text: &str, nonce: Option<&str>) -> Option<Result<Spoken, Answer>> {
        let request = self.person.request(Method::POST, self.adapter().send_path());
        let token = &self.person.token;
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let request = request.json(&self.body(text, nonce));
        let answer = Answer::of(request.send().await.ok()?).await;
        if answer.status != self.adapter().accepted() {
            return Some(Err(answer));
        }
        let receipt = spoken(&answer.body, "").unwrap_or_else(|| panic!("no receipt: {answer:?}"));
        Some(Ok(Spoken { text: text.to_owned(), ..receipt }))
    }

    /// Sends over REST.
    ///
    /// # Errors
    /// The answer that refuses.
    ///
    /// # Panics
    /// When there is none.
    pub async fn tries(&self, text: &str, nonce: Option<&str>) -> Result<Spoken, Answer> {
        let answered = self.attempts(text, nonce).await;
        let Some(answered) = answered else { panic!("{} got no answer", self.person.name) };
        answered
    }

    /// Sends over REST.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn sends(&self, text: &str) -> Spoken {
        let sent = self.tries(text, None).await;
        sent.unwrap_or_else(|refused| panic!("{text:.40} was refused: {refused:?}"))
    }

    /// Sends over REST what must be refused.
    ///
    /// # Panics
    /// When it is not.
    pub async fn may_not(&self, text: &str, nonce: Option<&str>) -> Answer {
        let sent = self.tries(text, nonce).await;
        sent.err().unwrap_or_else(|| panic!("{text:.40} was accepted under {nonce:?}"))
    }

    /// Sends over REST what makes no sense.
    pub async fn sends_nonsense(&self, nonsense: Nonsense) -> Answer {
        let body = nonsense.written(self.adapter(), &self.to, None);
        self.person.post_raw(self.adapter().send_path(), body).await
    }

    /// Sends over REST with these headers and without the token.
    pub async fn sends_with(&self, text: &str, headers: &Headers<'_>) -> Answer {
        let request = self.person.request(Method::POST, self.adapter().send_path());
        let request = request.json(&self.body(text, None));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.send().await.expect("an answer")).await
    }

    /// Whether the status is that of an accepted message.
    pub fn is_accepted(&self, answer: &Answer) -> bool {
        answer.status == self.adapter().accepted()
    }

    /// The newest page of the history.
    pub async fn newest_page(&self) -> Answer {
        self.person.get(&self.adapter().page(&self.to, None)).await
    }

    /// The same with these headers and without the token.
    pub async fn newest_page_with(&self, headers: &Headers<'_>) -> Answer {
        let request = self.person.request(Method::GET, &self.adapter().page(&self.to, None));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.send().await.expect("an answer")).await
    }

    /// The messages of a page, oldest first.
    pub fn on(&self, page: &Value) -> Vec<Spoken> {
        self.adapter().messages(page)
    }

    /// Everything that was said, oldest first, page by page.
    ///
    /// # Panics
    /// When a page is refused, or is not all that it should be.
    pub async fn reads(&self) -> Vec<Spoken> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = self.person.get(&self.adapter().page(&self.to, cursor.as_deref())).await.ok();
            assert!(page.get("incomplete").is_none(), "{page}");
            all.splice(0..0, self.adapter().messages(&page));
            cursor = match &page["next_cursor"] {
                Value::Null => return all,
                Value::String(cursor) => Some(cursor.clone()),
                number => Some(number.to_string()),
            };
        }
    }

    /// Takes a message back.
    ///
    /// # Panics
    /// When the dialect has no such thing.
    pub async fn takes_back(&self, message: &Spoken) -> Answer {
        let path = self.adapter().take_back(&message.id).expect("what was said can be taken back");
        self.person.delete(&path).await
    }

    /// The path of the socket, with the token if there is one.
    fn path(&self, after: Option<Position>) -> String {
        let token = &self.person.token;
        let token = if token.is_empty() { String::new() } else { format!("&token={token}") };
        format!("{}{token}", self.adapter().socket(after))
    }

    /// Asks for a socket.
    ///
    /// # Errors
    /// The answer that refuses.
    pub async fn knocks(&self, headers: &Headers<'_>) -> Result<Line, Answer> {
        let url = format!("ws://{}{}", self.person.address(), self.path(None));
        let socket = Socket::open(&self.person.name, &url, headers).await?;
        Ok(Line::begin(self, socket, None).await.expect("a socket begins with its greetings"))
    }

    /// Opens a socket.
    ///
    /// # Panics
    /// When the node refuses.
    pub async fn opens(&self) -> Line {
        let opened = self.knocks(&[]).await;
        opened.unwrap_or_else(|refusal| panic!("{} was not let in: {refusal:?}", self.person.name))
    }

    /// Opens a socket that goes on behind `after`; nothing where the node is away or refuses for now.
    pub async fn tries_to_resume(&self, after: Position) -> Option<Line> {
        let url = format!("ws://{}{}", self.person.address(), self.path(Some(after)));
        let socket = Socket::try_open(&self.person.name, &url, &[]).await.ok()?.ok()?;
        Line::begin(self, socket, Some(after)).await
    }

    /// The same.
    ///
    /// # Panics
    /// When the node refuses.
    pub async fn resumes(&self, after: Position) -> Line {
        let opened = self.tries_to_resume(after).await;
        opened.unwrap_or_else(|| panic!("{} can't come back behind {after}", self.person.name))
    }

    /// A socket that obeys nobody.
    pub async fn opens_raw(&self) -> Raw {
        Raw::websocket(self.person.address(), &self.path(None)).await
    }

    /// A socket whose owner has hardly room for what it is told, and reads none of it.
    ///
    /// # Panics
    /// When the node refuses.
    pub async fn opens_and_never_reads(&self) -> Raw {
        let small = TcpSocket::new_v4().expect("a socket");
        small.set_recv_buffer_size(4_096).expect("a small buffer");
        let address = self.person.address();
        let mut stuck = Raw::of(small.connect(address).await.expect("the node listens"));
        stuck.send(upgrade_request(address, &self.path(None), "").as_bytes()).await;
        assert_eq!(stuck.answer().await.status, 101);
        stuck
    }

    /// A whole frame that would send a message, and is `bytes` long.
    pub fn frame_of(&self, bytes: usize) -> String {
        let mut frame = self.body("within a large frame", None);
        frame["type"] = self.adapter().frame_type().into();
        frame["x"] = "".into();
        let fill = bytes - frame.to_string().len();
        frame["x"] = "y".repeat(fill).into();
        frame.to_string()
    }
}
