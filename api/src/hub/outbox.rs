//! What one connection has yet to be sent, and the answer to "why was I cut off".
//!
//! Promise: [`Outbox::send`] never waits. The delivering task writes straight to the socket; only what the kernel does not
//! take at once is queued, and then the connection's own task ([`Outbox::poll_drive`]) empties the queue as the peer reads.
//! The queue is bounded in bytes and in age: a peer that falls behind is cut off, and nobody else notices. Everything
//! that goes to a socket goes through here under one short lock (answers to pings and closes too), so frames never
//! interleave. A connection at rest holds no buffer.
//!
//! | reason | close code | what the client should do |
//! |---|---|---|
//! | `normal` | 1000 | nothing |
//! | `client_closed` | the client's own | nothing, it asked |
//! | `drain` | 1012 | come back at once, to any node, and resume |
//! | `gap` | 1012 | come back and resume, or read the history anew: something it should have heard could not be had |
//! | `slow_reader` | 4408 (best effort) | come back and resume: it read slower than its rooms wrote |
//! | `expired` | 4401 | get a new token, come back |
//! | `forbidden` | 4403 | stop: the room or window is closed to it |
//! | `not_found` | 4404 | stop: there is no such room |
//! | `protocol` | 1002 | fix the client: it broke RFC 6455 |
//! | `unsupported` | 1003 | fix the client: it sent what this route cannot take |
//! | `invalid_utf8` | 1007 | fix the client: its text was not UTF-8 |
//! | `unfinished` | 1008 | fix the client: it began a message and did not end it in time |
//! | `too_large` | 1009 | send less at once |
//! | `internal` | 1011 | come back a little later: we failed, and logged it |
//! | `no_pong` | none | come back and resume: it stayed silent when asked |
//! | `gone` | none | it vanished; a client that sees 1006 comes back and resumes |
//!
//! A transport without close frames of its own (see [`Closing::JustCut`]) shows every one of these as a lost connection.

mod state;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use state::{Sent, State, Step};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// The bounds of one outbox.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutboxLimits {
    /// Most bytes that may wait (OUTBOX_BYTES_MAX).
    pub(crate) bytes_max: usize,
    /// Longest that the oldest waiting byte may wait (OUTBOX_AGE_MS).
    pub(crate) age_max: Duration,
    /// Longest from a close to letting go of the socket, whatever the peer does: time to write what is queued and to
    /// hear the peer's own close. Usually [`CLOSE_WITHIN`].
    pub(crate) close_within: Duration,
}

/// Long enough for a round trip to the other side of the world, short enough that a stuck socket costs nothing.
pub(crate) const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// How this connection's protocol says good-bye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// A WebSocket close frame with the reason's code, then the peer's answer.
    WebSocket,
    #[cfg_attr(not(test), allow(dead_code, reason = "for transports without close frames"))]
    /// Nothing: the stream just ends. Stock Socket.IO clients reconnect after a lost transport, not after a close.
    JustCut,
}

/// Why a connection was closed; the module's table says what each means to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CloseReason {
    #[cfg_attr(not(test), allow(dead_code, reason = "a code of the protocol that no route has needed yet"))]
    Normal,
    ClientClosed,
    Drain,
    Gap,
    SlowReader,
    Expired,
    Forbidden,
    NotFound,
    Protocol,
    #[cfg_attr(not(test), allow(dead_code, reason = "a code of the protocol that no route has needed yet"))]
    Unsupported,
    InvalidUtf8,
    Unfinished,
    TooLarge,
    Internal,
    NoPong,
    Gone,
}

impl CloseReason {
    /// The code of the close frame; `None` where no frame can or should be written.
    pub(crate) fn code(self) -> Option<u16> {
        match self {
            CloseReason::Normal => Some(1000),
            CloseReason::Protocol => Some(1002),
            CloseReason::Unsupported => Some(1003),
            CloseReason::InvalidUtf8 => Some(1007),
            CloseReason::Unfinished => Some(1008),
            CloseReason::TooLarge => Some(1009),
            CloseReason::Internal => Some(1011),
            CloseReason::Drain | CloseReason::Gap => Some(1012),
            CloseReason::Expired => Some(4401),
            CloseReason::Forbidden => Some(4403),
            CloseReason::NotFound => Some(4404),
            CloseReason::SlowReader => Some(4408),
            CloseReason::ClientClosed | CloseReason::NoPong | CloseReason::Gone => None,
        }
    }

    /// The name in metrics, logs and close frames.
    pub(crate) fn name(self) -> &'static str {
        match self {
            CloseReason::Normal => "normal",
            CloseReason::ClientClosed => "client_closed",
            CloseReason::Drain => "drain",
            CloseReason::Gap => "gap",
            CloseReason::SlowReader => "slow_reader",
            CloseReason::Expired => "expired",
            CloseReason::Forbidden => "forbidden",
            CloseReason::NotFound => "not_found",
            CloseReason::Protocol => "protocol",
            CloseReason::Unsupported => "unsupported",
            CloseReason::InvalidUtf8 => "invalid_utf8",
            CloseReason::Unfinished => "unfinished",
            CloseReason::TooLarge => "too_large",
            CloseReason::Internal => "internal",
            CloseReason::NoPong => "no_pong",
            CloseReason::Gone => "gone",
        }
    }

    /// Whether the peer may still be talking sense, so that its answer to our close is worth waiting for.
    fn awaits_answer(self) -> bool {
        match self {
            CloseReason::Normal
            | CloseReason::Drain
            | CloseReason::Gap
            | CloseReason::SlowReader
            | CloseReason::Expired
            | CloseReason::Forbidden
            | CloseReason::NotFound
            | CloseReason::Internal => true,
            CloseReason::ClientClosed
            | CloseReason::Protocol
            | CloseReason::Unsupported
            | CloseReason::InvalidUtf8
            | CloseReason::Unfinished
            | CloseReason::TooLarge
            | CloseReason::NoPong
            | CloseReason::Gone => false,
        }
    }
}

