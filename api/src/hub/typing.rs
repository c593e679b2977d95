//! Who is writing to whom. A word on it holds for six seconds at the node that heard it, so that nobody is left writing for ever
//! by a socket or node that vanished. A person says so once a second at most; a stop may be late, and is never dropped.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use shared::bus::Word;
use shared::event::{Envelope, Event};
use shared::id::AccountId;

use super::people;
use crate::app::Shared;

/// How long a word holds.
const TTL: Duration = Duration::from_secs(6);
/// Between two words of one person.
const APART: Duration = Duration::from_secs(1);

/// What this node has said and heard.
#[derive(Default)]
pub(crate) struct Typing {
    said: Mutex<HashMap<AccountId, Said>>,
    /// Writer and reader, and until when.
    heard: Mutex<HashMap<(AccountId, AccountId), Instant>>,
}

/// What a person's sockets here have said.
struct Said {
    at: Option<Instant>,
    /// To whom the person is known to write.
    writes_to: HashSet<AccountId>,
    /// What is still to be said.
    waiting: HashMap<AccountId, bool>,
}

impl Typing {
    /// A socket says that its person writes to `to`, or no longer does. Answers what is to be told now, if anything is.
    fn say(&self, person: AccountId, to: AccountId, is_typing: bool, now: Instant) -> Option<bool> {
        let mut said = self.said();
        let said = said.entry(person).or_insert_with(Said::new);
        if !is_typing && !said.writes_to.contains(&to) && !said.waiting.contains_key(&to) {
            return None;
        }
        said.waiting.insert(to, is_typing);
        said.take(to, now)
    }

    /// What was held back and may be told now.
    fn due(&self, now: Instant) -> Vec<(AccountId, AccountId, bool)> {
        let mut due = Vec::new();
        self.said().retain(|person, said| {
            let next = said.waiting.keys().next().copied();
            if let Some((to, is_typing)) = next.and_then(|to| Some((to, said.take(to, now)?))) {
                due.push((*person, to, is_typing));
            }
            !said.is_over(now)
        });
        due
    }

    /// Everybody to whom a person is known to write: whoever leaves stops writing.
    fn all_of(&self, person: AccountId) -> Vec<AccountId> {
        self.said().remove(&person).map(|said| said.writes_to.into_iter().collect()).unwrap_or_default()
    }

    /// A word arrived; whether it is to be shown.
    pub(super) fn hear(&self, person: AccountId, to: AccountId, is_typing: bool, now: Instant) -> bool {
        let mut heard = self.heard();
        if is_typing {
            heard.insert((person, to), now + TTL);
            true
        } else {
            heard.remove(&(person, to)).is_some()
        }
    }

    /// Whether one of two people was heard to write to the other.
    fn has_heard(&self, one: AccountId, other: AccountId) -> bool {
        let heard = self.heard();
        !heard.is_empty() && (heard.contains_key(&(one, other)) || heard.contains_key(&(other, one)))
    }

    /// Words that hold no longer.
    fn lapsed(&self, now: Instant) -> Vec<(AccountId, AccountId)> {
        let mut heard = self.heard();
        let lapsed: Vec<_> = heard.iter().filter(|(_, until)| **until <= now).map(|(who, _)| *who).collect();
        for who in &lapsed {
            heard.remove(who);
        }
        lapsed
    }

    fn said(&self) -> MutexGuard<'_, HashMap<AccountId, Said>> {
        self.said.lock().expect("nothing panics while it holds this lock")
    }

    fn heard(&self) -> MutexGuard<'_, HashMap<(AccountId, AccountId), Instant>> {
        self.heard.lock().expect("nothing panics while it holds this lock")
    }
}

impl Said {
    fn new() -> Self {
        Self { at: None, writes_to: HashSet::new(), waiting: HashMap::new() }
    }

    fn take(&mut self, to: AccountId, now: Instant) -> Option<bool> {
        if self.at.is_some_and(|at| now.duration_since(at) < APART) {
            return None;
        }
        let is_typing = self.waiting.remove(&to)?;
        self.at = Some(now);
        if is_typing {
            self.writes_to.insert(to);
        } else {
            self.writes_to.remove(&to);
        }
        Some(is_typing)
    }

