//! Which of a person's friends are here. A node's word on a person is a lease like all others; what a socket is told is the
//! difference to what it was told before, so a word that was lost or said twice does no harm.

use std::collections::HashSet;
use std::time::Duration;

use shared::Error;
use shared::bus::{ONLINE_TTL, Word};
use shared::id::AccountId;
use shared::shutdown::Shutdown;
use shared::store::friendships;

use super::{people, typing};
use crate::app::Shared;

/// Everybody who is here is said again this often, well before the word lapses.
const REFRESH_EVERY: Duration = Duration::from_secs(10);

/// Runs until `stop`; then says that everybody left.
pub(crate) async fn run(app: Shared, stop: Shutdown) {
    while tokio::time::timeout(REFRESH_EVERY, stop.wait()).await.is_err() {
        for person in app.hub.people.present() {
            if let Err(error) = refresh(&app, person).await {
                tracing::debug!(%error, "who is here can't be said now");
            }
        }
    }
    for person in app.hub.people.present() {
        say_left(&app, person).await;
    }
}

/// Says that a person is here; their friends are told if that is news.
pub(crate) async fn here(app: &Shared, person: AccountId) -> Result<(), Error> {
    if app.bus.online_here(person, app.hub.boot(), ONLINE_TTL).await? {
        tell_friends(app, person, true).await?;
    }
    Ok(())
}

/// The last socket of a person on this node closed.
pub(super) fn left(app: &Shared, person: AccountId) {
    let app = app.clone();
    tokio::spawn(async move {
        typing::stop_all(&app, person).await;
        say_left(&app, person).await;
    });
}

async fn say_left(app: &Shared, person: AccountId) {
    let told = async {
        if app.bus.online_left(person, app.hub.boot()).await? {
            tell_friends(app, person, false).await?;
        }
        Ok::<(), Error>(())
    };
    if let Err(error) = told.await {
        tracing::debug!(%error, "a person is left to lapse");
    }
}

/// Says a person again, and looks whether their friends are still here: nobody says so of a node that died.
async fn refresh(app: &Shared, person: AccountId) -> Result<(), Error> {
    here(app, person).await?;
    if !app.hub.people.wants_presence(person) {
        return Ok(());
    }
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
