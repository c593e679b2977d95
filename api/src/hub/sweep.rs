//! Who may no longer be here: tokens that ended, sign-ins that were revoked, windows that closed. And what nobody uses.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use shared::id::AccountId;
use shared::shutdown::Shutdown;

use super::Connection;
use super::outbox::CloseReason;
use crate::app::Shared;
use crate::dialect;

/// How exactly ends are kept.
const EVERY: Duration = Duration::from_millis(250);
/// A room without connections is given up after so long.
const ROOM_IDLE: Duration = Duration::from_secs(30);
/// How often rooms are looked at.
const ROOMS_EVERY: Duration = Duration::from_secs(10);

/// Runs until `stop`.
pub(crate) async fn run(app: Shared, stop: Shutdown) {
    let mut checked_at = Instant::now();
    let mut rooms_at = Instant::now();
    while tokio::time::timeout(EVERY, stop.wait()).await.is_err() {
        close_ended(&app);
        for room in app.hub.all_rooms() {
            room.flush_likes();
        }
        if checked_at.elapsed() >= app.config.limits.revocation_check {
            checked_at = Instant::now();
            look_again(&app, None).await;
        }
        if rooms_at.elapsed() >= ROOMS_EVERY {
            rooms_at = Instant::now();
            retire_rooms(&app).await;
        }
    }
}

fn close_ended(app: &Shared) {
    let now = Utc::now();
    for connection in app.hub.all_connections() {
        if connection.expires_at <= now {
            connection.outbox.close(CloseReason::Expired);
        } else if connection.ends_at.is_some_and(|ends_at| ends_at <= now) {
            connection.outbox.send(dialect::closing_word(connection.encoding));
            connection.outbox.close(CloseReason::Forbidden);
        }
    }
}

/// Closes the sockets of sign-ins that no longer hold: of one account, or all that this node has.
pub(crate) async fn look_again(app: &Shared, account: Option<AccountId>) {
    let mut held: HashMap<(AccountId, i32), Vec<Arc<Connection>>> = HashMap::new();
    for connection in app.hub.all_connections() {
        if account.is_none_or(|account| connection.account.id == account) {
            let key = (connection.account.id, connection.account.token_version);
            held.entry(key).or_default().push(connection);
        }
    }
    if let Some(account) = account {
        app.auth.forget(account).await;
    }
    if held.is_empty() {
        return;
    }
    let asked: Vec<(AccountId, i32)> = held.keys().copied().collect();
    match app.auth.no_longer_good(&asked).await {
        Ok(ended) => {
            for connection in ended.iter().filter_map(|key| held.get(key)).flatten() {
                connection.outbox.close(CloseReason::Expired);
            }
        }
        Err(error) => tracing::warn!(%error, "sign-ins can't be checked now; trying on"),
    }
}

async fn retire_rooms(app: &Shared) {
    for room in app.hub.all_rooms() {
        if room.retire(app, ROOM_IDLE).await {
            app.hub.rooms.write().expect("nothing panics while it holds this lock").remove(&room.id);
        }
    }
}

/// Closes all connections, a batch every so often, so that their clients do not come back to the other nodes all at once.
pub(crate) async fn drain(app: &Shared, within: Duration) {
    /// Share of the connections that one batch closes.
    const BATCHES: u32 = 20;
    let all = app.hub.all_connections();
    let batch = all.len().div_ceil(BATCHES as usize).max(1);
    for connections in all.chunks(batch) {
        for connection in connections {
            connection.outbox.close(CloseReason::Drain);
        }
        tokio::time::sleep(within / BATCHES).await;
    }
    // Whoever came in meanwhile.
    for connection in app.hub.all_connections() {
        connection.outbox.close(CloseReason::Drain);
    }
}