    /// Whether nothing of it matters any more: what was said has lapsed wherever it was heard.
    fn is_over(&self, now: Instant) -> bool {
        self.waiting.is_empty() && self.at.is_none_or(|at| now.duration_since(at) > TTL)
    }
}

/// Somebody writes to `to`, or no longer does.
pub(crate) async fn say(app: &Shared, person: AccountId, to: AccountId, is_typing: bool) {
    if let Some(is_typing) = app.hub.typing.say(person, to, is_typing, Instant::now()) {
        tell(app, person, to, is_typing).await;
    }
}

/// The last socket of a person on this node is gone: they write to nobody.
pub(super) async fn stop_all(app: &Shared, person: AccountId) {
    for to in app.hub.typing.all_of(person) {
        tell(app, person, to, false).await;
    }
}

/// Says what was held back, and ends what lapsed.
pub(super) async fn turn(app: &Shared) {
    let now = Instant::now();
    for (person, to, is_typing) in app.hub.typing.due(now) {
        tell(app, person, to, is_typing).await;
    }
    for (person, to) in app.hub.typing.lapsed(now) {
        app.hub.people.hear(to, &Word::Typing { person, is_typing: false });
    }
}

/// A message ends the typing of its author here, whichever node it was sent through.
pub(super) fn end_by(app: &Shared, envelope: &Envelope) {
    let [one, other] = envelope.to[..] else { return };
    // Nearly always it is known without opening the body.
    if !app.hub.typing.has_heard(one, other) {
        return;
    }
    let Ok(Event::MessageSent(sent)) = envelope.event() else { return };
    let (person, to) = if sent.author.id == one { (one, other) } else { (other, one) };
    if app.hub.typing.hear(person, to, false, Instant::now()) {
        app.hub.people.hear(to, &Word::Typing { person, is_typing: false });
    }
}

async fn tell(app: &Shared, person: AccountId, to: AccountId, is_typing: bool) {
    if let Err(error) = people::tell(app, &[(to, Word::Typing { person, is_typing })]).await {
        tracing::debug!(%error, "a word on typing is lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn person(n: u128) -> AccountId {
        AccountId(Uuid::from_u128(n))
    }

    #[test]
    fn a_person_is_heard_once_a_second_and_a_stop_is_late_but_never_dropped() {
        let (typing, began) = (Typing::default(), Instant::now());
        let (ana, ben) = (person(1), person(2));
        let at = |ms| began + Duration::from_millis(ms);
        assert_eq!(typing.say(ana, ben, true, at(0)), Some(true));
        let told = (1..100).filter_map(|n| typing.say(ana, ben, n % 2 == 0, at(n * 9))).count();
        assert_eq!(told, 0, "a hundred frames within a second");
        assert_eq!(typing.due(at(999)), []);
        assert_eq!(typing.due(at(1_000)), [(ana, ben, false)], "the last one counts");
        assert_eq!(typing.due(at(3_000)), []);
        assert_eq!(typing.say(ana, ben, false, at(3_000)), None, "who does not write can't stop");
    }

    #[test]
    fn a_word_lapses_where_it_was_heard() {
        let (typing, now) = (Typing::default(), Instant::now());
        let (ana, ben) = (person(1), person(2));
        assert!(typing.hear(ana, ben, true, now));
        assert_eq!(typing.lapsed(now + TTL - Duration::from_millis(1)), []);
        assert_eq!(typing.lapsed(now + TTL), [(ana, ben)]);
        assert!(!typing.hear(ana, ben, false, now + TTL), "a stop that comes after that is no news");
    }

    #[test]
    fn what_a_person_was_known_to_write_ends_with_their_last_socket() {
        let (typing, now) = (Typing::default(), Instant::now());
        let (ana, ben) = (person(1), person(2));
        typing.say(ana, ben, true, now);
        assert_eq!(typing.all_of(ana), [ben]);
        assert_eq!(typing.all_of(ana), []);
    }
}
