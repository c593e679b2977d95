//! The process around the persister: settings from the environment, signals, commands, an exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shared::config::{Common, Database, Vars};
use shared::id::{EntryId, Partition};
use shared::shutdown::Shutdown;
use shared::telemetry;
use tokio::net::TcpListener;

/// Stores what the logs hold. Without a command it runs until it is told to stop.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Entries that could not be stored.
    DeadLetters {
        #[command(subcommand)]
        what: DeadLetters,
    },
    /// The log's epochs.
    Epoch {
        #[command(subcommand)]
        what: Epoch,
    },
}

#[derive(Subcommand)]
enum DeadLetters {
    /// A line for each that waits: partition, entry, when, room, SQLSTATE, reason.
    List,
    /// One of them, with its body.
    Show { partition: u16, entry: EntryId },
    /// Stores one of them after all.
    Redrive { partition: u16, entry: EntryId },
}

#[derive(Subcommand)]
enum Epoch {
    /// Each partition's epoch, watermark and fence.
    Show,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Some(command) => obey(command).await,
        None => run().await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => telemetry::refuse_to_start(error.as_ref()),
    }
}

fn settings() -> Result<(Common, Database), Box<dyn std::error::Error>> {
    let vars = Vars::from_process().with_default(shared::config::INTERNAL_LISTEN, "127.0.0.1:9002");
    Ok(Common::parse_with_database(&vars)?)
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (config, database) = settings()?;
    telemetry::init(&config, "persister");
    let internal = TcpListener::bind(config.internal_listen).await?;
    Ok(persister::serve(config, database, internal, Shutdown::on_signals()?).await?)
}

#[allow(clippy::print_stdout, reason = "what a command answers belongs on standard output")]
async fn obey(command: Command) -> Result<(), Box<dyn std::error::Error>> {
    let (config, database) = settings()?;
    let pool = shared::store::connect(
        database.url.expose(),
        1,
        "persister command",
        std::time::Duration::from_secs(30),
    )?;
    let answer = match command {
        Command::DeadLetters { what: DeadLetters::List } => persister::commands::list(&pool).await,
        Command::DeadLetters { what: DeadLetters::Show { partition, entry } } => {
            persister::commands::show(&pool, Partition::numbered(partition), entry).await
        }
        Command::DeadLetters { what: DeadLetters::Redrive { partition, entry } } => {
            persister::commands::redrive(&pool, Partition::numbered(partition), entry, config.partitions)
                .await
        }
        Command::Epoch { what: Epoch::Show } => persister::commands::epochs(&pool).await,
    }?;
    print!("{answer}");
    Ok(())
}
