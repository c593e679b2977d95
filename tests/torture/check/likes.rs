//! Likes: totals, rows, the log and what people were told are four tellings of one thing.

use std::collections::{BTreeMap, BTreeSet};

use harness::stack::Stack;
use reqwest::Method;
use shared::event::{Envelope, Event, LikeTarget};
use shared::id::RoomId;
use sqlx::Row as _;
use uuid::Uuid;

use crate::board::Findings;
use crate::people::history::History;
use crate::people::liker::Liked;
use crate::people::{Answered, Caller};

const TOTALS: &str = "like totals equal distinct likers";

/// Totals as stored.
pub(super) struct Totals {
    pub(super) by_message: BTreeMap<i64, i64>,
    pub(super) of_session: i64,
}

/// Who likes what: the target, and the person.
type Likers = BTreeSet<(Uuid, Uuid)>;

/// # Panics
/// When Postgres does not answer.
pub(super) async fn compare(
    stack: &Stack,
    room: RoomId,
    entries: &[Envelope],
    liked: &[(Uuid, Liked)],
    findings: &mut Findings,
) -> Totals {
    let likers = stored(stack).await;
    let messages = sqlx::query("select no, id, likes from hubbub.message").fetch_all(&stack.pool).await;
    let mut ids = BTreeMap::new();
    let mut by_message = BTreeMap::new();
    let mut counted: BTreeMap<Uuid, i64> = BTreeMap::new();
    for (target, _) in &likers {
        *counted.entry(*target).or_default() += 1;
    }
    for row in messages.expect("Postgres answers") {
        let (no, id, likes): (i64, Uuid, i64) = (row.get("no"), row.get("id"), row.get("likes"));
        let distinct = counted.get(&id).copied().unwrap_or(0);
        if likes != distinct {
            findings.add(TOTALS, format!("message {no}: {likes} likes, {distinct} likers"));
        }
        ids.insert(no, id);
        by_message.insert(no, likes);
    }
    let of_session = stack.count("select total_likes from hubbub.live_session order by id limit 1").await;
    let distinct = counted.get(&room.0).copied().unwrap_or(0);
    if of_session != distinct {
        findings.add(TOTALS, format!("the session: {of_session} likes, {distinct} likers"));
    }
    agree_with_the_log(room, entries, &likers, findings);
    for (person, liked) in liked {
        for (target, standing) in liked {
            let id = target.map_or(Some(room.0), |no| ids.get(&no).copied());
            let Some((id, told)) = id.zip(standing.liked) else { continue };
            if told != likers.contains(&(id, *person)) {
                let what = target.map_or("the session".to_owned(), |no| format!("message {no}"));
                findings.add("a like that was answered stays", format!("{person} was told {told} of {what}"));
            }
        }
    }
    Totals { by_message, of_session }
}

async fn stored(stack: &Stack) -> Likers {
    let rows = sqlx::query("select target, account from hubbub.reaction").fetch_all(&stack.pool).await;
    rows.expect("Postgres answers").iter().map(|row| (row.get("target"), row.get("account"))).collect()
}

/// What the log's events leave behind is what is stored.
fn agree_with_the_log(room: RoomId, entries: &[Envelope], likers: &Likers, findings: &mut Findings) {
    let (mut left, mut totals) = (Likers::new(), BTreeMap::<Uuid, i64>::new());
    for envelope in entries {
        let Ok(Event::LikeChanged(change)) = envelope.event() else { continue };
        let like = (change.target.id(room), change.person.0);
        let changed = if change.liked { left.insert(like) } else { left.remove(&like) };
        if !changed {
            findings
                .add("one effect for each like", format!("{}: {change:?} changes nothing", envelope.entry));
        }
        let total = totals.entry(like.0).or_default();
        *total += i64::from(changed) * if change.liked { 1 } else { -1 };
        if envelope.total != Some(*total) {
            let what = if change.target == LikeTarget::Session { "the session" } else { "a message" };
            findings
                .add(TOTALS, format!("{}: {:?} of {what}, {total} likers", envelope.entry, envelope.total));
        }
    }
    for like in left.symmetric_difference(likers) {
        let place = if left.contains(like) { "in the log only" } else { "stored only" };
        findings.add("likes in the log are stored", format!("{like:?} is {place}"));
    }
}

/// The pages of a node show the totals.
pub(super) fn compare_pages(node: usize, history: &History, totals: &Totals, findings: &mut Findings) {
    for message in history.shown() {
        let (no, likes) = (message["id"].as_i64().unwrap_or(0), message["likes"].as_i64());
        let total = totals.by_message.get(&no).copied().unwrap_or(0);
        if likes != Some(total) {
            findings.add(TOTALS, format!("node {node} shows {message}, {total} are stored"));
        }
    }
}

/// A node tells the session's total.
pub(super) async fn session_total(caller: &Caller, stored: i64, findings: &mut Findings) {
    let answer = caller.asks(Method::GET, "/live-chat/likes", None).await;
    let told = if let Answered::Done(body) = &answer { body["total_likes"].as_i64() } else { None };
    if told != Some(stored) {
        let told = format!("node {} tells {answer:?}, {stored} are stored", caller.node());
        findings.add(TOTALS, told);
    }
}
