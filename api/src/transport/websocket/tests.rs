//! Whole connections on real sockets: what a client sees, byte for byte.

mod sessions;

use super::connection::{READ_BYTES, Session, Timing, run};
use super::echo::{Echo, echo};
use crate::accept::{AcceptLimits, serve};
use crate::hub::outbox::{CLOSE_WITHIN, CloseReason, Closing, Outbox, OutboxLimits};
use crate::transport::websocket::frame::FrameLimits;
use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use shared::shutdown::Shutdown;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const LIMITS: OutboxLimits =
    OutboxLimits { bytes_max: 1 << 20, age_max: Duration::from_secs(10), close_within: CLOSE_WITHIN };

const ACCEPT: AcceptLimits = AcceptLimits {
    head_within: Duration::from_secs(10),
    head_bytes_max: 16 * 1024,
    headless_max: 1024,
    unacknowledged_max: Duration::from_secs(20),
};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

async fn within<T>(fact: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .unwrap_or_else(|_| panic!("not in time: {fact}"))
}

/// The far end of a connection.
struct Client(TcpStream);

/// The near end.
struct Served {
    outbox: Arc<Outbox>,
    task: JoinHandle<()>,
    socket: Weak<TcpStream>,
}

async fn connect<S: Session + 'static>(
    timing: Timing,
    open: impl FnOnce(Arc<Outbox>) -> S,
) -> (Client, Served) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, server) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let stream = Arc::new(server.unwrap().0);
    let socket = Arc::downgrade(&stream);
    let outbox = Arc::new(Outbox::new(stream, LIMITS, Closing::WebSocket));
    let session = Box::new(open(outbox.clone()));
    let task = tokio::spawn(run(outbox.clone(), Bytes::new(), session, timing, FrameLimits::default()));
    (Client(client.unwrap()), Served { outbox, task, socket })
}

async fn connect_echo() -> (Client, Served) {
    connect(Timing::default(), |outbox| Echo { outbox }).await
}

