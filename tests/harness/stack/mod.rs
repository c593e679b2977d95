//! A whole Hubbub: private servers, a migrated database, and any number of each service.
//!
//! Ending it with [`Stack::finish`] is part of every scenario: everything accepted is in Postgres, nothing was parked,
//! every service ends when told to, and no task is left behind.

mod facts;
mod service;

use std::sync::{Arc, RwLock};
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use shared::stream::{Caps, Log};
use sqlx::PgPool;

use crate::children::eventually;
use crate::person::{Addresses, Node, Person};
use crate::process::Variables;
use crate::servers::{Database, PARTITIONS, Servers};
pub use service::{Flavour, Role, Service};

/// How long the stack waits for a fact about itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whoever signs tokens for a stack by hand needs its key.
pub const SECRET_KEY: &str = "a5c1f7092be84d36b1e0c4d87f63a92e5b";

/// A running stack.
pub struct Stack {
    /// Its servers, to be broken on purpose.
    pub servers: Servers,
    /// Its database.
    pub pool: PgPool,
    flavour: Flavour,
    variables: Variables,
    nodes: Vec<Option<Service>>,
    fanout_workers: Vec<Option<Service>>,
    persisters: Vec<Option<Service>>,
    addresses: Addresses,
    http: reqwest::Client,
    /// Tasks that were there before.
    tasks: usize,
    finished: bool,
}

/// What a stack is to be made of.
pub struct Builder {
    database: Database,
    flavour: Flavour,
    variables: Variables,
    nodes: usize,
    fanout_workers: usize,
    persisters: usize,
}

/// Limits that a test of something else must not meet.
const RAISED: [&str; 11] = [
    "LIVE_CHAT_MAX_MESSAGES_PER_USER_PER_MINUTE",
    "LIMIT_MESSAGES_PER_SECOND",
    "LIMIT_MESSAGES_BURST",
    "LIMIT_ROOM_MESSAGES_PER_SECOND",
    "LIMIT_FRAMES_PER_SECOND",
    "LIMIT_FRIEND_CHANGES_PER_MINUTE",
    "LIMIT_LOOKUPS_PER_MINUTE",
    "LIMIT_HANDSHAKES_PER_SECOND",
    "LIMIT_SOCKETS_PER_USER",
    "LIMIT_SOCKETS_PER_IP",
    "LIMIT_UNAUTHENTICATED_PER_IP",
];

impl Builder {
    fn new() -> Builder {
        // The draw is now, not at a time of day: no test may depend on when it runs.
        let draw = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let builder = Builder {
            database: Database::Shared,
            flavour: Flavour::Tasks,
            variables: Variables::new(),
            nodes: 1,
            fanout_workers: 1,
            persisters: 1,
        };
        let builder = builder
            .var("APP_ENV", "development")
            .var("SECRET_KEY", SECRET_KEY)
            .var("DRAW_TIMES", &draw)
            .var("LIVE_CHAT_PRE_DRAW_HOURS", "12")
            .var("LIVE_CHAT_POST_DRAW_HOURS", "12")
            .var("LEASE_MS", "3000")
            .var("DRAIN_SECS", "1")
            .var("DATABASE_POOL_MAX", "4");
        RAISED.iter().fold(builder, |builder, name| builder.var(name, "100000"))
    }

    /// Sets a variable of all services.
    #[must_use]
    pub fn var(mut self, name: &str, value: &str) -> Builder {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With every limit as it is in production.
    #[must_use]
    pub fn strict(mut self) -> Builder {
        for name in RAISED {
            self.variables.remove(name);
        }
        self
    }

    /// With so many api nodes.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Builder {
        self.nodes = nodes;
        self
    }

    /// With so many fan-out workers and persisters.
    #[must_use]
    pub fn workers(mut self, each: usize) -> Builder {
        (self.fanout_workers, self.persisters) = (each, each);
        self
    }

    /// With a PostgreSQL server that the test may break.
    #[must_use]
    pub fn own_postgres(mut self) -> Builder {
        self.database = Database::Own;
        self
    }

    /// As processes of their own, which the test may kill.
    #[must_use]
    pub fn processes(mut self) -> Builder {
        self.flavour = Flavour::Processes;
        self
    }

    /// Starts everything and waits until it is ready to chat.
    ///
    /// # Panics
    /// When something does not start; the message says what.
    pub async fn start(mut self) -> Stack {
        let tasks = alive_tasks();
        let servers = Servers::start_with(self.database).await;
        for (name, url) in [
            ("DATABASE_URL", &servers.database_url),
            ("REDIS_URL", &servers.log_url),
            ("BUS_REDIS_URL", &servers.bus_url),
        ] {
            self.variables.insert(name.to_owned(), url.clone());
        }
        let pool =
            shared::store::connect(&servers.database_url, 2, "test", PATIENCE).expect("a good address");
        let mut stack = Stack {
            pool,
            servers,
            flavour: self.flavour,
            variables: self.variables,
            nodes: Vec::new(),
            fanout_workers: Vec::new(),
            persisters: Vec::new(),
            addresses: Arc::new(RwLock::new(Vec::new())),
            http: http_client(),
            tasks,
            finished: false,
        };
        for _ in 0..self.persisters {
            stack.add(Role::Persister).await;
        }
        for _ in 0..self.fanout_workers {
            stack.add(Role::FanoutWorker).await;
        }
        for _ in 0..self.nodes {
            stack.add(Role::Api).await;
        }
        stack.ready().await;
        stack
    }
}

