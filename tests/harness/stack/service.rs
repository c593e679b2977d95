//! One running service: a task of this process, or a process of its own that can be killed.

use std::net::SocketAddr;
use std::time::Duration;

use shared::config::{Common, Vars};
use shared::shutdown::Shutdown;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::children::{eventually, free_port};
use crate::process::{Process, Variables};

/// How long a service may take to get ready, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `api`.
    Api,
    /// `fanout-worker`.
    FanoutWorker,
    /// `persister`.
    Persister,
}

/// How services run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// In this process: quick to start, and a panic is the test's own.
    Tasks,
    /// The real binaries.
    Processes,
}

/// A running service.
pub struct Service {
    role: Role,
    /// Where clients connect; of an api node only.
    pub address: SocketAddr,
    /// Where it says how it is.
    pub internal: SocketAddr,
    life: Life,
}

enum Life {
    Task { shutdown: Shutdown, handle: JoinHandle<Result<(), shared::Error>> },
    Process(Box<Process>),
}

impl Role {
    fn program(self) -> &'static str {
        match self {
            Role::Api => "api",
            Role::FanoutWorker => "fanout-worker",
            Role::Persister => "persister",
        }
    }
}

impl Service {
    /// Starts one; it is not ready yet.
    pub(super) async fn start(role: Role, flavour: Flavour, variables: &Variables) -> Service {
        match flavour {
            Flavour::Tasks => Service::start_task(role, variables).await,
            Flavour::Processes => Service::start_process(role, variables.clone()),
        }
    }

    async fn start_task(role: Role, variables: &Variables) -> Service {
        let (listener, internal) = (listen().await, listen().await);
        let address = listener.local_addr().expect("a bound listener");
        let internal_address = internal.local_addr().expect("a bound listener");
        let vars: Vars = variables.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        if std::env::var_os("STACK_LOG").is_some() {
            show_logs(&vars);
        }
        let shutdown = Shutdown::new();
        let told = shutdown.clone();
        let handle = match role {
            Role::Api => {
                let config = api::config::Config::parse(&vars).expect("the stack's settings are good");
                tokio::spawn(api::serve(config, vec![listener], internal, told))
            }
            Role::FanoutWorker => {
                let config = Common::parse(&vars).expect("the stack's settings are good");
                tokio::spawn(fanout_worker::serve(config, internal, told))
            }
            Role::Persister => {
                let settings = Common::parse_with_database(&vars);
                let (config, database) = settings.expect("the stack's settings are good");
                tokio::spawn(persister::serve(config, database, internal, told))
            }
        };
        Service { role, address, internal: internal_address, life: Life::Task { shutdown, handle } }
    }

    fn start_process(role: Role, mut variables: Variables) -> Service {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let internal = SocketAddr::from(([127, 0, 0, 1], free_port()));
        variables.insert("LISTEN".to_owned(), address.to_string());
        variables.insert("INTERNAL_LISTEN".to_owned(), internal.to_string());
        let process = Process::start(role.program(), role.program(), &[], variables);
        Service { role, address, internal, life: Life::Process(Box::new(process)) }
    }

    /// Waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends first or does not get ready.
    pub async fn ready(&mut self) {
        let url = format!("http://{}/readyz", self.internal);
        match &mut self.life {
            Life::Process(process) => process.ready(&url).await,
            Life::Task { handle, .. } => {
                let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a client");
                let ready = eventually(PATIENCE, async || {
                    if handle.is_finished() {
                        return Some(false);
                    }
                    let answer = client.get(&url).timeout(Duration::from_secs(2)).send().await.ok()?;
                    (answer.status().as_u16() == 200).then_some(true)
                })
                .await;
                if ready != Some(true) {
                    let outcome = tokio::time::timeout(Duration::ZERO, handle).await;
                    panic!("{:?} is not ready: {outcome:?}", self.role);
                }
            }
        }
    }

    /// Tells it to stop, as SIGTERM does.
    pub fn stop(&self) {
        match &self.life {
            Life::Task { shutdown, .. } => shutdown.begin(),
            Life::Process(process) => process.terminate(),
        }
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it goes on, or ends with an error.
    pub async fn ended(self) {
        match self.life {
            Life::Task { handle, .. } => {
                let ended = tokio::time::timeout(PATIENCE, handle).await;
                let ended = ended.unwrap_or_else(|_| panic!("{:?} does not stop", self.role));
                let outcome = ended.unwrap_or_else(|error| panic!("{:?} panicked: {error}", self.role));
                outcome.unwrap_or_else(|error| panic!("{:?} failed: {error}", self.role));
            }
            Life::Process(mut process) => {
                let status = process.ended().await;
                assert!(status.success(), "{:?} ended with {status}:\n{}", self.role, process.log());
            }
        }
    }

    /// The process behind it.
    ///
    /// # Panics
    /// When it is a task of this process: only processes can be killed.
    pub fn process(&mut self) -> &mut Process {
        match &mut self.life {
            Life::Process(process) => process,
            Life::Task { .. } => panic!("only a process can be killed: ask for Flavour::Processes"),
        }
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// Shows what the services of all in-process stacks log, with `STACK_LOG` set.
fn show_logs(vars: &Vars) {
    static SHOWN: std::sync::Once = std::sync::Once::new();
    let common = Common::parse(vars).expect("the stack's settings are good");
    SHOWN.call_once(|| shared::telemetry::init(&common, "stack"));
}
