//! The hub: this node's map room -> connections, and everything that keeps it true.
//!
//! Promises: a room's events reach each of its connections in the room's order, none twice, none left out; a hole is filled
//! before anything later is sent; nobody waits for a slow reader. What the node hears through its inbox is a hint that may
//! be lost or doubled: the sequence numbers decide, and the log is asked for what is missing.

mod beat;
mod marks;
pub(crate) mod online;
pub(crate) mod outbox;
pub(crate) mod people;
mod pump;
mod room;
mod sweep;
pub(crate) mod typing;
mod watch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use shared::Error;
use shared::event::{Envelope, Origin};
use shared::id::{BootId, Position, RoomId};
use shared::telemetry::names;
use shared::user::Account;

use crate::app::Shared;
use crate::chat::Happened;
use crate::dialect::{Ear, Encoding};
pub(crate) use beat::run as beat;
pub(crate) use marks::run as marks;
pub(crate) use pump::run as pump;
pub(crate) use sweep::{drain, run as sweep};

use marks::Marks;
use outbox::Outbox;
use people::People;
pub(crate) use room::Answer;
use room::{Reach, Room};
use typing::Typing;
use watch::Watch;

/// One socket, as the hub knows it.
pub(crate) struct Connection {
    /// Names it among all sockets of all nodes.
    pub(crate) origin: Origin,
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

impl Connection {
    /// Names it on this node.
    pub(crate) fn id(&self) -> u64 {
        self.origin.connection
    }

    /// In which bytes it is told `events`: the same for all sockets that are told them alike.
    pub(crate) fn ear(&self, events: &[Arc<Happened>]) -> Ear {
        let tells_apart = self.encoding.tells_people_apart();
        let is_own = tells_apart
            && events.iter().any(|event| event.origin.is_some_and(|origin| origin.is_beside(self.origin)));
        Ear {
            encoding: self.encoding,
            person: tells_apart.then_some(self.account.id),
            socket: is_own.then_some(self.origin),
        }
    }
}

/// The map, and this node's own identity.
pub(crate) struct Hub {
    boot: ArcSwap<BootId>,
    /// Names this process in the origins of its sockets; stays the same when the node takes a new name on the bus.
    process: BootId,
    rooms: RwLock<HashMap<RoomId, Arc<Room>>>,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    next_id: AtomicU64,
    pub(crate) watch: Watch,
    pub(crate) people: People,
    pub(crate) marks: Arc<Marks>,
    pub(crate) typing: Typing,
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
        self.room.leave(self.connection.id());
        self.app.hub.watch.left(self.room.id, self.connection.account.id);
        self.app.hub.forget(&self.connection);
    }
}

impl Hub {
    pub(crate) fn new() -> Self {
        let boot = BootId::draw();
        Self {
            boot: ArcSwap::from_pointee(boot),
            process: boot,
            rooms: RwLock::default(),
            connections: Mutex::default(),
            next_id: AtomicU64::new(1),
            watch: Watch::default(),
            people: People::default(),
            marks: Arc::default(),
            typing: Typing::default(),
        }
    }

    /// The name of this life of this node.
    pub(crate) fn boot(&self) -> BootId {
        **self.boot.load()
    }

    /// A name for a new connection.
    pub(crate) fn draw_origin(&self) -> Origin {
        Origin { node: self.process, connection: self.next_id.fetch_add(1, Ordering::Relaxed), send: 0 }
    }

    /// Makes sure that this node hears of `room`; answers how far it has come. Everything accepted after this returns
    /// reaches whoever joins from that position.
    ///
    /// # Errors
    /// `Unavailable` while the bus or the log is away.
    pub(crate) async fn prepare(&self, app: &Shared, room: RoomId) -> Result<Position, Error> {
        loop {
            let room = self.room(room, Reach::Room);
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
            let room = self.room(room, Reach::Room);
            if room.enter(&connection, checked) {
                break Joined { app: app.clone(), room, connection: connection.clone() };
            }
        };
        self.watch.joined(joined.room.id, connection.account.id);
        joined.room.open(app).await?;
        joined.room.catch_up(app, &connection, start).await?;
        Ok(joined)
    }

    /// An entry that this very node has appended: its own sockets need not wait for it to come back through their inbox.
    pub(crate) fn take_in(&self, app: &Shared, entry: Envelope) {
        let Some(id) = entry.room else { return };
        self.people.hear_of(app, &entry);
        typing::end_by(app, &entry);
        if let Some(room) = self.known_room(id) {
            room.deliver(app, vec![entry]);
        }
    }

    /// Answers a person's socket about a message of a direct room that had been accepted before, at `position`: once the socket was
    /// told everything up to there, or a client that notes the last place it heard of would never ask for what lies between.
    pub(crate) fn answer(&self, app: &Shared, connection: &Connection, room: RoomId, answer: Answer) {
        self.people.bring_in(app, connection.account.id, room);
        if let Some(room) = self.known_room(room) {
            room.answer(app, answer);
        }
    }

    fn room(&self, id: RoomId, reach: Reach) -> Arc<Room> {
        if let Some(room) = self.known_room(id) {
            return room;
        }
        let mut rooms = self.rooms.write().expect("nothing panics while it holds this lock");
        rooms.entry(id).or_insert_with(|| Arc::new(Room::new(id, reach, &self.marks))).clone()
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
        if all.insert(connection.id(), connection.clone()).is_none() {
            metrics::gauge!(names::CONNECTIONS, "dialect" => connection.encoding.dialect()).increment(1);
        }
    }

    fn forget(&self, connection: &Connection) {
        let mut all = self.connections.lock().expect("nothing panics while it holds this lock");
        if all.remove(&connection.id()).is_some() {
            metrics::gauge!(names::CONNECTIONS, "dialect" => connection.encoding.dialect()).decrement(1);
        }
    }
}
