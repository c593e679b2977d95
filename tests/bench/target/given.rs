//! A stack that runs already, such as that of `make up`, found by its file of addresses and secrets. Only a stack on this
//! machine can be measured: its processes are weighed, and its people are made up.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;

use jsonwebtoken::EncodingKey;

use super::{Feed, Running, Target, Tokens, client, stores};
use crate::machine::Watched;

pub(super) async fn find(env: &Path) -> Target {
    let text = fs::read_to_string(env).unwrap_or_else(|error| panic!("{}: {error}", env.display()));
    let values: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let value =
        |name: &str| *values.get(name).unwrap_or_else(|| panic!("{} does not say {name}", env.display()));
    let mut processes = services(&env.with_file_name("run"));
    assert!(!processes.is_empty(), "there are pid files in run/ beside {}", env.display());
    let holders = processes.iter().filter(|process| process.name.starts_with("api")).cloned().collect();
    processes.extend(stores(value("REDIS_URL"), value("BUS_REDIS_URL"), value("DATABASE_URL")).await);
    let mut target = Target {
        name: "hubbub",
        processes,
        holders,
        nodes: value("API_URLS").split(',').map(loopback).collect(),
        feed: Feed::Hubbub {
            session: 0,
            tokens: Tokens(EncodingKey::from_secret(value("SECRET_KEY").as_bytes())),
        },
        metrics: value("METRICS_URLS").split(',').map(str::to_owned).collect(),
        metrics_secret: values.get("INTERNAL_SECRET").map(|secret| (*secret).to_owned()),
        client: client(),
        running: Running::Elsewhere,
    };
    target.wait_until_open().await;
    target
}

/// Our own services by their pid files; the stores are asked for themselves.
fn services(run: &Path) -> Vec<Watched> {
    let files = fs::read_dir(run).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<Watched> = files
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".pid")?.to_owned();
            let ours = ["api-", "fanout-worker-", "persister-"].iter().any(|ours| name.starts_with(ours));
            let pid = fs::read_to_string(&path).ok()?.trim().parse().ok()?;
            ours.then_some(Watched { name, pid })
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

fn loopback(url: &str) -> SocketAddr {
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let address = host.to_socket_addrs().ok().and_then(|mut found| found.next());
    let address = address.unwrap_or_else(|| panic!("{url} is no address"));
    assert!(address.ip().is_loopback(), "{url} is not on this machine, and only such stacks are loaded");
    address
}
