//! The viewers: one small task a socket on the generator's only thread, one buffer for all of them.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use futures_util::stream::{self, StreamExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::frames::{Cutter, Frame, open, pong};
use crate::tally::Tally;
use crate::target::Target;

/// Handshakes under way at once: few enough for any backlog.
const HANDSHAKES: usize = 32;
/// Bytes of one read. Frames of a burst come in one piece.
const READ_BYTES: usize = 65_536;

/// What is noted of the text frames that sockets get.
pub(crate) trait Ledger: Send + 'static {
    /// `seat` got `payload` at `now`.
    fn note(&mut self, seat: usize, payload: &[u8], now: Instant);
}

/// Open sockets. Dropping them closes all.
pub(crate) struct Crowd<L = Tally> {
    ears: Arc<Ears<L>>,
    tasks: JoinSet<()>,
    /// By seat.
    streams: Vec<Arc<TcpStream>>,
}

/// What the viewers share.
struct Ears<L> {
    tally: Mutex<Option<L>>,
    buffer: Mutex<Vec<u8>>,
    closed: AtomicUsize,
}

impl Crowd {
    /// Opens the sockets of the viewers with these numbers, spread evenly over the target's nodes.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn gather(target: &Target, viewers: std::ops::Range<usize>) -> io::Result<Crowd> {
        Crowd::seated(viewers.map(|viewer| target.seat(viewer))).await
    }
}

impl<L: Ledger> Crowd<L> {
    /// Opens a socket for each of `seats`: a node, and a path there.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn seated(seats: impl Iterator<Item = (SocketAddr, String)>) -> io::Result<Crowd<L>> {
        let ears = Arc::new(Ears {
            tally: Mutex::new(None),
            buffer: Mutex::new(vec![0; READ_BYTES]),
            closed: AtomicUsize::new(0),
        });
        let mut opening = stream::iter(seats.enumerate())
            .map(|(seat, (node, path))| async move {
                let (stream, leftover) = open(node, &path).await?;
                Ok::<_, io::Error>((seat, Arc::new(stream), leftover))
            })
            .buffered(HANDSHAKES);
        let (mut tasks, mut streams) = (JoinSet::new(), Vec::new());
        while let Some(opened) = opening.next().await {
            let (seat, stream, leftover) = opened?;
            streams.push(stream.clone());
            tasks.spawn(listen(ears.clone(), seat, stream, leftover));
        }
        drop(opening);
        Ok(Crowd { ears, tasks, streams })
    }

    /// Writes a frame to the socket of `seat`; false when its kernel does not take it whole and at once.
    pub(crate) fn say(&self, seat: usize, frame: &[u8]) -> bool {
        self.streams[seat].try_write(frame).is_ok_and(|written| written == frame.len())
    }

    /// How many sockets were opened.
    pub(crate) fn size(&self) -> usize {
        self.tasks.len()
    }

    /// How many of them the server has closed.
    pub(crate) fn closed(&self) -> usize {
        self.ears.closed.load(Ordering::Relaxed)
    }

    /// Begins to count for a phase.
    pub(crate) fn begin(&self, ledger: L) {
        *self.ears.tally() = Some(ledger);
    }

    /// Looks at what has been counted so far.
    ///
    /// # Panics
    /// Outside a phase.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&L) -> T) -> T {
        look(self.ears.tally().as_ref().expect("a phase was begun"))
    }

    /// The same, to note what the sockets can't hear.
    ///
    /// # Panics
    /// Outside a phase.
    pub(crate) fn change(&self, change: impl FnOnce(&mut L)) {
        change(self.ears.tally().as_mut().expect("a phase was begun"));
    }

    /// Ends the phase.
    ///
    /// # Panics
    /// Outside a phase.
    pub(crate) fn end(&self) -> L {
        self.ears.tally().take().expect("a phase was begun")
    }
}

impl<L: Ledger> Ears<L> {
    fn tally(&self) -> MutexGuard<'_, Option<L>> {
        self.tally.lock().expect("nothing panics while it holds this lock")
    }

    /// Takes in what `seat` was sent.
    fn hear(&self, seat: usize, stream: &TcpStream, cutter: &mut Cutter, bytes: &[u8]) {
        let now = Instant::now();
        let mut tally = self.tally();
        cutter.feed(bytes, |frame| match frame {
            Frame::Text(payload) => {
                if let Some(tally) = tally.as_mut() {
                    tally.note(seat, payload, now);
                }
            }
            Frame::Ping(payload) => {
                // A socket too full for a pong is about to be closed for it, which the phase reports.
                let _ = stream.try_write(&pong(payload));
            }
            Frame::Close(_) | Frame::Other => {}
        });
    }

    /// Reads once; false at the end of the stream.
    fn read(&self, seat: usize, stream: &TcpStream, cutter: &mut Cutter) -> bool {
        let mut buffer = self.buffer.lock().expect("nothing panics while it holds this lock");
        match stream.try_read(&mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.hear(seat, stream, cutter, &buffer[..length]);
                true
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

async fn listen<L: Ledger>(ears: Arc<Ears<L>>, seat: usize, stream: Arc<TcpStream>, leftover: Vec<u8>) {
    let mut cutter = Cutter::default();
    ears.hear(seat, &stream, &mut cutter, &leftover);
    drop(leftover);
    while stream.readable().await.is_ok() && ears.read(seat, &stream, &mut cutter) {}
    ears.closed.fetch_add(1, Ordering::Relaxed);
}
