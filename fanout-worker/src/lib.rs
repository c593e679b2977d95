//! The fan-out worker: takes entries from the logs and puts each into the inbox of every node that holds a socket which
//! wants it. It never opens a body, keeps nothing but its place, and may run as often as needed: the partitions are spread
//! over all workers that are alive.

mod audience;
mod route;

use std::time::Duration;

use shared::Error;
use shared::bus::Bus;
use shared::config::Common;
use shared::id::{BootId, Partition};
use shared::keys;
use shared::shutdown::{Running, Shutdown};
use shared::stream::{Caps, Crew, Log, Office};
use shared::telemetry::{Health, Metrics, serve_internal};
use tokio::net::TcpListener;

pub use route::Fanout;

/// Where fan-out leases are kept: on the bus, since two owners at once do no harm.
pub struct BusOffice {
    log: Log,
    bus: Bus,
    lease: Duration,
}

impl BusOffice {
    /// Gives out the partitions of `log`, each for `lease` at a time.
    #[must_use]
    pub fn new(log: Log, bus: Bus, lease: Duration) -> Self {
        Self { log, bus, lease }
    }
}

impl Office for BusOffice {
    type Hold = Partition;
    type Work = Fanout;

    const GROUP: &'static str = keys::FANOUT;

    fn partition(hold: &Partition) -> Partition {
        *hold
    }

    async fn attend(&self, me: BootId) -> Result<Vec<BootId>, Error> {
        self.bus.attend_fanout(me, self.lease).await
    }

    async fn claim(&self, me: BootId, wanted: &[Partition]) -> Result<Vec<Partition>, Error> {
        self.bus.claim_fanout(me, wanted, self.lease).await
    }

    async fn renew(&self, me: BootId, held: &[Partition]) -> Result<Vec<Partition>, Error> {
        self.bus.renew_fanout(me, held, self.lease).await
    }

    async fn release(&self, me: BootId, held: &[Partition]) -> Result<(), Error> {
        self.bus.release_fanout(me, held).await
    }

    async fn leave(&self, me: BootId) -> Result<(), Error> {
        self.bus.leave_fanout(me).await
    }

    fn begin(&self, partition: Partition) -> Fanout {
        Fanout::new(self.log.clone(), self.bus.clone(), partition)
    }
}

/// Runs one worker until `shutdown` begins; then its leases are handed over and it returns.
///
/// # Errors
/// A Redis that can't be reached at start.
pub fn serve(config: Common, internal: TcpListener, shutdown: Shutdown) -> Running {
    Box::pin(run(config, internal, shutdown))
}

async fn run(config: Common, internal: TcpListener, shutdown: Shutdown) -> Result<(), Error> {
    let health = Health::new();
    let gone = Shutdown::new();
    let server = serve_internal(
        internal,
        health.clone(),
        Metrics::install(),
        config.internal_secret.clone(),
        gone.clone(),
    );
    let caps = Caps { entries: config.log_max_entries, bytes: config.log_max_bytes };
    let log = Log::connect(config.redis_url.expose(), config.partitions, config.log_retain, caps).await?;
    let bus = Bus::connect(config.bus_redis_url.expose()).await?;
    let me = BootId::draw();
    tracing::info!(boot = %me, "fan-out worker ready");
    health.set_ready();
    let office = BusOffice::new(log, bus, config.lease);
    Crew::new(office, me, config.partitions).run(config.lease, health, shutdown).await;
    gone.begin();
    let _ = server.await;
    Ok(())
}
