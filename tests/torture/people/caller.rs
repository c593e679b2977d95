//! Somebody at no particular node, who takes a lost answer for what it is: an unknown outcome.

use std::sync::Arc;
use std::time::Duration;

use harness::dialect::Spoken;
use harness::person::{Node, Person};
use reqwest::Method;
use serde_json::Value;
use shared::Code;

use crate::board::Board;
use crate::guests::Guest;
use crate::rng::Rng;
use crate::room::Room;

/// How long somebody waits for an answer: more than a service takes to give up on its stores.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// Before somebody who got no answer asks the next node.
pub(super) const PAUSE_MS: std::ops::Range<u64> = 20..80;

/// Every code that a refusal may carry, but for `internal`, which is a bug wherever it is seen.
const CODES: [Code; 16] = [
    Code::Unauthorized,
    Code::Forbidden,
    Code::NotFound,
    Code::NotActive,
    Code::NotFriends,
    Code::AlreadyLiked,
    Code::NotLiked,
    Code::Invalid,
    Code::Empty,
    Code::TooLong,
    Code::TooLarge,
    Code::UnsupportedMedia,
    Code::RateLimited,
    Code::NonceReused,
    Code::Overloaded,
    Code::Unavailable,
];

/// What came back.
#[derive(Debug)]
pub(crate) enum Answered {
    Done(Value),
    /// Nothing was done.
    Refused(&'static str),
    /// It may have been done or not.
    Unknown,
}

/// Somebody at no particular node.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) person: Person,
    /// Where they talk.
    pub(crate) room: Arc<Room>,
    /// The id of the one they talk to; of nobody where all talk to all.
    pub(crate) to: String,
    pub(crate) nodes: usize,
    pub(crate) rng: Rng,
    pub(crate) board: Arc<Board>,
    node: usize,
}

impl Caller {
    pub(crate) fn new(guest: &Guest, nodes: usize, mut rng: Rng, board: Arc<Board>) -> Caller {
        let Guest { person, room, to } = guest.clone();
        let node = 1 + rng.index(nodes);
        Caller { person, room, to, nodes, rng, board, node }
    }

    /// Turns to another node, if there is one.
    pub(crate) fn moves(&mut self) {
        if self.nodes > 1 {
            self.node = 1 + (self.node - 1 + 1 + self.rng.index(self.nodes - 1)) % self.nodes;
        }
    }

    /// The person at the present node.
    pub(crate) fn here(&self) -> Person {
        self.person.at(Node(self.node))
    }

    pub(crate) fn node(&self) -> usize {
        self.node
    }

    /// Turns to the node of this number.
    pub(crate) fn goes_to(&mut self, node: usize) {
        self.node = node;
    }

    /// Asks the present node, once.
    pub(crate) async fn asks(&self, method: Method, path: &str, body: Option<&Value>) -> Answered {
        let request = self.here().request(method, path).timeout(ANSWER_WITHIN);
        let mut request = request.bearer_auth(&self.person.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = async {
            let response = request.send().await.ok()?;
            let status = response.status().as_u16();
            Some((status, response.text().await.ok()?))
        };
        let Some((status, text)) = answer.await else {
            self.board.no_answer();
            return Answered::Unknown;
        };
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if matches!(status, 200 | 201) && !body.is_null() {
            if self.room.is_not_in(&body) {
                self.board.broken("nobody is told of another's room", format!("{body} from {path}"));
            }
            return Answered::Done(body);
        }
        self.judges(&body["code"], || format!("{status} {text} from node {} to {path}", self.node))
    }

    /// A message of this person's that was first sent at `sent` is accepted.
    pub(crate) fn is_accepted(&self, said: &Spoken, sent: Duration) {
        self.board.acknowledged(sent);
        self.room.accepted(said);
    }

    /// What a refusal means, by its code.
    pub(crate) fn judges(&self, code: &Value, told: impl Fn() -> String) -> Answered {
        let told_code = code.as_str().unwrap_or("none");
        self.board.refused(told_code);
        match CODES.iter().map(|code| code.as_str()).find(|known| *known == told_code) {
            Some("unavailable") => Answered::Unknown,
            Some(code) => Answered::Refused(code),
            None => {
                self.board.broken("every refusal has a stable code", told());
                Answered::Unknown
            }
        }
    }

    /// Waits a moment before the next try.
    pub(crate) async fn pauses(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.rng.within(PAUSE_MS))).await;
    }
}
