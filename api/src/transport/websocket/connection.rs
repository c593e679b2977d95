//! One task per connection: reads, answers pings, asks the silent whether they are there, and sees the end through.
//!
//! Promise: while one of the session's handlers runs, nothing more is read from that client (so a client that asks too
//! much slows down itself alone), but its outbox goes on being emptied; a handler is never cancelled half-way. Nothing is
//! buffered between reads, a connection at rest is this task and the socket.

use super::frame::{Event, FrameLimits, Parser, Violation, ping_frame, pong_frame};
use crate::hub::outbox::{CloseReason, Driver, Outbox};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Bytes taken by one read. It is on the stack and lives for one call: chat messages are small, and a larger one merely
/// takes several reads.
pub(super) const READ_BYTES: usize = 4096;

/// What a dialect does with a connection. Handlers run one at a time, in the order of the messages.
pub(crate) trait Session: Send {
    /// Before the first message is read.
    fn on_open(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// A whole text message of at most 64 KiB.
    fn on_text(&mut self, text: &str) -> impl Future<Output = ()> + Send;

    /// A whole binary message of at most 64 KiB; the transport takes them, the dialect says whether it does.
    fn on_binary(&mut self, payload: &[u8]) -> impl Future<Output = ()> + Send;

    /// Once, as the last call, as soon as the connection is closed from either side.
    fn on_close(&mut self, reason: CloseReason) -> impl Future<Output = ()> + Send {
        let _ = reason;
        async {}
    }
}

/// When a connection is asked whether it still lives, and when it is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// Silence after which we ping.
    pub(crate) ping_after: Duration,
    /// Further silence after which the connection is closed.
    pub(crate) pong_within: Duration,
    /// Longest that a frame or a fragmented message may stay unfinished.
    pub(crate) message_within: Duration,
}

impl Default for Timing {
    /// Proxies usually cut after 60 s of silence, so both together stay below that.
    fn default() -> Self {
        let (ping_after, pong_within) = (Duration::from_secs(25), Duration::from_secs(20));
        Timing { ping_after, pong_within, message_within: Duration::from_secs(10) }
    }
}

/// Runs a connection from its first byte to the end of its socket. `leftover` is what came behind the handshake. The
/// session is boxed because a future has room for its arguments twice, as such and as its own.
pub(crate) async fn run<S: Session>(
    outbox: Arc<Outbox>,
    leftover: Bytes,
    mut session: Box<S>,
    timing: Timing,
    frames: FrameLimits,
) {
    let _guard = LetGo(&outbox);
    let mut connection = Connection {
        outbox: &outbox,
        driver: Driver::default(),
        parser: Parser::new(frames),
        timing,
        heard: Instant::now(),
        pinged: None,
    };
    connection.call(Box::pin(session.on_open())).await;
    connection.serve(leftover, &mut *session).await;
    let reason = outbox.closed().unwrap_or(CloseReason::Gone);
    connection.call(Box::pin(session.on_close(reason))).await;
    drop(session);
    connection.part().await;
}

/// Whatever ends this task, a panic included, the socket does not outlive it.
struct LetGo<'a>(&'a Outbox);

impl Drop for LetGo<'_> {
    fn drop(&mut self) {
        self.0.let_go(CloseReason::Internal);
    }
}

struct Connection<'a> {
    outbox: &'a Outbox,
    /// For the outbox's own work, which is polled whenever this task is.
    driver: Driver,
    parser: Parser,
    timing: Timing,
    /// When the peer's last byte came.
    heard: Instant,
    /// When we asked whether it is there, unless it has been heard since.
    pinged: Option<Instant>,
}

enum Woken {
    Readable,
    Due,
    Closed,
}

/// What one read gave: whole messages, and perhaps a reason to go no further.
struct Arrived {
    events: Vec<Event>,
    end: Option<CloseReason>,
}

