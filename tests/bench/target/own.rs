//! A stack of our own: the release binaries on servers of the harness, with the limits of one address and one person
//! raised, because here a single address is everybody.

use std::net::{Ipv4Addr, SocketAddr};

use harness::children::free_port;
use harness::process::{Process, Variables};
use harness::servers::Servers;
use jsonwebtoken::EncodingKey;

use super::{Feed, Node, Running, Target, Tokens, client, stores};
use crate::machine::Watched;

/// Signs nothing but the tokens of one run.
const SECRET_KEY: &str = "4f1c7a90be52d83647a1c05e9d2b86f37e4a19c0d5b8e263";

/// What a load from one address needs. `docs/benchmarks.md` repeats it for stacks that were started otherwise.
const RAISED: [(&str, &str); 8] = [
    ("LIMIT_SOCKETS_PER_IP", "100000"),
    ("LIMIT_UNAUTHENTICATED_PER_IP", "100000"),
    ("LIMIT_HANDSHAKES_PER_SECOND", "100000"),
    ("LIMIT_MESSAGES_PER_SECOND", "10000"),
    ("LIMIT_MESSAGES_BURST", "10000"),
    ("LIMIT_ROOM_MESSAGES_PER_SECOND", "100000"),
    ("LIMIT_RATE_KEYS", "100000"),
    ("LIVE_CHAT_MAX_MESSAGES_PER_USER_PER_MINUTE", "100000"),
];

/// A draw at noon with half a day either side: the chat is always open.
const OPEN: [(&str, &str); 3] =
    [("DRAW_TIME_HOUR", "12"), ("LIVE_CHAT_PRE_DRAW_HOURS", "12"), ("LIVE_CHAT_POST_DRAW_HOURS", "12")];

pub(super) async fn start(count: usize, settings: &[(&str, &str)]) -> Target {
    let servers = Servers::start().await;
    let mut stack = Launch { servers: &servers, settings, watched: Vec::new(), metrics: Vec::new() };
    let mut workers = Vec::new();
    for program in ["persister", "fanout-worker"] {
        workers.push(stack.launch(program, program, None).await.process);
    }
    let (mut nodes, mut listen) = (Vec::new(), Vec::new());
    for number in 1..=count {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        nodes.push(stack.launch(&format!("api-{number}"), "api", Some(address)).await);
        listen.push(address);
    }
    let Launch { watched: mut processes, metrics, .. } = stack;
    let holders = processes.iter().filter(|process| process.name.starts_with("api")).cloned().collect();
    processes.extend(stores(&servers.log_url, &servers.bus_url, &servers.database_url).await);
    let mut target = Target {
        name: "hubbub",
        processes,
        holders,
        nodes: listen,
        feed: Feed::Hubbub { session: 0, tokens: Tokens(EncodingKey::from_secret(SECRET_KEY.as_bytes())) },
        metrics,
        metrics_secret: None,
        client: client(),
        running: Running::Stack { workers, nodes, servers: Box::new(servers) },
    };
    target.wait_until_open().await;
    target
}

/// What services are started with, and what is known of those that were.
struct Launch<'a> {
    servers: &'a Servers,
    settings: &'a [(&'a str, &'a str)],
    watched: Vec<Watched>,
    metrics: Vec<String>,
}

impl Launch<'_> {
    /// Starts a service and waits until it is ready.
    async fn launch(&mut self, name: &str, program: &str, listen: Option<SocketAddr>) -> Node {
        let internal = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut process = Process::start(name, program, &[], self.variables(internal, listen));
        let readyz = format!("http://{internal}/readyz");
        process.ready(&readyz).await;
        self.metrics.push(format!("http://{internal}/metrics"));
        self.watched.push(Watched { name: name.to_owned(), pid: process.id() });
        Node { process, readyz }
    }

    fn variables(&self, internal: SocketAddr, listen: Option<SocketAddr>) -> Variables {
        let given = [
            ("DATABASE_URL", self.servers.database_url.as_str()),
            ("REDIS_URL", &self.servers.log_url),
            ("BUS_REDIS_URL", &self.servers.bus_url),
            ("SECRET_KEY", SECRET_KEY),
        ];
        let all = given.into_iter().chain(RAISED).chain(OPEN).chain(self.settings.iter().copied());
        let mut variables: Variables = all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        variables.insert("INTERNAL_LISTEN".to_owned(), internal.to_string());
        if let Some(address) = listen {
            variables.insert("LISTEN".to_owned(), address.to_string());
        }
        variables
    }
}
