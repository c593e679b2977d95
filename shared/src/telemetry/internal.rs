//! The internal listener: how this process is, for balancers, scrapers and other nodes. /livez and /readyz are open
//! and touch nothing, neither Redis nor Postgres; everything else wants the internal secret when there is one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::{Health, Metrics};
use crate::config::Secret;
use crate::shutdown::Shutdown;

/// How long a caller may take to send its headers. Balancers and scrapers take milliseconds.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a request's headers.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Most connections at once: a balancer, some scrapers, one per other node, and room for idle ones.
const CONNECTIONS_MAX: usize = 512;
/// How often histograms are folded. At 100,000 deliveries a second some 4 MB gather in between.
const UPKEEP: Duration = Duration::from_secs(5);

/// An answer of the internal listener.
pub type Reply = Response<Full<Bytes>>;

/// More routes for the internal listener, such as the forwarding between nodes. They are asked only when the caller
/// showed the internal secret (or none is set), and for paths that are not ours.
pub trait InternalRoutes: Send + Sync + 'static {
    /// The answer, or `None` for a path that is not theirs either.
    fn answer(&self, request: Request<Incoming>) -> Pin<Box<dyn Future<Output = Option<Reply>> + Send + '_>>;
}

/// What the internal listener serves.
pub struct InternalServer {
    health: Health,
    metrics: Metrics,
    secret: Option<Secret>,
    more: Option<Box<dyn InternalRoutes>>,
    header_timeout: Duration,
}

/// Serves /livez, /readyz and /metrics until `shutdown` begins. Balancers ask while a process drains, so this
/// `shutdown` is not the one that starts the draining but one that begins after it.
pub fn serve_internal(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    secret: Option<Secret>,
    shutdown: Shutdown,
) -> JoinHandle<()> {
    InternalServer::new(health, metrics, secret).serve(listener, shutdown)
}

impl InternalServer {
    /// With the three routes that every service has.
    pub fn new(health: Health, metrics: Metrics, secret: Option<Secret>) -> InternalServer {
        InternalServer { health, metrics, secret, more: None, header_timeout: HEADER_TIMEOUT }
    }

    /// With further routes.
    #[must_use]
    pub fn with_routes(mut self, more: impl InternalRoutes) -> InternalServer {
        self.more = Some(Box::new(more));
        self
    }

    /// Serves until `shutdown` begins; then connections are dropped and the task ends. Also does the upkeep of the
    /// metrics.
    pub fn serve(self, listener: TcpListener, shutdown: Shutdown) -> JoinHandle<()> {
        let server = Arc::new(self);
        tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
            let mut connections = JoinSet::new();
            let mut upkeep = interval(UPKEEP);
            upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = shutdown.wait() => break,
                    _ = upkeep.tick() => server.metrics.upkeep(),
                    Some(_) = connections.join_next() => {}
                    accepted = listener.accept() => match (accepted, places.clone().try_acquire_owned()) {
                        (Ok((stream, _)), Ok(place)) => {
                            let server = server.clone();
                            connections.spawn(async move {
                                serve_connection(&server, stream).await;
                                drop(place);
                            });
                        }
                        (Ok(_), Err(_)) => tracing::warn!(CONNECTIONS_MAX, "internal listener is full"),
                        (Err(error), _) => {
                            tracing::warn!(%error, "internal listener cannot accept");
                            // Out of descriptors, most likely: accepting again at once would spin.
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    },
                }
            }
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let readable = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/livez" if readable => reply(StatusCode::OK, "alive\n"),
            "/readyz" if readable => {
                let (status, body) = self.health.state();
                let status = StatusCode::from_u16(status).expect("health names three known statuses");
                reply(status, format!("{body}\n"))
            }
            "/livez" | "/readyz" => reply(StatusCode::METHOD_NOT_ALLOWED, "GET only\n"),
            _ if !self.may_pass(request.headers()) => {
                let mut refusal = reply(StatusCode::UNAUTHORIZED, "the internal secret is needed\n");
                refusal.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                refusal
            }
            "/metrics" if readable => reply(StatusCode::OK, self.metrics.render()),
            "/metrics" => reply(StatusCode::METHOD_NOT_ALLOWED, "GET only\n"),
            _ => {
                let more = match &self.more {
                    Some(more) => more.answer(request).await,
                    None => None,
                };
                more.unwrap_or_else(|| reply(StatusCode::NOT_FOUND, "no such path\n"))
            }
        }
    }

    fn may_pass(&self, headers: &HeaderMap) -> bool {
        let Some(secret) = &self.secret else { return true };
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        shown.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|token| secret.matches(token))
    }
}

