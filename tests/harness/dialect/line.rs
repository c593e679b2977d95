//! One socket of somebody who talks: says, and waits for what it should hear. What the contract does not speak of (who is
//! online, who writes, how many like it) passes by.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};
use shared::id::Position;
use tokio_tungstenite::tungstenite::Message;

use super::{Dialect, Nonsense, Spoken, Talker, place};
use crate::socket::{PATIENCE, Socket};

/// What the contract speaks of.
#[derive(Debug)]
enum Told {
    Spoken(Spoken),
    /// The frame that says why.
    Refused(Value),
    /// Read the history anew, and go on from here.
    Resync(Position),
}

/// A socket.
pub struct Line {
    dialect: Dialect,
    who: String,
    to: String,
    socket: Socket,
    /// What was said here, by its nonce: receipts need not repeat it.
    said: HashMap<String, String>,
    /// What came while something else was waited for.
    waiting: VecDeque<Told>,
    /// The newest place that was heard of.
    pub last: Position,
}

impl Line {
    /// Takes the greetings off and says where it was; nothing when the node closed it meanwhile.
    pub(super) async fn begin(talker: &Talker, socket: Socket, after: Option<Position>) -> Option<Line> {
        let mut line = Line {
            dialect: talker.dialect,
            who: talker.person.name.clone(),
            to: talker.to.clone(),
            socket,
            said: HashMap::new(),
            waiting: VecDeque::new(),
            last: after.unwrap_or_default(),
        };
        for greeting in talker.dialect.adapter().greetings() {
            let frame = tokio::time::timeout(PATIENCE, line.socket.any()).await;
            let frame = frame.unwrap_or_else(|_| panic!("{} was not told {greeting}", line.who))?;
            assert_eq!(frame["type"], *greeting, "{frame}");
        }
        let first = after.and_then(|after| talker.dialect.adapter().first_words(&talker.room, after));
        if let Some(first) = first {
            line.socket.try_send(Message::text(first.to_string())).await.ok()?;
        }
        Some(line)
    }

    /// Says something under a name of one's own.
    pub async fn says(&mut self, text: &str, nonce: &str) {
        let adapter = self.dialect.adapter();
        let mut frame = adapter.body(&self.to, &json!(text));
        frame["type"] = adapter.frame_type().into();
        frame["client_msg_id"] = nonce.into();
        // A name stays that of the text that had it first.
        self.said.entry(nonce.to_owned()).or_insert_with(|| text.to_owned());
        self.socket.send(&frame).await;
    }

    /// Says what makes no sense.
    pub async fn says_nonsense(&mut self, nonsense: Nonsense) {
        let adapter = self.dialect.adapter();
        let frame = nonsense.written(adapter, &self.to, Some(adapter.frame_type()));
        self.socket.send_text(&frame).await;
    }

    /// Sends a frame of a type that is not for clients, or that there is not.
    pub async fn says_of_type(&mut self, kind: &Value) {
        let mut frame = self.dialect.adapter().body(&self.to, &json!("never to be heard"));
        frame["type"] = kind.clone();
        self.socket.send(&frame).await;
    }

    /// Sends bytes.
    pub async fn sends_binary(&mut self, bytes: Vec<u8>) {
        self.socket.send_message(Message::binary(bytes)).await;
    }

    fn understand(&mut self, frame: &Value) -> Option<Told> {
        match frame["type"].as_str()? {
            "error" => return Some(Told::Refused(frame.clone())),
            "resync" => return Some(Told::Resync(place(frame))),
            _ => {}
        }
        let mut spoken = self.dialect.adapter().heard(frame)?;
        let nonce = frame["client_msg_id"].as_str();
        if let Some(said) = nonce.and_then(|nonce| self.said.get(nonce)) {
            spoken.text.clone_from(said);
        }
        Some(Told::Spoken(spoken))
    }

