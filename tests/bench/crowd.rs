//! The viewers: one small task a socket on the generator's only thread, one buffer for all of them.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use futures_util::stream::{self, StreamExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::frames::{Cutter, Frame, open, pong};
use crate::tally::{Schedule, Tally};
use crate::target::Target;

/// Handshakes under way at once: few enough for any backlog.
const HANDSHAKES: usize = 32;
/// Bytes of one read. Frames of a burst come in one piece.
const READ_BYTES: usize = 65_536;

/// Open sockets. Dropping them closes all.
pub(crate) struct Crowd {
    ears: Arc<Ears>,
    tasks: JoinSet<()>,
}

/// What the viewers share.
struct Ears {
    tally: Mutex<Option<Tally>>,
    buffer: Mutex<Vec<u8>>,
    closed: AtomicUsize,
}

impl Crowd {
    /// Opens the sockets of the viewers with these numbers, spread evenly over the target's nodes.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn gather(target: &Target, viewers: std::ops::Range<usize>) -> io::Result<Crowd> {
        let ears = Arc::new(Ears {
            tally: Mutex::new(None),
            buffer: Mutex::new(vec![0; READ_BYTES]),
            closed: AtomicUsize::new(0),
        });
        let first = viewers.start;
        let mut opening = stream::iter(viewers)
            .map(|viewer| async move {
                let (node, path) = target.seat(viewer);
                open(node, &path).await.map(|(stream, leftover)| (viewer - first, stream, leftover))
            })
            .buffer_unordered(HANDSHAKES);
        let mut tasks = JoinSet::new();
        while let Some(opened) = opening.next().await {
            let (seat, stream, leftover) = opened?;
            tasks.spawn(listen(ears.clone(), seat, stream, leftover));
        }
        drop(opening);
        Ok(Crowd { ears, tasks })
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
    pub(crate) fn begin(&self, schedule: Schedule) {
        *self.ears.tally() = Some(Tally::new(self.size(), schedule));
    }

    /// Looks at what has been counted so far.
    ///
    /// # Panics
    /// Outside a phase.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Tally) -> T) -> T {
        look(self.ears.tally().as_ref().expect("a phase was begun"))
    }

    /// Ends the phase.
    ///
    /// # Panics
    /// Outside a phase.
    pub(crate) fn end(&self) -> Tally {
        self.ears.tally().take().expect("a phase was begun")
    }
}

impl Ears {
    fn tally(&self) -> MutexGuard<'_, Option<Tally>> {
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

async fn listen(ears: Arc<Ears>, seat: usize, stream: TcpStream, leftover: Vec<u8>) {
    let mut cutter = Cutter::default();
    ears.hear(seat, &stream, &mut cutter, &leftover);
    drop(leftover);
    while stream.readable().await.is_ok() && ears.read(seat, &stream, &mut cutter) {}
    ears.closed.fetch_add(1, Ordering::Relaxed);
}
