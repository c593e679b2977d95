//! A retry is the same message: one id, one place, one row, whichever way and wherever it comes in again, and however late.

use futures_util::future::join_all;
use harness::dialect::{Dialect, texts};
use harness::stack::Stack;

use super::rows_are;

pub(super) async fn a_retry_is_the_same_message(dialect: Dialect) {
    let stack = Stack::builder().nodes(2).var("LOG_RETAIN_SECS", "1").start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    let (mut line, mut hearer) = (ana.at(2).opens().await, ben.at(2).opens().await);
    let first = ana.tries("once", Some("n")).await.expect("accepted");
    for when in ["in the log", "stored", "trimmed"] {
        match when {
            "stored" => stack.stored().await,
            "trimmed" => stack.trimmed(ana.room()).await,
            _ => {}
        }
        for node in [1, 2] {
            let again = ana.at(node).tries("once", Some("n")).await;
            assert_eq!(again.expect("accepted"), first, "{when}, node {node}");
            ana.at(node).may_not("other", Some("n")).await.refused(409, "nonce_reused");
        }
        line.says("once", "n").await;
        line.says("other", "n").await;
        let error = line.is_refused().await;
        let told = (error["code"].as_str(), error["client_msg_id"].as_str());
        assert_eq!(told, (Some("nonce_reused"), Some("n")), "{when}");
    }
    let bens = ben.tries("once", Some("n")).await.expect("another person's nonce is another name");
    assert_ne!(bens.id, first.id);
    line.says("end", "e").await;
    let mine = line.hears_until("end").await;
    let (end, others) = (&mine[mine.len() - 1], &mine[..mine.len() - 1]);
    assert!(others.iter().all(|spoken| *spoken == first || *spoken == bens), "{mine:?}");
    assert!(others.contains(&first) && others.contains(&bens), "{mine:?}");
    let all = [first.clone(), bens.clone(), end.clone()];
    assert_eq!(hearer.hears_until("end").await, all, "nobody else hears it twice");
    for node in [1, 2] {
        assert_eq!(ben.at(node).reads().await, all);
    }
    rows_are(&stack, &all).await;
    drop((line, hearer));
    stack.finish().await;
}

pub(super) async fn ten_tries_at_once_are_one_message(dialect: Dialect) {
    let stack = Stack::builder().nodes(3).start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    let mut hearer = ben.at(2).opens().await;
    let mut lines = Vec::new();
    for node in 1..=3 {
        lines.push(ana.at(node).opens().await);
    }
    let tries = (0..10).map(|call| {
        let ana = ana.at(1 + call % 3);
        async move { ana.tries("once", Some("n")).await.expect("accepted") }
    });
    let says = lines.iter_mut().map(|line| line.says("once", "n"));
    let (receipts, _) = tokio::join!(join_all(tries), join_all(says));
    assert!(receipts.iter().all(|receipt| *receipt == receipts[0]), "{receipts:?}");
    for (number, line) in lines.iter_mut().enumerate() {
        // Once this is heard, the node has dealt with what was said before it.
        let text = format!("end {number}");
        line.says(&text, &text).await;
        let heard = line.hears_until(&text).await;
        assert_eq!(heard[0], receipts[0]);
    }
    let heard = hearer.hears_until("end 2").await;
    assert_eq!(texts(&heard), ["once", "end 0", "end 1", "end 2"]);
    rows_are(&stack, &heard).await;
    drop((hearer, lines));
    stack.finish().await;
}