    /// The next thing that matters; nothing when the socket was closed.
    async fn next(&mut self) -> Option<Told> {
        loop {
            let frame = self.socket.any().await?;
            if let Some(told) = self.understand(&frame) {
                if let Told::Spoken(Spoken { position, .. }) | Told::Resync(position) = &told {
                    self.last = self.last.max(*position);
                }
                return Some(told);
            }
        }
    }

    /// The first that is `wanted`, of what waits and then of what comes.
    async fn first(&mut self, what: &str, wanted: fn(&Told) -> bool) -> Told {
        if let Some(told) = self.waiting.iter().position(wanted).and_then(|at| self.waiting.remove(at)) {
            return told;
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let told = tokio::time::timeout_at(deadline, self.next()).await;
            let told = told.unwrap_or_else(|_| {
                panic!("{} heard no {what} within {PATIENCE:?}, but {:?}", self.who, self.waiting)
            });
            let told = told
                .unwrap_or_else(|| panic!("{} was closed ({:?}) without a {what}", self.who, self.code()));
            if wanted(&told) {
                return told;
            }
            self.waiting.push_back(told);
        }
    }

    /// The next message, one's own among them.
    ///
    /// # Panics
    /// When something is refused or skipped instead.
    pub async fn hears_one(&mut self) -> Spoken {
        match self.first("message", |_| true).await {
            Told::Spoken(spoken) => spoken,
            other => panic!("{} was to hear a message, and was told {other:?}", self.who),
        }
    }

    /// The next `count` messages.
    pub async fn hears(&mut self, count: usize) -> Vec<Spoken> {
        let mut heard = Vec::with_capacity(count);
        for _ in 0..count {
            heard.push(self.hears_one().await);
        }
        heard
    }

    /// Waits until `count` things came, and leaves them to be heard.
    pub async fn waits_for(&mut self, count: usize) {
        while self.waiting.len() < count {
            let told = tokio::time::timeout(PATIENCE, self.next()).await;
            let told = told.unwrap_or_else(|_| panic!("{} heard only {:?}", self.who, self.waiting));
            self.waiting.push_back(told.expect("the socket is still there"));
        }
    }

    /// The messages up to and with the one of this text.
    pub async fn hears_until(&mut self, text: &str) -> Vec<Spoken> {
        let mut heard = Vec::new();
        loop {
            heard.push(self.hears_one().await);
            if heard.last().is_some_and(|last| last.text == text) {
                return heard;
            }
        }
    }

    /// The next refusal. Messages that come before it are heard later.
    pub async fn is_refused(&mut self) -> Value {
        match self.first("refusal", |told| matches!(told, Told::Refused(_))).await {
            Told::Refused(frame) => frame,
            other => panic!("{other:?} is no refusal"),
        }
    }

    /// Waits to be told to read the history anew; answers from where it goes on.
    ///
    /// # Panics
    /// When something else comes first.
    pub async fn is_sent_back(&mut self) -> Position {
        match self.first("resync", |_| true).await {
            Told::Resync(position) => position,
            other => panic!("{} was to be sent back, and was told {other:?}", self.who),
        }
    }

    /// The code of the node's close frame, once there was one.
    pub fn code(&self) -> Option<u16> {
        self.socket.code()
    }

    /// Waits until the node ends the socket; answers the code by which it said why. What was heard before waits.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ends(&mut self) -> Option<u16> {
        let reading = async {
            while let Some(told) = self.next().await {
                self.waiting.push_back(told);
            }
        };
        let ended = tokio::time::timeout(PATIENCE, reading).await;
        assert!(ended.is_ok(), "{} is still connected; heard {:?}", self.who, self.waiting);
        self.code()
    }

    /// The messages that came before the socket ended and were not waited for.
    pub fn leftovers(&mut self) -> Vec<Spoken> {
        let spoken = |told| match told {
            Told::Spoken(spoken) => Some(spoken),
            _ => None,
        };
        self.waiting.drain(..).filter_map(spoken).collect()
    }

    /// Closes it as a browser does, and waits for the node's own close.
    pub async fn closes(self) {
        self.socket.close().await;
    }
}
