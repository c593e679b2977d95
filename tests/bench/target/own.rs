//! A stack of our own: the release binaries on servers of the harness, with the limits of one address and one person
//! raised, because here a single address is everybody.

use std::net::{Ipv4Addr, SocketAddr};

use harness::children::free_port;
use harness::process::{Process, Variables};
use harness::servers::Servers;
use jsonwebtoken::EncodingKey;

use super::{Feed, Running, Target, Tokens, client, stores};
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

pub(super) async fn start(nodes: usize) -> Target {
    let servers = Servers::start().await;
    let mut services = Vec::new();
    let mut metrics = Vec::new();
    for (name, program) in [("persister", "persister"), ("fanout-worker", "fanout-worker")] {
        services.push((name.to_owned(), launch(&servers, name, program, None, &mut metrics)));
    }
    let mut listen = Vec::new();
    for node in 1..=nodes {
        let (name, address) = (format!("api-{node}"), SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        services.push((name.clone(), launch(&servers, &name, "api", Some(address), &mut metrics)));
        listen.push(address);
    }
    for ((_, service), url) in services.iter_mut().zip(&metrics) {
        service.ready(&url.replace("/metrics", "/readyz")).await;
    }
    let mut processes: Vec<Watched> =
        services.iter().map(|(name, service)| Watched { name: name.clone(), pid: service.id() }).collect();
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
        _running: Running::Stack {
            services: services.into_iter().map(|(_, service)| service).collect(),
            servers: Box::new(servers),
        },
    };
    target.wait_until_open().await;
    target
}

fn launch(
    servers: &Servers,
    name: &str,
    program: &str,
    listen: Option<SocketAddr>,
    metrics: &mut Vec<String>,
) -> Process {
    let internal = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    metrics.push(format!("http://{internal}/metrics"));
    let given = [
        ("DATABASE_URL", servers.database_url.as_str()),
        ("REDIS_URL", &servers.log_url),
        ("BUS_REDIS_URL", &servers.bus_url),
        ("SECRET_KEY", SECRET_KEY),
    ];
    let mut variables: Variables = given
        .into_iter()
        .chain(RAISED)
        .chain(OPEN)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    variables.insert("INTERNAL_LISTEN".to_owned(), internal.to_string());
    if let Some(address) = listen {
        variables.insert("LISTEN".to_owned(), address.to_string());
    }
    Process::start(name, program, &[], variables)
}