impl Connection<'_> {
    /// Reads and handles until somebody closes.
    async fn serve<S: Session>(&mut self, leftover: Bytes, session: &mut S) {
        let arrived = self.parse(&mut leftover.to_vec());
        // Even when empty it keeps the whole buffer of the HTTP request alive.
        drop(leftover);
        self.handle(arrived, session).await;
        let mut alarm = pin!(tokio::time::sleep_until(self.next_due()));
        loop {
            match self.wait(alarm.as_mut()).await {
                Woken::Closed => return,
                Woken::Due => self.check_time(),
                Woken::Readable => {
                    let arrived = self.read();
                    self.handle(arrived, session).await;
                    // A client that sends without pause must not keep this thread from the others.
                    tokio::task::coop::consume_budget().await;
                }
            }
        }
    }

    /// Waits for the peer, for time, or for somebody's close, while the outbox does its own work. The socket is not held
    /// beyond this call: the outbox must be able to drop it while a handler runs.
    async fn wait(&mut self, mut alarm: Pin<&mut Sleep>) -> Woken {
        let (Some(stream), None) = (self.outbox.stream(), self.outbox.closed()) else { return Woken::Closed };
        let due = self.next_due();
        if alarm.is_elapsed() || due < alarm.deadline() {
            // Later is left to ring early: setting the alarm at each message would cost more.
            alarm.as_mut().reset(due);
        }
        poll_fn(|context| {
            let let_go = self.outbox.poll_drive(&mut self.driver, context).is_ready();
            // A close wakes this task, so asking at each poll is enough.
            if let_go || self.outbox.closed().is_some() {
                return Poll::Ready(Woken::Closed);
            }
            // Before the alarm: after a long handler the pong may be here already, unread. A socket remembers one reader,
            // and before us that was the HTTP task: it is forgotten here, and its memory freed.
            if stream.poll_read_ready(context).is_ready() {
                return Poll::Ready(Woken::Readable);
            }
            alarm.as_mut().poll(context).map(|()| Woken::Due)
        })
        .await
    }

    fn read(&mut self) -> Arrived {
        let mut buffer = [0; READ_BYTES];
        let Some(stream) = self.outbox.stream() else { return Arrived { events: Vec::new(), end: None } };
        match stream.try_read(&mut buffer) {
            Ok(0) => Arrived { events: Vec::new(), end: Some(CloseReason::Gone) },
            Ok(length) => {
                self.heard = Instant::now();
                self.pinged = None;
                self.parse(&mut buffer[..length])
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Arrived { events: Vec::new(), end: None },
            Err(_) => Arrived { events: Vec::new(), end: Some(CloseReason::Gone) },
        }
    }

    fn parse(&mut self, bytes: &mut [u8]) -> Arrived {
        let mut events = Vec::new();
        let end = match self.parser.feed(bytes, self.heard.into_std(), &mut events) {
            Ok(()) => self.is_overdue(self.heard).then_some(CloseReason::Unfinished),
            Err(Violation::Protocol(rule)) => {
                tracing::debug!(rule, "a client broke RFC 6455");
                Some(CloseReason::Protocol)
            }
            Err(Violation::TooLarge) => Some(CloseReason::TooLarge),
            Err(Violation::InvalidUtf8) => Some(CloseReason::InvalidUtf8),
        };
        Arrived { events, end }
    }

    async fn handle<S: Session>(&mut self, arrived: Arrived, session: &mut S) {
        for event in arrived.events {
            if self.outbox.closed().is_some() {
                return;
            }
            match event {
                Event::Text(text) => self.call(Box::pin(session.on_text(&text))).await,
                Event::Binary(payload) => self.call(Box::pin(session.on_binary(&payload))).await,
                Event::Ping(payload) => {
                    self.outbox.send(pong_frame(&payload));
                }
                Event::Pong => {}
                Event::Close(code) => self.outbox.answer_close(code),
            }
        }
        match arrived.end {
            Some(CloseReason::Gone) => self.outbox.let_go(CloseReason::Gone),
            Some(reason) => self.outbox.close(reason),
            None => {}
        }
    }

    /// Lets a handler run to its end, whatever becomes of the connection meanwhile. A panic in it costs this connection.
    /// Boxed, or every connection at rest would hold the room that the largest handler takes: several KiB.
    async fn call(&mut self, handler: BoxFuture<'_, ()>) {
        let mut handler = AssertUnwindSafe(handler).catch_unwind();
        let outcome = poll_fn(|context| {
            let _ = self.outbox.poll_drive(&mut self.driver, context);
            handler.poll_unpin(context)
        });
        if outcome.await.is_err() {
            tracing::error!("a handler panicked; its connection is closed");
            self.outbox.close(CloseReason::Internal);
        }
    }

    /// After our close or the peer's: throws away what still comes, until the peer has closed too or time is up. (A socket
    /// that is dropped with bytes unread is reset, and the reset can overtake our close frame.)
    async fn part(&mut self) {
        while let Some(stream) = self.outbox.stream() {
            let let_go = poll_fn(|context| match self.outbox.poll_drive(&mut self.driver, context) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending => stream.poll_read_ready(context).map(|_| false),
            });
            if let_go.await {
                return;
            }
            drop(stream);
            let arrived = self.read();
            let ended = arrived.end == Some(CloseReason::Gone);
            if ended || arrived.events.iter().any(|event| matches!(event, Event::Close(_))) {
                self.outbox.peer_is_done();
            }
            if ended {
                // The end of the stream stays readable for ever; what is left is to be written.
                return poll_fn(|context| self.outbox.poll_drive(&mut self.driver, context)).await;
            }
            tokio::task::coop::consume_budget().await;
        }
    }

    fn next_due(&self) -> Instant {
        let silence = match self.pinged {
            Some(pinged) => pinged + self.timing.pong_within,
            None => self.heard + self.timing.ping_after,
        };
        match self.parser.unfinished_since() {
            Some(since) => silence.min(Instant::from_std(since) + self.timing.message_within),
            None => silence,
        }
    }

    fn is_overdue(&self, now: Instant) -> bool {
        let since = self.parser.unfinished_since();
        since.is_some_and(|since| now >= Instant::from_std(since) + self.timing.message_within)
    }

    fn check_time(&mut self) {
        let now = Instant::now();
        match self.pinged {
            _ if self.is_overdue(now) => self.outbox.close(CloseReason::Unfinished),
            Some(pinged) if now >= pinged + self.timing.pong_within => {
                self.outbox.let_go(CloseReason::NoPong);
            }
            None if now >= self.heard + self.timing.ping_after => {
                self.pinged = Some(now);
                self.outbox.send(ping_frame());
            }
            Some(_) | None => {}
        }
    }
}
