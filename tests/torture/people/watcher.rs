//! Somebody who watches over a socket that is cut at random, and goes on at another node behind the highest place heard.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use harness::dialect::{Spoken, spoken};
use serde_json::Value;
use shared::id::Position;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::Error as WsError;

use super::caller::PAUSE_MS;
use super::sender::Draft;
use super::{Caller, history};

/// How long a handshake may take.
const OPEN_WITHIN: Duration = Duration::from_secs(3);
/// Between two cuts, unless the node itself breaks off.
const CUT_MS: std::ops::Range<u64> = 2_000..9_000;
/// How long somebody stays away after a cut.
const AWAY_MS: std::ops::Range<u64> = 0..1_200;
/// How long a frame may take to be taken.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);
/// Everything that a dialect tells only those who ask for it, but for presence, which is no part of a room.
const CAPS: &str = "delivered,deleted";

/// What was heard, over all lives of the socket.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) name: String,
    /// Everything behind this was to be heard.
    pub(crate) start: Position,
    pub(crate) heard: Vec<Heard>,
    pub(crate) last: Position,
    /// How many sockets there were.
    pub(crate) lives: u64,
}

/// In the order in which it came.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Said(Spoken),
    /// A receipt for what was heard of already.
    Again(Spoken),
    /// Something became of one's own message of this id.
    Became(String),
    /// What lies between was to be read from the history.
    Resync(Resync),
}

/// A word that what was missed can't be replayed.
#[derive(Clone, Debug)]
pub(crate) struct Resync {
    pub(crate) from: Position,
    pub(crate) to: Position,
    pub(crate) at: Duration,
    pub(crate) node: usize,
    /// What the history then said of the range; nothing when it could not be read.
    pub(crate) read: Arc<Mutex<Option<Vec<Spoken>>>>,
}

/// A record that grows while somebody watches.
pub(crate) type Growing = Arc<Mutex<Record>>;

/// A frame, and the message that it tells of.
pub(crate) struct Told {
    pub(crate) frame: Value,
    pub(crate) said: Option<Spoken>,
}

/// A message that was written to sockets.
struct Written {
    text: String,
    /// How often it was written, and how often it was told to be accepted.
    times: u32,
    receipts: u32,
}

/// Somebody with a socket.
pub(crate) struct Watcher {
    pub(crate) caller: Caller,
    pub(crate) record: Growing,
    line: Option<WebSocketStream<TcpStream>>,
    /// How often the socket was opened.
    life: u64,
    /// The highest place that any frame named.
    after: Position,
    /// By nonce: a receipt need not repeat the text.
    written: HashMap<String, Written>,
    cut_at: Instant,
    back_at: Instant,
}

impl Watcher {
    /// Somebody who will hear everything that is said in the caller's room.
    pub(crate) fn new(caller: Caller) -> Watcher {
        let (name, start) = (caller.person.name.clone(), caller.room.start);
        let record = Record { name, start, heard: Vec::new(), last: start, lives: 0 };
        let now = Instant::now();
        Watcher {
            caller,
            record: Arc::new(Mutex::new(record)),
            line: None,
            life: 0,
            after: start,
            written: HashMap::new(),
            cut_at: now,
            back_at: now,
        }
    }

    /// The number of the present socket.
    pub(crate) fn life(&self) -> u64 {
        self.life
    }

    /// Watches for ever.
    pub(crate) async fn watches(mut self) {
        loop {
            self.next().await;
        }
    }

    /// The next frame, from this or a later life of the socket. May be dropped at any time.
    pub(crate) async fn next(&mut self) -> Told {
        loop {
            let Some(line) = &mut self.line else {
                self.comes_back().await;
                continue;
            };
            let frame = tokio::select! {
                frame = hears(line) => frame,
                () = sleep_until(self.cut_at), if !self.caller.board.is_closing() => None,
            };
            match frame {
                Some(frame) => return self.notes(frame),
                None => self.leaves(),
            }
        }
    }

    /// Drops the socket without a word, as a lost network does.
    pub(crate) fn leaves(&mut self) {
        self.line = None;
        let away = self.caller.rng.within(AWAY_MS);
        self.back_at = Instant::now() + Duration::from_millis(away);
    }

    async fn comes_back(&mut self) {
        sleep_until(self.back_at).await;
        self.caller.moves();
        let (here, room) = (self.caller.here(), &self.caller.room);
        let path = room.adapter().socket(Some(self.after));
        let url = format!("ws://{}{path}&caps={CAPS}&token={}", here.address(), here.token);
        let first = room.adapter().first_words(&room.id.to_string(), self.after);
        match timeout(OPEN_WITHIN, open(&url, first)).await {
            Ok(Ok(line)) => {
                self.line = Some(line);
                self.life += 1;
                self.lock().lives += 1;
            }
            Ok(Err(WsError::Http(response))) => {
                let (parts, body) = response.into_parts();
                let text = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
                let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
                let told = || format!("{} {text} from node {} to a socket", parts.status, self.caller.node());
                self.caller.judges(&body["code"], told);
            }
            Ok(Err(_)) | Err(_) => self.caller.board.no_answer(),
        }
        let now = Instant::now();
        self.back_at = now + Duration::from_millis(self.caller.rng.within(PAUSE_MS));
        self.cut_at = now + Duration::from_millis(self.caller.rng.within(CUT_MS));
    }

