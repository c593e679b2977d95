//! Twenty of three hundred stop reading: each of the two bounds of an outbox cuts them off by itself, and the others hear
//! everything.

use futures_util::future::join_all;
use harness::children::{PATIENCE, eventually};
use harness::person::{Node, Person};
use harness::raw::{Raw, upgrade_request};
use harness::socket::Socket;
use harness::stack::Stack;
use tokio::net::TcpSocket;

const READERS: usize = 280;
const STUCK: usize = 20;
/// Far more than the kernel takes for somebody with a small buffer.
const MESSAGES: usize = 150;
/// What a node may take beside the outboxes: the room's ring, and buffers of three hundred sockets.
const SLACK_BYTES: u64 = 64 << 20;

/// Four kilobytes, the most that a message of the live chat weighs.
fn large(number: usize) -> String {
    format!("{number:04} {}", "\u{1f30d}".repeat(990))
}

/// Somebody whose kernel holds next to nothing, and who reads no more once let in.
async fn stuck(person: &Person) -> Raw {
    let small = TcpSocket::new_v4().expect("a socket");
    small.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut raw = Raw::of(small.connect(person.address()).await.expect("the node listens"));
    raw.send(upgrade_request(person.address(), &person.socket_path(1), "").as_bytes()).await;
    assert_eq!(raw.answer().await.status, 101);
    raw
}

/// How many the node says it has cut off for being slow.
async fn cut_off(stack: &Stack) -> usize {
    let metrics = stack.metrics(1).await;
    let name = "hubbub_outbox_closes_total{reason=\"slow_reader\"} ";
    metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
}

async fn twenty_stop_reading(bytes_max: u64, age_ms: u64) {
    let mut stack = Stack::builder()
        .nodes(1)
        .processes()
        .var("OUTBOX_BYTES_MAX", &bytes_max.to_string())
        .var("OUTBOX_AGE_MS", &age_ms.to_string())
        .start()
        .await;
    let ana = stack.person("ana").await;
    let mut readers: Vec<Socket> = join_all((0..READERS).map(|_| ana.connect())).await;
    let mut stuck: Vec<Raw> = join_all((0..STUCK).map(|_| stuck(&ana))).await;
    let before = stack.node(Node(1)).process().peak_bytes();

    for number in 0..MESSAGES {
        ana.says(&large(number)).await;
        // They are asked each time, so that they are never behind.
        let heard = join_all(readers.iter_mut().map(|reader| reader.hears(1))).await;
        assert!(heard.iter().all(|heard| *heard == [large(number)]), "all readers hear message {number}");
    }
    let closed = eventually(PATIENCE, async || (cut_off(&stack).await >= STUCK).then_some(())).await;
    assert!(closed.is_some(), "{} of {STUCK} were cut off", cut_off(&stack).await);
    let codes = join_all(stuck.iter_mut().map(Raw::close_code)).await;
    assert!(codes.iter().all(|code| matches!(code, Some(4408) | None)), "{codes:?}");
    assert_eq!(cut_off(&stack).await, STUCK, "and nobody else");
    let grown = stack.node(Node(1)).process().peak_bytes() - before;
    let most = STUCK as u64 * bytes_max.min(1 << 20) + SLACK_BYTES;
    assert!(grown <= most, "the node took {grown} bytes, {most} may be");

    ana.says("the last").await;
    let heard = join_all(readers.iter_mut().map(|reader| reader.hears(1))).await;
    assert!(heard.iter().all(|heard| *heard == ["the last"]), "everybody else is still here");
    drop((readers, stuck));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lets_too_many_bytes_wait_is_cut_off_and_280_others_hear_everything() {
    twenty_stop_reading(64 << 10, 600_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lets_them_wait_too_long_is_cut_off_and_280_others_hear_everything() {
    twenty_stop_reading(1 << 30, 2_000).await;
}
