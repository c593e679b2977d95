//! One partition of a real log, with the Postgres behind it and the bus beside it, for tests that call each step
//! themselves.
//!
//! Partitions share nothing, so sixteen tests share one set of servers: a test that breaks a server, or that looks at
//! what belongs to no partition, asks for its own.

mod voice;
mod wall;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use persister::{GroupCommit, Persist};
use redis::aio::MultiplexedConnection;
use shared::Error;
use shared::bus::Bus;
use shared::error::Code;
use shared::id::{AccountId, BootId, EntryId, Partition, RoomId};
use shared::keys;
use shared::room::RoomKind;
use shared::store::partitions::{self, Hold};
use shared::store::rooms::{self, NewRoom};
use shared::stream::{Caps, Log, Placed, Producer, Progress, Work};
use sqlx::PgPool;
use tokio::sync::Mutex;
use uuid::Uuid;

pub use voice::{Line, Voice};
pub use wall::Wall;

use crate::children::{PATIENCE, eventually};
use crate::process::Variables;
use crate::servers::{Backend, Database, PARTITIONS, Servers};

/// As in production: ten minutes.
pub const RETAIN: Duration = Duration::from_secs(600);
/// More than any test fills.
pub const CAPS: Caps = Caps { entries: 1_000_000, bytes: 1 << 30 };
/// How long a persister of a test may work without renewing; nobody renews.
pub const LEASE: Duration = Duration::from_secs(60);

/// One partition and everything it needs.
pub struct Stage {
    /// Which of the sixteen.
    pub partition: Partition,
    /// The log, with production's retention and more room than any test fills.
    pub log: Log,
    /// The database.
    pub pool: PgPool,
    /// The bus.
    pub bus: Bus,
    /// `REDIS_URL`, for logs with other settings.
    pub log_url: String,
    /// `BUS_REDIS_URL`.
    pub bus_url: String,
    /// `DATABASE_URL`, for pools with other deadlines.
    pub database_url: String,
    /// Keeps shared servers running.
    _shared: Option<Arc<Servers>>,
}

/// The servers that are being shared, and their next free partition. A static because tests know nothing of each other.
static SHARED: Mutex<Option<(Arc<Servers>, u16)>> = Mutex::const_new(None);

impl Stage {
    /// A partition of servers that others use too.
    pub async fn start() -> Self {
        if Backend::chosen() == Backend::Given {
            let servers = Arc::new(Servers::start().await);
            return Self { _shared: Some(servers.clone()), ..Self::on(&servers, 0).await };
        }
        let mut shared = SHARED.lock().await;
        let (servers, free) = match shared.take() {
            Some((servers, free)) if free < PARTITIONS => (servers, free),
            _ => (Arc::new(Servers::start().await), 0),
        };
        *shared = Some((servers.clone(), free + 1));
        drop(shared);
        Self { _shared: Some(servers.clone()), ..Self::on(&servers, free).await }
    }

    /// A partition of servers that this test may break.
    pub async fn with_servers(database: Database) -> (Self, Servers) {
        let servers = Servers::start_with(database).await;
        (Self::on(&servers, 3).await, servers)
    }

    async fn on(servers: &Servers, partition: u16) -> Self {
        let log = Log::connect(&servers.log_url, PARTITIONS, RETAIN, CAPS).await.expect("the log answers");
        Self {
            partition: Partition::numbered(partition),
            log,
            pool: pool(&servers.database_url, Duration::from_secs(5)),
            bus: Bus::connect(&servers.bus_url).await.expect("the bus answers"),
            log_url: servers.log_url.clone(),
            bus_url: servers.bus_url.clone(),
            database_url: servers.database_url.clone(),
            _shared: None,
        }
    }

    /// Another partition of the same servers.
    #[must_use]
    pub fn at(&self, partition: u16) -> Self {
        Self {
            partition: Partition::numbered(partition),
            log: self.log.clone(),
            pool: self.pool.clone(),
            bus: self.bus.clone(),
            log_url: self.log_url.clone(),
            bus_url: self.bus_url.clone(),
            database_url: self.database_url.clone(),
            _shared: self._shared.clone(),
        }
    }

    /// The same log with other settings.
    pub async fn log_with(&self, retain: Duration, caps: Caps) -> Log {
        Log::connect(&self.log_url, PARTITIONS, retain, caps).await.expect("the log answers")
    }

