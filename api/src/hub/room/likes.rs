//! Like totals reach a client at most four times a second, the last value always. A total that was held back is sent with
//! the room's newest position, up to which it is true, so that positions never run backwards on a wire.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use shared::event::LikeTarget;
use shared::id::{MessageNo, Position, RoomId};

use crate::chat::{Happened, Happening};

/// Four times a second.
const EVERY: Duration = Duration::from_millis(250);

#[derive(Default)]
pub(super) struct LikeFrames {
    /// By the message's number; the session comes first.
    waiting: BTreeMap<Option<MessageNo>, (LikeTarget, i64)>,
    sent_at: Option<Instant>,
}

impl LikeFrames {
    /// Notes a target's newest total.
    pub(super) fn note(&mut self, target: LikeTarget, total: i64) {
        let key = match target {
            LikeTarget::Session => None,
            LikeTarget::Message { no, .. } => Some(no),
        };
        self.waiting.insert(key, (target, total));
    }

    /// The totals that wait, if the last ones were sent long enough ago.
    pub(super) fn take_due(&mut self, room: RoomId, position: Position, now: Instant) -> Vec<Arc<Happened>> {
        if self.waiting.is_empty() || self.sent_at.is_some_and(|sent| now.duration_since(sent) < EVERY) {
            return Vec::new();
        }
        self.sent_at = Some(now);
        let waiting = std::mem::take(&mut self.waiting);
        waiting
            .into_values()
            .map(|(target, total)| {
                let what = Happening::LikesChanged { target, total };
                Arc::new(Happened { room, position, at: Utc::now(), origin: None, what })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn totals_come_four_times_a_second_and_the_last_always() {
        let (room, position) = (RoomId(Uuid::from_u128(1)), Position { epoch: 1, seq: 9 });
        let mut frames = LikeFrames::default();
        let begin = Instant::now();
        let mut sent = Vec::new();
        for ms in 0..1_000 {
            frames.note(LikeTarget::Session, ms);
            let due =
                frames.take_due(room, position, begin + Duration::from_millis(u64::try_from(ms).unwrap()));
            sent.extend(due.into_iter().map(|happened| happened.what.clone()));
        }
        assert_eq!(sent.len(), 4);
        let last = frames.take_due(room, position, begin + Duration::from_millis(1_250));
        assert!(matches!(last[0].what, Happening::LikesChanged { total: 999, .. }));
        assert!(frames.take_due(room, position, begin + Duration::from_secs(9)).is_empty());
    }
}
