//! What must be true at the end, whatever happened meanwhile. Postgres' rows, the log, every page and every listener's list
//! are compared with what was acknowledged, and with each other.

mod likes;
mod lists;
mod log;
mod pages;
mod reads;
mod rows;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use harness::children::eventually;
use harness::dialect::{Dialect, Spoken};
use harness::servers::PARTITIONS;
use harness::stack::Stack;
use shared::event::Envelope;
use shared::id::Partition;
use uuid::Uuid;

use crate::board::Findings;
use crate::faults::Done;
use crate::people::Caller;
use crate::people::liker::Liked;
use crate::people::marker::Marked;
use crate::people::sender::Sent;
use crate::people::watcher::{Growing, Record};
use crate::room::Room;
use crate::site::Site;

/// How long the end may take to be stored and heard: with nothing broken any more.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// Everything that people brought home.
pub(crate) struct Evidence {
    pub(crate) rooms: Vec<OfRoom>,
    /// Per person: the account, and how things were left.
    pub(crate) liked: Vec<(Uuid, Liked)>,
    pub(crate) faults: Vec<Done>,
}

/// What those of one room brought home.
pub(crate) struct OfRoom {
    pub(crate) room: Arc<Room>,
    /// Per sender, in the order of sending.
    pub(crate) sent: Vec<Vec<Sent>>,
    pub(crate) listeners: Vec<Growing>,
    /// Per person: the account, and what they marked as read.
    pub(crate) marked: Vec<(Uuid, Marked)>,
    /// Who reads the pages.
    pub(crate) readers: Vec<Caller>,
}

/// What there was to compare.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Compared {
    pub(crate) rows: usize,
    /// Those of them that friends wrote to each other.
    pub(crate) between_friends: usize,
    /// Partitions in which people talked.
    pub(crate) partitions: usize,
    pub(crate) entries: usize,
    /// The most that any room went through.
    pub(crate) epochs: usize,
    pub(crate) likes: usize,
    /// Messages between friends that were marked as read.
    pub(crate) read: usize,
    pub(crate) heard: usize,
    pub(crate) lives: u64,
    pub(crate) resyncs_too_far: usize,
    pub(crate) resyncs_no_source: usize,
    /// Lines of level ERROR in the services' logs; reported, not judged.
    pub(crate) errors_logged: usize,
    /// Services that ended because a store was away when they began, and were started again.
    pub(crate) restarts: usize,
}

/// A room as the stores have it.
struct Stored {
    rows: Vec<Spoken>,
    entries: Vec<Envelope>,
}

/// Waits until everything is stored and heard, then compares.
pub(crate) async fn all(site: &Arc<Site>, evidence: &Evidence, findings: &mut Findings) -> Compared {
    let mut compared = Compared::default();
    {
        let stack = site.stack.lock().await;
        let stored = eventually(SETTLED_WITHIN, async || stack.is_stored().await.then_some(())).await;
        if stored.is_none() {
            findings
                .add("everything accepted is stored", "Postgres is behind the log 30 s after the last fault");
        }
        nothing_was_lost_or_parked(&stack, findings).await;
    }
    for of in &evidence.rooms {
        compared.add(&room(site, of, evidence, findings).await);
    }
    let all = site.stack.lock().await.count("select count(*) from hubbub.message").await;
    if usize::try_from(all) != Ok(compared.rows) {
        let told = format!("{all} messages, {} of them in rooms where people talked", compared.rows);
        findings.add("nothing is stored that was not sent", told);
    }
    let partitions = evidence.rooms.iter().map(|of| Partition::of(of.room.id, PARTITIONS));
    compared.partitions = partitions.collect::<BTreeSet<_>>().len();
    compared.errors_logged = services_are_sound(site, findings).await;
    compared
}

/// Compares what was said in one room.
async fn room(site: &Site, of: &OfRoom, evidence: &Evidence, findings: &mut Findings) -> Compared {
    let stack = site.stack.lock().await;
    let rows = rows::of(&stack, &of.room).await;
    let entries = log::entries(&stack, of.room.id).await;
    let stored = Stored { rows, entries };
    rows::compare(&stored.rows, &of.sent, findings);
    log::compare(&of.room, &stored.entries, &stored.rows, findings);
    let records = heard(of, &stored.rows, findings).await;
    for record in &records {
        lists::compare(record, &stored.rows, findings);
    }
    let resyncs = lists::judge_resyncs(&records, &stored.entries, &evidence.faults, findings);
    let mut compared = match of.room.dialect {
        Dialect::LiveChat => live_chat(&stack, site, of, evidence, &stored, findings).await,
        Dialect::Friends => friends(&stack, site, of, &stored, findings).await,
    };
    (compared.resyncs_too_far, compared.resyncs_no_source) = resyncs;
    compared.rows = stored.rows.len();
    compared.entries = stored.entries.len();
    compared.epochs = log::epochs(&stored.entries).len();
    compared.heard = records.iter().map(lists::count).sum();
    compared.lives = records.iter().map(|record| record.lives).sum();
    compared
}

