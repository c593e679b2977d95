//! The state under an outbox's lock: the socket, the queue, and how far a close has come. Every method returns at once.

use super::{CloseReason, Closing};
use crate::transport::websocket::frame::close_frame;
use bytes::{Buf, Bytes};
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Most pieces in one vectored write: the queue of a slow reader can be long, and this array is on the stack.
const SLICES_MAX: usize = 32;

pub(super) struct State {
    /// `None` once the socket has been let go.
    stream: Option<Arc<TcpStream>>,
    queue: VecDeque<Waiting>,
    queued_bytes: usize,
    /// What the kernel has taken in all.
    written: u64,
    /// What was sent behind this place was dropped; what is written there instead is something else.
    dropped_behind: Option<u64>,
    /// Part of the queue's head is written: the rest of it must follow before anything else may.
    head_begun: bool,
    /// The peer said that it sends nothing more.
    peer_done: bool,
    closing: Closing,
    close: Option<Close>,
    /// The connection's task, while it waits for anything to happen here.
    task: Option<Waker>,
}

/// Whole frames (of the head perhaps only the rest) that the kernel did not take yet.
struct Waiting {
    bytes: Bytes,
    since: Instant,
}

struct Close {
    reason: CloseReason,
    until: Instant,
    awaits_answer: bool,
}

/// What became of the frames given to [`State::send`].
pub(super) enum Sent {
    /// The kernel has them.
    AtOnce,
    /// The connection is closed.
    Unwanted,
    Queued,
    /// The socket is no more.
    Broken,
}

/// What [`super::Outbox::poll_drive`] has to do next.
pub(super) enum Step {
    /// Nothing is queued.
    Rest,
    /// The socket is full: wait until it is writable or the oldest byte is too old.
    Blocked { stream: Arc<TcpStream>, until: Instant },
    /// The oldest byte has waited too long.
    TooOld,
    /// All is said; the peer may answer until then.
    Parting { until: Instant },
    /// The socket has been let go.
    LetGo,
}

