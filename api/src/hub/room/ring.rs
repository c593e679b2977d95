//! The newest events of a room, for whoever joins or comes back soon.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use shared::event::LikeTarget;
use shared::id::{MessageId, Position};
use shared::message::Message;

use super::super::Start;
use crate::chat::{Happened, Happening};

/// Like totals are held back for so long at most: whoever broke off within that time may not have heard of one.
const HELD_BACK: chrono::TimeDelta = chrono::TimeDelta::milliseconds(500);

pub(super) struct Ring {
    /// The position behind which the ring is complete.
    floor: Position,
    events: VecDeque<Arc<Happened>>,
    /// At most so many of them.
    most: usize,
}

impl Ring {
    pub(super) fn of_at_most(most: usize) -> Self {
        Self { floor: Position::default(), events: VecDeque::new(), most }
    }

    /// Starts anew behind `floor`.
    pub(super) fn begin(&mut self, floor: Position) {
        self.floor = floor;
        self.events.clear();
    }

    /// The event at a place, while it is remembered.
    pub(super) fn at(&self, position: Position) -> Option<&Happened> {
        let found = self.events.binary_search_by_key(&position, |event| event.position).ok()?;
        Some(&self.events[found])
    }

    pub(super) fn push(&mut self, event: Arc<Happened>) {
        if let Happening::MessageDeleted { id, at, .. } = event.what {
            self.forget_text(id, at);
        }
        if self.events.len() == self.most
            && let Some(oldest) = self.events.pop_front()
        {
            self.floor = oldest.position;
        }
        self.events.push_back(event);
    }

    /// Whoever comes back is not told a text that was deleted meanwhile.
    fn forget_text(&mut self, id: MessageId, at: DateTime<Utc>) {
        self.events.retain(
            |event| !matches!(event.what, Happening::MessageEdited { id: edited, .. } if edited == id),
        );
        for event in &mut self.events {
            if let Happening::MessagePosted(message) = &event.what
                && message.id == id
            {
                let what =
                    Happening::MessagePosted(Message { text: None, deleted_at: Some(at), ..message.clone() });
                *event = Arc::new(Happened { what, ..(**event).clone() });
            }
        }
    }

    pub(super) fn newest(&self) -> Option<&Arc<Happened>> {
        self.events.back()
    }

    /// Everything behind `from` up to `last`, if the ring holds it all; of several totals of one target the last alone.
    /// A total that is said again is said at `from`, up to which it is true: at its own place, it would take a client that
    /// notes the last place it heard back behind what it has.
    pub(super) fn behind(&self, start: Start, last: Position) -> Option<Vec<Arc<Happened>>> {
        let from = start.position();
        let known =
            from == last || from == self.floor || self.events.iter().any(|event| event.position == from);
        let within = from.epoch == last.epoch && self.floor <= from && from <= last;
        if !known && !within {
            return None;
        }
        let since = match start {
            Start::Now(_) => None,
            Start::Resume(_) => {
                self.events.iter().find(|event| event.position >= from).map(|event| event.at - HELD_BACK)
            }
        };
        let missed = |event: &Happened| {
            event.position > from || (is_like(event) && since.is_some_and(|since| event.at >= since))
        };
        let mut latest: Vec<LikeTarget> = Vec::new();
        let mut events: Vec<Arc<Happened>> = Vec::new();
        for event in self.events.iter().rev().filter(|event| missed(event)) {
            if let Happening::LikesChanged { target, .. } = event.what {
                if latest.contains(&target) {
                    continue;
                }
                latest.push(target);
            }
            events.push(if event.position < from {
                Arc::new(Happened { position: from, ..Happened::clone(event) })
            } else {
                event.clone()
            });
        }
        events.reverse();
        Some(events)
    }
}

