//! The process around a node: settings from the environment, signals, the `migrate` command, an exit code.

use std::process::ExitCode;
use std::time::Duration;

use api::config::Config;
use clap::{Parser, Subcommand};
use shared::config::{Common, INTERNAL_LISTEN, Vars};
use shared::shutdown::Shutdown;
use shared::{store, telemetry};
use tikv_jemallocator::Jemalloc;
use tokio::net::TcpListener;

/// What a handshake needs for a moment and what its connection keeps lie side by side; the C library's allocator leaves
/// the gaps resident, which doubled the memory of a connection at rest (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// The node that clients talk to. Without a command it runs until it is told to stop.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Brings the database schema to what this release needs.
    Migrate,
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Some(Command::Migrate) => migrate().await,
        None => run().await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => telemetry::refuse_to_start(error.as_ref()),
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let vars = Vars::from_process().with_default(INTERNAL_LISTEN, "127.0.0.1:9000");
    let config = Config::parse(&vars)?;
    telemetry::init(&config.common, "api");
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    for name in &config.unknown_live_chat {
        tracing::warn!("{name} is no setting of ours; is it misspelt?");
    }
    let mut listeners = Vec::new();
    for address in &config.listen {
        listeners
            .push(TcpListener::bind(address).await.map_err(|error| format!("LISTEN {address}: {error}"))?);
    }
    let internal = TcpListener::bind(config.common.internal_listen).await?;
    Ok(api::serve(config, listeners, internal, Shutdown::on_signals()?).await?)
}

async fn migrate() -> Result<(), Box<dyn std::error::Error>> {
    let (config, database) = Common::parse_with_database(&Vars::from_process())?;
    telemetry::init(&config, "api migrate");
    let pool = store::connect(database.url.expose(), 2, "api migrate", Duration::from_secs(60))?;
    store::migrate(&pool, config.partitions).await?;
    tracing::info!("the schema is up to date");
    Ok(())
}