/// What the live chat alone has: likes.
async fn live_chat(
    stack: &Stack,
    site: &Site,
    of: &OfRoom,
    evidence: &Evidence,
    stored: &Stored,
    findings: &mut Findings,
) -> Compared {
    let likes = likes::compare(stack, of.room.id, &stored.entries, &evidence.liked, findings).await;
    for caller in at_every_node(site, of) {
        if let Some(history) = pages::compare(&caller, &stored.rows, findings).await {
            likes::compare_pages(caller.node(), &history, &likes, findings);
        }
        likes::session_total(&caller, likes.of_session, findings).await;
    }
    let total = likes.by_message.values().map(|likes| usize::try_from(*likes).unwrap_or(0)).sum();
    Compared { likes: total, ..Compared::default() }
}

/// What friends alone have: marks of what was read and of what has arrived.
async fn friends(
    stack: &Stack,
    site: &Site,
    of: &OfRoom,
    stored: &Stored,
    findings: &mut Findings,
) -> Compared {
    let readers = reads::compare(stack, of, &stored.entries, findings).await;
    for caller in at_every_node(site, of) {
        pages::compare(&caller, &stored.rows, findings).await;
        reads::compare_at(&caller, &stored.rows, &readers, findings).await;
    }
    Compared { between_friends: stored.rows.len(), read: readers.len(), ..Compared::default() }
}

/// Each reader of a room, at each node.
fn at_every_node(site: &Site, of: &OfRoom) -> Vec<Caller> {
    let at = |reader: &Caller, node| {
        let mut caller = reader.clone();
        caller.goes_to(node);
        caller
    };
    of.readers.iter().flat_map(|reader| (1..=site.shape.api).map(move |node| at(reader, node))).collect()
}

impl Compared {
    /// Adds what another room had to compare.
    fn add(&mut self, room: &Compared) {
        self.rows += room.rows;
        self.between_friends += room.between_friends;
        self.entries += room.entries;
        self.epochs = self.epochs.max(room.epochs);
        self.likes += room.likes;
        self.read += room.read;
        self.heard += room.heard;
        self.lives += room.lives;
        self.resyncs_too_far += room.resyncs_too_far;
        self.resyncs_no_source += room.resyncs_no_source;
    }
}

async fn nothing_was_lost_or_parked(stack: &Stack, findings: &mut Findings) {
    let parked = stack.count("select count(*) from hubbub.dead_letter").await;
    if parked > 0 {
        findings.add("nothing is parked", format!("{parked} entries in hubbub.dead_letter"));
    }
    let lost = stack.count("select count(*) from hubbub.partition where lost_range is not null").await;
    if lost > 0 {
        findings.add("the log loses nothing", format!("{lost} partitions have a lost_range"));
    }
}

/// Waits until everybody in a room has heard the last row; answers the records as they are then.
async fn heard(of: &OfRoom, rows: &[Spoken], findings: &mut Findings) -> Vec<Record> {
    let read = |record: &Growing| record.lock().expect("nothing panics while it holds this lock").clone();
    let Some(last) = rows.last().map(|said| said.position) else {
        findings.add("the room goes on", format!("nothing at all was stored of {}", of.room.id));
        return of.listeners.iter().map(read).collect();
    };
    let all =
        async || of.listeners.iter().all(|record| lists::is_complete(&read(record), last)).then_some(());
    // Whoever does not get there is told of when the lists are compared.
    let _ = eventually(SETTLED_WITHIN, all).await;
    of.listeners.iter().map(read).collect()
}

/// No service panicked; answers how many errors they logged.
async fn services_are_sound(site: &Site, findings: &mut Findings) -> usize {
    let mut errors = 0;
    for (name, log) in site.logs().await {
        for line in log.lines().filter(|line| line.contains("panicked at")) {
            findings.add("no service panics", format!("{name}: {line}"));
        }
        errors += log.lines().filter(|line| line.contains(" ERROR ")).count();
    }
    errors
}
