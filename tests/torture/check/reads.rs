//! What friends marked as read: rows, log, unread counts and what histories show are four tellings of one thing.

use std::collections::BTreeSet;

use harness::children::eventually;
use harness::dialect::Spoken;
use harness::stack::Stack;
use reqwest::Method;
use shared::event::{Envelope, Event};
use shared::id::Position;
use sqlx::Row as _;
use uuid::Uuid;

use super::{OfRoom, SETTLED_WITHIN};
use crate::board::Findings;
use crate::people::sender::author_of;
use crate::people::{Answered, Caller, history};

/// Who read what: the message, and the person.
type Readers = BTreeSet<(String, Uuid)>;

/// Compares rows with the log and with what people were told; answers who read what.
///
/// # Panics
/// When Postgres does not answer.
pub(super) async fn compare(
    stack: &Stack,
    of: &OfRoom,
    entries: &[Envelope],
    findings: &mut Findings,
) -> Readers {
    let rows = sqlx::query("select message, account from hubbub.message_receipt where room = $1");
    let rows = rows.bind(of.room.id.0).fetch_all(&stack.pool).await.expect("Postgres answers");
    let stored: Readers =
        rows.iter().map(|row| (row.get::<Uuid, _>("message").to_string(), row.get("account"))).collect();
    let mut marked = Readers::new();
    for (person, letters) in &of.marked {
        for (letter, acknowledged) in letters {
            let mark = (letter.clone(), *person);
            if *acknowledged && !stored.contains(&mark) {
                findings.add("what was marked as read stays so", format!("{mark:?} is not stored"));
            }
            marked.insert(mark);
        }
    }
    for mark in stored.difference(&marked) {
        findings.add("nothing is read that nobody marked", format!("{mark:?}"));
    }
    agree_with_the_log(entries, &stored, findings);
    stored
}

/// Each mark is one entry.
fn agree_with_the_log(entries: &[Envelope], stored: &Readers, findings: &mut Findings) {
    let mut logged = Readers::new();
    for envelope in entries {
        let Ok(Event::MessageRead(read)) = envelope.event() else { continue };
        if !logged.insert((read.id.to_string(), read.by.0)) {
            findings.add("one effect for each mark", format!("{}: {read:?} comes again", envelope.entry));
        }
    }
    for mark in logged.symmetric_difference(stored) {
        let place = if logged.contains(mark) { "in the log only" } else { "stored only" };
        findings.add("marks in the log are stored", format!("{mark:?} is {place}"));
    }
}

/// What a node tells one of two friends: how many messages are unread, and of each how far it has come. As both have heard
/// everything, that is at least to its receiver.
pub(super) async fn compare_at(caller: &Caller, rows: &[Spoken], readers: &Readers, findings: &mut Findings) {
    let (name, node) = (&caller.person.name, caller.node());
    let read: BTreeSet<&str> = readers.iter().map(|(letter, _)| letter.as_str()).collect();
    let to_them = rows.iter().filter(|said| author_of(&said.text) != name);
    let unread = to_them.filter(|said| !read.contains(said.id.as_str())).count();
    let answer = caller.asks(Method::GET, "/api/v1/chat/messages/unread-count", None).await;
    let told = if let Answered::Done(body) = &answer { body["unread_count"].as_u64() } else { None };
    if told != Some(unread as u64) {
        let told = format!("node {node} tells {name} {answer:?}, {unread} are");
        findings.add("the unread count is what was not read", told);
    }
    let mut wrong = None;
    let settled = eventually(SETTLED_WITHIN, async || {
        wrong = differs(caller, &read).await;
        wrong.is_none().then_some(())
    });
    if settled.await.is_none() {
        let told = format!("node {node} shows {name} {}", wrong.unwrap_or_default());
        findings.add("a message is read or has arrived, and is shown so", told);
    }
}

/// The first message whose status is another than it has to be.
async fn differs(caller: &Caller, read: &BTreeSet<&str>) -> Option<String> {
    let Some(history) = history::read(caller, Position::default()).await else {
        return Some("no whole history".to_owned());
    };
    let is_right = |message: &&serde_json::Value| {
        let is_read = message["message_id"].as_str().is_some_and(|id| read.contains(id));
        let status = if is_read { "read" } else { "delivered" };
        message["status"] == status && message["read_at"].is_null() != is_read
    };
    history.shown().find(|message| !is_right(message)).map(ToString::to_string)
}
