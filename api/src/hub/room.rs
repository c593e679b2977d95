//! One room on one node. Its newest events are kept in a ring, so that whoever joins or comes back soon is served from
//! memory, under the same lock under which events go out: nothing can fall between the two.

mod likes;
mod ring;
mod state;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use chrono::Utc;
use shared::bus::Topic;
use shared::event::Envelope;
use shared::id::{BootId, Position, RoomId};
use shared::{Error, bus::Notice};

use super::marks::Marks;
use super::outbox::CloseReason;
use super::{Connection, Start};
use crate::app::Shared;
use crate::chat::history::{self, Head, Replay};
use crate::chat::{Happened, Happening, policy, seats};
pub(crate) use state::Answer;
pub(super) use state::tell_of_gap;
use state::{After, GoLive, Member, State};

/// Pause between tries to fill a hole.
const FILL_PAUSE: Duration = Duration::from_millis(100);

/// By which topic a node hears of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The room itself.
    Room,
    /// The people in it: a direct room is heard of by the two, who register themselves.
    People,
}

pub(crate) struct Room {
    pub(crate) id: RoomId,
    reach: Reach,
    /// Under which name of this node the room is registered. Held while registering, so that a room is never given up
    /// while somebody takes it up.
    registered: tokio::sync::Mutex<Option<BootId>>,
    state: Mutex<State>,
}

