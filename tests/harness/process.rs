//! Our real binaries as child processes, for tests that kill, pause and restart them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use shared::planted;

use crate::children::{Guarded, PATIENCE, eventually, fresh_folder, tail};

/// Environment variables of a service, by name.
pub type Variables = BTreeMap<String, String>;

/// One running service: killed when dropped, and quoted when the test fails.
pub struct Process {
    name: String,
    program: PathBuf,
    folder: PathBuf,
    variables: Variables,
    child: Guarded,
}

impl Process {
    /// Starts the binary `program` (`api`, `fanout-worker` or `persister`) with exactly these variables, and
    /// PATH; `name` is how failures call it.
    ///
    /// # Panics
    /// When the binary was not built.
    pub fn start(name: &str, program: &str, arguments: &[&str], variables: Variables) -> Process {
        let program = binary(program);
        let folder = fresh_folder(name);
        let child = spawn(&folder, &program, arguments, &variables);
        Process { name: name.to_owned(), program, folder, variables, child }
    }

    /// Runs a command such as `api migrate` to its end and returns its output.
    ///
    /// # Panics
    /// When it fails or takes longer than [`PATIENCE`]; the message has its output.
    pub async fn run(program: &str, arguments: &[&str], variables: Variables) -> String {
        let mut process = Process::start(program, program, arguments, variables);
        let status = process.ended().await;
        let output = process.log();
        assert!(status.success(), "{program} {arguments:?} ended with {status}:\n{output}");
        output
    }

    /// Waits until `GET url` answers 200, as `/readyz` of a ready service does.
    ///
    /// # Panics
    /// When the process ends first, or is not ready after [`PATIENCE`].
    pub async fn ready(&mut self, url: &str) {
        let client = reqwest::Client::new();
        let ready = eventually(PATIENCE, async || {
            if let Some(status) = self.child.ended() {
                return Some(Err(status));
            }
            let answer = client.get(url).timeout(Duration::from_secs(2)).send().await.ok()?;
            (answer.status().as_u16() == 200).then_some(Ok(()))
        });
        match ready.await {
            Some(Ok(())) => {}
            Some(Err(status)) => panic!("{} ended with {status}:\n{}", self.name, tail(&self.child.log)),
            None => panic!("{} is not ready after {PATIENCE:?}:\n{}", self.name, tail(&self.child.log)),
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it ever had in RAM, in bytes.
    ///
    /// # Panics
    /// When it is gone, or the system does not say.
    pub fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_else(|| panic!("{} has no memory to be asked for", self.name)) * 1_024
    }

    /// Kills with SIGKILL.
    pub fn kill9(&mut self) {
        self.child.kill9();
    }

    /// Asks the service to drain and end (SIGTERM).
    pub fn terminate(&self) {
        self.child.signal("TERM");
    }

    /// Stops the process's clock: its leases lapse, its connections stay.
    pub fn pause(&self) {
        self.child.signal("STOP");
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.child.signal("CONT");
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// When it still runs after [`PATIENCE`].
    pub async fn ended(&mut self) -> ExitStatus {
        self.child.wait(PATIENCE).await
    }

    /// Whether it runs no more, by itself or by us.
    pub fn has_ended(&mut self) -> bool {
        self.child.ended().is_some()
    }

    /// Starts the same binary again with the same variables, after its end.
    pub fn restart(&mut self) {
        self.child.kill9();
        self.child = spawn(&self.folder, &self.program, &[], &self.variables);
    }

    /// Everything that the process wrote so far, over all its starts.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.child.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Process {
    /// A failed test shows what its services said.
    #[expect(clippy::print_stderr, reason = "the test runner shows this beside the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the last lines of {} ---\n{}", self.name, tail(&self.child.log));
        }
    }
}

fn spawn(folder: &Path, program: &Path, arguments: &[&str], variables: &Variables) -> Guarded {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let started = Guarded::start(folder, program, |command| {
        command.args(arguments).env_clear().env("PATH", &path).envs(variables).current_dir(folder);
        if let Some(bug) = std::env::var_os(planted::VARIABLE).filter(|_| planted::POSSIBLE) {
            command.env(planted::VARIABLE, bug);
        }
    });
    started.unwrap_or_else(|error| panic!("{} cannot be started: {error}", program.display()))
}

/// The release binary beside this test's own executable, or in `HUBBUB_BIN_DIR`.
fn binary(program: &str) -> PathBuf {
    let folder = std::env::var_os("HUBBUB_BIN_DIR").map_or_else(beside_this_test, PathBuf::from);
    let path = folder.join(program);
    assert!(
        path.is_file(),
        "{} is missing: `make test` builds it, or `cargo build --release`",
        path.display()
    );
    path
}

/// `target/release`, two levels above `target/release/deps/suites-…`.
fn beside_this_test() -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its own executable");
    let deps = test.parent().expect("an executable is in a folder");
    if deps.ends_with("deps") { deps.parent().unwrap_or(deps).to_owned() } else { deps.to_owned() }
}
