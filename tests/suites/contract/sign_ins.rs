//! Who is let in, for how long, and what ends it.

use std::time::{Duration, Instant};

use chrono::Utc;
use harness::dialect::{Dialect, Talker, Why};
use harness::stack::Stack;
use harness::tokens;
use serde_json::json;

/// REST and socket refuse alike.
async fn is_kept_out(talker: &Talker) {
    talker.newest_page().await.refused(401, "unauthorized");
    talker.may_not("hi", None).await.refused(401, "unauthorized");
    let refused = talker.knocks(&[]).await.err();
    refused.expect("no socket").refused(401, "unauthorized");
}

pub(super) async fn who_has_no_sign_in_that_holds_is_kept_out(dialect: Dialect) {
    let stack = Stack::start().await;
    let (ana, _) = dialect.pair(&stack).await;
    let before = ana.sends("before").await;
    let forged = ana.person.token.rsplit_once('.').map(|(head, signature)| {
        let flipped: String = signature.chars().rev().collect();
        format!("{head}.{flipped}")
    });
    let expired = tokens::another(&ana.person, -60);
    let forged = forged.expect("a token has three parts");
    for token in ["", "rubbish", "a.b.c", forged.as_str(), expired.as_str()] {
        is_kept_out(&ana.with_token(token)).await;
    }
    let good = ana.with_token(&tokens::another(&ana.person, 60));
    assert_eq!(good.reads().await, [before], "and nothing of it was said");
    good.opens().await.closes().await;
    stack.finish().await;
}

pub(super) async fn s06_a_socket_ends_with_its_token(dialect: Dialect) {
    const SECONDS: i64 = 3;
    let stack = Stack::start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    let began = Utc::now().timestamp();
    let short = ana.with_token(&tokens::another(&ana.person, SECONDS));
    let (mut ending, mut lasting) = (short.opens().await, ana.opens().await);
    let before = ben.sends("before").await;
    assert_eq!(ending.hears_one().await, before);
    assert_eq!(ending.ends().await, dialect.ending(Why::SignInEnded));
    let lived = Utc::now().timestamp() - began;
    assert!((SECONDS - 1..=SECONDS + 5).contains(&lived), "it lived for {lived} s");
    let after = ben.sends("after").await;
    assert_eq!(lasting.hears(2).await, [before, after], "another token of the same person goes on");
    drop(lasting);
    stack.finish().await;
}

pub(super) async fn s07_signing_out_closes_every_socket_on_every_node_within_two_seconds(dialect: Dialect) {
    const SOCKETS: usize = 20;
    let stack = Stack::builder().nodes(3).start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    let mut lines = Vec::new();
    for number in 0..SOCKETS {
        lines.push(ana.at(1 + number % 3).opens().await);
    }
    let mut bens = ben.at(3).opens().await;
    let chatter = ben.goes_on(&[1]);
    bens.hears(3).await;
    let began = Instant::now();
    assert_eq!(ana.person.post("/auth/logout", &json!({})).await.status, 204);
    for line in &mut lines {
        assert_eq!(line.ends().await, dialect.ending(Why::SignInEnded));
    }
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
    for node in 1..=3 {
        is_kept_out(&ana.at(node)).await;
    }
    bens.hears(3).await;
    chatter.stops().await;
    let again = stack.person("ana").await;
    ana.with_token(&again.token).at(2).opens().await.closes().await;
    drop((lines, bens));
    stack.finish().await;
}
