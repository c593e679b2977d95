//! Which of a person's friends are here. A node's word on a person is a lease like all others; what a socket is told is the
//! difference to what it was told before, so a word that was lost or said twice does no harm.
//!
//! The node says of one person one thing at a time, and each time what is true then. So of a socket that goes and one that comes,
//! whichever is heard of last, the last word is right.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use shared::Error;
use shared::bus::Word;
use shared::id::AccountId;
use shared::shutdown::Shutdown;
use shared::store::friendships;
use tokio::task::JoinHandle;

use super::{people, typing};
use crate::app::Shared;

/// How long this node's word on a person holds.
const HOLDS: Duration = Duration::from_secs(20);
/// Everybody who is here is said again this often, so that one word may be lost; and so often a socket's friends are looked at.
/// Both together are how long somebody whose node died may be taken to be here: under 30 seconds.
const EVERY: Duration = Duration::from_secs(8);
/// People who are said, or whose friends are looked at, at the same time.
const AT_ONCE: usize = 16;

/// Runs until `stop`; then says that everybody left.
pub(crate) async fn run(app: Shared, stop: Shutdown) {
    // Apart, because who is here must be said also while Postgres, which knows the friends, is away.
    tokio::join!(say_again(&app, &stop), look_at_friends(&app, &stop));
    for person in app.hub.people.present() {
        note(say_gone(&app, person).await);
    }
}

async fn say_again(app: &Shared, stop: &Shutdown) {
    while tokio::time::timeout(EVERY, stop.wait()).await.is_err() {
        stream::iter(app.hub.people.present())
            .for_each_concurrent(AT_ONCE, async |person| note(renew(app, person).await))
            .await;
    }
}

/// Nobody says of a node that died that its people are gone.
async fn look_at_friends(app: &Shared, stop: &Shutdown) {
    while tokio::time::timeout(EVERY, stop.wait()).await.is_err() {
        let people =
            app.hub.people.present().into_iter().filter(|person| app.hub.people.wants_presence(*person));
        let people: Vec<AccountId> = people.collect();
        // Where one can't be answered, neither can the next.
        note(
            stream::iter(people.into_iter().map(Ok))
                .try_for_each_concurrent(AT_ONCE, |person| compare(app, person))
                .await,
        );
    }
}

fn note(said: Result<(), Error>) {
    if let Err(error) = said {
        tracing::debug!(%error, "who is here can't be said now");
    }
}

/// A person's first socket on this node came, or their last one went: says which it is now, and tells their friends if that is news.
pub(crate) async fn say(app: &Shared, person: AccountId) -> Result<(), Error> {
    let turn = app.hub.people.turn_of(person);
    let _turn = turn.lock().await;
    if app.hub.people.is_present(person) { say_here(app, person).await } else { say_gone(app, person).await }
}

/// The last socket of a person on this node closed; the task that says so is answered.
pub(super) fn left(app: &Shared, person: AccountId) -> JoinHandle<()> {
    let app = app.clone();
    tokio::spawn(async move {
        typing::stop_all(&app, person).await;
        note(say(&app, person).await);
    })
}

/// Says again that a person is here, unless something is being said of them at this moment.
async fn renew(app: &Shared, person: AccountId) -> Result<(), Error> {
    let turn = app.hub.people.turn_of(person);
    let Ok(_turn) = turn.try_lock() else { return Ok(()) };
    if app.hub.people.is_present(person) { say_here(app, person).await } else { Ok(()) }
}

async fn say_here(app: &Shared, person: AccountId) -> Result<(), Error> {
    if app.bus.online_here(person, app.hub.boot(), HOLDS).await? {
        tell_friends(app, person, true).await?;
    }
    Ok(())
}

async fn say_gone(app: &Shared, person: AccountId) -> Result<(), Error> {
    if app.bus.online_left(person, app.hub.boot()).await? {
        tell_friends(app, person, false).await?;
    }
    Ok(())
}

/// Looks which friends of a person are here.
async fn compare(app: &Shared, person: AccountId) -> Result<(), Error> {
    let friends = friendships::friend_ids(&app.pool, person).await?;
    let online = app.bus.who_is_online(&friends).await?;
    let known = app.hub.people.known_online(person);
    let changed = friends.iter().chain(&known).collect::<HashSet<_>>();
    for friend in changed {
        app.hub.people.hear(person, &Word::Presence { person: *friend, online: online.contains(friend) });
    }
    Ok(())
}

async fn tell_friends(app: &Shared, person: AccountId, online: bool) -> Result<(), Error> {
    let friends = friendships::friend_ids(&app.pool, person).await?;
    let words: Vec<(AccountId, Word)> =
        friends.into_iter().map(|friend| (friend, Word::Presence { person, online })).collect();
    people::tell(app, &words).await
}

#[cfg(test)]
mod tests;
