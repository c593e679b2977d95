//! What a node is made of: settings, stores, the hub. Built once at start and handed to everything as one value.

use std::sync::Arc;

use shared::Error;
use shared::bus::{Bus, Notice};
use shared::config::Database;
use shared::id::{AccountId, Partition, RoomId};
use shared::shutdown::Shutdown;
use shared::store::{self, PgPool};
use shared::stream::{Caps, Log, Producer};
use shared::telemetry::Health;

use crate::auth::{Authenticator, Settings, jwks};
use crate::chat::live_session::LiveSessions;
use crate::chat::seats::Seats;
use crate::config::Config;
use crate::hub::Hub;
use crate::limits::NodeLimits;

/// The node, as everything that answers a client holds it.
#[derive(Clone)]
pub(crate) struct Shared(Arc<App>);

impl std::ops::Deref for Shared {
    type Target = App;

    fn deref(&self) -> &App {
        &self.0
    }
}

/// One api node.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) log: Log,
    pub(crate) producer: Producer,
    pub(crate) bus: Bus,
    pub(crate) pool: PgPool,
    pub(crate) hub: Hub,
    pub(crate) auth: Arc<Authenticator>,
    pub(crate) sessions: LiveSessions,
    pub(crate) seats: Seats,
    pub(crate) limits: NodeLimits,
    pub(crate) health: Health,
    /// Begun when the node was told to stop: new sockets are refused from then on.
    pub(crate) draining: Shutdown,
}

/// Statements of an api node may take so long: a client waits for them.
const STATEMENT_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

impl App {
    /// Connects to the stores.
    pub(crate) async fn build(config: Config, health: Health, draining: Shutdown) -> Result<Shared, Error> {
        let common = &config.common;
        let Database { url, connections } = &config.database;
        let pool = store::connect(url.expose(), *connections, "api", STATEMENT_WITHIN)?;
        let caps = Caps { entries: common.log_max_entries, bytes: common.log_max_bytes };
        let log = Log::connect(common.redis_url.expose(), common.partitions, common.log_retain, caps).await?;
        let bus = Bus::connect(common.bus_redis_url.expose()).await?;
        let auth = Arc::new(
            Authenticator::new(
                &Settings::from(&config),
                pool.clone(),
                &jwks::http_client().map_err(Error::bug)?,
                tell_all(bus.clone()),
            )
            .map_err(Error::bug)?,
        );
        Ok(Shared(Arc::new(Self {
            producer: Producer::new(log.clone(), pool.clone()),
            hub: Hub::new(),
            sessions: LiveSessions::new(&config.live_chat),
            seats: Seats::new(),
            limits: NodeLimits::new(&config.limits),
            log,
            bus,
            pool,
            auth,
            health,
            draining,
            config,
        })))
    }

    pub(crate) fn partitions(&self) -> u16 {
        self.config.common.partitions
    }

    /// The partition that holds `room`.
    pub(crate) fn partition(&self, room: RoomId) -> Partition {
        Partition::of(room, self.partitions())
    }
}

/// Tells every node that an account's sign-ins have to be looked at again. A node that is not reached finds out by itself
/// within the revocation check's time.
fn tell_all(bus: Bus) -> Box<dyn Fn(AccountId) + Send + Sync> {
    Box::new(move |account| {
        let bus = bus.clone();
        tokio::spawn(async move {
            let told = async {
                for node in bus.nodes().await? {
                    bus.deliver(node, &[Notice::AccountChanged(account)]).await?;
                }
                Ok::<(), Error>(())
            };
            if let Err(error) = told.await {
                tracing::warn!(%error, %account, "not every node was told of a revocation; they will look by themselves");
            }
        });
    })
}
