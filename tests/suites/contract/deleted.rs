//! What was taken back is gone, where it can be taken back.

use std::ops::RangeInclusive;

use harness::dialect::{Dialect, Spoken, Talker, texts};
use harness::stack::{Role, Stack};
use shared::id::Position;

/// Nobody is told it on any of these nodes: neither by a page nor by coming back for everything.
async fn is_gone(people: [&Talker; 2], nodes: RangeInclusive<usize>, kept: &Spoken, from: &str) {
    for node in nodes {
        for talker in people {
            let page = talker.at(node).newest_page().await;
            assert!(!page.text.contains("a secret"), "from {from}, node {node}: {page:?}");
            assert_eq!(talker.at(node).reads().await, std::slice::from_ref(kept), "from {from}, node {node}");
            let mut back = talker.at(node).resumes(Position::default()).await;
            assert_eq!(
                texts(&back.hears_until("no secret").await),
                ["no secret"],
                "from {from}, node {node}"
            );
        }
    }
}

/// A dialect in which nothing can be taken back has nothing to promise.
pub(super) async fn what_was_taken_back_is_in_no_later_answer(dialect: Dialect) {
    if !dialect.takes_back() {
        return;
    }
    let mut stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    // Node 1 has the room in memory when it is said and when it is taken back.
    let mut hearer = ben.opens().await;
    let gone = ana.sends("a secret").await;
    let kept = ana.sends("no secret").await;
    assert_eq!(hearer.hears(2).await, [gone.clone(), kept.clone()]);
    ben.takes_back(&gone).await.refused(404, "not_found");
    for _ in 0..2 {
        assert_eq!(ana.takes_back(&gone).await.status, 204, "twice is once");
    }
    is_gone([&ana, &ben], 1..=2, &kept, "memory and the log").await;
    stack.stored().await;
    stack.add(Role::Api).await;
    stack.ready().await;
    is_gone([&ana, &ben], 1..=3, &kept, "what is stored").await;
    // The message keeps its row and its name, but not its text.
    let rows: Vec<String> = stack.rows().await.into_iter().map(|row| row.text).collect();
    assert_eq!(rows, ["", "no secret"]);
    drop(hearer);
    stack.finish().await;
}
