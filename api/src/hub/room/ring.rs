//! The newest events of a room, for whoever joins or comes back soon.

use std::collections::VecDeque;
use std::sync::Arc;

use shared::event::LikeTarget;
use shared::id::Position;

use super::super::Start;
use crate::chat::history::REPLAY_MAX;
use crate::chat::{Happened, Happening};

/// Like totals are held back for so long at most: whoever broke off within that time may not have heard of one.
const HELD_BACK: chrono::TimeDelta = chrono::TimeDelta::milliseconds(500);

#[derive(Default)]
pub(super) struct Ring {
    /// The position behind which the ring is complete.
    floor: Position,
    events: VecDeque<Arc<Happened>>,
}

impl Ring {
    /// Starts anew behind `floor`.
    pub(super) fn begin(&mut self, floor: Position) {
        self.floor = floor;
        self.events.clear();
    }

    pub(super) fn push(&mut self, event: Arc<Happened>) {
        if self.events.len() == REPLAY_MAX
            && let Some(oldest) = self.events.pop_front()
        {
            self.floor = oldest.position;
        }
        self.events.push_back(event);
    }

    pub(super) fn newest(&self) -> Option<&Arc<Happened>> {
        self.events.back()
    }

    /// Everything behind `from` up to `last`, if the ring holds it all; of several totals of one target the last alone.
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
            events.push(event.clone());
        }
        events.reverse();
        Some(events)
    }
}

fn is_like(event: &Happened) -> bool {
    matches!(event.what, Happening::LikesChanged { .. })
}
