//! Somebody who likes and takes back: messages that were just accepted, and the session.
//!
//! A like has no nonce. After a lost answer the same is asked again until there is an answer, and that target is then left
//! alone: the lost request might still be on its way, and must not meet its own opposite.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;

use super::{Answered, Caller};

/// Between two likes of one person.
const PACE_MS: std::ops::Range<u64> = 150..350;
/// Of a hundred likes, so many are about the session, and so many about a message that was touched before.
const SESSION_PERCENT: u64 = 15;
const AGAIN_PERCENT: u64 = 45;

/// A message by its integer id, or the session.
pub(crate) type Target = Option<i64>;

/// How somebody left things: liked or not, where that is known.
pub(crate) type Liked = BTreeMap<Target, Standing>;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// Nothing while an answer is missing.
    pub(crate) liked: Option<bool>,
    /// Not to be touched any more.
    settled: bool,
}

/// Likes until the board closes; answers how things were left.
pub(crate) async fn likes(mut caller: Caller) -> Liked {
    let mut liked = Liked::new();
    while !caller.board.is_closing() {
        tokio::time::sleep(Duration::from_millis(caller.rng.within(PACE_MS))).await;
        let Some(target) = chooses(&mut caller, &liked) else { continue };
        let standing = liked.entry(target).or_insert(Standing { liked: Some(false), settled: false });
        if !standing.settled {
            let wanted = standing.liked != Some(true);
            standing.liked = None;
            *standing = sets(&mut caller, target, wanted).await;
        }
    }
    liked
}

fn chooses(caller: &mut Caller, liked: &Liked) -> Option<Target> {
    if caller.rng.chance(SESSION_PERCENT) {
        return Some(None);
    }
    if caller.rng.chance(AGAIN_PERCENT) && !liked.is_empty() {
        let at = caller.rng.index(liked.len());
        return liked.keys().nth(at).copied();
    }
    let recent = caller.room.recent();
    let at = caller.rng.index(recent.len());
    recent.get(at).and_then(|said| said.id.parse().ok()).map(Some)
}

/// Asks until there is an answer.
async fn sets(caller: &mut Caller, target: Target, wanted: bool) -> Standing {
    let path = target.map_or("/live-chat/like".to_owned(), |no| format!("/live-chat/like-message/{no}"));
    let method = if wanted { Method::POST } else { Method::DELETE };
    let mut doubtful = false;
    loop {
        match caller.asks(method.clone(), &path, None).await {
            Answered::Done(_) => return Standing { liked: Some(wanted), settled: doubtful },
            // One's own lost request, when there was one: there is nobody else who likes for this person.
            Answered::Refused(code @ ("already_liked" | "not_liked")) => {
                if !doubtful || (code == "already_liked") != wanted {
                    let told = format!("{} {method} {path}: {code}", caller.person.name);
                    caller.board.broken("a like knows its state", told);
                }
                return Standing { liked: Some(wanted), settled: true };
            }
            Answered::Refused("overloaded" | "rate_limited") => {}
            Answered::Refused(code) => {
                let told = format!("{} {method} {path}: {code}", caller.person.name);
                caller.board.broken("a good like is taken", told);
            }
            Answered::Unknown => doubtful = true,
        }
        if caller.board.is_over() {
            caller.board.broken("every like is answered in the end", format!("{method} {path}"));
            return Standing { liked: None, settled: true };
        }
        caller.moves();
        caller.pauses().await;
    }
}
