//! From the inbox to the rooms, and what to do when the bus has forgotten this node.
//!
//! A node is alive as long as its word on the bus is. If that lapsed (the node was frozen, the bus was flushed) batches may
//! have passed it by, and it would be deaf without knowing; so it takes a new name, registers everything again, and
//! compares every room with the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::Error;
use shared::bus::{Inbox, Notice, Word};
use shared::event::Envelope;
use shared::id::{AccountId, BootId, Partition, Position, RoomId};
use shared::planted::Bug;
use shared::shutdown::Shutdown;
use shared::store;
use tokio::sync::Notify;

use super::people::Search;
use super::room::Room;
use super::typing;
use crate::app::Shared;
use crate::chat::Happening;

/// How long one read waits for a batch.
const WAIT: Duration = Duration::from_millis(500);
/// How often the node says that it is alive.
const BEAT: Duration = Duration::from_secs(1);
/// Without a word from the bus for so long, something may have been missed.
const SILENCE: Duration = Duration::from_secs(2);
/// Heads are compared anyway every so many leases: 30 s with the usual one.
const COMPARE_LEASES: u32 = 5;
/// Pause after the bus did not answer.
const PAUSE: Duration = Duration::from_millis(100);
/// Rooms whose heads are asked for in one call.
const HEADS_AT_ONCE: usize = 500;

/// Runs until `stop`: reads the inbox and hands everything on.
pub(crate) async fn run(app: Shared, stop: Shutdown) {
    let mut pump = Pump {
        inbox: None,
        beat_at: None,
        heard_at: Instant::now(),
        compared_at: Instant::now(),
        lacking: 0,
        compare: Arc::default(),
    };
    let comparing = tokio::spawn(compare_when_asked(app.clone(), pump.compare.clone()));
    while !stop.begun() {
        if let Err(error) = pump.turn(&app).await {
            tracing::debug!(%error, "the bus does not answer");
            tokio::time::sleep(PAUSE).await;
        }
    }
    comparing.abort();
    if let Err(error) = app.bus.close_inbox(app.hub.boot()).await {
        tracing::debug!(%error, "the inbox is left to lapse");
    }
}

struct Pump {
    inbox: Option<Inbox>,
    beat_at: Option<Instant>,
    /// When the bus last answered a beat.
    heard_at: Instant,
    compared_at: Instant,
    /// The number that the last beat found given but not arrived.
    lacking: u64,
    /// Asks for a comparison of all heads with the log. Asked twice, it is made once more after the one under way.
    compare: Arc<Notify>,
}

impl Pump {
    async fn turn(&mut self, app: &Shared) -> Result<(), Error> {
        if self.inbox.is_none() {
            self.be_born(app).await?;
        }
        // Several times within the lease on the node's word, however short that is set.
        let soon = app.config.common.lease / 4;
        if self.beat_at.is_none_or(|at| at.elapsed() >= BEAT.min(soon)) {
            self.beat(app).await?;
        }
        let Some(inbox) = self.inbox.as_mut() else { return Ok(()) };
        let arrived = inbox.take(WAIT.min(soon)).await?;
        dispatch(app, arrived.notices);
        if arrived.missed {
            tracing::info!("batches are missing from the inbox");
            self.compare_heads();
        }
        Ok(())
    }

    /// A new life under a new name.
    async fn be_born(&mut self, app: &Shared) -> Result<(), Error> {
        let boot = BootId::draw();
        let inbox = app.bus.open_inbox(boot, app.config.common.lease).await?;
        app.hub.boot.store(Arc::new(boot));
        for room in app.hub.all_rooms() {
            room.register_again(app).await?;
        }
        app.hub.people.register_again(app).await?;
        app.hub.watch.say_everything_again();
        tracing::info!(%boot, "this node is on the bus");
        self.inbox = Some(inbox);
        self.lacking = 0;
        self.beat_at = Some(Instant::now());
        self.heard_at = Instant::now();
        self.compare_heads();
        Ok(())
    }

    async fn beat(&mut self, app: &Shared) -> Result<(), Error> {
        let read = self.inbox.as_ref().map_or(0, |inbox| inbox.read);
        let given = app.bus.stay_alive(app.hub.boot(), app.config.common.lease, read).await?;
        let was_silent = self.heard_at.elapsed() > SILENCE;
        self.beat_at = Some(Instant::now());
        self.heard_at = Instant::now();
        let Some(given) = given else {
            tracing::warn!("the bus has forgotten this node; it takes a new name");
            self.inbox = None;
            return Ok(());
        };
        // What was given before the last beat and has not arrived since will not arrive.
        let lost = self.lacking > read && !Bug::InboxNumbersUnchecked.is_planted();
        self.lacking = given;
        if lost || was_silent || self.compared_at.elapsed() > app.config.common.lease * COMPARE_LEASES {
            self.compare_heads();
        }
        Ok(())
    }

