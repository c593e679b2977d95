//! Coming back: exactly what was missed, in order, on any node; or an honest word that it can't be had.

use futures_util::future::join_all;
use harness::dialect::{Dialect, Spoken, Talker};
use harness::stack::{Role, Stack};
use shared::id::Position;

/// Somebody who was cut off, and somebody who talks on.
struct Away {
    ana: Talker,
    ben: Talker,
    last: Position,
    missed: Vec<Spoken>,
}

impl Away {
    /// Comes back at a node: hears what was missed and, next after it, what is said then.
    async fn come_back(&mut self, node: usize, from: &str) {
        let mut back = self.ana.at(node).resumes(self.last).await;
        let heard = back.hears(self.missed.len()).await;
        assert_eq!(heard, self.missed, "from {from}, at node {node}");
        let text = format!("then, from {from}, at node {node}");
        let then = self.ben.sends(&text).await;
        assert_eq!(back.hears_one().await, then, "nothing is doubled");
        self.missed.push(then);
        // Whoever is up to date misses nothing and hears nothing twice.
        let mut again = self.ana.at(node).resumes(back.last).await;
        let and = self.ben.sends(&format!("and {text}")).await;
        assert_eq!(again.hears_one().await, and);
        self.missed.push(and);
    }
}

pub(super) async fn who_comes_back_hears_exactly_what_was_missed(dialect: Dialect) {
    let mut stack = Stack::builder().nodes(3).var("LOG_RETAIN_SECS", "1").start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    stack.stored().await;
    stack.stop(Role::Persister, 1).await;
    // Node 2 has the room in memory all along; node 3 hears of it for the first time when Ana comes back there.
    let mut bens = ben.at(2).opens().await;
    let mut line = ana.opens().await;
    let first = ben.sends("heard").await;
    assert_eq!(line.hears_one().await, first);
    let last = line.last;
    line.closes().await;
    let mut missed = vec![ben.sends("by REST").await];
    bens.says("by socket", "n").await;
    missed.push(bens.hears(3).await.remove(2));
    missed.push(ana.at(3).sends("from another device").await);
    let mut away = Away { ana, ben, last, missed };
    away.come_back(2, "memory").await;
    away.come_back(3, "the log").await;

    stack.add(Role::Persister).await;
    stack.ready().await;
    stack.stored().await;
    stack.trimmed(away.ana.room()).await;
    stack.add(Role::Api).await;
    stack.ready().await;
    away.come_back(4, "rows").await;
    away.come_back(1, "what is left").await;
    drop(bens);
    stack.finish().await;
}

pub(super) async fn a_place_that_can_not_be_served_is_told(dialect: Dialect) {
    const REPLAYED: usize = 1_000;
    const EACH: usize = REPLAYED / 20 + 1;
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    let mut listener = ben.at(2).opens().await;
    let lanes = (0..20).map(|lane| {
        let talker = if lane % 2 == 0 { ana.clone() } else { ben.clone() };
        async move {
            for number in 0..EACH {
                talker.sends(&format!("{lane}-{number}")).await;
            }
        }
    });
    join_all(lanes).await;
    let all = listener.hears(20 * EACH).await;
    let head = all[all.len() - 1].position;
    let (long_ago, near) = all.split_at(all.len() - REPLAYED);
    let ahead = Position { seq: head.seq + 1, ..head };
    let later = Position { epoch: head.epoch + 1, seq: 1 };
    let mut lines = vec![listener];
    for node in [1, 2] {
        let mut back = ben.at(node).resumes(long_ago[long_ago.len() - 1].position).await;
        assert_eq!(back.hears(REPLAYED).await, near, "node {node}: a thousand are replayed, and no more");
        lines.push(back);
        for from in [long_ago[0].position, ahead, later] {
            let mut back = ben.at(node).resumes(from).await;
            assert_eq!(back.is_sent_back().await, head, "node {node}, from {from}");
            lines.push(back);
        }
        // Who did not ask to resume is told neither what was said nor that it was too much.
        lines.push(ben.at(node).opens().await);
    }
    let next = ana.sends("and then it goes on").await;
    for line in &mut lines {
        assert_eq!(line.hears_one().await, next);
    }
    drop(lines);
    stack.finish().await;
}
