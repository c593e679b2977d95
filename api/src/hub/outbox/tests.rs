//! Readers quick, slow and stuck, on real sockets.

use super::{CLOSE_WITHIN, CloseReason, Closing, Driver, Outbox, OutboxLimits};
use crate::transport::websocket::frame::text_frame;
use bytes::Bytes;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const GENEROUS: OutboxLimits =
    OutboxLimits { bytes_max: 64 << 20, age_max: Duration::from_secs(30), close_within: CLOSE_WITHIN };

/// For tests of what arrives, on machines busy with other tests.
const UNHURRIED: OutboxLimits = OutboxLimits { close_within: Duration::from_secs(10), ..GENEROUS };

/// Both kernel buffers together, twice over, so that these bytes still wait when the kernel has moved what it can.
const MORE_THAN_THE_KERNEL_TAKES: usize = 2 << 20;

/// A connection whose kernel buffers are small, so that a reader who stops is noticed soon. (Smaller than a few segments,
/// 64 KiB here, and TCP itself would crawl from one probe to the next.)
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (client, server) = (client.unwrap(), server.unwrap().0);
    socket2::SockRef::from(&client).set_recv_buffer_size(256 * 1024).unwrap();
    socket2::SockRef::from(&server).set_send_buffer_size(256 * 1024).unwrap();
    server.writable().await.unwrap();
    (client, server)
}

/// An outbox with its driver running, as a connection's task runs it.
struct Driven {
    outbox: Arc<Outbox>,
    driver: JoinHandle<()>,
    socket: Weak<TcpStream>,
}

fn drive(server: TcpStream, limits: OutboxLimits, closing: Closing) -> Driven {
    let stream = Arc::new(server);
    let socket = Arc::downgrade(&stream);
    let outbox = Arc::new(Outbox::new(stream, limits, closing));
    let driver = tokio::spawn({
        let outbox = outbox.clone();
        let mut driver = Driver::default();
        poll_fn(move |context| outbox.poll_drive(&mut driver, context))
    });
    Driven { outbox, driver, socket }
}

impl Driven {
    /// Sends frames of 1,004 bytes until the kernel is full and at least `bytes` wait here. Returns how many.
    fn stuff(&self, bytes: usize) -> usize {
        let frame = text_frame(&[b'x'; 1000]);
        let mut sent = 0;
        while self.outbox.lock().queued_bytes() < bytes {
            self.outbox.send(frame.clone());
            sent += 1;
            assert!(sent < 100_000, "the kernel takes everything");
        }
        sent
    }

    async fn let_go(self) -> Arc<Outbox> {
        within("the socket is let go", self.driver).await.unwrap();
        assert_eq!(self.socket.strong_count(), 0, "somebody holds the socket");
        assert_eq!(self.outbox.lock().queued_bytes(), 0);
        self.outbox
    }
}

async fn within<T>(fact: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .unwrap_or_else(|_| panic!("not in time: {fact}"))
}

/// The payloads of the whole frames in `bytes`, by opcode. What is cut off at the end is left out.
fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let [first, short, rest @ ..] = bytes {
        let (length, rest) = match (*short, rest) {
            (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            (short, rest) => (usize::from(short), rest),
        };
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        frames.push((first & 0x0f, payload));
        bytes = rest;
    }
    frames
}

async fn read_all(client: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end, too.
    let _ = within("the end of the stream", client.read_to_end(&mut bytes)).await;
    bytes
}

#[tokio::test]
async fn s27_a_reader_that_stops_is_cut_at_the_age_limit_and_all_its_memory_freed() {
    let limits = OutboxLimits {
        age_max: Duration::from_millis(300),
        close_within: Duration::from_millis(200),
        ..GENEROUS
    };
    let (_stuck_client, server) = pair().await;
    let stuck = drive(server, limits, Closing::WebSocket);
    let (mut client, server) = pair().await;
    let other = drive(server, limits, Closing::WebSocket);

    let began = Instant::now();
    stuck.stuff(MORE_THAN_THE_KERNEL_TAKES);
    other.outbox.send(text_frame(b"hello"));
    let mut hello = [0; 7];
    within("the other reader hears", client.read_exact(&mut hello)).await.unwrap();
    assert!(stuck.outbox.closed().is_none() && began.elapsed() < limits.age_max, "heard without waiting");

    let outbox = stuck.let_go().await;
    assert_eq!(outbox.closed(), Some(CloseReason::SlowReader));
    assert!(began.elapsed() >= limits.age_max, "cut too early");
    assert!(began.elapsed() < limits.age_max + limits.close_within + Duration::from_secs(1), "cut too late");
    assert_eq!(other.outbox.closed(), None);
}