impl Stack {
    /// One of each, with limits out of the way.
    pub async fn start() -> Stack {
        Stack::builder().start().await
    }

    /// Something else than that.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Adds a service; [`Stack::ready`] waits for it.
    pub async fn add(&mut self, role: Role) {
        let service = Service::start(role, self.flavour, &self.variables).await;
        if role == Role::Api {
            self.addresses.write().expect("nothing panics while it holds this lock").push(service.address);
        }
        self.services(role).push(Some(service));
    }

    /// Sets a variable for services that are added later.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Waits until every service is ready and every partition is open.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn ready(&mut self) {
        let all = self.nodes.iter_mut().chain(&mut self.fanout_workers).chain(&mut self.persisters);
        for service in all.flatten() {
            service.ready().await;
        }
        if self.persisters.iter().any(Option::is_some) {
            self.partitions_open().await;
        }
    }

    fn services(&mut self, role: Role) -> &mut Vec<Option<Service>> {
        match role {
            Role::Api => &mut self.nodes,
            Role::FanoutWorker => &mut self.fanout_workers,
            Role::Persister => &mut self.persisters,
        }
    }

    /// The service of this role with this number, counted from 1.
    ///
    /// # Panics
    /// When it was taken away.
    pub fn service(&mut self, role: Role, number: usize) -> &mut Service {
        let service = self.services(role)[number - 1].as_mut();
        service.unwrap_or_else(|| panic!("{role:?} {number} was stopped"))
    }

    /// An api node.
    pub fn node(&mut self, node: Node) -> &mut Service {
        self.service(Role::Api, node.0)
    }

    /// Where a node says how it is.
    ///
    /// # Panics
    /// When it was taken away.
    pub fn internal(&self, node: usize) -> std::net::SocketAddr {
        self.nodes[node - 1].as_ref().expect("the node runs").internal
    }

    /// Takes a service out of the stack's hands; it runs on.
    ///
    /// # Panics
    /// When it was taken before.
    pub fn take(&mut self, role: Role, number: usize) -> Service {
        let service = self.services(role)[number - 1].take();
        service.unwrap_or_else(|| panic!("{role:?} {number} was stopped"))
    }

    /// Stops a service as a deploy does, and waits for its end.
    pub async fn stop(&mut self, role: Role, number: usize) {
        let service = self.take(role, number);
        service.stop();
        service.ended().await;
    }

    /// Signs somebody in at the first node.
    pub async fn person(&self, name: &str) -> Person {
        self.person_with(name, &[]).await
    }

    /// Signs somebody with roles in.
    pub async fn person_with(&self, name: &str, roles: &[&str]) -> Person {
        Person::sign_in(name, roles, Node(1), self.addresses.clone(), self.http.clone()).await
    }

    /// The variables that its services run with.
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// So many tasks of the scenario's own live longer than the stack.
    pub fn is_outlived_by(&mut self, tasks: usize) {
        self.tasks += tasks;
    }

    /// The log, for looking at.
    pub async fn log(&self) -> Log {
        let caps = Caps { entries: u64::MAX, bytes: u64::MAX };
        Log::connect(&self.servers.log_url, PARTITIONS, PATIENCE, caps).await.expect("the log answers")
    }

    /// Ends the scenario: what was accepted is stored, nothing was parked, everything stops when told to.
    ///
    /// # Panics
    /// When a promise was broken.
    pub async fn finish(mut self) {
        stop_all(&mut self.nodes).await;
        if self.persisters.iter().all(Option::is_none) {
            self.add(Role::Persister).await;
            self.ready().await;
        }
        self.stored().await;
        self.nothing_was_parked().await;
        stop_all(&mut self.fanout_workers).await;
        stop_all(&mut self.persisters).await;
        self.pool.close().await;
        let tasks = self.tasks;
        let left = eventually(PATIENCE, async || (alive_tasks() <= tasks).then_some(())).await;
        assert!(left.is_some(), "{} tasks are left", alive_tasks() - tasks);
        self.finished = true;
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        assert!(self.finished || std::thread::panicking(), "a scenario ends with stack.finish()");
    }
}

async fn stop_all(services: &mut Vec<Option<Service>>) {
    for service in services.iter().flatten() {
        service.stop();
    }
    for service in services.drain(..).flatten() {
        service.ended().await;
    }
}

/// Without a time-out for idle connections, because a client keeps a task for that as long as it lives.
fn http_client() -> reqwest::Client {
    reqwest::Client::builder().pool_idle_timeout(None).build().expect("these settings are good")
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
