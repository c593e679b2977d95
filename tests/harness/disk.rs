//! A disk that takes longer: strace holds each fdatasync of one process back.

use std::path::PathBuf;
use std::time::Duration;

use crate::children::{Guarded, eventually, fresh_folder, tail};

/// How long strace may take to take hold.
const ATTACHED_WITHIN: Duration = Duration::from_secs(3);

/// One process under strace, until it is let go.
pub struct SlowDisk {
    strace: Guarded,
}

impl SlowDisk {
    /// Slows a process down: each fdatasync takes `millis` longer.
    ///
    /// # Errors
    /// When strace is not there or may not.
    pub async fn attach(process: u32, millis: u64) -> Result<SlowDisk, String> {
        let program = program().ok_or("strace is not installed")?;
        let (id, micros) = (process.to_string(), millis * 1_000);
        let strace = Guarded::start(&fresh_folder("strace"), &program, |command| {
            command.args(["-f", "-p", &id, "-o", "/dev/null", "-e", "trace=fdatasync", "-e"]);
            command.arg(format!("inject=fdatasync:delay_enter={micros}"));
        });
        let mut strace = strace.map_err(|error| format!("strace can't be started: {error}"))?;
        let held = eventually(ATTACHED_WITHIN, async || {
            (strace.ended().is_some() || is_traced(process)).then_some(())
        });
        let held = held.await;
        if held.is_none() || strace.ended().is_some() {
            return Err(format!("strace may not: {}", tail(&strace.log)));
        }
        Ok(SlowDisk { strace })
    }

    /// Lets the process go.
    pub async fn release(mut self) {
        if self.strace.ended().is_none() {
            self.strace.signal("INT");
            // Killed when dropped, if it does not go by itself; the kernel then lets the process go.
            let _ = eventually(ATTACHED_WITHIN, async || self.strace.ended()).await;
        }
    }
}

fn is_traced(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|id| id.trim() != "0"))
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("strace")).find(|path| path.is_file())
}
