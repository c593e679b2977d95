//! Servers that are ours alone: one PostgreSQL per test process, one Redis pair per stack.

use std::sync::Mutex;

use super::postgres::Postgres;
use super::redis::{Redis, Role};
use super::{Backend, Database, Servers};

/// A Redis pair that was started but not yet asked for.
struct Pair {
    log: Redis,
    bus: Redis,
}

/// A Redis in cluster mode refuses writes for its first two seconds. The next pair is therefore started when
/// the current one is handed out, so that only the first test waits.
static SPARE: Mutex<Option<Pair>> = Mutex::new(None);

impl Pair {
    async fn take() -> Pair {
        if Backend::chosen() == Backend::Containers {
            let (log, bus) = tokio::join!(Redis::contained(Role::Log), Redis::contained(Role::Bus));
            return Pair { log, bus };
        }
        let mut spare = SPARE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        spare.replace(Pair::launch()).unwrap_or_else(Pair::launch)
    }

    fn launch() -> Pair {
        Pair { log: Redis::local(Role::Log), bus: Redis::local(Role::Bus) }
    }
}

pub(super) async fn start(database: Database) -> Servers {
    let Pair { mut log, mut bus } = Pair::take().await;
    let postgres = match database {
        Database::Shared => Postgres::shared().await,
        Database::Own => Postgres::own().await,
    };
    let database_url = postgres.fresh_database().await;
    log.ready().await;
    bus.ready().await;
    let (log_url, bus_url) = (log.url().to_owned(), bus.url().to_owned());
    Servers { database_url, log_url, bus_url, postgres, log, bus, _turn: None }
}
