//! Who may no longer be here: tokens that ended, sign-ins that were revoked, windows that closed. And what nobody uses.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use shared::id::AccountId;
use shared::shutdown::Shutdown;

use super::outbox::CloseReason;
use super::{Connection, typing};
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
        typing::turn(&app).await;
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
            app.hub.people.retire(&app, ROOM_IDLE).await;
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

/// Between two steps of a drain: far below the second by which a load is felt.
const STEP: Duration = Duration::from_millis(50);

/// Closes all connections, spread evenly over `within`, so that their clients do not come back to the other nodes all at once.
pub(crate) async fn drain(app: &Shared, within: Duration) {
    let all = app.hub.all_connections();
    let steps = steps(within);
    let (began, mut closed) = (tokio::time::Instant::now(), 0);
    for step in 1..=steps {
        let due = due(all.len(), step, steps);
        for connection in &all[closed..due] {
            connection.outbox.close(CloseReason::Drain);
        }
        closed = due;
        tokio::time::sleep_until(began + within * step / steps).await;
    }
    // Whoever came in meanwhile.
    for connection in app.hub.all_connections() {
        connection.outbox.close(CloseReason::Drain);
    }
}

/// How many steps a drain takes.
fn steps(within: Duration) -> u32 {
    u32::try_from(within.as_millis() / STEP.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// How many of `all` are closed once `step` of `steps` is done.
fn due(all: usize, step: u32, steps: u32) -> usize {
    let share = all as u64 * u64::from(step) / u64::from(steps.max(1));
    usize::try_from(share).unwrap_or(all).min(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_closes_everybody_and_in_no_second_more_than_its_share() {
        for (all, secs) in [(0, 20), (1, 20), (7, 1), (200, 20), (450, 12), (100_000, 20), (600, 0)] {
            let steps = steps(Duration::from_secs(secs));
            let closes: Vec<usize> =
                (1..=steps).map(|step| due(all, step, steps) - due(all, step - 1, steps)).collect();
            assert_eq!(closes.iter().sum::<usize>(), all);
            let share = all.div_ceil(usize::try_from(secs).expect("small").max(1));
            let second = closes.windows(20).map(|second| second.iter().sum::<usize>()).max();
            assert!(second.unwrap_or(0) <= share + 1, "{all} within {secs} s: {second:?} in one second");
        }
    }
}
