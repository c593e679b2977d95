//! Accepting connections and speaking HTTP/1.1 on them, until a drain.
//!
//! Promise: a client that dawdles over its request head, or sends one too large, costs little and not for long; a drain
//! lets what is in flight finish. `axum::serve` has no header timeout, sets no TCP_NODELAY and counts nobody, hence this
//! loop. Upgraded sockets leave it at once: they are the hub's, and so is draining them.

use crate::limits::Limits;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use shared::shutdown::Shutdown;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// What a connection may cost before it has shown a whole request head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AcceptLimits {
    /// Longest from the first byte we could read to the end of a request head. It is also how long a kept-alive
    /// connection may idle between requests.
    pub(crate) head_within: Duration,
    /// Largest request head in bytes; beyond it the answer is 431.
    pub(crate) head_bytes_max: usize,
    /// Most connections of this process that have not shown a whole head yet. Further ones wait in the kernel's queue.
    pub(crate) headless_max: usize,
    /// The kernel gives up on a peer that acknowledges nothing for so long (TCP_USER_TIMEOUT); it also ends what a closed
    /// connection leaves behind in the kernel.
    pub(crate) unacknowledged_max: Duration,
}

/// 1,024 connections with full buffers are 20 MiB, and at a few milliseconds each they are over a hundred thousand honest
/// clients per second.
const HEADLESS_MAX: usize = 1024;

impl AcceptLimits {
    /// As the node's settings say. The kernel waits twice as long as an outbox does, so that a slow reader is told so.
    pub(crate) fn of(limits: &Limits) -> AcceptLimits {
        AcceptLimits {
            head_within: limits.header_time,
            head_bytes_max: limits.header_bytes,
            headless_max: HEADLESS_MAX,
            unacknowledged_max: limits.write_time * 2,
        }
    }
}

/// When the process is out of file descriptors, only others' closing helps: wait for that instead of spinning.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Serves `app` on all listeners until the drain begins, then closes them and returns once every request in flight is
/// answered. The caller bounds how long it waits for that.
pub(crate) async fn serve(listeners: Vec<TcpListener>, app: Router, limits: AcceptLimits, drain: Shutdown) {
    let server = Arc::new(Server {
        app,
        limits,
        headless: Arc::new(Semaphore::new(limits.headless_max)),
        connections: TaskTracker::new(),
        drain,
    });
    let loops = TaskTracker::new();
    for listener in listeners {
        loops.spawn(server.clone().accept_loop(listener));
    }
    loops.close();
    loops.wait().await;
    server.connections.close();
    server.connections.wait().await;
}

struct Server {
    app: Router,
    limits: AcceptLimits,
    headless: Arc<Semaphore>,
    connections: TaskTracker,
    drain: Shutdown,
}

impl Server {
    async fn accept_loop(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.drain.wait() => return,
                accepted = self.accept(&listener) => accepted,
            };
            match accepted {
                Ok((permit, stream, peer)) => {
                    self.connections.spawn(self.clone().converse(stream, peer, permit));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }

    async fn accept(
        &self,
        listener: &TcpListener,
    ) -> io::Result<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
        let permit = self.headless.clone().acquire_owned().await.expect("this semaphore is never closed");
        let (stream, peer) = listener.accept().await?;
        self.prepare(&stream)?;
        Ok((permit, stream, peer))
    }

    /// Answers leave at once, and a dead peer is noticed.
    fn prepare(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(stream).set_tcp_user_timeout(Some(self.limits.unacknowledged_max))?;
        Ok(())
    }

    /// Answers the requests of one connection. It ends by itself when the connection is upgraded.
    async fn converse(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let permit = Mutex::new(Some(permit));
        let service = service_fn(|mut request: Request<Incoming>| {
            permit.lock().expect("taking a value does not panic").take();
            request.extensions_mut().insert(ConnectInfo(peer));
            self.app.clone().oneshot(request.map(Body::new))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_within)
            .max_header_size(self.limits.head_bytes_max)
            // hyper panics below this, and so the setting ends there.
            .max_buf_size(self.limits.head_bytes_max.max(8192))
            .half_close(false)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = self.drain.wait() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            // The client's doing, and it knows: it left, dawdled or sent no HTTP.
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Whether an accept failed because of the one peer it was about, who is gone again.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionAborted | ConnectionReset | NotConnected | InvalidInput
    )
}

#[cfg(test)]
mod tests;