impl Room {
    pub(crate) fn new(id: RoomId, reach: Reach, marks: &Arc<Marks>) -> Self {
        let state = State::new(reach, marks);
        Self { id, reach, registered: tokio::sync::Mutex::new(None), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    /// Registers the room and reads its head, unless that was done; none when the room was given up meanwhile.
    pub(crate) async fn open(self: &Arc<Self>, app: &Shared) -> Result<Option<Position>, Error> {
        if let State { last: Some(last), retired: false, .. } = *self.lock() {
            return Ok(Some(last));
        }
        let mut registered = self.registered.lock().await;
        if self.lock().retired {
            return Ok(None);
        }
        let boot = app.hub.boot();
        if self.reach == Reach::Room && *registered != Some(boot) {
            app.bus.register(Topic::Room(self.id), boot).await?;
            *registered = Some(boot);
        }
        let head = history::head(app, self.id).await?;
        self.begin(app, head);
        Ok(Some(head.position))
    }

    /// The head was read: from there on the room is given out, unless it was before.
    pub(crate) fn begin(self: &Arc<Self>, app: &Shared, head: Head) {
        let after = self.lock().begin(app, head);
        self.follow_up(app, after);
    }

    /// Adds a member that is not live yet, let in at a membership number where the room has members; false when the room
    /// was given up.
    pub(crate) fn enter(&self, connection: &Arc<Connection>, checked: Option<u64>) -> bool {
        let mut state = self.lock();
        if state.retired {
            return false;
        }
        state.empty_since = None;
        state.members.push(Member { connection: connection.clone(), live: false, checked });
        true
    }

    pub(crate) fn leave(&self, connection: u64) {
        let mut state = self.lock();
        if let Some(at) = state.members.iter().position(|member| member.connection.id() == connection) {
            state.members.swap_remove(at);
        }
        if state.members.is_empty() {
            state.empty_since = Some(Instant::now());
        }
    }

    /// Gives a member what it lacks and makes it live.
    ///
    /// # Errors
    /// A refusal when the person may not be here any more; `Unavailable` when what is missing can't be had.
    pub(crate) async fn catch_up(
        self: &Arc<Self>,
        app: &Shared,
        connection: &Connection,
        mut start: Start,
    ) -> Result<(), Error> {
        loop {
            let step = self.lock().go_live(connection, start);
            match step {
                GoLive::Done | GoLive::Ended => return Ok(()),
                GoLive::Check => self.check(app, connection).await?,
                GoLive::Replay => start = self.replay_to(app, connection, start).await?,
            }
        }
    }

    /// Sends what a member lacks, and answers where it goes on from there; nothing is sent that was read after something
    /// was taken away, before the member was looked at again.
    async fn replay_to(
        self: &Arc<Self>,
        app: &Shared,
        connection: &Connection,
        start: Start,
    ) -> Result<Start, Error> {
        let replay = history::replay(app, self.id, start.position()).await?;
        let (Replay::Events { head, .. } | Replay::Resync { head }) = replay;
        if !self.lock().may_tell(connection.id(), head.restricting) {
            self.lock().hear_of(head.restricting);
            return Ok(start);
        }
        match replay {
            Replay::Events { events, .. } => {
                let events: Vec<_> = events.into_iter().map(Arc::new).collect();
                self.lock().hand(connection, &events);
            }
            Replay::Resync { .. } => tell_of_gap(connection, self.id, head.position),
        }
        self.reach(app, head.position);
        Ok(Start::Now(head.position))
    }

    /// Looks up whether a member may still be here; who may not is no member any more.
    async fn check(&self, app: &Shared, connection: &Connection) -> Result<(), Error> {
        let seat = seats::look_up(app, self.id, connection.account.id).await;
        let seat = seat.and_then(|seat| policy::may_read(&seat).map(|()| seat).map_err(Error::from));
        match seat {
            Ok(seat) => {
                self.lock().let_in(connection.id(), seat.number);
                Ok(())
            }
            Err(error) => {
                self.leave(connection.id());
                Err(error)
            }
        }
    }

    /// Lets members catch up by themselves who were held back; one for whom that fails starts anew.
    fn look_again(self: &Arc<Self>, app: &Shared, held_back: Vec<Arc<Connection>>, from: Position) {
        for connection in held_back {
            let (room, app) = (self.clone(), app.clone());
            tokio::spawn(async move {
                if let Err(Error::Unavailable(_)) = room.catch_up(&app, &connection, Start::Now(from)).await {
                    connection.outbox.close(CloseReason::Gap);
                }
            });
        }
    }

    /// Takes in what the inbox brought, in the order of the log.
    pub(crate) fn deliver(self: &Arc<Self>, app: &Shared, envelopes: Vec<Envelope>) {
        let after = self.lock().take_in(app, envelopes);
        self.follow_up(app, after);
    }

    /// The log is known to have come to `head`: fetch what is missing up to there.
    pub(crate) fn reach(self: &Arc<Self>, app: &Shared, head: Position) {
        let after = {
            let mut state = self.lock();
            match state.last {
                Some(last) if last < head && !state.filling => {
                    state.filling = true;
                    After::Fill
                }
                _ => After::Nothing,
            }
        };
        self.follow_up(app, after);
    }

    /// Tells a member something once it was given everything up to `behind`, which the log has: what is missing is fetched, or
    /// the answer would wait for whatever comes next.
    pub(super) fn answer(self: &Arc<Self>, app: &Shared, answer: Answer) {
        let behind = answer.behind;
        self.lock().answer(answer);
        self.reach(app, behind);
    }

    /// Tells everybody who is live something that has no place in the order.
    pub(crate) fn tell(&self, what: Happening) {
        let state = self.lock();
        let Some(position) = state.last else { return };
        state.send(&[Arc::new(Happened { room: self.id, position, at: Utc::now(), origin: None, what })]);
    }

    /// Sends like totals that were held back, if any are due.
    pub(crate) fn flush_likes(&self) {
        let mut state = self.lock();
        let Some(position) = state.last else { return };
        let due = state.likes.take_due(self.id, position, Instant::now());
        state.send(&due);
    }

    fn follow_up(self: &Arc<Self>, app: &Shared, after: After) {
        if after == After::Fill {
            let (room, app) = (self.clone(), app.clone());
            tokio::spawn(async move { room.fill(&app).await });
        }
    }

    /// Fetches what is missing and gives it out before anything later. When it can't be had for `GAP_WAIT_MS`, those who
    /// are here are told so, and the room goes on without it rather than stand still for as long as a store is away.
    async fn fill(self: &Arc<Self>, app: &Shared) {
        let began = Instant::now();
        loop {
            let Some(last) = self.lock().last else { return };
            match history::replay(app, self.id, last).await {
                Ok(Replay::Events { events, head }) => {
                    let held_back = self.lock().hold_back_stale(head.restricting);
                    self.look_again(app, held_back, last);
                    if self.lock().filled(app, events, head.position) {
                        return;
                    }
                }
                Ok(Replay::Resync { head }) => return self.skip_to(app, last, head),
                Err(error) if began.elapsed() < app.config.gap_wait => {
                    tracing::debug!(%error, "a hole can't be filled yet");
                }
                Err(_) => {
                    // No source: go on from the head, or wait while there is none.
                    if let Ok(head) = history::head(app, self.id).await {
                        return self.skip_to(app, last, head);
                    }
                }
            }
            tokio::time::sleep(FILL_PAUSE).await;
        }
    }

    fn skip_to(self: &Arc<Self>, app: &Shared, last: Position, head: Head) {
        tracing::info!(room = %self.id, from = %last, to = %head.position, "the room goes on from its head");
        let held_back = self.lock().hold_back_stale(head.restricting);
        self.look_again(app, held_back, last);
        self.lock().skip_to(app, self.id, head.position);
    }

    /// Registers the room again, after this node had to take a new name.
    pub(crate) async fn register_again(&self, app: &Shared) -> Result<(), Error> {
        let mut registered = self.registered.lock().await;
        let boot = app.hub.boot();
        if registered.is_some() {
            app.bus.register(Topic::Room(self.id), boot).await?;
            *registered = Some(boot);
        }
        Ok(())
    }

    /// Gives the room up if nobody has been here for `idle`; true when it can be taken off the map.
    pub(crate) async fn retire(&self, app: &Shared, idle: Duration) -> bool {
        let mut registered = self.registered.lock().await;
        {
            let mut state = self.lock();
            if state.empty_since.is_none_or(|since| since.elapsed() < idle) {
                return false;
            }
            state.retired = true;
        }
        if let Some(boot) = registered.take()
            && let Err(error) = app.bus.unregister(Topic::Room(self.id), boot).await
        {
            tracing::debug!(%error, room = %self.id, "a route is left to lapse");
        }
        true
    }

    /// Whether anybody is here.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().members.is_empty()
    }

    /// Where a notice of this room goes.
    pub(crate) async fn announce(&self, app: &Shared, notice: Notice) -> Result<(), Error> {
        for nodes in app.bus.routes(&[Topic::Room(self.id)]).await? {
            for node in nodes {
                app.bus.deliver(node, std::slice::from_ref(&notice)).await?;
            }
        }
        Ok(())
    }
}
