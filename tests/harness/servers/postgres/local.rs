//! A PostgreSQL process of our own, with its data in a folder that it can be started on again.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::children::{
    Guarded, PATIENCE, Unprivileged, eventually, find_program, free_port, fresh_folder, tail,
};

pub(super) struct Local {
    folder: PathBuf,
    pub(super) port: u16,
    process: Mutex<Option<Guarded>>,
}

impl Local {
    /// Makes a data folder and a server on it, on another port when the first was taken meanwhile.
    pub(super) async fn launch() -> Local {
        let folder = fresh_folder("postgres");
        if let Some(user) = Unprivileged::when_root() {
            user.own(&folder);
        }
        initdb(&folder);
        for _ in 0..5 {
            let local = Local { folder: folder.clone(), port: free_port(), process: Mutex::new(None) };
            local.run();
            if local.answers().await {
                return local;
            }
        }
        panic!("postgres does not answer:\n{}", tail(&folder.join("log")));
    }

    /// Shuts down at once but cleanly.
    pub(super) async fn stop(&self) {
        let process = self.process().take();
        if let Some(mut process) = process {
            process.signal("INT");
            process.wait(PATIENCE).await;
        }
    }

    pub(super) fn kill9(&self) {
        let process = self.process().take();
        drop(process);
    }

    fn process(&self) -> MutexGuard<'_, Option<Guarded>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn run(&self) {
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
    pub(super) async fn ready(&self) {
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

    /// The postmaster's sessions are processes of their own, each in its own group; one may end while we look.
    pub(super) fn signal_all(&self, name: &str) {
        let process = self.process();
        let postmaster = process.as_ref().expect("the server runs").id();
        let script = format!(
            "kill -{name} {postmaster} && for session in $(pgrep -P {postmaster}); do \
             kill -{name} $session 2>/dev/null; done; kill -0 {postmaster}"
        );
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
