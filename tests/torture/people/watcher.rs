//! Somebody who watches over a socket that is cut at random, and goes on at another node behind the last place heard.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use harness::load::Said;
use serde_json::Value;
use shared::id::Position;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::Error as WsError;

use super::{Caller, history};

/// How long a handshake may take.
const OPEN_WITHIN: Duration = Duration::from_secs(3);
/// Between two cuts, unless the node itself breaks off.
const CUT_MS: std::ops::Range<u64> = 2_000..9_000;
/// How long somebody stays away after a cut.
const AWAY_MS: std::ops::Range<u64> = 0..1_200;
/// The session of a stack that was just made.
pub(crate) const SESSION: i64 = 1;

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
    Said(Said),
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
    pub(crate) read: Arc<Mutex<Option<Vec<Said>>>>,
}

/// A record that grows while somebody watches.
pub(crate) type Growing = Arc<Mutex<Record>>;

/// Somebody with a socket.
pub(crate) struct Watcher {
    pub(crate) caller: Caller,
    pub(crate) record: Growing,
    line: Option<WebSocketStream<TcpStream>>,
    /// How often the socket was opened.
    life: u64,
    /// The newest place that any frame named.
    after: Position,
    cut_at: Instant,
    back_at: Instant,
}

impl Watcher {
    /// Somebody who will hear everything behind `start`.
    pub(crate) fn new(caller: Caller, start: Position) -> Watcher {
        let name = caller.person.name.clone();
        let record = Record { name, start, heard: Vec::new(), last: start, lives: 0 };
        let now = Instant::now();
        Watcher {
            caller,
            record: Arc::new(Mutex::new(record)),
            line: None,
            life: 0,
            after: start,
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
    pub(crate) async fn next(&mut self) -> Value {
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
                Some(frame) => {
                    self.notes(&frame);
                    return frame;
                }
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
        let url = self.caller.here().socket_url(SESSION, &format!("&after={}", self.after));
        match timeout(OPEN_WITHIN, open(&url)).await {
            Ok(Ok(line)) => {
                self.line = Some(line);
                self.life += 1;
                self.record.lock().expect("nothing panics while it holds this lock").lives += 1;
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
        self.back_at = now + Duration::from_millis(self.caller.rng.within(super::PAUSE_MS));
        self.cut_at = now + Duration::from_millis(self.caller.rng.within(CUT_MS));
    }

    /// Writes a text; false when that broke the socket.
    pub(crate) async fn says(&mut self, text: String) -> bool {
        const WRITTEN_WITHIN: Duration = Duration::from_secs(1);
        let Some(line) = &mut self.line else { return false };
        let sent = timeout(WRITTEN_WITHIN, line.send(Message::text(text))).await;
        if !matches!(sent, Ok(Ok(()))) {
            self.leaves();
            return false;
        }
        true
    }

    fn notes(&mut self, frame: &Value) {
        let (Some(epoch), Some(seq)) = (frame["epoch"].as_u64(), frame["seq"].as_u64()) else { return };
        let position = Position { epoch: u32::try_from(epoch).unwrap_or(u32::MAX), seq };
        let heard = match frame["type"].as_str() {
            Some("new_message") => Some(Heard::Said(Said::of(&frame["message"]))),
            Some("resync") => Some(Heard::Resync(self.reads_anew(position))),
            _ => None,
        };
        let is_resync = matches!(heard, Some(Heard::Resync(_)));
        if position < self.after && !is_resync {
            let told = format!("{} heard {frame} after {}", self.caller.person.name, self.after);
            self.caller.board.broken("places only grow on a socket", told);
        }
        self.after = position;
        let mut record = self.record.lock().expect("nothing panics while it holds this lock");
        record.last = position;
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

async fn open(url: &str) -> Result<WebSocketStream<TcpStream>, WsError> {
    let authority = url.split('/').nth(2).unwrap_or_default();
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    Ok(tokio_tungstenite::client_async(url, stream).await?.0)
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
