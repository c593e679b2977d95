//! The peer to compare with, in a process of its own: what a competent afternoon with the usual library gives. A task and a
//! broadcast receiver per connection, frames shared without copying, several frames of a burst in one flush, small read
//! buffers. It is fed by HTTP and does nothing else: no order over nodes, no log, no database, no sign-in. A socket whose path is
//! a number talks to the other of its pair instead.

mod couples;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use harness::children::{Guarded, eventually, free_port, fresh_folder};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::handshake::server::{self, ErrorResponse};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use couples::Couples;

/// Frames that a slow connection may be behind.
const BEHIND_MAX: usize = 4_096;
/// Bytes of a frame, at most.
const FRAME_BYTES_MAX: usize = 65_536;
/// The library's default of 128 KiB a connection would make the comparison of memory unfair.
const READ_BYTES: usize = 4_096;

/// The peer as a child process.
pub(crate) struct PeerProcess {
    pub(crate) sockets: SocketAddr,
    feed: SocketAddr,
    child: Guarded,
}

impl PeerProcess {
    /// Starts this very program as the peer.
    ///
    /// # Panics
    /// When it does not answer.
    pub(crate) async fn start() -> PeerProcess {
        let address = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let (sockets, feed) = (address(), address());
        let program = std::env::current_exe().expect("a process knows its own executable");
        let child = Guarded::start(&fresh_folder("peer"), &program, |command| {
            command.args(["peer", "--sockets", &sockets.to_string(), "--feed", &feed.to_string()]);
        });
        let peer = PeerProcess { sockets, feed, child: child.expect("this program can be started again") };
        let answers = eventually(Duration::from_secs(10), async || TcpStream::connect(feed).await.ok());
        answers.await.expect("the peer answers");
        peer
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where a frame is posted.
    pub(crate) fn feed_url(&self) -> String {
        format!("http://{}/", self.feed)
    }
}

/// Serves until the process is killed.
///
/// # Errors
/// When it can't listen.
pub(crate) async fn serve(sockets: SocketAddr, feed: SocketAddr) -> io::Result<()> {
    let (frames, _) = broadcast::channel(BEHIND_MAX);
    let (sockets, feed) = (TcpListener::bind(sockets).await?, TcpListener::bind(feed).await?);
    let source = frames.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = feed.accept().await {
            tokio::spawn(take_in(stream, source.clone()));
        }
    });
    let couples = Couples::default();
    loop {
        let (stream, _) = sockets.accept().await?;
        tokio::spawn(seat(stream, frames.subscribe(), couples.clone()));
    }
}

async fn take_in(stream: TcpStream, frames: broadcast::Sender<Utf8Bytes>) {
    let service = service_fn(|request: Request<Incoming>| {
        let frames = frames.clone();
        async move { Ok::<_, hyper::Error>(publish(request, &frames).await) }
    });
    // A broken connection is the generator's to report.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn publish(
    request: Request<Incoming>,
    frames: &broadcast::Sender<Utf8Bytes>,
) -> Response<Empty<Bytes>> {
    let body = Limited::new(request.into_body(), FRAME_BYTES_MAX).collect().await;
    let frame = body.ok().and_then(|body| Utf8Bytes::try_from(body.to_bytes()).ok());
    let mut answer = Response::new(Empty::new());
    match frame {
        // Nobody listening is no error.
        Some(frame) => drop(frames.send(frame)),
        None => *answer.status_mut() = StatusCode::BAD_REQUEST,
    }
    answer
}

async fn seat(stream: TcpStream, frames: broadcast::Receiver<Utf8Bytes>, couples: Couples) {
    let _ = stream.set_nodelay(true);
    let config = WebSocketConfig::default().read_buffer_size(READ_BYTES).write_buffer_size(0);
    let mut number: Option<usize> = None;
    #[expect(clippy::result_large_err, reason = "the signature that the library asks for")]
    let read_path =
        |request: &server::Request, answer: server::Response| -> Result<server::Response, ErrorResponse> {
            number = request.uri().path().trim_start_matches('/').parse().ok();
            Ok(answer)
        };
    let Ok(socket) = accept_hdr_async_with_config(stream, read_path, Some(config)).await else { return };
    match number {
        Some(number) => talk(socket, &couples, number).await,
        None => show(socket, frames).await,
    }
}

async fn talk(mut socket: WebSocketStream<TcpStream>, couples: &Couples, number: usize) {
    let mut inbox = couples.sit_down(number);
    loop {
        tokio::select! {
            frame = inbox.recv() => {
                let mut next = frame;
                while let Some(frame) = next {
                    if socket.feed(Message::Text(frame)).await.is_err() {
                        return;
                    }
                    next = inbox.try_recv().ok();
                }
                if socket.flush().await.is_err() {
                    return;
                }
            }
            heard = socket.next() => match heard {
                Some(Ok(Message::Text(frame))) => couples.say(number, &frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    }
}

async fn show(mut socket: WebSocketStream<TcpStream>, mut frames: broadcast::Receiver<Utf8Bytes>) {
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let mut next = match frame {
                    Ok(frame) => Some(frame),
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return,
                };
                while let Some(frame) = next {
                    if socket.feed(Message::Text(frame)).await.is_err() {
                        return;
                    }
                    next = frames.try_recv().ok();
                }
                if socket.flush().await.is_err() {
                    return;
                }
            }
            heard = socket.next() => {
                if !matches!(heard, Some(Ok(_))) {
                    return;
                }
            }
        }
    }
}
