//! Servers that somebody else runs: a database per stack, and one Redis pair that stacks use in turn.

use tokio::sync::{Mutex, OnceCell};

use super::{Database, Postgres, Redis, Servers};

/// URL of a database whose role may create databases.
pub(super) const DATABASE: &str = "TEST_DATABASE_URL";
const LOG: &str = "TEST_REDIS_URL";
const BUS: &str = "TEST_BUS_REDIS_URL";

/// There is one given pair of Redis in the process's environment, so its users take turns.
static TURN: Mutex<()> = Mutex::const_new(());

/// The template is made once per process.
static POSTGRES: OnceCell<Postgres> = OnceCell::const_new();

pub(super) async fn start(database: Database) -> Servers {
    assert!(
        database == Database::Shared,
        "this test breaks its database server: run it with TEST_BACKEND=local"
    );
    let turn = TURN.lock().await;
    let postgres = POSTGRES.get_or_init(|| Postgres::given(required(DATABASE))).await.clone();
    let database_url = postgres.fresh_database().await;
    let log_url = required(LOG);
    let bus_url = std::env::var(BUS).unwrap_or_else(|_| log_url.clone());
    for url in [&log_url, &bus_url] {
        empty(url).await;
    }
    let (log, bus) = (Redis::given(log_url.clone()), Redis::given(bus_url.clone()));
    Servers { database_url, log_url, bus_url, postgres, log, bus, _turn: Some(turn) }
}

fn required(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("TEST_BACKEND=given needs {name}"))
}

/// Given Redis servers are test servers by the very name of the variable: each stack starts with them empty.
async fn empty(url: &str) {
    let client = redis::Client::open(url).expect("TEST_REDIS_URL is a redis:// URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("the given Redis answers");
    redis::cmd("FLUSHALL").exec_async(&mut connection).await.expect("the given Redis can be emptied");
}
