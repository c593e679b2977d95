//! What must be true at the end, whatever happened meanwhile. Postgres' rows, the log, every page and every listener's list
//! are compared with what was acknowledged, and with each other.

mod likes;
mod lists;
mod log;
mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use harness::children::eventually;
use harness::load::Said;
use harness::stack::Stack;
use shared::event::Envelope;
use shared::id::RoomId;

use crate::board::Findings;
use crate::faults::Done;
use crate::people::liker::Liked;
use crate::people::sender::Sent;
use crate::people::watcher::{Growing, Record};
use crate::people::{Caller, history};
use crate::site::Site;

/// How long the end may take to be stored and heard: with nothing broken any more.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// Everything that people brought home.
pub(crate) struct Evidence {
    /// Per sender, in the order of sending.
    pub(crate) sent: Vec<Vec<Sent>>,
    pub(crate) listeners: Vec<Growing>,
    /// Per person: the account, and how things were left.
    pub(crate) liked: Vec<(uuid::Uuid, Liked)>,
    pub(crate) faults: Vec<Done>,
    /// Somebody to read pages with.
    pub(crate) reader: Caller,
}

/// What there was to compare.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Compared {
    pub(crate) rows: usize,
    pub(crate) entries: usize,
    pub(crate) epochs: usize,
    pub(crate) likes: usize,
    pub(crate) heard: usize,
    pub(crate) lives: u64,
    pub(crate) resyncs_too_far: usize,
    pub(crate) resyncs_no_source: usize,
    /// Lines of level ERROR in the services' logs; reported, not judged.
    pub(crate) errors_logged: usize,
    /// Services that ended because a store was away when they began, and were started again.
    pub(crate) restarts: usize,
}

/// Waits until everything is stored and heard, then compares.
pub(crate) async fn all(site: &Arc<Site>, evidence: &Evidence, findings: &mut Findings) -> Compared {
    let mut compared = Compared::default();
    let stack = site.stack.lock().await;
    let stored = eventually(SETTLED_WITHIN, async || stack.is_stored().await.then_some(())).await;
    if stored.is_none() {
        findings.add("everything accepted is stored", "Postgres is behind the log 30 s after the last fault");
    }
    let rows = stack.said().await;
    let room = stack.live_room().await;
    let entries = log::entries(&stack, room).await;
    let by_text: BTreeMap<&str, &Said> = rows.iter().map(|said| (said.text.as_str(), said)).collect();
    rows::compare(&rows, &by_text, &evidence.sent, findings);
    log::compare(&entries, &rows, findings);
    nothing_was_lost_or_parked(&stack, findings).await;
    let likes = likes::compare(&stack, room, &entries, &evidence.liked, findings).await;
    drop(stack);
    pages(site.shape.api, evidence, &rows, &likes, findings).await;
    let records = heard(evidence, &rows, findings).await;
    for record in &records {
        lists::compare(record, &rows, findings);
    }
    let resyncs = lists::judge_resyncs(&records, &entries, &evidence.faults, findings);
    (compared.resyncs_too_far, compared.resyncs_no_source) = resyncs;
    compared.errors_logged = services_are_sound(site, findings).await;
    compared.rows = rows.len();
    compared.entries = entries.len();
    compared.epochs = log::epochs(&entries).len();
    compared.likes = likes.by_message.values().map(|likes| usize::try_from(*likes).unwrap_or(0)).sum();
    compared.heard = records.iter().map(lists::count).sum();
    compared.lives = records.iter().map(|record| record.lives).sum();
    compared
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

/// Every node shows the rows, in their order, with their likes.
async fn pages(
    nodes: usize,
    evidence: &Evidence,
    rows: &[Said],
    likes: &likes::Totals,
    findings: &mut Findings,
) {
    const PROMISE: &str = "pages agree with the rows on every node";
    for node in 1..=nodes {
        let mut caller = evidence.reader.clone();
        caller.goes_to(node);
        let start = shared::id::Position { epoch: 0, seq: 0 };
        let read = eventually(SETTLED_WITHIN, async || history::read(&caller, start).await).await;
        let Some(shown) = read else {
            findings.add(PROMISE, format!("node {node} does not give whole pages"));
            continue;
        };
        let said: Vec<&Said> = shown.iter().map(|shown| &shown.said).collect();
        if said != rows.iter().collect::<Vec<_>>() {
            let first = said.iter().zip(rows).find(|(shown, row)| **shown != *row);
            findings.add(
                PROMISE,
                format!(
                    "node {node} shows {} of {} messages; first difference {first:?}",
                    said.len(),
                    rows.len()
                ),
            );
        }
        for shown in &shown {
            let total = likes.by_message.get(&shown.said.no).copied().unwrap_or(0);
            if shown.likes != total {
                let told =
                    format!("node {node}: {:?} shows {} likes, {total} are stored", shown.said, shown.likes);
                findings.add("like totals equal distinct likers", told);
            }
        }
        likes::session_total(&caller, likes.of_session, findings).await;
    }
}

/// Waits until everybody has heard the last row; answers the records as they are then.
async fn heard(evidence: &Evidence, rows: &[Said], findings: &mut Findings) -> Vec<Record> {
    let read = |record: &Growing| record.lock().expect("nothing panics while it holds this lock").clone();
    let Some(last) = rows.last().map(|said| said.position) else {
        findings.add("the room goes on", "nothing at all was stored");
        return evidence.listeners.iter().map(read).collect();
    };
    let all = async || {
        evidence.listeners.iter().all(|record| lists::is_complete(&read(record), last)).then_some(())
    };
    // Whoever does not get there is told of when the lists are compared.
    let _ = eventually(SETTLED_WITHIN, all).await;
    evidence.listeners.iter().map(read).collect()
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

/// Whether an entry takes a place in the room.
fn has_place(envelope: &Envelope, room: RoomId) -> bool {
    envelope.room == Some(room) && envelope.seq > 0
}
