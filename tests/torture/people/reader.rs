//! Somebody who reads what was just accepted, at any node: a read that starts after an ack shows it, or says that it is
//! incomplete.

use std::time::Duration;

use reqwest::Method;

use super::{Answered, Caller};

const PACE: Duration = Duration::from_millis(100);
/// Enough for what is accepted between the choice of a message and the page.
const PAGE: usize = 500;

/// How often somebody read, and how often all of it was there.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(crate) struct Reads {
    pub(crate) complete: u64,
    pub(crate) incomplete: u64,
    pub(crate) unanswered: u64,
}

/// Reads until the board closes.
pub(crate) async fn reads(mut caller: Caller) -> Reads {
    let mut reads = Reads::default();
    while !caller.board.is_closing() {
        tokio::time::sleep(PACE).await;
        caller.moves();
        let Some(newest) = caller.room.newest() else { continue };
        let path = format!("/live-chat/messages?limit={PAGE}");
        let Answered::Done(page) = caller.asks(Method::GET, &path, None).await else {
            reads.unanswered += 1;
            continue;
        };
        if page["incomplete"] == true {
            reads.incomplete += 1;
            continue;
        }
        reads.complete += 1;
        let messages = caller.room.adapter().messages(&page);
        let is_past = messages.first().is_some_and(|oldest| oldest.position > newest.position);
        if !is_past && !messages.contains(&newest) {
            let last = messages.last().map(|said| said.position.to_string()).unwrap_or_default();
            let told = format!("{newest:?} at node {}: the page ends at {last}", caller.node());
            caller.board.broken("a read shows what was accepted before it", told);
        }
    }
    reads
}
