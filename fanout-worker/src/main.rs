//! The process around the fan-out worker: settings from the environment, signals, an exit code.

use std::process::ExitCode;

use shared::config::{Common, Vars};
use shared::shutdown::Shutdown;
use shared::telemetry;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => telemetry::refuse_to_start(error.as_ref()),
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let vars = Vars::from_process().with_default(shared::config::INTERNAL_LISTEN, "127.0.0.1:9001");
    let config = Common::parse(&vars)?;
    telemetry::init(&config, "fanout-worker");
    let internal = TcpListener::bind(config.internal_listen).await?;
    Ok(fanout_worker::serve(config, internal, Shutdown::on_signals()?).await?)
}
