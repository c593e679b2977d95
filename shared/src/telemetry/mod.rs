//! Seeing it work: logs without secrets and without forgeries, numbers under fixed names, and one internal listener
//! that tells balancers and scrapers how this process is.

mod health;
mod internal;
mod logs;
mod metrics;
pub mod names;

pub use health::Health;
pub use internal::{InternalRoutes, InternalServer, Reply, serve_internal};
pub use logs::init;
pub use metrics::Metrics;

/// The last word of a process that can't start: one line for people, and the exit code that says so. Works before the
/// logs do.
#[allow(clippy::print_stderr, reason = "there may be no log yet to say it in")]
pub fn refuse_to_start(error: &dyn std::error::Error) -> std::process::ExitCode {
    eprintln!("can't start: {error}");
    std::process::ExitCode::FAILURE
}