/// The sending side of one connection. Shared by everybody who delivers to it; cheap to keep, also after the close.
pub(crate) struct Outbox {
    state: Mutex<State>,
    limits: OutboxLimits,
}

/// What [`Outbox::poll_drive`] keeps between two polls. At rest that is nothing.
#[derive(Default)]
pub(crate) struct Driver {
    /// Rings when the oldest waiting byte is too old, or a close has taken too long.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Driver {
    fn poll_alarm(&mut self, until: Instant, context: &mut Context<'_>) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if alarm.deadline() != until {
            alarm.as_mut().reset(until);
        }
        alarm.as_mut().poll(context)
    }
}

impl Outbox {
    /// An outbox that owns the socket from here on: it lets go of it at the close, whoever still holds the outbox.
    pub(crate) fn new(stream: Arc<TcpStream>, limits: OutboxLimits, closing: Closing) -> Outbox {
        Outbox { state: Mutex::new(State::new(stream, closing)), limits }
    }

    /// Sends whole, prebuilt frames. Never waits; after a close it does nothing. Answers the place in the stream of bytes where
    /// they end; none when they were not taken, or were dropped at once.
    pub(crate) fn send(&self, frames: Bytes) -> Option<u64> {
        let mut state = self.lock();
        let place = match state.send(frames) {
            Sent::AtOnce => return Some(state.end()),
            Sent::Unwanted => return None,
            Sent::Queued if state.queued_bytes() > self.limits.bytes_max => {
                self.begin_close(&mut state, CloseReason::SlowReader, CloseReason::SlowReader.code());
                None
            }
            Sent::Queued => Some(state.end()),
            Sent::Broken => {
                self.abandon(&mut state, CloseReason::Gone);
                None
            }
        };
        state.wake();
        place
    }

    /// Closes: what is queued goes out first (a slow reader's queue is dropped instead), then the good-bye, then the
    /// socket is let go, all within `close_within`. The first reason stands; closing again does nothing.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.begin_close(&mut self.lock(), reason, reason.code());
    }

    /// Answers the peer's own close with the code it gave.
    pub(crate) fn answer_close(&self, code: Option<u16>) {
        let mut state = self.lock();
        state.peer_is_done();
        self.begin_close(&mut state, CloseReason::ClientClosed, code);
        state.wake();
    }

    /// Notes that the peer will say nothing more: its end of the stream is closed.
    pub(crate) fn peer_is_done(&self) {
        let mut state = self.lock();
        state.peer_is_done();
        state.wake();
    }

    /// Whether the kernel has taken everything up to a place; none when it never will, because the socket was closed.
    pub(crate) fn has_written(&self, place: u64) -> Option<bool> {
        self.lock().has_written(place)
    }

    /// Why this connection was closed, if it was.
    pub(crate) fn closed(&self) -> Option<CloseReason> {
        self.lock().closed()
    }

    /// The socket, until it is let go. Whoever reads from it must not keep it while doing something else.
    pub(crate) fn stream(&self) -> Option<Arc<TcpStream>> {
        self.lock().stream()
    }

    /// Empties the queue as the peer reads, enforces the limits, and sees a close through. Ready, then and from then on,
    /// when the socket has been let go. The connection's task polls this whenever it is woken; nobody else does.
    pub(crate) fn poll_drive(&self, driver: &mut Driver, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let step = {
                let mut state = self.lock();
                state.wake_later(context.waker());
                state.step(self.limits.age_max)
            };
            let until = match step {
                Step::Rest => {
                    driver.alarm = None;
                    return Poll::Pending;
                }
                Step::Blocked { stream, .. } if stream.poll_write_ready(context).is_ready() => continue,
                Step::Blocked { until, .. } | Step::Parting { until } => until,
                Step::TooOld => {
                    self.close(CloseReason::SlowReader);
                    continue;
                }
                Step::LetGo => return Poll::Ready(()),
            };
            // When time is up, the next step says so.
            ready!(driver.poll_alarm(until, context));
        }
    }

    /// Lets go of the socket at once. For the end of the connection's task, however it came about.
    pub(crate) fn let_go(&self, reason: CloseReason) {
        let mut state = self.lock();
        self.abandon(&mut state, reason);
        state.wake();
    }

    fn abandon(&self, state: &mut State, reason: CloseReason) {
        state.mark_closed(reason, Instant::now() + self.limits.close_within);
        state.abort();
    }

    fn begin_close(&self, state: &mut State, reason: CloseReason, code: Option<u16>) {
        if state.mark_closed(reason, Instant::now() + self.limits.close_within) {
            state.say_goodbye(code);
            state.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}
