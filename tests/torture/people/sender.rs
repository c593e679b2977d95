//! Somebody who sends over REST, one message after the other, each under one nonce until it is accepted.

use std::time::Duration;

use harness::dialect::{Spoken, spoken};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::{Answered, Caller};

/// Of a hundred outcomes that are not known, how many are left at that.
const GIVEN_UP_PERCENT: u64 = 3;

/// A message that somebody tried to send.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) text: String,
    pub(crate) fate: Fate,
}

/// What its sender knows of it.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    Accepted(Spoken),
    /// No answer, and not asked again: it may be there or not.
    GivenUp,
    /// It was still asked for when the run ended.
    Open,
}

/// The message that is being sent.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) text: String,
    pub(crate) nonce: String,
    /// When it was first sent.
    pub(crate) sent: Duration,
}

impl Draft {
    /// A new one; UUIDv7, as docs/protocol asks for.
    pub(crate) fn new(caller: &Caller, number: usize) -> Draft {
        let text = format!("{} {number}", caller.person.name);
        Draft { text, nonce: Uuid::now_v7().to_string(), sent: caller.board.now() }
    }

    /// The body that sends it.
    pub(crate) fn body(&self, caller: &Caller) -> Value {
        let mut body = caller.room.adapter().body(&caller.to, &json!(self.text));
        body["client_msg_id"] = self.nonce.as_str().into();
        body
    }
}

/// The name of the one who wrote a text.
pub(crate) fn author_of(text: &str) -> &str {
    text.rsplit_once(' ').map_or(text, |(name, _)| name)
}

/// What one try brought.
enum Tried {
    Accepted(Spoken),
    /// Once more, here or elsewhere.
    Again,
    GivenUp,
}

/// Sends until the board closes, and hands over everything that was tried.
pub(crate) async fn sends(mut caller: Caller, pace: Duration, done: oneshot::Sender<Vec<Sent>>) {
    let mut sent = Vec::new();
    let mut due = Instant::now() + Duration::from_millis(caller.rng.within(0..100));
    while !caller.board.is_closing() {
        sleep_until(due).await;
        let draft = Draft::new(&caller, sent.len());
        let fate = insists(&mut caller, &draft).await;
        sent.push(Sent { text: draft.text, fate });
        // Whoever was held up does not make up for it: an outage is no burst afterwards.
        due = (due + pace).max(Instant::now());
    }
    // Nobody waits any more when the run has given up on it.
    let _ = done.send(sent);
}

/// Sends a message over REST until its fate is known.
pub(crate) async fn insists(caller: &mut Caller, draft: &Draft) -> Fate {
    loop {
        match tries(caller, draft).await {
            Tried::Accepted(said) => return Fate::Accepted(said),
            Tried::GivenUp => return Fate::GivenUp,
            Tried::Again if caller.board.is_over() => return Fate::Open,
            Tried::Again => {}
        }
    }
}

async fn tries(caller: &mut Caller, draft: &Draft) -> Tried {
    let path = caller.room.adapter().send_path();
    match caller.asks(Method::POST, path, Some(&draft.body(caller))).await {
        Answered::Done(receipt) => {
            let said = spoken(&receipt, "").unwrap_or_else(|| panic!("no place in {receipt}"));
            let said = Spoken { text: draft.text.clone(), ..said };
            caller.is_accepted(&said, draft.sent);
            return Tried::Accepted(said);
        }
        Answered::Refused("overloaded" | "rate_limited") => {}
        Answered::Refused(code) => {
            let told = format!("{} is refused at node {}: {code}", draft.text, caller.node());
            caller.board.broken("a good message is taken", told);
        }
        Answered::Unknown => {
            if caller.rng.chance(GIVEN_UP_PERCENT) {
                return Tried::GivenUp;
            }
        }
    }
    caller.moves();
    caller.pauses().await;
    Tried::Again
}
