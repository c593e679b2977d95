//! A PostgreSQL of the tests: its schema is migrated once into a template, and every stack gets a copy.
//!
//! Durability stays on (`fsync`, `synchronous_commit`): a test that kills the server would otherwise prove
//! nothing, and a benchmark would flatter us.

mod local;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use self::local::Local;
use super::Backend;
use super::containers::{Contained, postgres_image};
use crate::children::{PATIENCE, eventually};

/// The migrated database that every stack's own database is a copy of.
const TEMPLATE: &str = "hubbub_template";

/// One PostgreSQL server of the tests. Clones are the same server.
#[derive(Clone)]
pub struct Postgres {
    /// URL of the server without a database name, ending in a slash.
    base_url: String,
    /// URL of a database that always exists, to make others from.
    admin_url: String,
    /// Names databases on servers that other test processes use too.
    prefix: String,
    place: Place,
    shared: bool,
}

#[derive(Clone)]
enum Place {
    Given,
    Contained(Arc<Contained>),
    Local(Arc<Local>),
}

/// Of the servers in containers, which live for one test process and listen on this machine only.
const PASSWORD: &str = "of-the-tests";

impl Postgres {
    /// The server that the tests of this process share, started at the first call.
    ///
    /// It is a static because starting one takes seconds and each test runs on a runtime of its own.
    pub(super) async fn shared() -> Postgres {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        let server = SHARED.get_or_init(Postgres::own).await.clone();
        Postgres { shared: true, ..server }
    }

    /// A server of our own with a migrated template.
    pub(super) async fn own() -> Postgres {
        let (place, authority) = if Backend::chosen() == Backend::Containers {
            let env = [("POSTGRES_USER", "hubbub"), ("POSTGRES_PASSWORD", PASSWORD)];
            let contained = Contained::launch(&postgres_image(), 5432, &["postgres"], &env).await;
            let authority = format!("hubbub:{PASSWORD}@127.0.0.1:{}", contained.port);
            (Place::Contained(Arc::new(contained)), authority)
        } else {
            let local = Local::launch().await;
            let authority = format!("hubbub@127.0.0.1:{}", local.port);
            (Place::Local(Arc::new(local)), authority)
        };
        let base_url = format!("postgres://{authority}/");
        let admin_url = format!("{base_url}postgres");
        let server = Postgres { admin_url, base_url, prefix: "stack".to_owned(), place, shared: false };
        server.answers().await;
        server.make_template(TEMPLATE).await;
        server
    }

    /// A server that somebody else runs, by the URL of a database whose role may create others.
    pub(super) async fn given(admin_url: String) -> Postgres {
        let (base, _) = admin_url.rsplit_once('/').expect("a database URL has a path");
        let base_url = format!("{base}/");
        let prefix = format!("hubbub_test_{}", std::process::id());
        let server = Postgres { base_url, admin_url, prefix, place: Place::Given, shared: true };
        server.execute(&format!("drop database if exists {}", server.template())).await;
        server.make_template(&server.template()).await;
        server
    }

    /// Makes an empty, migrated database and returns its URL.
    pub(super) async fn fresh_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}_{}", self.prefix, NEXT.fetch_add(1, Ordering::Relaxed));
        if matches!(self.place, Place::Given) {
            self.execute(&format!("drop database if exists {name} with (force)")).await;
        }
        self.execute(&format!("create database {name} template {}", self.template())).await;
        format!("{}{name}", self.base_url)
    }

    fn template(&self) -> String {
        match self.place {
            Place::Given => format!("{}_template", self.prefix),
            Place::Contained(_) | Place::Local(_) => TEMPLATE.to_owned(),
        }
    }

    async fn make_template(&self, name: &str) {
        self.execute(&format!("create database {name}")).await;
        super::migrate(&format!("{}{name}", self.base_url)).await;
    }

    async fn execute(&self, statement: &str) {
        let mut admin =
            PgConnection::connect(&self.admin_url).await.expect("the test database server answers");
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut admin)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
        let _ = admin.close().await;
    }

    async fn answers(&self) {
        let answer = eventually(PATIENCE, async || PgConnection::connect(&self.admin_url).await.ok());
        assert!(answer.await.is_some(), "PostgreSQL does not answer after {PATIENCE:?}");
    }

    /// Starts the server again on the same port and data, and waits until it answers.
    ///
    /// # Panics
    /// When it does not answer; its log is in the message.
    pub async fn start(&self) {
        match self.breakable() {
            Place::Given => {}
            Place::Contained(contained) => contained.docker(&["start"]),
            Place::Local(local) => {
                local.run();
                local.ready().await;
            }
        }
        self.answers().await;
    }

    /// Stops the server at once but cleanly: open transactions are rolled back.
    ///
    /// # Panics
    /// When it still runs after [`PATIENCE`].
    pub async fn stop(&self) {
        match self.breakable() {
            Place::Given => {}
            Place::Contained(contained) => contained.stop(),
            Place::Local(local) => local.stop().await,
        }
    }

    /// Kills the server with SIGKILL; its sessions end by themselves a moment later.
    pub fn kill9(&self) {
        match self.breakable() {
            Place::Given => {}
            Place::Contained(contained) => contained.docker(&["kill"]),
            Place::Local(local) => local.kill9(),
        }
    }

    /// Stops the clock of the whole server, sessions included.
    pub fn pause(&self) {
        match self.breakable() {
            Place::Given => {}
            Place::Contained(contained) => contained.docker(&["pause"]),
            Place::Local(local) => local.signal_all("STOP"),
        }
    }

    /// Ends a pause.
    pub fn resume(&self) {
        match self.breakable() {
            Place::Given => {}
            Place::Contained(contained) => contained.docker(&["unpause"]),
            Place::Local(local) => local.signal_all("CONT"),
        }
    }

    fn breakable(&self) -> &Place {
        assert!(!self.shared, "other tests use this server too: ask for Database::Own to break it");
        &self.place
    }
}