fn is_like(event: &Happened) -> bool {
    matches!(event.what, Happening::LikesChanged { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::id::{AccountId, RoomId};
    use uuid::Uuid;

    const MOST: usize = 10;

    fn at(epoch: u32, seq: u64) -> Position {
        Position { epoch, seq }
    }

    fn event(position: Position, ms: i64, what: Happening) -> Arc<Happened> {
        let at = DateTime::<Utc>::from_timestamp_millis(ms).unwrap();
        Arc::new(Happened { room: RoomId(Uuid::nil()), position, at, origin: None, what })
    }

    /// Stands for anything that takes a place.
    fn said(position: Position, ms: i64) -> Arc<Happened> {
        event(position, ms, Happening::ViewerCount(0))
    }

    fn liked(position: Position, ms: i64, total: i64) -> Arc<Happened> {
        event(position, ms, Happening::LikesChanged { target: LikeTarget::Session, total })
    }

    fn positions(events: Option<Vec<Arc<Happened>>>) -> Option<Vec<String>> {
        events.map(|events| events.iter().map(|event| event.position.to_string()).collect())
    }

    fn ring(floor: Position, events: Vec<Arc<Happened>>) -> Ring {
        let mut ring = Ring::of_at_most(MOST);
        ring.begin(floor);
        events.into_iter().for_each(|event| ring.push(event));
        ring
    }

    #[test]
    fn whoever_is_behind_gets_exactly_what_is_missing_or_is_sent_to_the_log() {
        let ring = ring(at(1, 4), vec![said(at(1, 5), 0), said(at(1, 6), 0), said(at(2, 7), 0)]);
        let behind = |from| positions(ring.behind(Start::Now(from), at(2, 7)));
        assert_eq!(behind(at(2, 7)).unwrap(), Vec::<String>::new());
        assert_eq!(behind(at(1, 5)).unwrap(), ["1:6", "2:7"]);
        assert_eq!(behind(at(1, 4)).unwrap(), ["1:5", "1:6", "2:7"]);
        assert_eq!(behind(at(1, 3)), None, "older than the ring");
        assert_eq!(behind(at(1, 7)), None, "a place of an epoch that ended before it");
        assert_eq!(behind(at(2, 8)), None, "ahead of the room");
        assert_eq!(behind(at(3, 1)), None, "of an epoch to come");
    }

    #[test]
    fn an_old_event_leaves_the_ring_and_raises_its_floor() {
        let most = u64::try_from(MOST).unwrap();
        let ring = ring(at(1, 0), (1..=most + 1).map(|seq| said(at(1, seq), 0)).collect());
        let last = at(1, most + 1);
        assert_eq!(ring.behind(Start::Now(at(1, 0)), last).map(|events| events.len()), None);
        assert_eq!(ring.behind(Start::Now(at(1, 1)), last).map(|events| events.len()), Some(MOST));
    }

    #[test]
    fn who_comes_back_after_a_deletion_is_not_told_the_text() {
        let message = crate::dialect::live_chat::samples::message();
        let id = message.id;
        let when = message.created_at;
        let edit = Happening::MessageEdited { id, text: "edited".into(), at: when };
        let events = vec![
            event(at(1, 1), 0, Happening::MessagePosted(message)),
            event(at(1, 2), 0, edit),
            said(at(1, 3), 0),
            event(at(1, 4), 0, Happening::MessageDeleted { id, by: AccountId(Uuid::nil()), at: when }),
        ];
        let missed = ring(at(1, 0), events).behind(Start::Now(at(1, 0)), at(1, 4)).unwrap();
        assert_eq!(positions(Some(missed.clone())).unwrap(), ["1:1", "1:3", "1:4"]);
        assert!(matches!(&missed[0].what, Happening::MessagePosted(message) if message.text.is_none()));
    }

    #[test]
    fn of_like_totals_the_last_is_replayed_and_one_held_back_is_not_missed() {
        let events = vec![
            liked(at(1, 1), 1_000, 1),
            said(at(1, 2), 1_100),
            liked(at(1, 3), 1_200, 2),
            said(at(1, 4), 9_000),
        ];
        let ring = ring(at(1, 0), events);
        let behind = |start| positions(ring.behind(start, at(1, 4))).unwrap();
        assert_eq!(behind(Start::Resume(at(1, 0))), ["1:2", "1:3", "1:4"]);
        // The client had seen 1:2; the total at 1:1 may have been held back when it broke off, so a total is repeated.
        assert_eq!(behind(Start::Resume(at(1, 2))), ["1:3", "1:4"]);
        assert_eq!(behind(Start::Resume(at(1, 4))), Vec::<String>::new(), "likes of long before were sent");
        assert_eq!(behind(Start::Now(at(1, 3))), ["1:4"]);
    }

    #[test]
    fn a_total_that_is_said_again_takes_nobody_back() {
        let ring = ring(at(1, 0), vec![liked(at(1, 1), 1_000, 1), said(at(1, 2), 1_100)]);
        assert_eq!(positions(ring.behind(Start::Resume(at(1, 2)), at(1, 2))).unwrap(), ["1:2"]);
    }
}
