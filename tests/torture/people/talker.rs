//! Somebody who sends over the socket on which they listen. Being told of one's own message there is the receipt; a message
//! of which nothing is heard is sent again under its nonce, over the next socket or over REST.

use std::time::Duration;

use harness::dialect::Spoken;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::sender::{Draft, Fate, Sent, insists};
use super::watcher::{Told, Watcher};

/// How long a message is waited for before it is sent again.
const HEARD_WITHIN: Duration = Duration::from_secs(3);
/// So many times over sockets; then over REST, which tells the first receipt again.
const OVER_SOCKETS: u32 = 2;
/// After a message that was refused for now.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Sends until the board closes, hands over everything that was tried, and listens on.
pub(crate) async fn talks(mut watcher: Watcher, pace: Duration, done: oneshot::Sender<Vec<Sent>>) {
    let mut sent = Vec::new();
    let mut due = Instant::now() + Duration::from_millis(watcher.caller.rng.within(0..100));
    while !watcher.caller.board.is_closing() {
        while timeout_at(due, watcher.next()).await.is_ok() {}
        let draft = Draft::new(&watcher.caller, sent.len());
        let fate = sends(&mut watcher, &draft).await;
        sent.push(Sent { text: draft.text, fate });
        due = (due + pace).max(Instant::now());
    }
    // Nobody waits any more when the run has given up on it.
    let _ = done.send(sent);
    watcher.watches().await;
}

async fn sends(watcher: &mut Watcher, draft: &Draft) -> Fate {
    for _ in 0..OVER_SOCKETS {
        if let Some(said) = over_the_socket(watcher, draft).await {
            watcher.caller.is_accepted(&said, draft.sent);
            return Fate::Accepted(said);
        }
    }
    insists(&mut watcher.caller, draft).await
}

/// Sends once, and listens for it.
async fn over_the_socket(watcher: &mut Watcher, draft: &Draft) -> Option<Spoken> {
    let deadline = Instant::now() + HEARD_WITHIN;
    while !watcher.says(draft).await {
        // Coming back is part of waiting for the next frame.
        if let Ok(told) = timeout_at(deadline, watcher.next()).await
            && let Some(said) = own(told, draft)
        {
            return Some(said);
        }
        if Instant::now() >= deadline {
            return None;
        }
    }
    let mut life = watcher.life();
    while let Ok(told) = timeout_at(deadline, watcher.next()).await {
        if is_refused(watcher, &told, draft) {
            // Others are heard meanwhile.
            let again = Instant::now() + AGAIN_AFTER;
            while timeout_at(again, watcher.next()).await.is_ok() {}
            return None;
        }
        if let Some(said) = own(told, draft) {
            return Some(said);
        }
        // Whatever was under way on the socket before may be lost.
        if watcher.life() != life {
            life = watcher.life();
            watcher.says(draft).await;
        }
    }
    None
}

/// Whether that is what was told; only for the moment, or it is a finding.
fn is_refused(watcher: &Watcher, told: &Told, draft: &Draft) -> bool {
    let frame = &told.frame;
    let is_refused = frame["type"] == "error" && frame["client_msg_id"] == draft.nonce.as_str();
    let code = frame["code"].as_str().unwrap_or_default();
    if is_refused && !matches!(code, "unavailable" | "overloaded" | "rate_limited") {
        let told = format!("{} is refused: {code}", draft.text);
        watcher.caller.board.broken("a good message is taken", told);
    }
    is_refused
}

/// The message itself, if that is what was told.
fn own(told: Told, draft: &Draft) -> Option<Spoken> {
    let names = |told: &serde_json::Value| told["client_msg_id"] == draft.nonce.as_str();
    told.said.filter(|_| names(&told.frame) || names(&told.frame["message"]))
}
