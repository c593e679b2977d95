//! Stopping is said once and everybody hears it, whenever they listen. What is done in which order after that (stop
//! accepting, drain, hand over, go) is the caller's.

use std::io;
use std::pin::Pin;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// A service that runs until its shutdown begins. A trait object, because an async function is compiled where it is awaited:
/// this way a service is compiled in its own crate, and not again into each program and test that runs it.
pub type Running = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Whether this process, or the part of it that a test started, was told to stop. Clones share the answer.
#[derive(Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Begins when somebody says so.
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// Begins at SIGTERM or SIGINT, or when somebody says so.
    pub fn on_signals() -> io::Result<Shutdown> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = Shutdown::new();
        let told = shutdown.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                () = told.wait() => return,
            };
            tracing::info!(signal = name, "told to stop");
            told.begin();
        });
        Ok(shutdown)
    }

    /// Says it. Saying it again changes nothing.
    pub fn begin(&self) {
        self.0.cancel();
    }

    /// Whether it was said.
    pub fn begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is said.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_hears_it_early_or_late() {
        let shutdown = Shutdown::new();
        let early = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.wait().await }
        });
        assert!(!shutdown.begun());
        shutdown.begin();
        shutdown.begin();
        early.await.expect("the waiting task returns");
        shutdown.wait().await;
        assert!(shutdown.clone().begun());
    }

    #[tokio::test]
    async fn a_signal_begins_it() {
        let shutdown = Shutdown::on_signals().expect("signals can be listened for");
        assert!(!shutdown.begun());
        // The shell's own `kill`: minimal images have no other.
        let kill = format!("kill -TERM {}", std::process::id());
        let sent = tokio::process::Command::new("sh").args(["-c", &kill]).status().await;
        assert!(sent.expect("a shell is there").success());
        shutdown.wait().await;
    }
}