#[tokio::test]
async fn s27_more_than_the_byte_limit_is_cut_at_once_and_told_why_if_it_reads_again() {
    let (mut client, server) = pair().await;
    let slow = drive(server, OutboxLimits { bytes_max: 50_000, ..UNHURRIED }, Closing::WebSocket);
    slow.stuff(49_000);
    for _ in 0..2 {
        slow.outbox.send(text_frame(&[b'y'; 1000]));
    }
    assert_eq!(slow.outbox.closed(), Some(CloseReason::SlowReader));
    assert!(slow.outbox.lock().queued_bytes() < 2000, "what would not be read is dropped");
    slow.outbox.peer_is_done();
    let bytes = read_all(&mut client).await;
    let frames = frames(&bytes);
    assert_eq!(
        frames.last(),
        Some(&(0x8, &b"\x11\x38slow_reader"[..])),
        "the last frame is a close with 4408"
    );
    assert!(frames[..frames.len() - 1].iter().all(|(opcode, text)| *opcode == 1 && text.len() == 1000));
    slow.let_go().await;
}

#[tokio::test]
async fn a_slow_reader_that_reads_in_time_gets_everything_in_order() {
    const COUNT: u32 = 3_000;
    let (mut client, server) = pair().await;
    let slow = drive(server, UNHURRIED, Closing::WebSocket);
    for number in 0..COUNT {
        slow.outbox.send(text_frame(&number.to_be_bytes().repeat(250)));
    }
    assert!(slow.outbox.lock().queued_bytes() > 0, "this test is about a queue");
    slow.outbox.close(CloseReason::Drain);
    slow.outbox.send(text_frame(b"too late"));
    slow.outbox.close(CloseReason::Internal);
    slow.outbox.peer_is_done();
    let reading = tokio::spawn(async move { read_all(&mut client).await });
    let outbox = slow.outbox.clone();
    slow.let_go().await;
    assert_eq!(outbox.closed(), Some(CloseReason::Drain), "the first reason stands");
    let bytes = reading.await.unwrap();
    let frames = frames(&bytes);
    assert_eq!(frames.len(), COUNT as usize + 1);
    for (number, (_, payload)) in (0..COUNT).zip(&frames) {
        assert_eq!(*payload, number.to_be_bytes().repeat(250));
    }
    assert_eq!(frames[COUNT as usize], (0x8, &b"\x03\xf4drain"[..]));
}

#[tokio::test]
async fn a_close_does_not_wait_for_a_peer_that_reads_nothing() {
    let (_client, server) = pair().await;
    let stuck = drive(server, GENEROUS, Closing::WebSocket);
    stuck.stuff(MORE_THAN_THE_KERNEL_TAKES);
    let began = Instant::now();
    stuck.outbox.close(CloseReason::Expired);
    let outbox = stuck.let_go().await;
    assert!(began.elapsed() < CLOSE_WITHIN * 2);
    assert_eq!(outbox.closed(), Some(CloseReason::Expired));
}

#[tokio::test]
async fn a_cut_connection_gets_its_queue_but_no_close_frame() {
    let (mut client, server) = pair().await;
    let polled = drive(server, UNHURRIED, Closing::JustCut);
    let sent = polled.stuff(MORE_THAN_THE_KERNEL_TAKES);
    polled.outbox.close(CloseReason::Drain);
    let bytes = read_all(&mut client).await;
    let frames = frames(&bytes);
    assert_eq!(frames.len(), sent);
    assert!(frames.iter().all(|(opcode, _)| *opcode == 1));
    polled.outbox.peer_is_done();
    polled.let_go().await;
}

