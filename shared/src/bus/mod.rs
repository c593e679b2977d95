//! The bus: inboxes, routes, liveness, fan-out leases, presence, counts over all nodes. Nothing here needs to survive a
//! restart: whoever finds it empty says again what it knows, and heads are compared.

pub(crate) mod inbox;
mod lease;
mod limits;
mod presence;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionManager;

pub use inbox::{Delivery, Inbox, Notice, Word};
pub use limits::SOCKETS_TTL;
pub use presence::{SIGHTING_TTL, SOCKET_TTL, Watching};
pub use routes::Topic;

use crate::error::Error;
use crate::id::BootId;

/// One Redis that plays the bus role. Clones share everything: each socket holds one.
#[derive(Clone)]
pub struct Bus {
    client: Arc<redis::Client>,
    redis: ConnectionManager,
}

impl Bus {
    /// Connects to the Redis at `url`.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let client = Arc::new(redis::Client::open(url)?);
        Ok(Self { redis: crate::stream::connect(url).await?, client })
    }

    fn redis(&self) -> ConnectionManager {
        self.redis.clone()
    }

    /// Says in the register `key` that `me` is alive for `ttl`; answers everybody who is.
    async fn attend(&self, key: &str, me: BootId, ttl: Duration) -> Result<Vec<BootId>, Error> {
        let alive: Vec<String> = script::ATTEND
            .key(key)
            .arg(me.to_string())
            .arg(millis(ttl))
            .invoke_async(&mut self.redis())
            .await?;
        Ok(alive.iter().filter_map(|boot| boot.parse().ok()).collect())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

mod script {
    use std::sync::LazyLock;

    use redis::Script;

    use crate::planted;

    macro_rules! scripts {
        ($($name:ident = $file:literal),* $(,)?) => {
            $(pub(super) static $name: LazyLock<Script> =
                LazyLock::new(|| Script::new(&planted::script(include_str!(concat!("lua/", $file)))));)*
        };
    }

    scripts! {
        ALIVE = "alive.lua",
        ATTEND = "attend.lua",
        DELIVER = "deliver.lua",
        HOLD = "hold.lua",
        LET_GO = "let_go.lua",
        ONLINE = "online.lua",
        SOCKETS = "sockets.lua",
        VIEWERS = "viewers.lua",
    }
}