    /// Writes a message; false when there is no socket, or that broke it.
    pub(crate) async fn says(&mut self, draft: &Draft) -> bool {
        let Some(line) = &mut self.line else { return false };
        let mut frame = draft.body(&self.caller);
        frame["type"] = self.caller.room.adapter().frame_type().into();
        let new = || Written { text: draft.text.clone(), times: 0, receipts: 0 };
        self.written.entry(draft.nonce.clone()).or_insert_with(new).times += 1;
        let sent = timeout(WRITTEN_WITHIN, line.send(Message::text(frame.to_string()))).await;
        if !matches!(sent, Ok(Ok(()))) {
            self.leaves();
            return false;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("nothing panics while it holds this lock")
    }

    fn notes(&mut self, frame: Value) -> Told {
        let who = &self.caller.person.name;
        if self.caller.room.is_not_in(&frame) {
            self.caller.board.broken("nobody is told of another's room", format!("{who} heard {frame}"));
        }
        if frame["type"] == "error" {
            self.caller.judges(&frame["code"], || format!("{frame} to {who} at node {}", self.caller.node()));
            // Of no message: it was not let in, or what it missed can't be had here.
            if frame["client_msg_id"].is_null() {
                self.leaves();
            }
        }
        let said = self.understands(&frame);
        if let ("message_delivered" | "message_read", Some(id)) =
            (frame["type"].as_str().unwrap_or_default(), frame["message_id"].as_str())
        {
            self.lock().heard.push(Heard::Became(id.to_owned()));
        }
        // A word on what has arrived names the place of that, and is none itself.
        if let Some(Spoken { position, .. }) =
            spoken(&frame, "").filter(|_| frame["type"] != "message_delivered")
        {
            self.goes_on(&frame, position, said.clone());
        }
        Told { frame, said }
    }

    /// The message that a frame tells of.
    fn understands(&mut self, frame: &Value) -> Option<Spoken> {
        let said = self.caller.room.adapter().heard(frame)?;
        if !is_receipt(frame) {
            return Some(said);
        }
        let written = frame["client_msg_id"].as_str().and_then(|nonce| self.written.get_mut(nonce));
        let Some(written) = written.filter(|written| written.receipts < written.times) else {
            let told = format!("{} heard {frame}", self.caller.person.name);
            self.caller.board.broken("a socket is told once of what it sent once", told);
            return None;
        };
        written.receipts += 1;
        Some(Spoken { text: written.text.clone(), ..said })
    }

    fn goes_on(&mut self, frame: &Value, position: Position, said: Option<Spoken>) {
        let heard = match said {
            _ if frame["type"] == "resync" => Some(Heard::Resync(self.reads_anew(position))),
            Some(said) if is_receipt(frame) && position <= self.after => Some(Heard::Again(said)),
            said => said.map(Heard::Said),
        };
        let mut record = self.record.lock().expect("nothing panics while it holds this lock");
        if !matches!(heard, Some(Heard::Again(_))) {
            if position < self.after && !matches!(heard, Some(Heard::Resync(_))) {
                let told = format!("{} heard {frame} after {}", record.name, self.after);
                self.caller.board.broken("places only grow on a socket", told);
            }
            self.after = position;
            record.last = position;
        }
        record.heard.extend(heard);
    }

    /// Begins to read what a resync leaves out.
    fn reads_anew(&self, to: Position) -> Resync {
        let (from, read) = (self.after, Arc::new(Mutex::new(None)));
        let (mut caller, found) = (self.caller.clone(), read.clone());
        tokio::spawn(async move {
            let range = history::between(&mut caller, from, to).await;
            *found.lock().expect("nothing panics while it holds this lock") = Some(range);
        });
        Resync { from, to, at: self.caller.board.now(), node: self.caller.node(), read }
    }
}

/// Opens a socket, and says what comes first.
async fn open(url: &str, first: Option<Value>) -> Result<WebSocketStream<TcpStream>, WsError> {
    let authority = url.split('/').nth(2).unwrap_or_default();
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let mut line = tokio_tungstenite::client_async(url, stream).await?.0;
    if let Some(first) = first {
        line.send(Message::text(first.to_string())).await?;
    }
    Ok(line)
}

/// Whether a frame tells a socket that what it sent is accepted.
fn is_receipt(frame: &Value) -> bool {
    frame["type"] == "message_sent"
}

/// The next text frame; none once the socket is closed or broken.
async fn hears(line: &mut WebSocketStream<TcpStream>) -> Option<Value> {
    loop {
        match line.next().await {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).ok(),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}
