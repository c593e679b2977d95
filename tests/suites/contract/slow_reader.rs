//! Nobody waits for a slow reader.

use std::time::{Duration, Instant};

use harness::dialect::{Dialect, Why};
use harness::stack::Stack;
use shared::id::Position;

const MESSAGES: usize = 150;

/// Four kilobytes, the most that a message of the live chat weighs.
fn large(number: usize) -> String {
    format!("{number:04} {}", "\u{1f30d}".repeat(990))
}

pub(super) async fn a_slow_reader_is_cut_off_and_the_others_do_not_notice(dialect: Dialect) {
    let bounds = Stack::builder().var("OUTBOX_BYTES_MAX", "65536").var("OUTBOX_AGE_MS", "60000");
    let stack = bounds.start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    let mut listener = ben.opens().await;
    let mut stuck = ben.opens_and_never_reads().await;
    let mut slowest = Duration::ZERO;
    let mut sent = Vec::new();
    for number in 0..MESSAGES {
        let began = Instant::now();
        sent.push(ana.sends(&large(number)).await);
        assert_eq!(listener.hears_one().await, sent[number]);
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "nobody waited: {slowest:?}");
    let (frames, code) = stuck.reads_to_its_end().await;
    assert!(frames < MESSAGES, "it was cut off before the end: {frames} frames");
    assert!(code.is_none() || code == dialect.ending(Why::SlowReader), "best effort, not {code:?}");
    let mut back = ben.resumes(Position::default()).await;
    assert_eq!(back.hears(MESSAGES).await, sent, "and it can come back for all");
    drop((listener, back));
    stack.finish().await;
}
