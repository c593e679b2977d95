//! A person's socket: says, and waits for what it should hear, with a deadline that names it.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use shared::id::Position;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error as WsError;

use crate::http::Answer;

/// How long a socket waits for something before it is called missing.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// One WebSocket.
pub struct Socket {
    who: String,
    stream: WebSocketStream<TcpStream>,
    /// Frames that came while something else was waited for, oldest first.
    pub passed: Vec<Value>,
    /// The newest place that was heard of.
    pub position: Option<Position>,
    /// The same for each room.
    pub places: HashMap<String, Position>,
    closed: Option<Option<u16>>,
}

impl Socket {
    /// Opens `url`, or answers with what HTTP said instead.
    ///
    /// # Panics
    /// When nobody listens or the answer is no HTTP.
    pub async fn open(who: &str, url: &str, headers: &[(&'static str, &str)]) -> Result<Socket, Answer> {
        match Socket::try_open(who, url, headers).await {
            Ok(opened) => opened,
            Err(error) => panic!("{who} got no HTTP answer: {error}"),
        }
    }

    /// The same where the node may be away or break off.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn try_open(
        who: &str,
        url: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Result<Socket, Answer>, WsError> {
        let mut request = url.into_client_request().expect("the harness makes good addresses");
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().expect("a header value"));
        }
        let authority = request.uri().authority().expect("a full address").as_str();
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let answered = tokio::time::timeout(PATIENCE, tokio_tungstenite::client_async(request, stream)).await;
        match answered.unwrap_or_else(|_| panic!("{who} got no answer to the handshake")) {
            Ok((stream, _)) => Ok(Ok(Socket {
                who: who.to_owned(),
                stream,
                passed: Vec::new(),
                position: None,
                places: HashMap::new(),
                closed: None,
            })),
            Err(WsError::Http(response)) => {
                let (parts, body) = response.into_parts();
                let text = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
                Ok(Err(Answer::new(parts.status.as_u16(), parts.headers, text)))
            }
            Err(error) => Err(error),
        }
    }

    /// Says something in the room; it is heard when everybody hears it.
    pub async fn say(&mut self, text: &str) {
        self.send(&json!({ "type": "message", "message": text })).await;
    }

    /// The same under a name of one's own.
    pub async fn say_as(&mut self, text: &str, nonce: &str) {
        self.send(&json!({ "type": "message", "message": text, "client_msg_id": nonce })).await;
    }

    /// Sends any frame.
    pub async fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// Sends any text.
    pub async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    /// Sends any message of the protocol.
    ///
    /// # Panics
    /// When the socket is closed.
    pub async fn send_message(&mut self, message: Message) {
        let sent = self.try_send(message).await;
        sent.unwrap_or_else(|error| panic!("{} can't send: {error}", self.who));
    }

    /// The same where the node may have closed the socket.
    ///
    /// # Errors
    /// When it has.
    ///
    /// # Panics
    /// When the node does not read.
    pub async fn try_send(&mut self, message: Message) -> Result<(), WsError> {
        let sent = tokio::time::timeout(PATIENCE, self.stream.send(message)).await;
        sent.expect("the node reads")
    }

    /// The next frame of whatever type; none once the socket is closed.
    pub async fn any(&mut self) -> Option<Value> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).expect("frames are JSON");
                    self.check_order(&frame);
                    return Some(frame);
                }
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.map(|frame| u16::from(frame.code));
                    self.closed.get_or_insert(code);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    self.closed.get_or_insert(None);
                    return None;
                }
            }
        }
    }

    /// On one wire a room's order only goes forward. What has reached a device is no part of it.
    fn check_order(&mut self, frame: &Value) {
        let number = |name: &str| frame[name].as_u64();
        let (Some(epoch), Some(seq)) = (number("epoch"), number("seq")) else { return };
        if frame["type"] == "message_delivered" {
            return;
        }
        let position = Position { epoch: u32::try_from(epoch).expect("an epoch"), seq };
        let is_message = frame["type"] == "new_message" || frame["type"] == "message_sent";
        let room = frame["room_id"].as_str().unwrap_or_default().to_owned();
        if let Some(last) = self.places.get(&room) {
            // The answer to a retry tells the place that the message has had since its first try.
            if frame["type"] == "message_sent" && position <= *last {
                return;
            }
            let forward = if is_message { position > *last } else { position >= *last };
            assert!(forward, "{} heard {frame} after {last}", self.who);
        }
        self.places.insert(room, position);
        self.position = Some(position);
    }

    /// The next frame of this type; what comes before it goes to `passed`.
    ///
    /// # Panics
    /// When it does not come in time.
    pub async fn next(&mut self, kind: &str) -> Value {
        self.until(kind, |frame| frame["type"] == kind).await
    }

    /// The next frame that `wanted` is true of.
    ///
    /// # Panics
    /// When it does not come in time, or the socket is closed first.
    pub async fn until(&mut self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match tokio::time::timeout_at(deadline, self.any()).await {
                Ok(Some(frame)) if wanted(&frame) => return frame,
                Ok(Some(frame)) => self.passed.push(frame),
                Ok(None) => panic!("{} was closed ({:?}) without {what}", self.who, self.closed),
                Err(_) => panic!("{} heard no {what} within {PATIENCE:?}; heard {:?}", self.who, self.passed),
            }
        }
    }

    /// The texts of the next `count` messages.
    pub async fn hears(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::with_capacity(count);
        for _ in 0..count {
            let frame = self.next("new_message").await;
            texts.push(frame["message"]["message"].as_str().unwrap_or_default().to_owned());
        }
        texts
    }

    /// Everything that the node has written before it answers a ping sent now.
    pub async fn catches_up(&mut self) -> Vec<Value> {
        self.send(&json!({ "type": "ping" })).await;
        self.next("pong").await;
        std::mem::take(&mut self.passed)
    }

    /// Waits until the node closes the socket; answers the code of its close frame.
    ///
    /// # Panics
    /// When it does not.
    pub async fn closed(&mut self) -> Option<u16> {
        let reading = async {
            while let Some(frame) = self.any().await {
                self.passed.push(frame);
            }
        };
        let ended = tokio::time::timeout(PATIENCE, reading).await;
        assert!(ended.is_ok(), "{} is still open after {PATIENCE:?}; heard {:?}", self.who, self.passed);
        self.closed.flatten()
    }

    /// The code of the node's close frame, once there was one.
    pub fn code(&self) -> Option<u16> {
        self.closed.flatten()
    }

    /// Closes it as a browser does, and waits for the node's own close.
    pub async fn close(mut self) {
        let _ = self.stream.close(None).await;
        self.closed().await;
    }
}
