//! The viewers' beat: says to the bus who watches from here, tells the log in batches so that Postgres knows too, and, on
//! the one node that holds the room's lease, announces the count when it changed.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use chrono::Utc;
use shared::Error;
use shared::bus::{Notice, SOCKET_TTL};
use shared::event::{Event, ViewersSeen};
use shared::id::{AccountId, Partition, RoomId};
use shared::shutdown::Shutdown;
use shared::stream::Append;
use shared::telemetry::names;

use super::watch::Word;
use crate::app::Shared;

/// Counts are announced at most so often.
const EVERY: Duration = Duration::from_millis(250);
/// Everybody who is here is said again this often, well before the word on them lapses.
const REFRESH_EVERY: Duration = Duration::from_secs(10);
/// People in one call or one log entry.
const CHUNK: usize = 500;
/// How long the announcer of a room stays it.
const ANNOUNCER_TTL: Duration = Duration::from_secs(2);
/// Heartbeats may fill so much of a backlog: they are the first to be shed.
const CAP_SHARE: f64 = 0.5;

type Seen = (RoomId, AccountId, i64);

/// Runs until `stop`; then says that everybody left.
pub(crate) async fn run(app: Shared, stop: Shutdown) {
    let mut announced: HashMap<RoomId, u64> = HashMap::new();
    let mut refreshed_at = Instant::now();
    while tokio::time::timeout(EVERY, stop.wait()).await.is_err() {
        let refresh = refreshed_at.elapsed() >= REFRESH_EVERY;
        if refresh {
            refreshed_at = Instant::now();
        }
        if let Err(error) = turn(&app, refresh.then(|| app.hub.watch.everything())).await {
            tracing::debug!(%error, "viewers can't be said now");
            app.hub.watch.say_everything_again();
        }
        if let Err(error) = announce(&app, &mut announced).await {
            tracing::debug!(%error, "viewers can't be counted now");
        }
    }
    match say(&app, app.hub.watch.everybody_leaves()).await {
        Ok(seen) => tell_log(&app, seen).await,
        Err(error) => tracing::debug!(%error, "viewers are left to lapse"),
    }
}

/// Says what changed and, when it is time, everything.
async fn turn(app: &Shared, everything: Option<HashMap<RoomId, Word>>) -> Result<(), Error> {
    let mut seen = app.hub.watch.take_sightings();
    if app.hub.watch.is_due() {
        seen.extend(say(app, app.hub.watch.take_changes()).await?);
    }
    if let Some(everything) = everything {
        seen.extend(say(app, everything).await?);
    }
    tell_log(app, seen).await;
    Ok(())
}

async fn say(app: &Shared, words: HashMap<RoomId, Word>) -> Result<Vec<Seen>, Error> {
    let boot = app.hub.boot();
    let now = Utc::now().timestamp_millis();
    let until = now + i64::try_from(SOCKET_TTL.as_millis()).unwrap_or(0);
    let mut seen = Vec::new();
    for (room, word) in words {
        for people in word.here.chunks(CHUNK) {
            app.bus.viewers_here(room, boot, people).await?;
        }
        for people in word.left.chunks(CHUNK) {
            let gone = app.bus.viewers_left(room, boot, people).await?.left;
            seen.extend(gone.into_iter().map(|person| (room, person, now)));
        }
        seen.extend(word.here.into_iter().map(|person| (room, person, until)));
    }
    Ok(seen)
}

/// One entry per partition and chunk. What can't be told now is told by the next beat.
async fn tell_log(app: &Shared, seen: Vec<Seen>) {
    let mut by_partition: BTreeMap<Partition, Vec<Seen>> = BTreeMap::new();
    for word in seen {
        by_partition.entry(app.partition(word.0)).or_default().push(word);
    }
    for (partition, seen) in by_partition {
        for chunk in seen.chunks(CHUNK) {
            let event = Event::ViewersSeen(ViewersSeen { seen: chunk.to_vec() });
            let append = Append {
                partition,
                room: None,
                to: &[],
                checked: None,
                change: None,
                send: None,
                guard: None,
                rate: None,
                cap_share: CAP_SHARE,
                body: &event.to_body(),
            };
            if let Err(error) = app.producer.append(&append).await {
                tracing::debug!(%error, "a heartbeat of viewers was shed");
            }
        }
    }
}

/// Announces the counts that changed, of the rooms that this node announces.
async fn announce(app: &Shared, announced: &mut HashMap<RoomId, u64>) -> Result<(), Error> {
    let rooms = app.hub.watch.rooms();
    announced.retain(|room, _| rooms.contains(room));
    let mut all = 0;
    for id in rooms {
        if !app.bus.announces(id, app.hub.boot(), ANNOUNCER_TTL).await? {
            announced.remove(&id);
            continue;
        }
        let count = app.bus.viewer_count(id).await?;
        all += count;
        if announced.insert(id, count) != Some(count)
            && let Some(room) = app.hub.known_room(id)
        {
            room.announce(app, Notice::ViewerCount { room: id, count }).await?;
        }
    }
    metrics::gauge!(names::VIEWERS).set(u32::try_from(all).unwrap_or(u32::MAX));
    Ok(())
}
