//! Clients that dawdle, clients that overdo, and a drain in the middle of it.

use super::{AcceptLimits, serve};
use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use shared::shutdown::Shutdown;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const LIMITS: AcceptLimits = AcceptLimits {
    head_within: Duration::from_secs(10),
    head_bytes_max: 16 * 1024,
    headless_max: 1024,
    unacknowledged_max: Duration::from_secs(20),
};

const HELLO: &str = "GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

struct Served {
    address: SocketAddr,
    drain: Shutdown,
    serving: JoinHandle<()>,
}

async fn start(app: Router, limits: AcceptLimits) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let drain = Shutdown::new();
    let serving = tokio::spawn(serve(vec![listener], app, limits, drain.clone()));
    Served { address, drain, serving }
}

fn hello() -> Router {
    Router::new().route(
        "/hello",
        get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { format!("hello {peer}") }),
    )
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One request on a connection of its own, and all that comes back.
    async fn ask(&self, request: &str) -> String {
        let mut client = self.connect().await;
        // A server that refuses early may close before it has read everything.
        let _ = client.write_all(request.as_bytes()).await;
        read_all(&mut client).await
    }
}

async fn within<T>(fact: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .unwrap_or_else(|_| panic!("not in time: {fact}"))
}

async fn read_all(client: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = within("the end of the answer", client.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn handlers_see_the_peers_address() {
    let served = start(hello(), LIMITS).await;
    let mut client = served.connect().await;
    let own = client.local_addr().unwrap();
    client.write_all(HELLO.as_bytes()).await.unwrap();
    let answer = read_all(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&format!("hello {own}")), "{answer}");
}

#[tokio::test]
async fn s20_a_head_that_does_not_end_in_time_is_cut_off() {
    let limits = AcceptLimits { head_within: Duration::from_millis(200), ..LIMITS };
    let served = start(hello(), limits).await;
    for beginning in ["", "GET /hel", "GET /hello HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut dawdler = served.connect().await;
        let began = Instant::now();
        dawdler.write_all(beginning.as_bytes()).await.unwrap();
        assert!(served.ask(HELLO).await.ends_with(|last: char| last.is_ascii_digit()), "others are served");
        assert_eq!(read_all(&mut dawdler).await, "", "after {beginning:?}");
        assert!(began.elapsed() >= limits.head_within);
    }
}

#[tokio::test]
async fn s20_a_head_of_crumbs_is_cut_off_at_the_same_time() {
    let limits = AcceptLimits { head_within: Duration::from_millis(300), ..LIMITS };
    let served = start(hello(), limits).await;
    let (mut reading, mut writing) = served.connect().await.into_split();
    let began = Instant::now();
    let crumbs = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        for byte in HELLO.bytes().cycle().filter(|byte| *byte != b'\n') {
            tick.tick().await;
            if writing.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    let mut answer = Vec::new();
    let _ = within("the cut", reading.read_to_end(&mut answer)).await;
    assert!(began.elapsed() >= limits.head_within && began.elapsed() < limits.head_within * 5);
    within("the writer notices", crumbs).await.unwrap();
}

#[tokio::test]
async fn s20_a_head_over_16_kib_is_refused() {
    let served = start(hello(), LIMITS).await;
    let with = |bytes: usize| HELLO.replace("host: x", &format!("host: x\r\nx-large: {}", "x".repeat(bytes)));
    assert!(served.ask(&with(15_000)).await.starts_with("HTTP/1.1 200"));
    assert!(served.ask(&with(17_000)).await.starts_with("HTTP/1.1 431"));
    assert!(served.ask(&with(500_000)).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn s20_connections_without_a_head_are_few_and_others_wait_their_turn() {
    let limits = AcceptLimits { head_within: Duration::from_millis(200), headless_max: 1, ..LIMITS };
    let served = start(hello(), limits).await;
    let began = Instant::now();
    let mut silent = served.connect().await;
    let answer = served.ask(HELLO).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(began.elapsed() >= limits.head_within, "the silent one was first");
    assert_eq!(read_all(&mut silent).await, "");

    let mut kept_alive = served.connect().await;
    kept_alive.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    within("an answer", kept_alive.readable()).await.unwrap();
    assert!(served.ask(HELLO).await.starts_with("HTTP/1.1 200"), "one past its head is not in the way");
}

#[tokio::test]
async fn a_drain_lets_a_request_in_flight_finish_and_accepts_no_other() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (arrived, go) = (arrived.clone(), go.clone());
        move || async move {
            arrived.notify_one();
            go.notified().await;
            "done"
        }
    };
    let served = start(hello().route("/slow", get(slow)), LIMITS).await;
    let mut idle = served.connect().await;
    idle.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut client = served.connect().await;
    client.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    within("the request arrives", arrived.notified()).await;

    served.drain.begin();
    assert!(
        read_all(&mut idle).await.starts_with("HTTP/1.1 200"),
        "an idle connection is closed after its answer"
    );
    assert!(TcpStream::connect(served.address).await.is_err(), "the listener is closed");
    assert!(!served.serving.is_finished(), "a request is in flight");
    go.notify_one();
    assert!(read_all(&mut client).await.ends_with("done"));
    within("serve returns", served.serving).await.unwrap();
}

#[tokio::test]
async fn s44_a_panic_in_a_handler_costs_that_connection_alone() {
    let app = hello().route(
        "/panic",
        get(|| async {
            if true {
                panic!("a bug")
            }
        }),
    );
    let served = start(app, LIMITS).await;
    assert_eq!(served.ask(&HELLO.replace("/hello", "/panic")).await, "");
    assert!(served.ask(HELLO).await.starts_with("HTTP/1.1 200"));
}
