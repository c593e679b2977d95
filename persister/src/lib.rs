//! The persister: stores what the logs hold, in order, once. For the partitions it owns it also opens the log after every
//! start of Redis, publishes how far Postgres has come, and trims what both have.

mod group_commit;
mod open;
mod persist;
mod row;

pub mod commands;

use std::time::Duration;

use shared::Error;
use shared::config::{Common, Database, UnsafeRedis};
use shared::id::{BootId, Partition};
use shared::keys;
use shared::shutdown::{Running, Shutdown};
use shared::store::partitions::{self, Hold};
use shared::stream::{Caps, Crew, Log, Office};
use shared::telemetry::{Health, Metrics, serve_internal};
use sqlx::PgPool;
use tokio::net::TcpListener;

pub use group_commit::GroupCommit;
pub use persist::Persist;

/// Where the persister's leases are kept: with fence and watermark in one Postgres row per partition.
pub struct PostgresOffice {
    log: Log,
    pool: PgPool,
    lease: Duration,
    group: GroupCommit,
}

impl PostgresOffice {
    /// Gives out the partitions of `log`, each for `lease` at a time.
    #[must_use]
    pub fn new(log: Log, pool: PgPool, lease: Duration) -> Self {
        let group = GroupCommit::new(pool.clone(), log.partitions(), group_commit::APART);
        Self { log, pool, lease, group }
    }
}

impl Office for PostgresOffice {
    type Hold = Hold;
    type Work = Persist;

    const GROUP: &'static str = keys::PERSISTER;

    fn partition(hold: &Hold) -> Partition {
        hold.partition
    }

    async fn attend(&self, me: BootId) -> Result<Vec<BootId>, Error> {
        Ok(partitions::attend(&self.pool, me, self.lease).await?)
    }

    async fn claim(&self, me: BootId, wanted: &[Partition]) -> Result<Vec<Hold>, Error> {
        Ok(partitions::claim(&self.pool, me, wanted, self.lease).await?)
    }

    async fn renew(&self, _me: BootId, held: &[Hold]) -> Result<Vec<Partition>, Error> {
        Ok(partitions::renew(&self.pool, held, self.lease).await?)
    }

    async fn release(&self, _me: BootId, held: &[Hold]) -> Result<(), Error> {
        Ok(partitions::release(&self.pool, held).await?)
    }

    async fn leave(&self, me: BootId) -> Result<(), Error> {
        Ok(partitions::leave(&self.pool, me).await?)
    }

    fn begin(&self, hold: Hold) -> Persist {
        Persist::new(self.log.clone(), self.pool.clone(), hold, self.group.clone())
    }
}

/// Runs one persister until `shutdown` begins; then its leases are handed over and it returns.
///
/// # Errors
/// A store that can't be reached at start, a schema that does not fit, or a log Redis whose settings break a promise.
pub fn serve(config: Common, database: Database, internal: TcpListener, shutdown: Shutdown) -> Running {
    Box::pin(run(config, database, internal, shutdown))
}

async fn run(
    config: Common,
    database: Database,
    internal: TcpListener,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let health = Health::new();
    let gone = Shutdown::new();
    let server = serve_internal(
        internal,
        health.clone(),
        Metrics::install(),
        config.internal_secret.clone(),
        gone.clone(),
    );
    // A paused owner's transaction must not outlive its lease: its successor waits for the row.
    let deadline = config.lease * 2 / 3;
    let pool = shared::store::connect(database.url.expose(), database.connections, "persister", deadline)?;
    shared::store::check(&pool, config.partitions).await?;
    let caps = Caps { entries: config.log_max_entries, bytes: config.log_max_bytes };
    let log = Log::connect(config.redis_url.expose(), config.partitions, config.log_retain, caps).await?;
    check_settings(&log, config.unsafe_redis).await?;
    let me = BootId::draw();
    tracing::info!(boot = %me, "persister ready");
    health.set_ready();
    let office = PostgresOffice::new(log, pool.clone(), config.lease);
    Crew::new(office, me, config.partitions).run(config.lease, health, shutdown).await;
    pool.close().await;
    gone.begin();
    let _ = server.await;
    Ok(())
}

async fn check_settings(log: &Log, on_unsafe: UnsafeRedis) -> Result<(), Error> {
    let report = log.check_settings().await?;
    if report.is_good() {
        return Ok(());
    }
    match on_unsafe {
        UnsafeRedis::Refuse => Err(Error::bug(report.to_string())),
        UnsafeRedis::Warn => {
            tracing::warn!("{report}");
            Ok(())
        }
    }
}
