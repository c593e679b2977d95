//! People with sockets on this node who hear of their direct rooms through themselves: one registration per person, however
//! many rooms there are.
//!
//! Each of a person's sockets is a member of each of the person's direct rooms. Which those are is asked when the socket comes; a
//! room that is made later is found when something happens in it, or at the next comparison of heads, and is then given from its
//! beginning.

mod arrival;
#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use shared::Error;
use shared::bus::{Notice, Topic, Word};
use shared::event::Envelope;
use shared::id::{AccountId, BootId, Position, RoomId};
use shared::store::direct;

use super::outbox::CloseReason;
use super::room::{Reach, Room};
use super::{Connection, Start};
use crate::app::Shared;
use crate::dialect;
pub(crate) use arrival::{Arrival, arrive};

/// The people of this node.
#[derive(Default)]
pub(crate) struct People(RwLock<HashMap<AccountId, Arc<Person>>>);

struct Person {
    id: AccountId,
    /// Under which name of this node the person is registered. Held while registering.
    registered: tokio::sync::Mutex<Option<BootId>>,
    /// Held while it is said whether the person is here.
    turn: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sockets: Vec<Arc<Socket>>,
    empty_since: Option<Instant>,
    /// Given up: whoever finds it must look for the person again.
    retired: bool,
}

/// One socket of a person, and the rooms that it is in.
struct Socket {
    connection: Arc<Connection>,
    rooms: Mutex<Rooms>,
    friends: Mutex<Friends>,
}

/// What a socket knows of its person's friends.
#[derive(Default)]
struct Friends {
    /// Those who are here, as the socket was told or will be when it is greeted.
    online: HashSet<AccountId>,
    /// Those who were heard to go before the socket was greeted; none from then on.
    gone: HashSet<AccountId>,
    /// Whether the socket was greeted: nothing else is said to it before.
    is_greeted: bool,
}

impl Friends {
    /// Somebody came or went; whether that is news to the socket.
    fn note(&mut self, person: AccountId, online: bool) -> bool {
        if !self.is_greeted {
            let (now, before) =
                if online { (&mut self.online, &mut self.gone) } else { (&mut self.gone, &mut self.online) };
            before.remove(&person);
            now.insert(person);
            return false;
        }
        if online { self.online.insert(person) } else { self.online.remove(&person) }
    }
}

#[derive(Default)]
struct Rooms {
    /// Each with the place behind which the socket wants everything.
    entered: Vec<(Arc<Room>, Position)>,
    /// Whether it is told what happens in them.
    live: bool,
}

impl People {
    fn get(&self, id: AccountId) -> Option<Arc<Person>> {
        self.0.read().expect("nothing panics while it holds this lock").get(&id).cloned()
    }

    fn person(&self, id: AccountId) -> Arc<Person> {
        if let Some(person) = self.get(id) {
            return person;
        }
        let mut all = self.0.write().expect("nothing panics while it holds this lock");
        all.entry(id).or_insert_with(|| Arc::new(Person::new(id))).clone()
    }

    fn all(&self) -> Vec<Arc<Person>> {
        self.0.read().expect("nothing panics while it holds this lock").values().cloned().collect()
    }

    /// Whoever has a socket here.
    pub(super) fn present(&self) -> Vec<AccountId> {
        self.all().iter().filter(|person| !person.lock().sockets.is_empty()).map(|person| person.id).collect()
    }

    pub(super) fn is_present(&self, id: AccountId) -> bool {
        self.get(id).is_some_and(|person| !person.lock().sockets.is_empty())
    }

    /// Held by whoever says whether a person is here.
    pub(super) fn turn_of(&self, id: AccountId) -> Arc<tokio::sync::Mutex<()>> {
        self.person(id).turn.clone()
    }

    /// Something has happened that concerns two people: where it is their direct room, their sockets here are to be in it.
    pub(super) fn hear_of(&self, app: &Shared, envelope: &Envelope) {
        let (Some(room), [one, other]) = (envelope.room, &envelope.to[..]) else { return };
        // Other rooms name people too, those whom a change of members is about.
        if room == RoomId::of_pair(*one, *other) {
            self.bring_in(app, *one, room);
            self.bring_in(app, *other, room);
        }
    }

