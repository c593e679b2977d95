//! How fast one may talk is told as a code with a time to wait, and what was too fast can be said later.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use harness::children::{PATIENCE, eventually};
use harness::dialect::{Dialect, told_to_wait};
use harness::stack::Stack;

/// A few at once, and more within a second.
const BURST: usize = 3;
const TRIES: usize = 20;
/// Longest that one may be told to wait: until the next of ten a second.
const WAIT_MS: u64 = 1_000;

pub(super) async fn too_fast_is_told_how_long_to_wait(dialect: Dialect) {
    let rate = Stack::builder().var("LIMIT_MESSAGES_PER_SECOND", "5");
    let stack = rate.var("LIMIT_MESSAGES_BURST", &BURST.to_string()).start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    let mut line = ana.opens().await;
    let names: Vec<String> = (0..TRIES).map(|number| format!("r{number}")).collect();
    let tried = join_all(names.iter().map(|name| ana.tries(name, Some(name)))).await;
    let refused: Vec<_> = tried.into_iter().filter_map(Result::err).collect();
    assert!((1..=TRIES - BURST).contains(&refused.len()), "{} were refused", refused.len());
    for answer in refused {
        let wait = told_to_wait(&answer);
        assert!((1..=WAIT_MS).contains(&wait), "{answer:?}");
        answer.refused(429, "rate_limited");
    }
    for number in 0..TRIES {
        let name = format!("s{number}");
        line.says(&name, &name).await;
    }
    let error = line.is_refused().await;
    assert_eq!(error["code"], "rate_limited", "{error}");
    let name = error["client_msg_id"].as_str().expect("it is told which").to_owned();
    assert!(name.starts_with('s'), "{error}");
    let wait = error["retry_after_ms"].as_u64().expect("how long");
    assert!((1..=WAIT_MS).contains(&wait), "{error}");

    ben.sends("ben has a budget of his own").await;
    for name in names.iter().chain([&name]) {
        let accepted = eventually(PATIENCE, async || ana.tries(name, Some(name)).await.ok());
        assert!(accepted.await.is_some(), "{name} may be said later");
    }
    let read = ben.reads().await;
    let texts: BTreeSet<&str> = read.iter().map(|spoken| spoken.text.as_str()).collect();
    assert_eq!(texts.len(), read.len(), "each is there once");
    assert!(names.iter().chain([&name]).all(|name| texts.contains(name.as_str())), "{texts:?}");
    drop(line);
    stack.finish().await;
}
