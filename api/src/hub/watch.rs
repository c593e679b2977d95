//! Who watches which room from this node: counted here, said to the bus, and told to the log in batches.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use chrono::Utc;
use shared::id::{AccountId, RoomId};

/// What this node has seen of viewers. Filled by joins and leaves, emptied by the beat.
#[derive(Default)]
pub(crate) struct Watch(Mutex<State>);

#[derive(Default)]
struct State {
    /// Sockets of each person in each room.
    sockets: HashMap<RoomId, HashMap<AccountId, u32>>,
    /// People who came or went since the last beat.
    changed: HashMap<RoomId, Vec<AccountId>>,
    /// Room, person, until when a call over REST counts.
    sighted: Vec<(RoomId, AccountId, i64)>,
    again: bool,
}

/// What is to be said of one room.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) here: Vec<AccountId>,
    pub(super) left: Vec<AccountId>,
}

impl Watch {
    /// A socket of `person` joined.
    pub(super) fn joined(&self, room: RoomId, person: AccountId) {
        let mut state = self.lock();
        let sockets = state.sockets.entry(room).or_default().entry(person).or_default();
        *sockets += 1;
        if *sockets == 1 {
            state.changed.entry(room).or_default().push(person);
        }
    }

    /// A socket of `person` left.
    pub(super) fn left(&self, room: RoomId, person: AccountId) {
        let mut state = self.lock();
        let Some(people) = state.sockets.get_mut(&room) else { return };
        let Some(sockets) = people.get_mut(&person) else { return };
        *sockets -= 1;
        if *sockets == 0 {
            people.remove(&person);
            if people.is_empty() {
                state.sockets.remove(&room);
            }
            state.changed.entry(room).or_default().push(person);
        }
    }

    /// `person` was seen over REST.
    pub(crate) fn sighted(&self, room: RoomId, person: AccountId, holds: Duration) {
        let until = Utc::now().timestamp_millis() + i64::try_from(holds.as_millis()).unwrap_or(0);
        let mut state = self.lock();
        if !state.sockets.get(&room).is_some_and(|people| people.contains_key(&person)) {
            state.sighted.push((room, person, until));
        }
    }

    /// The bus knows nothing of this node any more.
    pub(super) fn say_everything_again(&self) {
        self.lock().again = true;
    }

    /// Whether something changed that can't wait for the next full word.
    pub(super) fn is_due(&self) -> bool {
        let state = self.lock();
        state.again || !state.changed.is_empty()
    }

    /// The rooms that have viewers here.
    pub(super) fn rooms(&self) -> Vec<RoomId> {
        self.lock().sockets.keys().copied().collect()
    }

    /// What changed since the last call.
    pub(super) fn take_changes(&self) -> HashMap<RoomId, Word> {
        let mut state = self.lock();
        if std::mem::take(&mut state.again) {
            drop(state);
            return self.everything();
        }
        let changed = std::mem::take(&mut state.changed);
        let word = |(room, people): (RoomId, Vec<AccountId>)| {
            let mut word = Word::default();
            for person in people.into_iter().collect::<BTreeSet<_>>() {
                let is_here = state.sockets.get(&room).is_some_and(|here| here.contains_key(&person));
                if is_here { word.here.push(person) } else { word.left.push(person) }
            }
            (room, word)
        };
        changed.into_iter().map(word).collect()
    }

    /// Everybody who is here now.
    pub(super) fn everything(&self) -> HashMap<RoomId, Word> {
        let state = self.lock();
        let here =
            |people: &HashMap<AccountId, u32>| Word { here: people.keys().copied().collect(), left: vec![] };
        state.sockets.iter().map(|(room, people)| (*room, here(people))).collect()
    }

    /// The node goes, and everybody who is here with it.
    pub(super) fn everybody_leaves(&self) -> HashMap<RoomId, Word> {
        let mut words = self.take_changes();
        for (room, people) in std::mem::take(&mut self.lock().sockets) {
            words.entry(room).or_default().left.extend(people.into_keys());
        }
        for word in words.values_mut() {
            word.left.append(&mut word.here);
        }
        words
    }

    /// The REST sightings since the last call.
    pub(super) fn take_sightings(&self) -> Vec<(RoomId, AccountId, i64)> {
        std::mem::take(&mut self.lock().sighted)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn two_tabs_are_one_person_who_stays_when_one_closes() {
        let (room, ana) = (RoomId(Uuid::from_u128(1)), AccountId(Uuid::from_u128(2)));
        let watch = Watch::default();
        watch.joined(room, ana);
        watch.joined(room, ana);
        assert_eq!(watch.take_changes()[&room], Word { here: vec![ana], left: vec![] });
        watch.left(room, ana);
        assert!(watch.take_changes().is_empty());
        watch.sighted(room, ana, Duration::from_secs(300));
        assert!(watch.take_sightings().is_empty(), "somebody with a socket needs no sighting");
        watch.left(room, ana);
        assert_eq!(watch.take_changes()[&room], Word { here: vec![], left: vec![ana] });
        assert!(watch.rooms().is_empty());
    }

    #[test]
    fn a_node_that_goes_takes_everybody_with_it() {
        let (room, ana, ben) =
            (RoomId(Uuid::from_u128(1)), AccountId(Uuid::from_u128(2)), AccountId(Uuid::from_u128(3)));
        let watch = Watch::default();
        watch.joined(room, ana);
        watch.take_changes();
        watch.joined(room, ben);
        let mut word = watch.everybody_leaves().remove(&room).unwrap();
        word.left.sort();
        word.left.dedup();
        assert_eq!(word, Word { here: vec![], left: vec![ana, ben] });
        watch.left(room, ana);
        assert!(watch.take_changes().is_empty(), "what was said is not said again");
    }

    #[test]
    fn after_the_bus_forgot_everything_is_said_again() {
        let (room, ana) = (RoomId(Uuid::from_u128(1)), AccountId(Uuid::from_u128(2)));
        let watch = Watch::default();
        watch.joined(room, ana);
        watch.take_changes();
        watch.say_everything_again();
        assert!(watch.is_due());
        assert_eq!(watch.take_changes()[&room].here, [ana]);
        assert!(!watch.is_due());
    }
}
