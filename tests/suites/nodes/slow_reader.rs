//! Nobody waits for a slow reader.

use std::time::Duration;

use harness::children::{PATIENCE, eventually};
use harness::raw::{Raw, upgrade_request};
use harness::stack::Stack;
use tokio::net::TcpSocket;

/// Four kilobytes, the most that a message of the live chat weighs.
fn large(number: usize) -> String {
    format!("{number:04} {}", "\u{1f30d}".repeat(990))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_closed_with_4408_and_the_others_do_not_notice() {
    const MESSAGES: usize = 150;
    let stack = Stack::builder()
        .nodes(1)
        .var("OUTBOX_BYTES_MAX", "65536")
        .var("OUTBOX_AGE_MS", "60000")
        .start()
        .await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let mut listener = ben.connect().await;
    let small = TcpSocket::new_v4().expect("a socket");
    small.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut stuck = Raw::of(small.connect(ana.address()).await.expect("the node listens"));
    stuck.send(upgrade_request(ana.address(), &ana.socket_path(1), "").as_bytes()).await;
    assert_eq!(stuck.answer().await.status, 101);

    let mut slowest = Duration::ZERO;
    for number in 0..MESSAGES {
        let began = std::time::Instant::now();
        ana.says(&large(number)).await;
        assert_eq!(listener.hears(1).await, [large(number)]);
        slowest = slowest.max(began.elapsed());
        if number == MESSAGES / 2 {
            let closed = eventually(PATIENCE, async || {
                let metrics = stack.metrics(1).await;
                metrics.contains("hubbub_outbox_closes_total{reason=\"slow_reader\"}").then_some(())
            });
            assert!(closed.await.is_some(), "the node cuts the slow reader off");
            assert!(matches!(stuck.close_code().await, Some(4408) | None), "best effort, but no other code");
        }
    }
    assert!(slowest < Duration::from_secs(2), "nobody waited: {slowest:?}");
    let mut back = ana.resume("0:0").await;
    let heard = back.hears(MESSAGES).await;
    assert!(
        heard.iter().enumerate().all(|(number, text)| *text == large(number)),
        "and it can come back for all"
    );
    drop((listener, back));
    stack.finish().await;
}
