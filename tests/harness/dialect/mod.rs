//! All dialects spoken in one way: two people who can talk, whatever protocol carries their words.
//!
//! This is what the contract suite (tests/suites/contract) is written in. A further dialect is one more value of [`Dialect`], one
//! more file of this folder and one more name in `for_each_dialect!`; the suite stays as it is.

mod chatter;
mod friends;
mod line;
mod live_chat;
mod talker;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use shared::id::Position;

use crate::http::Answer;
use crate::person::Person;
use crate::stack::Stack;
pub use chatter::Chatter;
pub use line::Line;
pub use talker::Talker;

/// A client protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Everybody in one room.
    LiveChat,
    /// Two who are friends.
    Friends,
}

/// Hands all dialects to a macro: the name of each one's tests, and its value.
#[macro_export]
macro_rules! for_each_dialect {
    ($suite:ident) => {
        $suite! { live_chat: LiveChat, friends: Friends }
    };
}

/// A message as receipts, sockets and pages of any dialect know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spoken {
    /// Its place in the room.
    pub position: Position,
    /// Its id, a number or a UUID.
    pub id: String,
    /// What was said.
    pub text: String,
}

/// What is no message in any dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonsense {
    /// Text that is not JSON.
    NotJson,
    /// JSON, but not an object.
    NotAnObject,
    /// Nested deeper than anything that makes sense.
    TooDeep,
    /// A message without its text.
    NoText,
    /// A message whose text is a number.
    TextIsNumber,
}

/// Why a node ends a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The node stops.
    Drain,
    /// The sign-in has ended.
    SignInEnded,
    /// The client wrote more at once than anybody may.
    TooLarge,
    /// The client reads slower than the room writes.
    SlowReader,
}

impl Dialect {
    /// All there are.
    pub const ALL: [Dialect; 2] = [Dialect::LiveChat, Dialect::Friends];

    /// What its clients know.
    pub fn adapter(self) -> &'static dyn Adapter {
        match self {
            Dialect::LiveChat => &live_chat::LiveChat,
            Dialect::Friends => &friends::Friends,
        }
    }

    /// Ana and Ben, who can talk to each other, both at the first node.
    pub async fn pair(self, stack: &Stack) -> (Talker, Talker) {
        let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
        let room = self.adapter().bring_together(&ana, &ben).await;
        (Talker::new(self, &ana, ben.id(), &room), Talker::new(self, &ben, ana.id(), &room))
    }

    /// Characters of the longest message.
    pub fn longest(self) -> usize {
        self.adapter().longest()
    }

    /// The code by which a socket is told why it ends; none where the line is just cut.
    pub fn ending(self, why: Why) -> Option<u16> {
        self.adapter().ending(why)
    }

    /// Whether what was said can be taken back.
    pub fn takes_back(self) -> bool {
        self.adapter().take_back("").is_some()
    }
}

/// What a client of one dialect knows: where it asks, what it writes, and how it reads what comes.
pub trait Adapter: Sync {
    /// Makes it possible for two people to talk; answers the room in which they do.
    ///
    /// # Panics
    /// When that is refused.
    fn bring_together<'a>(&self, one: &'a Person, other: &'a Person) -> BoxFuture<'a, String>;

    /// Characters of the longest message.
    fn longest(&self) -> usize;

    /// Where messages are sent over REST.
    fn send_path(&self) -> &'static str;

    /// The body of a message to somebody.
    fn body(&self, to: &str, text: &Value) -> Value;

    /// The status that says that a message was accepted.
    fn accepted(&self) -> u16;

    /// Where a page of what was said to and by somebody is: the newest, or the one behind `cursor`.
    fn page(&self, with: &str, cursor: Option<&str>) -> String;

    /// The messages of a page, oldest first.
    ///
    /// # Panics
    /// When it is none.
    fn messages(&self, page: &Value) -> Vec<Spoken>;

    /// Where a message is taken back, if it can be.
    fn take_back(&self, id: &str) -> Option<String>;

    /// Where the socket is, with its query but without a token.
    fn socket(&self, after: Option<Position>) -> String;

    /// The types of the frames with which every socket begins.
    fn greetings(&self) -> &'static [&'static str];

    /// What a client says first that wants to go on behind `after`, if its address does not tell that already.
    fn first_words(&self, room: &str, after: Position) -> Option<Value>;

    /// The type of a frame that sends a message.
    fn frame_type(&self) -> &'static str;

    /// What a frame tells of a message. The receipt of one's own may leave the text out.
    fn heard(&self, frame: &Value) -> Option<Spoken>;

    /// The code by which a socket is told why it ends.
    fn ending(&self, why: Why) -> Option<u16> {
        Some(match why {
            Why::Drain => 1012,
            Why::SignInEnded => 4401,
            Why::TooLarge => 1009,
            Why::SlowReader => 4408,
        })
    }
}

impl Nonsense {
    /// All there is.
    pub const ALL: [Nonsense; 5] = [
        Nonsense::NotJson,
        Nonsense::NotAnObject,
        Nonsense::TooDeep,
        Nonsense::NoText,
        Nonsense::TextIsNumber,
    ];

    /// As the body of a message to somebody, or as the frame of that type.
    fn written(self, adapter: &dyn Adapter, to: &str, kind: Option<&str>) -> String {
        let message = |text: Value| {
            let mut message = adapter.body(to, &text);
            if let Some(kind) = kind {
                message["type"] = kind.into();
            }
            message
        };
        let mut sensible = message(json!("x"));
        match self {
            Nonsense::NotJson => sensible.to_string().trim_end_matches('}').to_owned(),
            Nonsense::NotAnObject => json!([sensible]).to_string(),
            Nonsense::TooDeep => {
                let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
                sensible["more"] = serde_json::from_str(&deep).expect("brackets in pairs are JSON");
                sensible.to_string()
            }
            Nonsense::NoText => {
                let fields = sensible.as_object_mut().expect("a message is an object");
                fields.retain(|_, value| *value != "x");
                sensible.to_string()
            }
            Nonsense::TextIsNumber => message(json!(42)).to_string(),
        }
    }
}

/// Reads what all dialects call alike; `text` is the field that holds the text.
pub fn spoken(message: &Value, text: &str) -> Option<Spoken> {
    let number = |name: &str| message[name].as_u64();
    let epoch = u32::try_from(number("epoch")?).ok()?;
    let id = if message["message_id"].is_null() { &message["id"] } else { &message["message_id"] };
    let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    let text = message[text].as_str().unwrap_or_default().to_owned();
    Some(Spoken { position: Position { epoch, seq: number("seq")? }, id, text })
}

/// The place of a frame or of an answer.
fn place(frame: &Value) -> Position {
    spoken(frame, "").unwrap_or_else(|| panic!("there is no position in {frame}")).position
}

/// The texts alone.
pub fn texts(spoken: &[Spoken]) -> Vec<&str> {
    spoken.iter().map(|spoken| spoken.text.as_str()).collect()
}

/// How long the client was told to wait, over REST: the header in seconds, and the field in milliseconds, which agree.
///
/// # Panics
/// When it was not told, or they do not.
pub fn told_to_wait(refused: &Answer) -> u64 {
    let seconds: Option<u64> = refused.header("retry-after").and_then(|value| value.parse().ok());
    let millis = refused.body["retry_after_ms"].as_u64().unwrap_or_else(|| panic!("{refused:?}"));
    assert_eq!(seconds, Some(millis.div_ceil(1_000).max(1)), "{refused:?}");
    millis
}