async fn serve_connection(server: &InternalServer, stream: TcpStream) {
    let service = service_fn(async |request| Ok::<_, std::convert::Infallible>(server.answer(request).await));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(server.header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "internal connection ended early");
    }
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SECRET: &str = "7f3c9be1a5d2480c96e1f0b8d4a37c52";

    struct Echo;

    impl InternalRoutes for Echo {
        fn answer(
            &self,
            request: Request<Incoming>,
        ) -> Pin<Box<dyn Future<Output = Option<Reply>> + Send + '_>> {
            let ours = request.uri().path() == "/forward";
            Box::pin(async move { ours.then(|| reply(StatusCode::OK, "forwarded")) })
        }
    }

    struct Node {
        address: SocketAddr,
        health: Health,
        shutdown: Shutdown,
        task: JoinHandle<()>,
    }

    async fn node(secret: Option<&str>) -> Node {
        let health = Health::new();
        let server = InternalServer::new(health.clone(), Metrics::install(), secret.map(Secret::new));
        started(server.with_routes(Echo), health).await
    }

    async fn started(server: InternalServer, health: Health) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let shutdown = Shutdown::new();
        Node { address, health, task: server.serve(listener, shutdown.clone()), shutdown }
    }

    impl Node {
        /// Sends raw bytes and returns all that comes back until the server closes.
        async fn say(&self, request: &[u8]) -> String {
            let mut stream = TcpStream::connect(self.address).await.expect("the server listens");
            // The server may answer and close before it has read everything.
            let _ = stream.write_all(request).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        }

        async fn get(&self, path: &str, headers: &str) -> String {
            self.say(
                format!("GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n{headers}\r\n").as_bytes(),
            )
            .await
        }
    }

    #[tokio::test]
    async fn livez_is_always_alive_and_readyz_says_why_not() {
        let node = node(None).await;
        assert!(node.get("/livez", "").await.starts_with("HTTP/1.1 200"));
        let starting = node.get("/readyz", "").await;
        assert!(
            starting.starts_with("HTTP/1.1 503") && starting.ends_with("broken: starting\n"),
            "{starting}"
        );
        node.health.set_ready();
        assert!(node.get("/readyz", "").await.starts_with("HTTP/1.1 200"));
        node.health.set_broken("the log does not answer");
        let broken = node.get("/readyz", "").await;
        assert!(broken.starts_with("HTTP/1.1 503") && broken.contains("the log does not answer"), "{broken}");
        node.health.set_draining();
        assert!(node.get("/readyz", "").await.starts_with("HTTP/1.1 404"));
        assert!(node.get("/livez", "").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn unknown_paths_and_methods_are_refused() {
        let node = node(None).await;
        assert!(node.get("/", "").await.starts_with("HTTP/1.1 404"));
        assert!(node.get("/metrics/x", "").await.starts_with("HTTP/1.1 404"));
        let post =
            node.say(b"POST /readyz HTTP/1.1\r\nHost: n\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert!(post.await.starts_with("HTTP/1.1 405"));
    }

    #[tokio::test]
    async fn s41_metrics_and_further_routes_want_the_secret_when_there_is_one() {
        let (open, closed) = (node(None).await, node(Some(SECRET)).await);
        assert!(open.get("/metrics", "").await.starts_with("HTTP/1.1 200"));
        let shown = format!("Authorization: Bearer {SECRET}\r\n");
        for path in ["/metrics", "/forward"] {
            assert!(closed.get(path, "").await.starts_with("HTTP/1.1 401"));
            assert!(closed.get(path, "Authorization: Bearer x\r\n").await.starts_with("HTTP/1.1 401"));
            assert!(closed.get(path, &shown.replace("Bearer", "Basic")).await.starts_with("HTTP/1.1 401"));
            assert!(closed.get(path, &shown).await.starts_with("HTTP/1.1 200"));
        }
        assert!(closed.get("/other", "").await.starts_with("HTTP/1.1 401"));
        assert!(closed.get("/other", &shown).await.starts_with("HTTP/1.1 404"));
        assert!(closed.get("/livez", "").await.starts_with("HTTP/1.1 200"));
        assert!(closed.get("/readyz", "").await.starts_with("HTTP/1.1 503"));
    }

    #[tokio::test]
    async fn s20_headers_beyond_16_kib_are_refused() {
        let node = node(None).await;
        let answer = node.get("/livez", &format!("X-Long: {}\r\n", "x".repeat(20_000))).await;
        assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
        assert!(node.get("/livez", "").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn s20_a_caller_that_never_ends_its_headers_is_cut_off() {
        let mut server = InternalServer::new(Health::new(), Metrics::install(), None);
        server.header_timeout = Duration::from_millis(20);
        let node = started(server, Health::new()).await;
        let answer = node.say(b"GET /livez HTTP/1.1\r\n").await;
        assert!(!answer.contains("200"), "{answer}");
        assert!(node.get("/livez", "").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn the_task_ends_with_its_shutdown() {
        let node = node(None).await;
        let idle = TcpStream::connect(node.address).await.expect("the server listens");
        node.shutdown.begin();
        node.task.await.expect("the server does not panic");
        drop(idle);
    }
}