    /// A bare connection to the log's Redis.
    pub async fn redis(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.log_url.as_str()).expect("the harness gives redis:// URLs");
        client.get_multiplexed_async_connection().await.expect("the log's Redis answers")
    }

    /// A room of this partition, as Postgres knows it.
    pub async fn room(&self) -> RoomId {
        self.make_room(self.unknown_room()).await
    }

    /// A room of some other partition of the same servers, which had better be this test's own.
    pub async fn room_elsewhere(&self) -> RoomId {
        let elsewhere = std::iter::repeat_with(|| RoomId(Uuid::new_v4()))
            .find(|room| Partition::of(*room, PARTITIONS) != self.partition);
        self.make_room(elsewhere.expect("most rooms are in another partition")).await
    }

    async fn make_room(&self, id: RoomId) -> RoomId {
        let room =
            NewRoom { id, kind: RoomKind::Group, name: Some("a room"), description: None, created_by: None };
        rooms::insert(&self.pool, &room).await.expect("Postgres takes a room");
        id
    }

    /// The name of a room of this partition that does not exist.
    pub fn unknown_room(&self) -> RoomId {
        std::iter::repeat_with(|| RoomId(Uuid::new_v4()))
            .find(|room| Partition::of(*room, PARTITIONS) == self.partition)
            .expect("one of sixteen rooms is in this partition")
    }

    /// Appends to the log as an api node does.
    pub fn producer(&self) -> Voice {
        self.producer_to(self.log.clone())
    }

    /// Appends to a log with settings of its own.
    pub fn producer_to(&self, log: Log) -> Voice {
        Voice { producer: Producer::new(log, self.pool.clone()), partition: self.partition }
    }

    /// An api node that can't reach Postgres.
    pub fn producer_without_postgres(&self) -> Voice {
        let nowhere = pool("postgres://nobody@127.0.0.1:1/none", Duration::from_secs(1));
        Voice { producer: Producer::new(self.log.clone(), nowhere), partition: self.partition }
    }

    /// Takes the partition's lease, which must be free.
    pub async fn claim(&self, lease: Duration) -> Hold {
        let claimed = partitions::claim(&self.pool, BootId::draw(), &[self.partition], lease).await;
        let mine =
            claimed.expect("Postgres answers").into_iter().find(|hold| hold.partition == self.partition);
        mine.expect("the lease is free")
    }

    /// Lets the lease of whoever holds it run out now.
    pub async fn lapse(&self) {
        let id = i16::try_from(self.partition.number()).expect("there are sixteen");
        sqlx::query("update hubbub.partition set lease_until = clock_timestamp() where id = $1")
            .bind(id)
            .execute(&self.pool)
            .await
            .expect("Postgres answers");
    }

    /// Puts Postgres back to where an older copy of it was.
    pub async fn rewind_postgres(&self, to: EntryId) {
        let id = i16::try_from(self.partition.number()).expect("there are sixteen");
        sqlx::query("update hubbub.partition set epoch = $2, watermark = $3, lease_until = clock_timestamp() where id = $1")
            .bind(id)
            .bind(i32::try_from(to.epoch).expect("tests have few epochs"))
            .bind(i64::from(to.pseq))
            .execute(&self.pool)
            .await
            .expect("Postgres answers");
    }

    /// The variables of a real persister on these servers.
    pub fn variables(&self) -> Variables {
        let variables = [
            ("APP_ENV", "development"),
            ("LOG_FORMAT", "json"),
            ("LEASE_MS", "3000"),
            ("DATABASE_URL", &self.database_url),
            ("REDIS_URL", &self.log_url),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// A new owner of the partition that has done nothing yet.
    pub async fn persister(&self) -> Persist {
        self.work(&self.pool, self.claim(LEASE).await)
    }

    /// What the holder of a lease does, through sessions of its own; never held up by a transaction before.
    pub fn work(&self, sessions: &PgPool, hold: Hold) -> Persist {
        let group = GroupCommit::new(sessions.clone(), PARTITIONS, Duration::ZERO);
        Persist::new(self.log.clone(), sessions.clone(), hold, group)
    }

    /// A new owner that has opened the log.
    pub async fn open(&self) -> Persist {
        let mut persister = self.persister().await;
        self.let_open(&mut persister).await;
        persister
    }

    /// Lets `persister` work until the log is open. The turn under way is left in the middle, as by a kill.
    pub async fn let_open(&self, persister: &mut Persist) {
        let opened =
            eventually(PATIENCE, async || self.log.state(self.partition).await.ok()?.open.then_some(()));
        let steps = async {
            loop {
                let _ = persister.step().await;
            }
        };
        tokio::select! {
            opened = opened => opened.expect("the owner opens the log"),
            () = steps => {}
        }
    }

    /// Closes the log, and lets `persister` open it again: a new epoch, in which the log remembers nothing.
    pub async fn reopen(&self, persister: &mut Persist) {
        self.log.close(self.partition).await.expect("the log answers");
        self.let_open(persister).await;
    }

    /// Makes the log believe that it was opened an hour ago, so that every nonce of today is a young one.
    pub async fn open_since_long(&self) {
        let hour_ago = now_ms() - 3_600_000;
        let mut set = redis::cmd("HSET");
        set.arg(keys::meta(self.partition)).arg("opened").arg(hour_ago);
        set.exec_async(&mut self.redis().await).await.expect("the log's Redis answers");
    }

    /// Lets `persister` work until Postgres has everything that the log has.
    ///
    /// # Panics
    /// When a turn fails or the lease is lost.
    pub async fn store_all(&self, persister: &mut Persist) {
        let steps = async {
            while self.watermark().await < self.newest().await {
                let progress = persister.step().await.expect("the turn goes well");
                assert_ne!(progress, Progress::LostLease, "this persister is the owner");
            }
        };
        let stored = tokio::time::timeout(PATIENCE, steps).await;
        stored.expect("Postgres has everything that the log has");
    }

    /// The newest entry of the log.
    pub async fn newest(&self) -> EntryId {
        let state = self.log.state(self.partition).await.expect("the log answers");
        state.newest.unwrap_or_default()
    }

    /// How far Postgres is.
    pub async fn watermark(&self) -> EntryId {
        partitions::read(&self.pool, self.partition).await.expect("Postgres answers").watermark
    }

    /// The messages of a room as Postgres has them, in order: epoch, seq, text.
    pub async fn stored(&self, room: RoomId) -> Vec<(i32, i64, String)> {
        sqlx::query_as(
            "select epoch, seq, coalesce(content, kind) from hubbub.message where room = $1 order by epoch, seq",
        )
        .bind(room.0)
        .fetch_all(&self.pool)
        .await
        .expect("Postgres answers")
    }

    /// The texts of [`Self::stored`].
    pub async fn texts(&self, room: RoomId) -> Vec<String> {
        self.stored(room).await.into_iter().map(|(.., text)| text).collect()
    }

    /// How many people like `target`, as Postgres has it.
    pub async fn stored_likes(&self, target: Uuid) -> i64 {
        sqlx::query_scalar("select count(*) from hubbub.reaction where target = $1")
            .bind(target)
            .fetch_one(&self.pool)
            .await
            .expect("Postgres answers")
    }

    /// Everything that the log's Redis has of this partition, byte for byte.
    pub async fn dump(&self) -> BTreeMap<String, Vec<u8>> {
        let mut redis = self.redis().await;
        let pattern = format!("{{p{}}}*", self.partition);
        let names: Vec<String> =
            redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.expect("the log's Redis answers");
        let mut all = BTreeMap::new();
        for name in names {
            let bytes = redis::cmd("DUMP").arg(&name).query_async(&mut redis).await;
            all.insert(name, bytes.expect("the log's Redis answers"));
        }
        all
    }

    /// Puts this partition back to where [`Self::dump`] had it.
    pub async fn restore(&self, dump: &BTreeMap<String, Vec<u8>>) {
        let mut redis = self.redis().await;
        let mut del = redis::cmd("DEL");
        for name in self.dump().await.keys() {
            del.arg(name);
        }
        del.exec_async(&mut redis).await.expect("the log's Redis answers");
        for (name, bytes) in dump {
            let mut restore = redis::cmd("RESTORE");
            restore.arg(name).arg(0).arg(bytes);
            restore.exec_async(&mut redis).await.expect("the log's Redis answers");
        }
    }

    /// What `XINFO GROUPS` says that `group` lags behind: none while there is no such group, or when Redis can't tell.
    pub async fn lag(&self, group: &str) -> Option<u64> {
        let groups: Vec<BTreeMap<String, redis::Value>> = redis::cmd("XINFO")
            .arg("GROUPS")
            .arg(keys::log(self.partition))
            .query_async(&mut self.redis().await)
            .await
            .ok()?;
        let name = |found: &BTreeMap<String, redis::Value>| {
            found.get("name").and_then(|name| redis::from_redis_value::<String>(name.clone()).ok())
        };
        let found = groups.into_iter().find(|found| name(found).as_deref() == Some(group))?;
        redis::from_redis_value(found.get("lag")?.clone()).ok()?
    }
}

/// Somebody new.
pub fn somebody() -> AccountId {
    AccountId(Uuid::new_v4())
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    u64::try_from(chrono::Utc::now().timestamp_millis()).expect("it is after 1970")
}

/// The code of a refusal.
///
/// # Panics
/// When it was none.
pub fn refusal(outcome: Result<Placed, Error>) -> Code {
    outcome.expect_err("this is refused").code()
}

/// The place of an accepted entry in its log.
pub fn place(placed: &Placed) -> EntryId {
    placed.no.place(PARTITIONS).expect("the log gives numbers that have a place").1
}

/// A pool whose sessions give up after `deadline`.
pub fn pool(url: &str, deadline: Duration) -> PgPool {
    shared::store::connect(url, 8, "suite", deadline).expect("the harness's address is good")
}