    pub(super) fn bring_in(&self, app: &Shared, person: AccountId, room: RoomId) {
        let Some(person) = self.get(person) else { return };
        let sockets = person.lock().sockets.clone();
        for socket in sockets {
            socket.bring_in(app, room);
        }
    }

    /// Whether any socket of a person wants to know which friends come and go.
    pub(super) fn wants_presence(&self, id: AccountId) -> bool {
        self.get(id).is_some_and(|person| {
            person.lock().sockets.iter().any(|socket| socket.connection.encoding.wants_presence())
        })
    }

    /// The friends of whom any socket of a person was told that they are here.
    pub(super) fn known_online(&self, id: AccountId) -> HashSet<AccountId> {
        let Some(person) = self.get(id) else { return HashSet::new() };
        let state = person.lock();
        let known = |socket: &Arc<Socket>| socket.friends().online.clone();
        state.sockets.iter().flat_map(known).collect()
    }

    /// Tells the sockets of a person something of the moment.
    pub(super) fn hear(&self, to: AccountId, word: &Word) {
        let Some(person) = self.get(to) else { return };
        for socket in &person.lock().sockets {
            socket.hear(word);
        }
    }

    /// Registers everybody again, after this node had to take a new name or before the old routes lapse.
    pub(super) async fn register_again(&self, app: &Shared) -> Result<(), Error> {
        for person in self.all() {
            let mut registered = person.registered.lock().await;
            if registered.is_some() {
                let boot = app.hub.boot();
                app.bus.register(Topic::Person(person.id), boot).await?;
                *registered = Some(boot);
            }
        }
        Ok(())
    }

    /// Looks for direct rooms made since `since`, of which nothing was heard.
    pub(super) async fn find_new_rooms(&self, app: &Shared, since: DateTime<Utc>) -> Result<(), Error> {
        let present = self.present();
        if present.is_empty() {
            return Ok(());
        }
        for (person, found) in direct::rooms_of(&app.pool, &present, since).await? {
            self.bring_in(app, person, found.room);
        }
        Ok(())
    }

    /// Gives up people who have had no socket here for `idle`.
    pub(super) async fn retire(&self, app: &Shared, idle: Duration) {
        for person in self.all() {
            if person.retire(app, idle).await {
                self.0.write().expect("nothing panics while it holds this lock").remove(&person.id);
            }
        }
    }
}

