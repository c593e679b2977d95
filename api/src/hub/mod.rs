//! The hub: this node's map room -> connections, and everything that keeps it true.
//!
//! Promises: a room's events reach each of its connections in the room's order, none twice, none left out; a hole is filled
//! before anything later is sent; nobody waits for a slow reader. What the node hears through its inbox is a hint that may
//! be lost or doubled: the sequence numbers decide, and the log is asked for what is missing.

mod beat;
pub(crate) mod outbox;
mod pump;
mod room;
mod sweep;
mod watch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use shared::Error;
use shared::id::{BootId, Position, RoomId};
use shared::telemetry::names;
use shared::user::Account;

use crate::app::Shared;
use crate::dialect::Encoding;
pub(crate) use beat::run as beat;
pub(crate) use pump::run as pump;
pub(crate) use sweep::{drain, run as sweep};

use outbox::Outbox;
use room::Room;
use watch::Watch;

/// One socket, as the hub knows it.
pub(crate) struct Connection {
    /// Names it on this node.
    pub(crate) id: u64,
    /// Whose it is.
    pub(crate) account: Arc<Account>,
    /// What it has yet to be sent.
    pub(crate) outbox: Arc<Outbox>,
    /// In which form it is told things.
    pub(crate) encoding: Encoding,
    /// When its token ends.
    pub(crate) expires_at: DateTime<Utc>,
    /// Whether it asked to resume, and so understands being told that it must read anew.
    pub(crate) resumes: bool,
    /// When what it watches ends.
    pub(crate) ends_at: Option<DateTime<Utc>>,
}

/// The map, and this node's own identity.
pub(crate) struct Hub {
    boot: ArcSwap<BootId>,
    rooms: RwLock<HashMap<RoomId, Arc<Room>>>,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    next_id: AtomicU64,
    pub(crate) watch: Watch,
}

/// Where a connection wants to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// From here on: it asked for nothing that was before.
    Now(Position),
    /// Behind what it has already; it understands being told that this can't be done.
    Resume(Position),
}

impl Start {
    /// The position behind which the connection wants everything.
    pub(crate) fn position(self) -> Position {
        match self {
            Self::Now(position) | Self::Resume(position) => position,
        }
    }
}

/// A place in a room. Dropping it leaves the room.
pub(crate) struct Joined {
    app: Shared,
    room: Arc<Room>,
    connection: Arc<Connection>,
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.room.leave(self.connection.id);
        self.app.hub.watch.left(self.room.id, self.connection.account.id);
        self.app.hub.forget(self.connection.id, self.connection.encoding);
    }
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            boot: ArcSwap::from_pointee(BootId::draw()),
            rooms: RwLock::default(),
            connections: Mutex::default(),
            next_id: AtomicU64::new(1),
            watch: Watch::default(),
        }
    }

    /// The name of this life of this node.
    pub(crate) fn boot(&self) -> BootId {
        **self.boot.load()
    }

    /// A name for a new connection.
    pub(crate) fn draw_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes sure that this node hears of `room`; answers how far it has come. Everything accepted after this returns
    /// reaches whoever joins from that position.
    ///
    /// # Errors
    /// `Unavailable` while the bus or the log is away.
    pub(crate) async fn prepare(&self, app: &Shared, room: RoomId) -> Result<Position, Error> {
        loop {
            let room = self.room(room);
            if let Some(position) = room.open(app).await? {
                return Ok(position);
            }
        }
    }

    /// Brings a connection into a room: what it missed first, in order, then everything that happens. In a room that has
    /// members, `checked` is the number at which the person was found to be one.
    pub(crate) async fn join(
        &self,
        app: &Shared,
        room: RoomId,
        connection: Arc<Connection>,
        start: Start,
        checked: Option<u64>,
    ) -> Result<Joined, Error> {
        self.remember(&connection);
        let joined = loop {
            let room = self.room(room);
            if room.enter(&connection, checked) {
                break Joined { app: app.clone(), room, connection: connection.clone() };
            }
        };
        self.watch.joined(joined.room.id, connection.account.id);
        joined.room.open(app).await?;
        joined.room.catch_up(app, &connection, start).await?;
        Ok(joined)
    }

    fn room(&self, id: RoomId) -> Arc<Room> {
        if let Some(room) = self.known_room(id) {
            return room;
        }
        let mut rooms = self.rooms.write().expect("nothing panics while it holds this lock");
        rooms.entry(id).or_insert_with(|| Arc::new(Room::new(id))).clone()
    }

    fn known_room(&self, id: RoomId) -> Option<Arc<Room>> {
        self.rooms.read().expect("nothing panics while it holds this lock").get(&id).cloned()
    }

    fn all_rooms(&self) -> Vec<Arc<Room>> {
        self.rooms.read().expect("nothing panics while it holds this lock").values().cloned().collect()
    }

    fn all_connections(&self) -> Vec<Arc<Connection>> {
        self.connections.lock().expect("nothing panics while it holds this lock").values().cloned().collect()
    }

    fn remember(&self, connection: &Arc<Connection>) {
        let mut all = self.connections.lock().expect("nothing panics while it holds this lock");
        if all.insert(connection.id, connection.clone()).is_none() {
            metrics::gauge!(names::CONNECTIONS, "dialect" => connection.encoding.dialect()).increment(1);
        }
    }

    fn forget(&self, id: u64, encoding: Encoding) {
        let mut all = self.connections.lock().expect("nothing panics while it holds this lock");
        if all.remove(&id).is_some() {
            metrics::gauge!(names::CONNECTIONS, "dialect" => encoding.dialect()).decrement(1);
        }
    }
}