    fn compare_heads(&mut self) {
        self.compared_at = Instant::now();
        self.compare.notify_one();
    }
}

async fn compare_when_asked(app: Shared, asked: Arc<Notify>) {
    let mut search = Search::new();
    loop {
        asked.notified().await;
        // First, because these routes lapse, however long the rest takes.
        if let Err(error) = app.hub.people.register_again(&app).await {
            tracing::debug!(%error, "routes of people can't be said again");
        }
        compare_heads(&app, None).await;
        if let Err(error) = search.turn(&app).await {
            tracing::debug!(%error, "new rooms of people can't be looked for now");
        }
    }
}

/// Asks the log how far the rooms have come, and has what is missing fetched.
async fn compare_heads(app: &Shared, partition: Option<Partition>) {
    let mut by_partition: BTreeMap<Partition, Vec<Arc<Room>>> = BTreeMap::new();
    for room in app.hub.all_rooms() {
        let its_own = app.partition(room.id);
        if partition.is_some_and(|partition| its_own != partition) || room.is_empty() {
            continue;
        }
        // A route lapses unless it is said again.
        if let Err(error) = room.register_again(app).await {
            tracing::debug!(%error, room = %room.id, "a route can't be said again");
        }
        by_partition.entry(its_own).or_default().push(room);
    }
    for (partition, rooms) in by_partition {
        for rooms in rooms.chunks(HEADS_AT_ONCE) {
            if let Err(error) = compare_some(app, partition, rooms).await {
                tracing::debug!(%error, %partition, "heads can't be compared");
            }
        }
    }
}

async fn compare_some(app: &Shared, partition: Partition, rooms: &[Arc<Room>]) -> Result<(), Error> {
    let ids: Vec<RoomId> = rooms.iter().map(|room| room.id).collect();
    let (epoch, heads) = app.log.heads(partition, &ids).await?;
    let mut quiet = Vec::new();
    for (room, head) in rooms.iter().zip(heads) {
        match head {
            Some(head) => room.reach(app, head.position),
            None => quiet.push(room.id),
        }
    }
    if quiet.is_empty() {
        return Ok(());
    }
    // Nothing has happened there since the log was opened: the head is what was stored before.
    let stored = store::rooms::last_seqs(&app.pool, &quiet).await?;
    for (room, seq) in rooms.iter().filter_map(|room| Some((room, *stored.get(&room.id)?))) {
        room.reach(app, Position { epoch, seq });
    }
    Ok(())
}

/// Tells a person's sockets here something of the moment.
fn hear(app: &Shared, to: AccountId, word: &Word) {
    match *word {
        Word::Typing { person, is_typing } if !app.hub.typing.hear(person, to, is_typing, Instant::now()) => {
        }
        Word::Typing { .. } | Word::Delivered { .. } | Word::Presence { .. } => app.hub.people.hear(to, word),
    }
}

/// Hands notices on: envelopes room by room in their order, the others as they come.
fn dispatch(app: &Shared, notices: Vec<Notice>) {
    let mut by_room: BTreeMap<RoomId, Vec<Envelope>> = BTreeMap::new();
    for notice in notices {
        match notice {
            Notice::Envelope(envelope) => {
                if let Some(room) = envelope.room {
                    app.hub.people.hear_of(app, &envelope);
                    typing::end_by(app, &envelope);
                    by_room.entry(room).or_default().push(envelope);
                }
            }
            Notice::CompareHeads(partition) => {
                let app = app.clone();
                tokio::spawn(async move { compare_heads(&app, Some(partition)).await });
            }
            Notice::AccountChanged(account) => {
                let app = app.clone();
                tokio::spawn(async move { super::sweep::look_again(&app, Some(account)).await });
            }
            Notice::ViewerCount { room, count } => {
                if let Some(room) = app.hub.known_room(room) {
                    room.tell(Happening::ViewerCount(count));
                }
            }
            Notice::Word { to, word } => hear(app, to, &word),
        }
    }
    for (id, envelopes) in by_room {
        if let Some(room) = app.hub.known_room(id) {
            room.deliver(app, envelopes);
        }
    }
}
