//! A viewer as a browser is one: when the socket ends it comes back a little later, to a node that is there, and resumes
//! behind the last message it heard.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::crowd::Ledger as _;
use crate::frames::{Cutter, Frame, open, pong};
use crate::tally::{Tally, position};
use crate::target::Target;

/// A client waits for a random part of this before it comes back, and doubles it after each failure.
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// What the viewers share.
pub(super) struct Audience {
    pub(super) target: Arc<Target>,
    pub(super) heard: Mutex<Heard>,
    /// Nodes that a balancer sends people to, counted from 0.
    balanced: Mutex<Vec<usize>>,
}

/// What became of them all.
pub(super) struct Heard {
    pub(super) tally: Tally,
    /// When each of them was cut off, and when it was back.
    pub(super) journeys: Vec<(Instant, Instant)>,
    /// How often a node refused somebody who came back, or was not there.
    pub(super) turned_away: u64,
    pub(super) resyncs: u64,
    /// Ends of sockets by their code.
    pub(super) closes: BTreeMap<String, u64>,
    pub(super) connected: usize,
}

impl Audience {
    pub(super) fn new(target: Arc<Target>, nodes: usize, tally: Tally) -> Audience {
        let heard = Heard {
            tally,
            journeys: Vec::new(),
            turned_away: 0,
            resyncs: 0,
            closes: BTreeMap::new(),
            connected: 0,
        };
        Audience { target, heard: Mutex::new(heard), balanced: Mutex::new((0..nodes).collect()) }
    }

    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("nothing panics while it holds this lock")
    }

    /// The balancer sends nobody to `node` any more.
    pub(super) fn node_leaves(&self, node: usize) {
        self.balanced().retain(|other| *other != node);
    }

    /// The balancer has found `node` ready.
    pub(super) fn node_returns(&self, node: usize) {
        self.balanced().push(node);
    }

    /// A node that takes people.
    pub(super) fn any_node(&self) -> usize {
        let nodes = self.balanced();
        let draw = usize::try_from(random() % nodes.len().max(1) as u64).unwrap_or(0);
        nodes.get(draw).copied().unwrap_or(0)
    }

    fn balanced(&self) -> MutexGuard<'_, Vec<usize>> {
        self.balanced.lock().expect("nothing panics while it holds this lock")
    }
}

/// The entropy of a UUID is good enough for dice.
pub(super) fn random() -> u64 {
    Uuid::new_v4().as_u64_pair().1 & 0xffff_ffff
}

/// Watches from `node` on, for ever.
pub(super) async fn watch(audience: Arc<Audience>, viewer: usize, stream: TcpStream, leftover: Vec<u8>) {
    let mut after = None;
    let (mut stream, mut leftover) = (stream, leftover);
    loop {
        listen(&audience, viewer, stream, &leftover, &mut after).await;
        let cut = Instant::now();
        audience.heard().connected -= 1;
        (stream, leftover) = come_back(&audience, viewer, after.as_deref()).await;
        let mut heard = audience.heard();
        heard.connected += 1;
        heard.journeys.push((cut, Instant::now()));
    }
}

async fn come_back(audience: &Audience, viewer: usize, after: Option<&str>) -> (TcpStream, Vec<u8>) {
    let mut backoff = BACKOFF;
    loop {
        tokio::time::sleep(backoff.mul_f64(random() as f64 / 4_294_967_296.0)).await;
        let (node, path) = audience.target.seat_at(audience.any_node(), viewer);
        let path = after.map_or(path.clone(), |after| format!("{path}&after={after}"));
        match open(node, &path).await {
            Ok(opened) => return opened,
            Err(_) => audience.heard().turned_away += 1,
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Listens to one socket to its end.
async fn listen(
    audience: &Audience,
    viewer: usize,
    mut stream: TcpStream,
    leftover: &[u8],
    after: &mut Option<String>,
) {
    let (mut cutter, mut buffer, mut code) = (Cutter::default(), Vec::with_capacity(8_192), None);
    buffer.extend_from_slice(leftover);
    loop {
        let now = Instant::now();
        let mut answers = Vec::new();
        cutter.feed(&buffer, |frame| match frame {
            Frame::Text(payload) => {
                let mut heard = audience.heard();
                heard.tally.note(viewer, payload, now);
                heard.resyncs += u64::from(payload.starts_with(br#"{"type":"resync""#));
                if let Some(position) = position(payload) {
                    *after = Some(position);
                }
            }
            Frame::Ping(payload) => answers = pong(payload),
            Frame::Close(payload) => {
                code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                // Masked with zeros, as the standard allows.
                answers = [&[0x88, 0x82, 0, 0, 0, 0], payload.get(..2).unwrap_or(&[])].concat();
            }
            Frame::Other => {}
        });
        // What can't be answered any more will be found out by reading.
        let _ = stream.try_write(&answers);
        buffer.clear();
        if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            break;
        }
    }
    let code = code.map_or_else(|| "without a code".to_owned(), |code| format!("with {code}"));
    *audience.heard().closes.entry(format!("sockets ended {code}")).or_default() += 1;
}
