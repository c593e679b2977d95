//! Somebody who marks what was written to them as read: messages that were just accepted, each until that is acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;

use super::sender::author_of;
use super::{Answered, Caller};

/// Between two.
const PACE_MS: std::ops::Range<u64> = 150..450;

/// What somebody marked, by its id, and whether that was acknowledged.
pub(crate) type Marked = BTreeMap<String, bool>;

/// Marks until the board closes; answers what was tried.
pub(crate) async fn marks(mut caller: Caller) -> Marked {
    let mut marked = Marked::new();
    while !caller.board.is_closing() {
        tokio::time::sleep(Duration::from_millis(caller.rng.within(PACE_MS))).await;
        let mut letters = caller.room.recent();
        letters.retain(|said| author_of(&said.text) != caller.person.name);
        let at = caller.rng.index(letters.len());
        // What was marked before is marked again now and then, which must change nothing.
        let Some(letter) = letters.get(at) else { continue };
        let acknowledged = insists(&mut caller, &letter.id).await;
        *marked.entry(letter.id.clone()).or_default() |= acknowledged;
    }
    marked
}

/// Asks until there is an answer; false when there was none to the end.
async fn insists(caller: &mut Caller, id: &str) -> bool {
    let path = format!("/api/v1/chat/messages/{id}/read");
    loop {
        match caller.asks(Method::PUT, &path, None).await {
            Answered::Done(letter) if letter["status"] == "read" && letter["message_id"] == id => {
                return true;
            }
            Answered::Done(letter) => {
                caller.board.broken("what is marked as read is shown so", format!("{letter} from {path}"));
                return true;
            }
            Answered::Refused("overloaded" | "rate_limited") | Answered::Unknown => {}
            Answered::Refused(code) => {
                let told = format!("{} {path} at node {}: {code}", caller.person.name, caller.node());
                caller.board.broken("what was accepted can be marked as read", told);
                return false;
            }
        }
        if caller.board.is_over() {
            caller.board.broken("every mark is answered in the end", path);
            return false;
        }
        caller.moves();
        caller.pauses().await;
    }
}
