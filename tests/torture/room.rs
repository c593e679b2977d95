//! A room in which people of a run talk, in one dialect, and what was accepted there lately.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use harness::dialect::{Adapter, Dialect, Spoken};
use serde_json::Value;
use shared::id::{Position, RoomId};
use uuid::Uuid;

/// So many of the newest accepted messages are liked, read and looked for.
const RECENT: usize = 300;

/// One for everybody in it.
pub(crate) struct Room {
    pub(crate) dialect: Dialect,
    pub(crate) id: RoomId,
    /// Its head before anybody said anything.
    pub(crate) start: Position,
    recent: Mutex<VecDeque<Spoken>>,
}

impl Room {
    pub(crate) fn new(dialect: Dialect, id: RoomId, start: Position) -> Room {
        Room { dialect, id, start, recent: Mutex::default() }
    }

    /// What clients of its dialect know.
    pub(crate) fn adapter(&self) -> &'static dyn Adapter {
        self.dialect.adapter()
    }

    /// The id of a message, of the two that it has, that this dialect shows.
    pub(crate) fn id_shown(&self, id: Uuid, no: i64) -> String {
        match self.dialect {
            Dialect::LiveChat => no.to_string(),
            Dialect::Friends => id.to_string(),
        }
    }

    /// Whether a frame or an answer names another room.
    pub(crate) fn is_not_in(&self, told: &Value) -> bool {
        let names = |told: &Value| told["room_id"].as_str().is_some_and(|room| room != self.id.to_string());
        names(told) || names(&told["message"])
    }

    /// A message was accepted.
    pub(crate) fn accepted(&self, said: &Spoken) {
        let mut recent = self.lock();
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(said.clone());
    }

    /// The newest accepted messages, oldest first.
    pub(crate) fn recent(&self) -> Vec<Spoken> {
        self.lock().iter().cloned().collect()
    }

    pub(crate) fn newest(&self) -> Option<Spoken> {
        self.lock().iter().max_by_key(|said| said.position).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Spoken>> {
        self.recent.lock().expect("nothing panics while it holds this lock")
    }
}