impl Person {
    fn new(id: AccountId) -> Self {
        let state = State { empty_since: Some(Instant::now()), ..State::default() };
        Self { id, registered: tokio::sync::Mutex::new(None), turn: Arc::default(), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    /// From here on this node hears of the person's rooms; false when the person was given up.
    async fn register(&self, app: &Shared) -> Result<bool, Error> {
        let mut registered = self.registered.lock().await;
        if self.lock().retired {
            return Ok(false);
        }
        let boot = app.hub.boot();
        if *registered != Some(boot) {
            app.bus.register(Topic::Person(self.id), boot).await?;
            *registered = Some(boot);
        }
        Ok(true)
    }

    /// Adds a socket; false when the person was given up.
    fn add(&self, socket: &Arc<Socket>) -> bool {
        let mut state = self.lock();
        if state.retired {
            return false;
        }
        state.empty_since = None;
        state.sockets.push(socket.clone());
        true
    }

    /// Takes a socket off; whether it was the last.
    fn take_off(&self, connection: u64) -> bool {
        let mut state = self.lock();
        state.sockets.retain(|socket| socket.connection.id() != connection);
        if state.sockets.is_empty() {
            state.empty_since = Some(Instant::now());
        }
        state.sockets.is_empty()
    }

    async fn retire(&self, app: &Shared, idle: Duration) -> bool {
        let mut registered = self.registered.lock().await;
        {
            let mut state = self.lock();
            if state.empty_since.is_none_or(|since| since.elapsed() < idle) {
                return false;
            }
            state.retired = true;
        }
        if let Some(boot) = registered.take()
            && let Err(error) = app.bus.unregister(Topic::Person(self.id), boot).await
        {
            tracing::debug!(%error, person = %self.id, "a route is left to lapse");
        }
        true
    }
}

impl Socket {
    fn lock(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().expect("nothing panics while it holds this lock")
    }

    /// Enters a room without hearing anything of it yet, unless it is in it; also answers whether it hears of its other rooms already.
    fn enter(&self, app: &Shared, id: RoomId, behind: Position) -> Option<(Arc<Room>, bool)> {
        // Held all the while: what happens may be heard of by two tasks at once.
        let mut rooms = self.lock();
        if rooms.entered.iter().any(|(room, _)| room.id == id) {
            return None;
        }
        let room = loop {
            let room = app.hub.room(id, Reach::People);
            if room.enter(&self.connection, None) {
                break room;
            }
        };
        rooms.entered.push((room.clone(), behind));
        Some((room, rooms.live))
    }

    /// Enters a room of which nothing was known when the socket came: it was made since, so all of it is new.
    fn bring_in(self: &Arc<Self>, app: &Shared, id: RoomId) {
        let Some((room, is_live)) = self.enter(app, id, Position::default()) else { return };
        if is_live {
            let (app, socket) = (app.clone(), self.clone());
            tokio::spawn(async move {
                if let Err(error) = socket.go_live_in(&app, &room, Start::Now(Position::default())).await {
                    tracing::debug!(%error, room = %room.id, "a new room can't be given");
                    socket.connection.outbox.close(CloseReason::Gap);
                }
            });
        }
    }

    async fn go_live_in(&self, app: &Shared, room: &Arc<Room>, start: Start) -> Result<(), Error> {
        room.open(app).await?;
        room.catch_up(app, &self.connection, start).await
    }

    fn friends(&self) -> MutexGuard<'_, Friends> {
        self.friends.lock().expect("nothing panics while it holds this lock")
    }

    /// Tells the socket something of the moment. The lock is held until that is sent, so that the last word is the last one said.
    fn hear(&self, word: &Word) {
        let mut friends = self.friends();
        if let Word::Presence { person, online } = *word
            && !friends.note(person, online)
        {
            return;
        }
        if friends.is_greeted
            && let Some(frame) = dialect::encode_word(self.connection.encoding, word)
        {
            self.connection.outbox.send(frame);
        }
    }

    /// Says the first frames, made from who is here: `online` when that was asked, and what was heard since the socket came.
    fn greet<const N: usize>(
        &self,
        online: HashSet<AccountId>,
        frames: impl FnOnce(&HashSet<AccountId>) -> [Bytes; N],
    ) {
        let mut friends = self.friends();
        friends.online.extend(online);
        let gone = std::mem::take(&mut friends.gone);
        friends.online.retain(|friend| !gone.contains(friend));
        friends.is_greeted = true;
        for frame in frames(&friends.online) {
            self.connection.outbox.send(frame);
        }
    }
}

/// Says something of the moment to people, at whatever nodes they are.
///
/// # Errors
/// `Unavailable` while the bus is away: then it is not said.
pub(crate) async fn tell(app: &Shared, words: &[(AccountId, Word)]) -> Result<(), Error> {
    let topics: Vec<Topic> = words.iter().map(|(to, _)| Topic::Person(*to)).collect();
    let mut batches: BTreeMap<BootId, Vec<Notice>> = BTreeMap::new();
    for (nodes, (to, word)) in app.bus.routes(&topics).await?.into_iter().zip(words) {
        for node in nodes {
            batches.entry(node).or_default().push(Notice::Word { to: *to, word: *word });
        }
    }
    for (node, notices) in batches {
        app.bus.deliver(node, &notices).await?;
    }
    Ok(())
}

/// What a node needs to know to look for rooms that it has not heard of.
pub(super) struct Search {
    /// Rooms made before were found, or were heard of by somebody.
    since: DateTime<Utc>,
}

impl Search {
    pub(super) fn new() -> Self {
        Self { since: Utc::now() }
    }

    /// Looks for rooms made since the last time; with room for clocks that differ and for transactions that take their time.
    pub(super) async fn turn(&mut self, app: &Shared) -> Result<(), Error> {
        const GRACE: chrono::TimeDelta = chrono::TimeDelta::minutes(2);
        let now = Utc::now();
        app.hub.people.find_new_rooms(app, self.since - GRACE).await?;
        self.since = now;
        Ok(())
    }
}