impl State {
    pub(super) fn new(stream: Arc<TcpStream>, closing: Closing) -> State {
        State {
            stream: Some(stream),
            queue: VecDeque::new(),
            queued_bytes: 0,
            written: 0,
            dropped_behind: None,
            head_begun: false,
            peer_done: false,
            closing,
            close: None,
            task: None,
        }
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// How far the kernel will be when it has taken what is queued.
    pub(super) fn end(&self) -> u64 {
        self.written + self.queued_bytes as u64
    }

    /// Whether the kernel has taken everything up to a place; none when it never will.
    pub(super) fn has_written(&self, place: u64) -> Option<bool> {
        if self.dropped_behind.is_some_and(|kept| place > kept) {
            return None;
        }
        let is_there = self.written >= place;
        (is_there || self.close.is_none()).then_some(is_there)
    }

    #[cfg(test)]
    pub(super) fn queue_capacity(&self) -> usize {
        self.queue.capacity()
    }

    pub(super) fn closed(&self) -> Option<CloseReason> {
        self.close.as_ref().map(|close| close.reason)
    }

    pub(super) fn stream(&self) -> Option<Arc<TcpStream>> {
        self.stream.clone()
    }

    pub(super) fn peer_is_done(&mut self) {
        self.peer_done = true;
    }

    /// Notes whom the next [`State::wake`] is for.
    pub(super) fn wake_later(&mut self, waker: &Waker) {
        match &mut self.task {
            Some(task) => task.clone_from(waker),
            None => self.task = Some(waker.clone()),
        }
    }

    /// Something is queued, or somebody closed. The waker is used up, so that an outbox that is kept longer than its
    /// connection's task does not keep that task's memory.
    pub(super) fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// The hot path: one attempt to write, straight from the caller's task.
    pub(super) fn send(&mut self, mut frames: Bytes) -> Sent {
        let (Some(stream), None) = (&self.stream, &self.close) else { return Sent::Unwanted };
        if self.queue.is_empty() {
            match stream.try_write(&frames) {
                Ok(written) if written == frames.len() => {
                    self.written += written as u64;
                    return Sent::AtOnce;
                }
                Ok(written) => {
                    self.written += written as u64;
                    frames.advance(written);
                    self.head_begun = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Sent::Broken,
            }
        }
        self.enqueue(frames);
        Sent::Queued
    }

    /// Writes what the socket takes, and says what to wait for.
    pub(super) fn step(&mut self, age_max: Duration) -> Step {
        let Some(stream) = self.stream() else { return Step::LetGo };
        if self.flush(&stream).is_err() {
            let now = Instant::now();
            self.mark_closed(CloseReason::Gone, now);
            self.abort();
            return Step::LetGo;
        }
        let waiting_since = self.queue.front().map(|head| head.since);
        match (&self.close, waiting_since) {
            (None, None) => Step::Rest,
            (None, Some(since)) if since.elapsed() >= age_max => Step::TooOld,
            (None, Some(since)) => Step::Blocked { stream, until: since + age_max },
            (Some(close), _) if Instant::now() >= close.until => {
                self.abort();
                Step::LetGo
            }
            (Some(close), Some(_)) => Step::Blocked { stream, until: close.until },
            (Some(_), None) if self.peer_done => {
                self.stream = None;
                Step::LetGo
            }
            (Some(close), None) => {
                if !close.awaits_answer {
                    // An error means that the peer is gone already, which reading will tell.
                    let _ = SockRef::from(&*stream).shutdown(Shutdown::Write);
                }
                Step::Parting { until: close.until }
            }
        }
    }

    /// Records the close unless there was one; says whether this one counts.
    pub(super) fn mark_closed(&mut self, reason: CloseReason, until: Instant) -> bool {
        if self.close.is_some() {
            return false;
        }
        let awaits_answer = self.closing == Closing::WebSocket && reason.awaits_answer();
        self.close = Some(Close { reason, until, awaits_answer });
        metrics::counter!("hubbub_outbox_closes_total", "reason" => reason.name()).increment(1);
        true
    }

    /// Queues the protocol's last words. A slow reader will not read what is queued for it: all of that is dropped but
    /// the rest of what is half written, without which no frame could follow.
    pub(super) fn say_goodbye(&mut self, code: Option<u16>) {
        let Some(reason) = self.closed() else { return };
        if reason == CloseReason::SlowReader {
            let half_written = if self.head_begun { self.queue.pop_front() } else { None };
            let rest = half_written.as_ref().map_or(0, |head| head.bytes.len());
            self.uncount(rest);
            self.forget_queue();
            self.dropped_behind = Some(self.written + rest as u64);
            if let Some(head) = half_written {
                self.enqueue(head.bytes);
                self.head_begun = true;
            }
        }
        match self.closing {
            Closing::WebSocket if reason == CloseReason::ClientClosed => self.enqueue(close_frame(code, "")),
            Closing::WebSocket => self.enqueue(close_frame(code, reason.name())),
            Closing::JustCut => {}
        }
    }

    /// Lets go of the socket with a reset, so that the kernel forgets at once what the peer has not read.
    pub(super) fn abort(&mut self) {
        self.forget_queue();
        if let Some(stream) = self.stream.take() {
            // Without it the kernel keeps unread bytes until its own timeout: slower, not wrong.
            let _ = stream.set_zero_linger();
        }
    }

    fn flush(&mut self, stream: &TcpStream) -> io::Result<()> {
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = slices
                .iter_mut()
                .zip(&self.queue)
                .map(|(slice, waiting)| *slice = IoSlice::new(&waiting.bytes))
                .count();
            match stream.try_write_vectored(&slices[..filled]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.written(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn written(&mut self, mut bytes: usize) {
        self.written += bytes as u64;
        self.uncount(bytes);
        while let Some(head) = self.queue.front_mut() {
            if bytes < head.bytes.len() {
                head.bytes.advance(bytes);
                self.head_begun |= bytes > 0;
                return;
            }
            bytes -= head.bytes.len();
            self.queue.pop_front();
            self.head_begun = false;
        }
        // An empty deque keeps its buffer; most connections will not need it again for hours.
        self.queue = VecDeque::new();
    }

    fn enqueue(&mut self, bytes: Bytes) {
        self.queued_bytes += bytes.len();
        metrics::gauge!("hubbub_outbox_queued_bytes").increment(bytes.len() as f64);
        self.queue.push_back(Waiting { bytes, since: Instant::now() });
    }

    fn uncount(&mut self, bytes: usize) {
        if bytes > 0 {
            self.queued_bytes -= bytes;
            metrics::gauge!("hubbub_outbox_queued_bytes").decrement(bytes as f64);
        }
    }

    fn forget_queue(&mut self) {
        self.uncount(self.queued_bytes);
        self.queue = VecDeque::new();
        self.head_begun = false;
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.forget_queue();
    }
}
