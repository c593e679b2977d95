//! A Redis of the tests, in the role of the log or of the bus.
//!
//! Both roles run in cluster mode with one node that owns every slot. Ordinary clients notice nothing, but a
//! command or script that touches two slots is refused: so every test proves that the log and the bus could
//! be moved to a Redis Cluster.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use redis::aio::MultiplexedConnection;
use shared::planted::Bug;

use super::containers::{Contained, redis_image};
use crate::children::{
    Guarded, PATIENCE, Unprivileged, eventually, find_program, free_port, fresh_folder, tail,
};

/// What a server keeps when it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything it has acknowledged.
    Log,
    /// Nothing.
    Bus,
}

/// As the services demand it of the log.
const LOG_SETTINGS: [&str; 10] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--no-appendfsync-on-rewrite",
    "no",
    "--maxmemory",
    "2gb",
    "--maxmemory-policy",
    "noeviction",
];

const BUS_SETTINGS: [&str; 2] = ["--appendonly", "no"];

const SETTINGS_OF_BOTH: [&str; 4] = ["--save", "", "--cluster-enabled", "yes"];

impl Role {
    fn settings(self) -> &'static [&'static str] {
        match self {
            Role::Log => &LOG_SETTINGS,
            Role::Bus => &BUS_SETTINGS,
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
    place: Place,
}

enum Place {
    Given,
    Contained(Contained),
    Local(Local),
}

/// What is needed to start a process again in the same place.
struct Local {
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

fn url_of(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/")
}

impl Redis {
    pub(super) fn given(url: String) -> Redis {
        Redis { url, place: Place::Given }
    }

    /// Starts a process of our own; [`Redis::ready`] waits for it.
    pub(super) fn local(role: Role) -> Redis {
        let local = Local::launch(role);
        Redis { url: url_of(local.port), place: Place::Local(local) }
    }

    /// Starts a container of our own; [`Redis::ready`] waits for it.
    pub(super) async fn contained(role: Role) -> Redis {
        let mut command = vec!["redis-server", "--dir", "/data"];
        command.extend(SETTINGS_OF_BOTH);
        command.extend(role.settings());
        let contained = Contained::launch(&redis_image(), 6379, &command, &[]).await;
        Redis { url: url_of(contained.port), place: Place::Contained(contained) }
    }

    /// Waits until the server owns every slot and accepts writes.
    pub(super) async fn ready(&mut self) {
        let ready = eventually(PATIENCE, async || {
            if let Place::Local(local) = &mut self.place {
                local.run_elsewhere_if_port_was_taken();
                self.url = url_of(local.port);
            }
            let process_id = self.process_id();
            accepts_writes(&self.url, process_id).await.unwrap_or(false).then_some(())
        });
        let ready = ready.await;
        assert!(ready.is_some(), "Redis is not ready after {PATIENCE:?}:\n{}", self.place.log_tail());
        if let Place::Local(local) = &mut self.place {
            local.known = true;
        }
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
        self.revive();
        self.ready().await;
    }

    /// Starts the server again on the same port and data, without waiting until it accepts writes.
    pub fn revive(&mut self) {
        match &mut self.place {
            Place::Given => refuse(),
            Place::Contained(contained) => contained.docker(&["start"]),
            Place::Local(local) => local.run(),
        }
    }

    /// The id of its process, where that is ours.
    pub fn process_id(&self) -> Option<u32> {
        match &self.place {
            Place::Local(local) => local.process.as_ref().map(Guarded::id),
            Place::Contained(_) | Place::Given => None,
        }
    }

    /// Stops the server as an operator would.
    ///
    /// # Panics
    /// When it still runs after [`PATIENCE`].
    pub async fn stop(&mut self) {
        match &mut self.place {
            Place::Given => refuse(),
            Place::Contained(contained) => contained.stop(),
            Place::Local(local) => {
                if let Some(mut process) = local.process.take() {
                    process.signal("TERM");
                    process.wait(PATIENCE).await;
                }
            }
        }
    }

    /// Kills the server with SIGKILL.
    pub fn kill9(&mut self) {
        match &mut self.place {
            Place::Given => refuse(),
            Place::Contained(contained) => contained.docker(&["kill"]),
            Place::Local(local) => local.process = None,
        }
    }

    /// Stops the server's clock: it keeps its connections and answers nothing.
    pub fn pause(&mut self) {
        match &self.place {
            Place::Given => refuse(),
            Place::Contained(contained) => contained.docker(&["pause"]),
            Place::Local(local) => local.signal("STOP"),
        }
    }

    /// Ends a pause.
    pub fn resume(&mut self) {
        match &self.place {
            Place::Given => refuse(),
            Place::Contained(contained) => contained.docker(&["unpause"]),
            Place::Local(local) => local.signal("CONT"),
        }
    }
}

/// What a disk or an operator may do to the files of a log that does not run. Servers of this machine only.
impl Redis {
    /// Cuts `bytes` off the end of the file, as a crash in the middle of a write does.
    ///
    /// # Panics
    /// When the server has no file on this machine.
    pub fn cut_file(&self, bytes: u64) {
        let newest = fs::read_dir(self.files())
            .expect("a log has files")
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
            .max()
            .expect("a log has a file that grows");
        let file = fs::File::options().write(true).open(newest).expect("the file can be written");
        let length = file.metadata().expect("a file has a length").len();
        file.set_len(length.saturating_sub(bytes)).expect("the file can be cut");
    }

    /// Copies the files of a server that does not run.
    ///
    /// # Panics
    /// When the server has none on this machine.
    pub fn copy_files(&self) -> PathBuf {
        let copy = fresh_folder("redis-copy").join("files");
        copy_folder(&self.files(), &copy);
        copy
    }

    /// Puts a copy back in place of the files of a server that does not run.
    ///
    /// # Panics
    /// When that can't be done.
    pub fn restore_files(&self, copy: &Path) {
        fs::remove_dir_all(self.files()).expect("the files can be removed");
        copy_folder(copy, &self.files());
    }

    fn files(&self) -> PathBuf {
        match &self.place {
            Place::Local(local) => local.folder.join("appendonlydir"),
            Place::Contained(_) | Place::Given => {
                panic!("this test changes files of its servers: run it with TEST_BACKEND=local")
            }
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.is_ok_and(|status| status.success()), "{} can be copied", from.display());
}

fn refuse() {
    panic!("this test breaks its servers, so they cannot be given ones: run it with TEST_BACKEND=local");
}

impl Place {
    fn log_tail(&self) -> String {
        match self {
            Place::Local(local) => tail(&local.folder.join("log")),
            Place::Contained(_) | Place::Given => String::new(),
        }
    }
}

impl Local {
    fn launch(role: Role) -> Local {
        let folder = fresh_folder(role.name());
        let nodes = folder.join("nodes.conf");
        fs::write(&nodes, OWNS_EVERY_SLOT).expect("a fresh folder can be written");
        if let Some(user) = Unprivileged::when_root() {
            user.own(&folder);
            user.own(&nodes);
        }
        let (port, cluster_port) = (free_port(), free_port());
        let mut local = Local { role, folder, port, cluster_port, known: false, process: None };
        local.run();
        local
    }

    fn run(&mut self) {
        self.process = Some(self.spawn().expect("redis-server can be started"));
    }

    fn spawn(&self) -> io::Result<Guarded> {
        let program = find_program("redis-server", "redis-server");
        let user = Unprivileged::when_root();
        Guarded::start(&self.folder, &program, |command| {
            command.args(["--bind", "127.0.0.1"]).args(SETTINGS_OF_BOTH).args(self.role.settings());
            command.args([
                "--port",
                &self.port.to_string(),
                "--cluster-port",
                &self.cluster_port.to_string(),
            ]);
            if self.role == Role::Log && Bug::SyncedEverySecond.is_planted() {
                command.args(["--appendfsync", "everysec"]);
            }
            command.arg("--dir").arg(&self.folder);
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

    fn signal(&self, name: &str) {
        self.process.as_ref().expect("the server runs").signal(name);
    }
}

/// A cluster of one refuses writes for about two seconds after each start. `process_id` tells our own server
/// from one that took the port first.
async fn accepts_writes(url: &str, process_id: Option<u32>) -> redis::RedisResult<bool> {
    let mut connection: MultiplexedConnection =
        redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let server: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
    if process_id.is_some_and(|id| !server.contains(&format!("process_id:{id}\r"))) {
        return Ok(false);
    }
    let cluster: String = redis::cmd("CLUSTER").arg("INFO").query_async(&mut connection).await?;
    if cluster.contains("cluster_slots_assigned:0\r") {
        let mut all_slots = redis::cmd("CLUSTER");
        all_slots.arg("ADDSLOTSRANGE").arg(0).arg(16383).exec_async(&mut connection).await?;
    }
    Ok(cluster.contains("cluster_state:ok"))
}
