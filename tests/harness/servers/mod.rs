//! One harness, three backends: every test gets Redis and PostgreSQL of its own and does not know whence.
//!
//! | `TEST_BACKEND` | servers | chosen by itself when |
//! |---|---|---|
//! | `given` | the URLs in `TEST_DATABASE_URL`, `TEST_REDIS_URL` and `TEST_BUS_REDIS_URL` | the first of them is set |
//! | `containers` | testcontainers | a Docker engine answers |
//! | `local` | private servers on free ports of this machine | otherwise |
//!
//! The backends differ in one thing only: faults (stop, kill, pause) need servers that are ours to break, so
//! they are refused on given ones.

mod containers;
mod given;
mod postgres;
mod private;
mod redis;

use std::fmt;
use std::time::Duration;

pub use postgres::Postgres;
pub use redis::Redis;

/// Where the servers of the tests come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Servers that somebody else runs, by URL.
    Given,
    /// Servers in containers of this test process.
    Containers,
    /// Private servers of this test process.
    Local,
}

impl Backend {
    /// Reads the choice from the environment.
    ///
    /// # Panics
    /// When `TEST_BACKEND` names no backend: a misspelt one must not silently test something else.
    pub fn chosen() -> Backend {
        match std::env::var("TEST_BACKEND").as_deref() {
            Ok("given") => Backend::Given,
            Ok("containers") => Backend::Containers,
            Ok("local") => Backend::Local,
            Ok(other) => panic!("TEST_BACKEND is {other}: it must be given, containers or local"),
            Err(_) if std::env::var_os(given::DATABASE).is_some() => Backend::Given,
            Err(_) if containers::engine_answers() => Backend::Containers,
            Err(_) => Backend::Local,
        }
    }
}

/// An empty, migrated database and an empty pair of Redis, for one stack.
pub struct Servers {
    /// `DATABASE_URL` of the stack: an empty database with today's schema.
    pub database_url: String,
    /// `REDIS_URL`: the log, with every setting that the services demand.
    pub log_url: String,
    /// `BUS_REDIS_URL`: no persistence.
    pub bus_url: String,
    /// The PostgreSQL server, to be broken on purpose; ask for an own one first.
    pub postgres: Postgres,
    /// The log's server, to be broken on purpose.
    pub log: Redis,
    /// The bus's server, to be broken on purpose.
    pub bus: Redis,
    /// Held while given servers are in use: they are one set, so their users take turns.
    _turn: Option<tokio::sync::MutexGuard<'static, ()>>,
}

/// Whether a stack shares the process's PostgreSQL, in a database of its own, or needs a whole server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// A database on the server that all tests share: quick, and not to be stopped.
    Shared,
    /// A server of its own, which the test may stop, kill and pause.
    Own,
}

impl Servers {
    /// Starts servers for one stack on the chosen backend, with a shared PostgreSQL.
    pub async fn start() -> Servers {
        Servers::start_with(Database::Shared).await
    }

    /// Starts servers for one stack on the chosen backend.
    ///
    /// # Panics
    /// When a server cannot be started; the message says which and ends with its log.
    pub async fn start_with(database: Database) -> Servers {
        match Backend::chosen() {
            Backend::Given => given::start(database).await,
            Backend::Containers | Backend::Local => private::start(database).await,
        }
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Servers")
            .field("database_url", &self.database_url)
            .field("log_url", &self.log_url)
            .field("bus_url", &self.bus_url)
            .finish_non_exhaustive()
    }
}

/// How many partitions a test's database is set up with: the number that production has.
pub const PARTITIONS: u16 = 16;

/// Gives an empty database today's schema, and leaves no connection that would keep it from being copied.
async fn migrate(database_url: &str) {
    let pool = shared::store::connect(database_url, 4, "harness", Duration::from_secs(30))
        .expect("the harness's own address is good");
    shared::store::migrate(&pool, PARTITIONS).await.expect("an empty database can be migrated");
    pool.close().await;
}
