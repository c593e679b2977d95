//! A PostgreSQL of the tests: its schema is migrated once into a template, and every stack gets a copy.
//!
//! Durability stays on (`fsync`, `synchronous_commit`): a test that kills the server would otherwise prove
//! nothing, and a benchmark would flatter us.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use crate::children::{
    Guarded, PATIENCE, Unprivileged, eventually, find_program, free_port, fresh_folder, tail,
};

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
    private: Option<Arc<Private>>,
    shared: bool,
}

struct Private {
    folder: PathBuf,
    port: u16,
    process: Mutex<Option<Guarded>>,
}

impl Postgres {
    /// The server that the tests of this process share, started at the first call.
    ///
    /// It is a static because starting one takes seconds and each test runs on a runtime of its own.
    pub(super) async fn shared() -> Postgres {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        let server = SHARED.get_or_init(Postgres::own).await.clone();
        Postgres { shared: true, ..server }
    }

    /// A private server with a migrated template.
    pub(super) async fn own() -> Postgres {
        let private = Private::launch().await;
        let base_url = format!("postgres://hubbub@127.0.0.1:{}/", private.port);
        let server = Postgres {
            admin_url: format!("{base_url}postgres"),
            base_url,
            prefix: "stack".to_owned(),
            private: Some(Arc::new(private)),
            shared: false,
        };
        server.make_template(TEMPLATE).await;
        server
    }

    /// A server that somebody else runs, by the URL of a database whose role may create others.
    pub(super) async fn given(admin_url: String) -> Postgres {
        let (base, _) = admin_url.rsplit_once('/').expect("a database URL has a path");
        let base_url = format!("{base}/");
        let prefix = format!("hubbub_test_{}", std::process::id());
        let server = Postgres { base_url, admin_url, prefix, private: None, shared: true };
        server.execute(&format!("drop database if exists {}", server.template())).await;
        server.make_template(&server.template()).await;
        server
    }

    /// Makes an empty, migrated database and returns its URL.
    pub(super) async fn fresh_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}_{}", self.prefix, NEXT.fetch_add(1, Ordering::Relaxed));
        if self.private.is_none() {
            self.execute(&format!("drop database if exists {name} with (force)")).await;
        }
        self.execute(&format!("create database {name} template {}", self.template())).await;
        format!("{}{name}", self.base_url)
    }

    fn template(&self) -> String {
        if self.private.is_some() { TEMPLATE.to_owned() } else { format!("{}_template", self.prefix) }
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

    /// Starts the server again on the same port and data, and waits until it answers.
    ///
    /// # Panics
    /// When it does not answer; its log is in the message.
    pub async fn start(&self) {
        let private = self.breakable();
        private.run();
        private.ready().await;
    }

    /// Stops the server at once but cleanly: open transactions are rolled back.
    ///
    /// # Panics
    /// When it still runs after [`PATIENCE`].
    pub async fn stop(&self) {
        let process = self.breakable().process().take();
        if let Some(mut process) = process {
            process.signal("INT");
            process.wait(PATIENCE).await;
        }
    }

    /// Kills the server with SIGKILL; its sessions end by themselves a moment later.
    pub fn kill9(&self) {
        let process = self.breakable().process().take();
        drop(process);
    }

    /// Stops the clock of the whole server, sessions included.
    pub fn pause(&self) {
        self.breakable().signal_all("STOP");
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.breakable().signal_all("CONT");
    }

    fn breakable(&self) -> &Private {
        assert!(!self.shared, "other tests use this server too: ask for Database::Own to break it");
        self.private.as_deref().expect("faults need servers of our own: run with TEST_BACKEND=local")
    }
}

impl Private {
    /// Makes a data folder and a server on it, on another port when the first was taken meanwhile.
    async fn launch() -> Private {
        let folder = fresh_folder("postgres");
        if let Some(user) = Unprivileged::when_root() {
            user.own(&folder);
        }
        initdb(&folder);
        for _ in 0..5 {
            let private = Private { folder: folder.clone(), port: free_port(), process: Mutex::new(None) };
            private.run();
            if private.answers().await {
                return private;
            }
        }
        panic!("postgres does not answer:\n{}", tail(&folder.join("log")));
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Guarded>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let started = self.spawn().expect("postgres can be started");
        *self.process() = Some(started);
    }

    fn spawn(&self) -> io::Result<Guarded> {
        let program = find_program("postgres", "postgresql");
        let data = self.folder.join("data");
        Guarded::start(&self.folder, &program, |command| {
            command.arg("-D").arg(&data).args(["-p", &self.port.to_string()]);
            for setting in SETTINGS {
                command.args(["-c", setting]);
            }
            as_server_user(command, &self.folder);
        })
    }

    /// A killed server's sessions outlive it by a moment, and while they do the next one refuses to start on
    /// their data, as it must.
    async fn ready(&self) {
        const ATTEMPTS: usize = 20;
        for _ in 0..ATTEMPTS {
            if self.answers().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.run();
        }
        panic!("postgres does not answer:\n{}", tail(&self.folder.join("log")));
    }

    fn ended(&self) -> bool {
        self.process().as_mut().is_none_or(|process| process.ended().is_some())
    }

    /// Whether our own server, not one that took the port meanwhile, answers in time.
    async fn answers(&self) -> bool {
        let url = format!("postgres://hubbub@127.0.0.1:{}/postgres", self.port);
        let data = self.folder.join("data");
        let found = eventually(PATIENCE, async || {
            if self.ended() {
                return Some(false);
            }
            let mut session = PgConnection::connect(&url).await.ok()?;
            let place = sqlx::query_scalar::<_, String>("show data_directory").fetch_one(&mut session).await;
            Some(place.is_ok_and(|place| Path::new(&place) == data))
        });
        found.await.unwrap_or(false)
    }

    /// The postmaster's sessions are processes of their own, each in its own group.
    fn signal_all(&self, name: &str) {
        let process = self.process();
        let postmaster = process.as_ref().expect("the server runs").id();
        let script = format!("kill -{name} {postmaster} $(pgrep -P {postmaster})");
        let sent = Command::new("sh").args(["-c", &script]).status();
        assert!(sent.is_ok_and(|status| status.success()), "signal {name} reaches every process of postgres");
    }
}

/// Sized for many small stacks side by side.
const SETTINGS: [&str; 6] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=400",
    "shared_buffers=64MB",
    "timezone=UTC",
    "log_min_messages=warning",
];

fn initdb(folder: &Path) {
    let mut command = Command::new(find_program("initdb", "postgresql"));
    command.args(["--username=hubbub", "--auth=trust", "--encoding=UTF8", "--locale=C", "-D"]);
    command.arg(folder.join("data"));
    as_server_user(&mut command, folder);
    let output = command.output().expect("initdb can be started");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
}

fn as_server_user(command: &mut Command, folder: &Path) {
    command.current_dir(folder);
    if let Some(user) = Unprivileged::when_root() {
        user.become_in(command);
    }
}
