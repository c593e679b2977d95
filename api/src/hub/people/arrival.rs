//! The coming of a person's socket: it is in all of the person's rooms before it is told anything of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::DateTime;
use shared::Error;
use shared::id::{AccountId, Partition, Position, RoomId};
use shared::store::direct::{self, DirectRoom};

use super::super::room::tell_of_gap;
use super::super::{Connection, Start, online};
use super::Socket;
use crate::app::Shared;
use crate::chat::history::{self, Head};

/// A person's socket that has come. Dropping it ends what it hears.
pub(crate) struct Arrival {
    app: Shared,
    socket: Arc<Socket>,
    /// Rooms that hold something the person has not read, or may: what is not stored yet counts as that.
    unread: HashSet<RoomId>,
    /// Rooms in which something was written when the socket came.
    begun: HashSet<RoomId>,
}

/// Lets a person's socket in: from the answer on, nothing that happens in the person's direct rooms passes it by. It is told
/// nothing of it before [`Arrival::go_live`].
///
/// # Errors
/// `Unavailable` while a store is away.
pub(crate) async fn arrive(app: &Shared, connection: Arc<Connection>) -> Result<Arrival, Error> {
    let id = connection.account.id;
    let socket = Arc::new(Socket { connection, rooms: Mutex::default(), friends: Mutex::default() });
    while !app.hub.people.person(id).register(app).await? {}
    let rooms = rooms_of(app, id).await?;
    let heads = heads(app, &rooms).await?;
    app.hub.remember(&socket.connection);
    for room in &rooms {
        socket.enter(app, room.room, heads[&room.room].position);
    }
    let is_unstored = |room: &DirectRoom| heads[&room.room].position.seq > room.last.seq;
    let unread =
        rooms.iter().filter(|room| room.has_unread || is_unstored(room)).map(|room| room.room).collect();
    let begun = rooms.iter().filter(|room| room.has_messages).map(|room| room.room).collect();
    let arrival = Arrival { app: app.clone(), socket, unread, begun };
    arrival.stand_in(&rooms).await?;
    Ok(arrival)
}

impl Arrival {
    /// Lets the person's node begin the rooms, and finds those that were made meanwhile.
    async fn stand_in(&self, known: &[DirectRoom]) -> Result<(), Error> {
        let (app, id) = (&self.app, self.socket.connection.account.id);
        // Whoever was given up in between is registered anew.
        while !app.hub.people.person(id).add(&self.socket) {
            app.hub.people.person(id).register(app).await?;
        }
        // Read after the socket was entered: whatever came in before is not above it, whatever comes later is held.
        let heads = heads(app, known).await?;
        let entered = self.socket.lock().entered.clone();
        for (room, _) in entered {
            if let Some(head) = heads.get(&room.id) {
                room.begin(app, *head);
                room.reach(app, head.position);
            }
        }
        for room in rooms_of(app, id).await? {
            self.socket.bring_in(app, room.room);
        }
        Ok(())
    }

    /// Tells the socket everything from here on: behind the places in `after`, if it asked to resume, and else behind where the
    /// rooms were when it came.
    ///
    /// # Errors
    /// `Unavailable` when what is missing can't be had.
    pub(crate) async fn go_live(&self, after: Option<&HashMap<RoomId, Position>>) -> Result<(), Error> {
        let entered = {
            let mut rooms = self.socket.lock();
            rooms.live = true;
            rooms.entered.clone()
        };
        for (room, behind) in entered {
            let start = match after {
                None => Start::Now(behind),
                Some(after) => self.resume_in(room.id, behind, after.get(&room.id).copied()).await?,
            };
            self.socket.go_live_in(&self.app, &room, start).await?;
        }
        Ok(())
    }

    /// Where a socket that asked to resume goes on in a room that it may have named.
    async fn resume_in(
        &self,
        room: RoomId,
        behind: Position,
        named: Option<Position>,
    ) -> Result<Start, Error> {
        let is_concerned = named.is_some() || self.unread.contains(&room);
        // A room may be there only because somebody blocks the person, who is not to learn that.
        if !is_concerned || !(self.begun.contains(&room) || history::has_begun(&self.app, room).await?) {
            return Ok(Start::Now(behind));
        }
        Ok(named.map_or_else(
            || {
                tell_of_gap(&self.socket.connection, room, behind);
                Start::Now(behind)
            },
            Start::Resume,
        ))
    }

    /// Says what a socket is told first, `frames`, which are made from who is here; nothing of the moment comes before.
    pub(crate) fn greet<const N: usize>(
        &self,
        online: HashSet<AccountId>,
        frames: impl FnOnce(&HashSet<AccountId>) -> [Bytes; N],
    ) {
        self.socket.greet(online, frames);
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let connection = &self.socket.connection;
        let person = self.app.hub.people.get(connection.account.id);
        let was_last = person.is_none_or(|person| person.take_off(connection.id()));
        for (room, _) in self.socket.lock().entered.drain(..) {
            room.leave(connection.id());
        }
        self.app.hub.forget(connection);
        if was_last {
            online::left(&self.app, connection.account.id);
        }
    }
}

async fn rooms_of(app: &Shared, person: AccountId) -> Result<Vec<DirectRoom>, Error> {
    let rooms = direct::rooms_of(&app.pool, &[person], DateTime::UNIX_EPOCH).await?;
    Ok(rooms.into_iter().map(|(_, room)| room).collect())
}

/// How far each of these rooms has come: one question per partition.
async fn heads(app: &Shared, rooms: &[DirectRoom]) -> Result<HashMap<RoomId, Head>, Error> {
    let mut by_partition: BTreeMap<Partition, Vec<&DirectRoom>> = BTreeMap::new();
    for room in rooms {
        by_partition.entry(app.partition(room.room)).or_default().push(room);
    }
    let mut all = HashMap::with_capacity(rooms.len());
    for (partition, rooms) in by_partition {
        let ids: Vec<RoomId> = rooms.iter().map(|room| room.room).collect();
        let (epoch, heads) = app.log.heads(partition, &ids).await?;
        for (room, head) in rooms.into_iter().zip(heads) {
            let head = head
                .map_or(Head { position: Position { epoch, seq: room.last.seq }, restricting: 0 }, |head| {
                    Head { position: head.position, restricting: head.restricting }
                });
            all.insert(room.room, head);
        }
    }
    Ok(all)
}