#[tokio::test]
async fn a_vanished_peer_is_let_go_by_the_next_send() {
    let (client, server) = pair().await;
    let lost = drive(server, GENEROUS, Closing::WebSocket);
    client.set_zero_linger().unwrap();
    drop(client);
    while lost.outbox.closed().is_none() {
        lost.outbox.send(text_frame(b"anybody?"));
        tokio::task::yield_now().await;
    }
    assert_eq!(lost.let_go().await.closed(), Some(CloseReason::Gone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn frames_of_eight_senders_never_interleave() {
    const SENDERS: u8 = 8;
    const EACH: u32 = 2_000;
    let (mut client, server) = pair().await;
    let shared = drive(server, UNHURRIED, Closing::WebSocket);
    let senders: Vec<_> =
        (0..SENDERS).map(|sender| tokio::spawn(chatter(shared.outbox.clone(), sender, EACH))).collect();
    let reading = tokio::spawn(async move { read_all(&mut client).await });
    for sender in senders {
        within("a sender is done", sender).await.unwrap();
    }
    shared.outbox.close(CloseReason::Normal);
    shared.outbox.peer_is_done();
    shared.let_go().await;

    let bytes = reading.await.unwrap();
    let frames = frames(&bytes);
    assert_eq!(frames.len(), usize::from(SENDERS) * EACH as usize + 1);
    let mut next = [0_u32; SENDERS as usize];
    for (_, payload) in &frames[..frames.len() - 1] {
        let (sender, number) = (payload[0], u32::from_be_bytes(payload[1..5].try_into().unwrap()));
        assert_eq!(number, next[usize::from(sender)], "order within sender {sender}");
        assert!(payload[5..].iter().all(|byte| *byte == sender), "a frame holds bytes of one sender");
        next[usize::from(sender)] += 1;
    }
}

async fn chatter(outbox: Arc<Outbox>, sender: u8, count: u32) {
    for number in 0..count {
        let filler = vec![sender; (number as usize * 37) % 700];
        outbox.send(text_frame(&[&[sender], &number.to_be_bytes()[..], &filler].concat()));
        if number % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn an_outbox_at_rest_holds_no_buffer() {
    let (mut client, server) = pair().await;
    let busy = drive(server, GENEROUS, Closing::WebSocket);
    let sent = busy.stuff(MORE_THAN_THE_KERNEL_TAKES);
    let mut bytes = vec![0; sent * 1004];
    within("everything arrives", client.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(busy.outbox.lock().queue_capacity(), 0);
    assert!(size_of::<Outbox>() <= 256, "{} bytes", size_of::<Outbox>());
}

#[tokio::test]
async fn what_comes_after_the_close_goes_nowhere() {
    let (_client, server) = pair().await;
    let open = drive(server, GENEROUS, Closing::WebSocket);
    let place = open.outbox.send(text_frame(b"in time")).expect("it is taken");
    open.outbox.close(CloseReason::Drain);
    assert_eq!(open.outbox.send(text_frame(b"too late")), None);
    assert_eq!(open.outbox.has_written(place), Some(true), "what was in time is out");
    open.outbox.peer_is_done();
    open.let_go().await;
}

#[tokio::test]
async fn what_a_broken_socket_did_not_take_goes_nowhere() {
    let (client, server) = pair().await;
    let lost = drive(server, GENEROUS, Closing::WebSocket);
    client.set_zero_linger().unwrap();
    drop(client);
    let mut last = Some(0);
    while lost.outbox.closed().is_none() {
        last = lost.outbox.send(text_frame(b"anybody?"));
        tokio::task::yield_now().await;
    }
    if let Some(place) = last {
        assert_ne!(lost.outbox.has_written(place), Some(false), "nothing of it is still under way");
    }
    assert_eq!(lost.outbox.send(text_frame(b"anybody?")), None);
    lost.let_go().await;
}

#[tokio::test]
async fn what_is_dropped_because_the_peer_is_slow_goes_nowhere_though_it_reads_the_good_bye() {
    let (mut client, server) = pair().await;
    let slow = drive(server, OutboxLimits { bytes_max: 50_000, ..UNHURRIED }, Closing::WebSocket);
    slow.stuff(40_000);
    // Shorter than the close frame that is written in its stead.
    let waiting = slow.outbox.send(text_frame(b"!")).expect("it is queued");
    assert_eq!(slow.outbox.has_written(waiting), Some(false));
    assert_eq!(slow.outbox.send(text_frame(&[b'y'; 20_000])), None, "the one that is too much");
    assert_eq!(slow.outbox.closed(), Some(CloseReason::SlowReader));
    assert_eq!(slow.outbox.has_written(waiting), None);
    slow.outbox.peer_is_done();
    let bytes = read_all(&mut client).await;
    assert_eq!(frames(&bytes).last().map(|(opcode, _)| *opcode), Some(0x8), "it reads on to the close");
    let outbox = slow.let_go().await;
    assert_eq!(outbox.has_written(waiting), None);
}

#[tokio::test]
async fn empty_bytes_are_nothing() {
    let (_client, server) = pair().await;
    let outbox = Outbox::new(Arc::new(server), GENEROUS, Closing::WebSocket);
    outbox.send(Bytes::new());
    assert_eq!((outbox.closed(), outbox.lock().queued_bytes()), (None, 0));
}

#[test]
fn the_table_of_reasons_is_as_published() {
    let documented = include_str!("../outbox.rs");
    let reasons = [
        CloseReason::Normal,
        CloseReason::ClientClosed,
        CloseReason::Drain,
        CloseReason::SlowReader,
        CloseReason::Expired,
        CloseReason::Forbidden,
        CloseReason::NotFound,
        CloseReason::Protocol,
        CloseReason::Unsupported,
        CloseReason::InvalidUtf8,
        CloseReason::Unfinished,
        CloseReason::TooLarge,
        CloseReason::Internal,
        CloseReason::NoPong,
        CloseReason::Gone,
    ];
    for reason in reasons {
        let row = documented.lines().find(|line| line.starts_with(&format!("//! | `{}` |", reason.name())));
        let row = row.unwrap_or_else(|| panic!("no row for {reason:?}"));
        let code = reason.code().map_or("".to_owned(), |code| code.to_string());
        assert!(row.contains(&code), "{reason:?}: {row}");
    }
}