/// A frame as clients send them.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u8::try_from(payload.len()) {
        Ok(short @ 0..126) => bytes.push(0x80 | short),
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[9, 8, 7, 6]);
    bytes.extend(payload.iter().zip([9, 8, 7, 6].iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

impl Client {
    async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    async fn say(&mut self, first: u8, payload: &[u8]) {
        self.write(&masked(first, payload)).await;
    }

    async fn close(&mut self, code: u16) {
        self.say(CLOSE, &code.to_be_bytes()).await;
    }

    /// The next frame's first byte and payload.
    async fn hears(&mut self) -> (u8, Vec<u8>) {
        within("a frame", async {
            let first = self.0.read_u8().await.unwrap();
            let length = match self.0.read_u8().await.unwrap() {
                126 => usize::from(self.0.read_u16().await.unwrap()),
                127 => usize::try_from(self.0.read_u64().await.unwrap()).unwrap(),
                short => usize::from(short),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.unwrap();
            (first, payload)
        })
        .await
    }

    async fn hears_close(&mut self) -> u16 {
        let (first, payload) = self.hears().await;
        assert_eq!(first, CLOSE, "{payload:?}");
        u16::from_be_bytes(payload[..2].try_into().unwrap())
    }

    /// Nothing more comes; whether by an end or a reset.
    async fn hears_the_end(&mut self) {
        let mut rest = Vec::new();
        let _ = within("the end of the stream", self.0.read_to_end(&mut rest)).await;
        assert_eq!(rest, b"");
    }
}

impl Served {
    async fn ended(self) -> CloseReason {
        within("the connection's task ends", self.task).await.unwrap();
        assert_eq!(self.socket.strong_count(), 0, "somebody holds the socket");
        self.outbox.closed().unwrap()
    }
}

#[tokio::test]
async fn messages_come_back_whole_however_they_were_cut() {
    let (mut client, served) = connect_echo().await;
    client.say(TEXT, "grüße".as_bytes()).await;
    assert_eq!(client.hears().await, (TEXT, "grüße".into()));
    client.say(BINARY, &[0, 255]).await;
    assert_eq!(client.hears().await, (BINARY, vec![0, 255]));
    let fragments = [masked(0x1, b"one "), masked(PING, b"?"), masked(0x0, b"two "), masked(0x80, b"three")];
    for byte in fragments.concat() {
        client.write(&[byte]).await;
    }
    assert_eq!(client.hears().await, (PONG, b"?".to_vec()));
    assert_eq!(client.hears().await, (TEXT, b"one two three".to_vec()));
    drop(client);
    assert_eq!(served.ended().await, CloseReason::Gone);
}

#[tokio::test]
async fn s17_64_kib_pass_and_one_byte_more_is_1009() {
    let (mut client, served) = connect_echo().await;
    let largest = vec![b'x'; 65_536];
    client.say(TEXT, &largest).await;
    assert_eq!(client.hears().await, (TEXT, largest.clone()));
    client.say(TEXT, &[largest, vec![b'x']].concat()).await;
    assert_eq!(client.hears_close().await, 1009);
    client.hears_the_end().await;
    drop(client);
    assert_eq!(served.ended().await, CloseReason::TooLarge);
}

#[tokio::test]
async fn the_clients_close_is_echoed_with_its_code_and_the_server_hangs_up_first() {
    for payload in [&b""[..], b"\x03\xe8", b"\x0f\xa0"] {
        let (mut client, served) = connect_echo().await;
        client.say(CLOSE, payload).await;
        assert_eq!(client.hears().await, (CLOSE, payload.to_vec()));
        client.hears_the_end().await;
        assert_eq!(served.ended().await, CloseReason::ClientClosed);
    }
}

#[tokio::test]
async fn what_is_answerable_before_a_violation_is_answered() {
    let cases: [(Vec<u8>, u16, CloseReason); 3] = [
        (vec![0x81, 0x02, b'h', b'i'], 1002, CloseReason::Protocol),
        (masked(TEXT, b"\xff"), 1007, CloseReason::InvalidUtf8),
        (masked(0x1, b"\xce\xba\xed\xa0"), 1007, CloseReason::InvalidUtf8),
    ];
    for (bad, code, reason) in cases {
        let (mut client, served) = connect_echo().await;
        client.write(&[masked(TEXT, b"good"), bad].concat()).await;
        assert_eq!(client.hears().await, (TEXT, b"good".to_vec()));
        assert_eq!(client.hears_close().await, code);
        client.hears_the_end().await;
        drop(client);
        assert_eq!(served.ended().await, reason);
    }
}

#[tokio::test]
async fn s18_half_a_message_and_then_silence_is_closed() {
    let timing = Timing { message_within: Duration::from_millis(150), ..Timing::default() };
    for half in [masked(0x1, b"the first half"), masked(TEXT, b"cut")[..7].to_vec(), vec![TEXT]] {
        let (mut client, served) = connect(timing, |outbox| Echo { outbox }).await;
        let began = Instant::now();
        client.write(&half).await;
        assert_eq!(client.hears_close().await, 1008);
        assert!(began.elapsed() >= timing.message_within);
        drop(client);
        assert_eq!(served.ended().await, CloseReason::Unfinished);
    }
}

#[tokio::test]
async fn s18_a_message_that_drips_is_closed_at_the_same_time() {
    let timing = Timing { message_within: Duration::from_millis(300), ..Timing::default() };
    let (client, served) = connect(timing, |outbox| Echo { outbox }).await;
    let (reading, mut writing) = client.0.into_split();
    let drip = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        for byte in masked(BINARY, &[0; 60_000]) {
            tick.tick().await;
            if writing.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    assert_eq!(served.ended().await, CloseReason::Unfinished);
    drop(reading);
    within("the writer notices", drip).await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn s18_100_sockets_of_131072_fragments_cost_little_memory() {
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let flood = Arc::new(
        std::iter::once(masked(0x2, b"x"))
            .chain((1..131_072).map(|_| masked(0x0, b"x")))
            .flatten()
            .collect::<Vec<_>>(),
    );
    let before = resident();
    let mut held = Vec::new();
    for _ in 0..100 {
        let (mut client, served) = connect_echo().await;
        let flood = flood.clone();
        let writing = tokio::spawn(async move {
            // It is cut off somewhere in the middle.
            let _ = client.0.write_all(&flood).await;
            client
        });
        held.push((writing, served));
    }
    for (writing, served) in held {
        assert_eq!(served.ended().await, CloseReason::TooLarge);
        within("the writer is stopped", writing).await.unwrap();
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes");
}

#[tokio::test]
async fn the_silent_are_asked_and_stay_when_they_answer() {
    let timing = Timing {
        ping_after: Duration::from_millis(60),
        pong_within: Duration::from_secs(5),
        ..Timing::default()
    };
    let (mut client, served) = connect(timing, |outbox| Echo { outbox }).await;
    for _ in 0..3 {
        assert_eq!(client.hears().await, (PING, vec![]));
        client.say(PONG, b"").await;
    }
    client.close(1000).await;
    while client.hears().await.0 != CLOSE {}
    assert_eq!(served.ended().await, CloseReason::ClientClosed);
}

#[tokio::test]
async fn the_silent_who_do_not_answer_are_cut() {
    let timing = Timing {
        ping_after: Duration::from_millis(60),
        pong_within: Duration::from_millis(90),
        ..Timing::default()
    };
    let (mut client, served) = connect(timing, |outbox| Echo { outbox }).await;
    let began = Instant::now();
    assert_eq!(client.hears().await, (PING, vec![]));
    assert_eq!(served.ended().await, CloseReason::NoPong);
    assert!(began.elapsed() >= Duration::from_millis(140), "{:?}", began.elapsed());
    client.hears_the_end().await;
}

#[tokio::test]
async fn an_echo_by_way_of_http_also_takes_what_came_with_the_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
    let drain = Shutdown::new();
    let app = Router::new().route("/dev/echo", any(echo));
    let serving = tokio::spawn(serve(vec![listener], app, ACCEPT, drain.clone()));
    let request = "GET /dev/echo HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        sec-websocket-extensions: permessage-deflate\r\n\r\n";
    let early = vec![b'x'; READ_BYTES + 1];
    client.write(&[request.as_bytes(), &masked(TEXT, &early)].concat()).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("the answer's head", client.0.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(!head.contains("sec-websocket-extensions"), "s19: {head}");
    assert_eq!(client.hears().await, (TEXT, early));

    drain.begin();
    within("an upgraded socket is not in the accept loop's way", serving).await.unwrap();
    client.say(TEXT, b"still here").await;
    assert_eq!(client.hears().await, (TEXT, b"still here".to_vec()));
}

/// Most that the task of a connection may take. Every connection at rest holds so much, whatever its handlers need.
const TASK_BYTES_MAX: usize = 1_024;

#[tokio::test]
async fn a_connection_at_rest_is_small() {
    let (_client, server) = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept())
    };
    let outbox = Arc::new(Outbox::new(Arc::new(server.unwrap().0), LIMITS, Closing::WebSocket));
    let session = Box::new(Echo { outbox: outbox.clone() });
    let task = run(outbox, Bytes::new(), session, Timing::default(), FrameLimits::default());
    assert!(size_of_val(&task) <= TASK_BYTES_MAX, "{} bytes", size_of_val(&task));
}

/// The buffer of an HTTP request, of which nobody read past the request's end.
struct RequestBuffer(#[allow(dead_code, reason = "held to see when it is let go")] Arc<()>);

impl AsRef<[u8]> for RequestBuffer {
    fn as_ref(&self) -> &[u8] {
        &[]
    }
}

#[tokio::test]
async fn a_connection_at_rest_keeps_nothing_of_its_http_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, server) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let outbox = Arc::new(Outbox::new(Arc::new(server.unwrap().0), LIMITS, Closing::WebSocket));
    let alive = Arc::new(());
    let leftover = Bytes::from_owner(RequestBuffer(alive.clone()));
    let _task = tokio::spawn(run(
        outbox.clone(),
        leftover,
        Box::new(Echo { outbox }),
        Timing::default(),
        FrameLimits::default(),
    ));
    let mut client = Client(client.unwrap());
    client.say(TEXT, b"hello").await;
    assert_eq!(client.hears().await, (TEXT, b"hello".to_vec()));
    assert_eq!(Arc::strong_count(&alive), 1);
}
