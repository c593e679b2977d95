//! A Redis of the tests, in the role of the log or of the bus.
//!
//! Both roles run in cluster mode with one node that owns every slot. Ordinary clients notice nothing, but a
//! command or script that touches two slots is refused: so every test proves that the log and the bus could
//! be moved to a Redis Cluster.

use std::fs;
use std::io;
use std::path::PathBuf;

use redis::aio::MultiplexedConnection;

use crate::children::{
    Guarded, PATIENCE, Unprivileged, eventually, find_program, free_port, fresh_folder, tail,
};

/// What a server keeps when it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything it has acknowledged: `appendfsync always`.
    Log,
    /// Nothing.
    Bus,
}

impl Role {
    fn settings(self) -> &'static [&'static str] {
        match self {
            Role::Log => &[
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--no-appendfsync-on-rewrite",
                "no",
                "--maxmemory",
                "512mb",
                "--maxmemory-policy",
                "noeviction",
            ],
            Role::Bus => &["--appendonly", "no"],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Role::Log => "redis-log",
            Role::Bus => "redis-bus",
        }
    }
}

/// One Redis server of the tests.
pub struct Redis {
    url: String,
    private: Option<Private>,
}

/// What is needed to start a private server again in the same place.
struct Private {
    role: Role,
    folder: PathBuf,
    port: u16,
    cluster_port: u16,
    /// Whether its address was told to somebody, who relies on it from then on.
    known: bool,
    process: Option<Guarded>,
}

/// The memory of a cluster node that has owned every slot since its last life. A node that is given its slots
/// by command takes two seconds from that command, whenever it started.
const OWNS_EVERY_SLOT: &str = "\
0123456789abcdef0123456789abcdef01234567 127.0.0.1:0@0 myself,master - 0 0 1 connected 0-16383
vars currentEpoch 1 lastVoteEpoch 0
";

impl Redis {
    pub(super) fn given(url: String) -> Redis {
        Redis { url, private: None }
    }

    /// Starts the process of a private server; [`Redis::ready`] waits for it.
    pub(super) fn launch(role: Role) -> Redis {
        let folder = fresh_folder(role.name());
        let nodes = folder.join("nodes.conf");
        fs::write(&nodes, OWNS_EVERY_SLOT).expect("a fresh folder can be written");
        if let Some(user) = Unprivileged::when_root() {
            user.own(&folder);
            user.own(&nodes);
        }
        let (port, cluster_port) = (free_port(), free_port());
        let mut private = Private { role, folder, port, cluster_port, known: false, process: None };
        private.run();
        Redis { url: format!("redis://127.0.0.1:{port}/"), private: Some(private) }
    }

    /// Waits until the server owns every slot and accepts writes.
    pub(super) async fn ready(&mut self) {
        let Some(private) = &mut self.private else { return };
        let answered = eventually(PATIENCE, async || {
            private.run_elsewhere_if_port_was_taken();
            private.accepts_writes().await.then_some(())
        })
        .await;
        private.known = true;
        let log = private.folder.join("log");
        assert!(
            answered.is_some(),
            "{} is not ready after {PATIENCE:?}:\n{}",
            private.role.name(),
            tail(&log)
        );
        self.url = format!("redis://127.0.0.1:{}/", private.port);
    }

    /// `redis://` address; it stays the same when the server is started again.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts the server again on the same port and data, and waits until it accepts writes.
    ///
    /// # Panics
    /// When it does not get ready; its log is in the message.
    pub async fn start(&mut self) {
        self.private_mut().run();
        self.ready().await;
    }

    /// Stops the server as an operator would.
    ///
    /// # Panics
    /// When it still runs after [`PATIENCE`].
    pub async fn stop(&mut self) {
        if let Some(mut process) = self.private_mut().process.take() {
            process.signal("TERM");
            process.wait(PATIENCE).await;
        }
    }

    /// Kills the server with SIGKILL.
    pub fn kill9(&mut self) {
        self.private_mut().process = None;
    }

    /// Stops the server's clock: it keeps its connections and answers nothing.
    pub fn pause(&mut self) {
        self.running().signal("STOP");
    }

    /// Ends a pause.
    pub fn resume(&mut self) {
        self.running().signal("CONT");
    }

    fn private_mut(&mut self) -> &mut Private {
        self.private.as_mut().expect("faults need servers of our own: run with TEST_BACKEND=local")
    }

    fn running(&mut self) -> &Guarded {
        self.private_mut().process.as_ref().expect("the server runs")
    }
}

impl Private {
    fn run(&mut self) {
        self.process = Some(self.spawn().expect("redis-server can be started"));
    }

    fn spawn(&self) -> io::Result<Guarded> {
        let program = find_program("redis-server", "redis-server");
        let user = Unprivileged::when_root();
        Guarded::start(&self.folder, &program, |command| {
            command.args(["--bind", "127.0.0.1", "--save", "", "--cluster-enabled", "yes"]);
            command.args([
                "--port",
                &self.port.to_string(),
                "--cluster-port",
                &self.cluster_port.to_string(),
            ]);
            command.arg("--dir").arg(&self.folder).args(self.role.settings());
            command.current_dir(&self.folder);
            if let Some(user) = user {
                user.become_in(command);
            }
        })
    }

    /// Between choosing a port and listening on it, somebody else may have taken it. Only a server that
    /// nobody knows yet may move.
    fn run_elsewhere_if_port_was_taken(&mut self) {
        let ended = self.process.as_mut().is_some_and(|process| process.ended().is_some());
        if ended && !self.known {
            (self.port, self.cluster_port) = (free_port(), free_port());
            self.run();
        }
    }

    async fn accepts_writes(&self) -> bool {
        match self.connect().await {
            Ok(mut connection) => self.is_ours_and_ready(&mut connection).await.unwrap_or(false),
            Err(_) => false,
        }
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port))?;
        client.get_multiplexed_async_connection().await
    }

    /// A cluster of one refuses writes for about two seconds after each start.
    async fn is_ours_and_ready(&self, connection: &mut MultiplexedConnection) -> redis::RedisResult<bool> {
        let server: String = redis::cmd("INFO").arg("server").query_async(connection).await?;
        let ours = self.process.as_ref().map(|process| format!("process_id:{}\r", process.id()));
        let cluster: String = redis::cmd("CLUSTER").arg("INFO").query_async(connection).await?;
        Ok(ours.is_some_and(|ours| server.contains(&ours)) && cluster.contains("cluster_state:ok"))
    }
}
