//! Child processes that cannot outlive the tests.
//!
//! A test process may end by panic, by Ctrl-C or by SIGKILL, and the last of these runs no destructor.
//! Therefore every child writes its own process id into a file below one root folder, and a watchdog (a
//! shell that reads a pipe only we hold) kills what those files name and removes the folder once the pipe
//! closes, which the kernel does for us in every case.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long the harness waits for a fact about a process before it calls that a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two looks at a fact that nothing announces.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Ports are taken from below Linux's range for outgoing connections (32768 and up): a server that is
/// restarted must find its port still free, and no client socket may have been given it meanwhile.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A file of this name in a folder of [`fresh_folder`] holds the id of a container, which the watchdog removes.
pub(crate) const CONTAINER_FILE: &str = "container";

/// The root folder of this test process, and the pipe whose end is the end of everything in it.
struct Root {
    path: PathBuf,
    _alive: ChildStdin,
}

/// A folder of its own for one child, below the root folder.
///
/// # Panics
/// When the temporary folder cannot be written: no test can run then.
pub fn fresh_folder(label: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = root().join(format!("{label}-{number}"));
    fs::create_dir(&path).expect("a fresh folder below the harness's own root can be made");
    path
}

/// Copies what every child wrote so far to `folder`, one file for each.
///
/// # Errors
/// When that folder can't be written.
pub fn keep_logs(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for child in fs::read_dir(root())?.flatten() {
        let log = child.path().join("log");
        if log.is_file() {
            fs::copy(log, folder.join(child.file_name()).with_extension("log"))?;
        }
    }
    Ok(())
}

/// The root is a static because it stands for the process itself: there is one end of the process, so there
/// is one pipe that notices it.
fn root() -> &'static Path {
    static ROOT: OnceLock<Root> = OnceLock::new();
    &ROOT.get_or_init(|| Root::make().expect("the temporary folder can be written")).path
}

impl Root {
    fn make() -> io::Result<Root> {
        let path = std::env::temp_dir().join(format!("hubbub-test-{}", std::process::id()));
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        let script = r#"cat >/dev/null
            for file in "$1"/*/pid; do [ -f "$file" ] && kill -KILL "$(cat "$file")" 2>/dev/null; done
            ids=$(cat "$1"/*/container 2>/dev/null) && docker rm --force --volumes $ids
            for again in 1 2 3 4 5; do rm -rf "$1" 2>/dev/null && break; sleep 1; done"#;
        // Its own process group, or Ctrl-C at the terminal would end the watchdog before its turn.
        let mut watchdog = Command::new("sh")
            .args(["-c", script, "watchdog"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let alive = watchdog.stdin.take().expect("stdin was asked to be a pipe");
        Ok(Root { path, _alive: alive })
    }
}

/// A child process that is killed when dropped, and by the watchdog when nothing is dropped any more.
pub struct Guarded {
    child: Child,
    pid_file: PathBuf,
    /// What the child wrote to its standard output and error, from every start so far.
    pub log: PathBuf,
}

impl Guarded {
    /// Starts `program` with its pid file and log in `folder`, a folder from [`fresh_folder`].
    ///
    /// # Errors
    /// What the operating system says when the program cannot be started.
    pub fn start(folder: &Path, program: &Path, configure: impl FnOnce(&mut Command)) -> io::Result<Guarded> {
        let pid_file = folder.join("pid");
        let log = folder.join("log");
        let output = File::options().create(true).append(true).open(&log)?;
        // The shell becomes the program, so the file is right before the program's first instruction.
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$1" && shift && exec "$@""#, "start"]).arg(&pid_file).arg(program);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        configure(&mut command);
        Ok(Guarded { child: command.spawn()?, pid_file, log })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name without `SIG`, such as `TERM` or `STOP`.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// How the process ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("a child of ours can be asked for");
        if status.is_some() {
            let _ = fs::remove_file(&self.pid_file);
        }
        status
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// When it still runs after `patience`.
    pub async fn wait(&mut self, patience: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(
                started.elapsed() < patience,
                "{} still runs after {patience:?}; its log ends:\n{}",
                self.pid_file.display(),
                tail(&self.log),
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Kills with SIGKILL and waits for the end, which takes no time worth an `await`.
    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.pid_file);
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill9();
    }
}

fn signal(pid: u32, name: &str) {
    // The shell's own `kill`: minimal images have no other.
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(sent.is_ok_and(|status| status.success()), "signal {name} reaches process {pid}");
}

/// The last lines of a log, for the message of a failure.
pub fn tail(log: &Path) -> String {
    const LINES: usize = 40;
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Asks `look` until it answers `Some`, or `None` when `patience` has passed.
pub async fn eventually<T>(patience: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        if started.elapsed() > patience {
            return None;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A port of 127.0.0.1 that nobody listens on at this moment and that is not handed out twice in this process.
///
/// # Panics
/// When not one port in the range is free.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let width = PORTS.end - PORTS.start;
    // Test processes that run side by side start looking at different places.
    let offset =
        u16::try_from(std::process::id().wrapping_mul(97) % u32::from(width)).expect("it is below width");
    (0..width)
        .map(|_| PORTS.start + (offset + NEXT.fetch_add(1, Ordering::Relaxed) % width) % width)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of twenty thousand ports is free")
}

/// The path of `program`: on PATH, or in one of the folders where packages put servers.
///
/// # Panics
/// When it is nowhere, naming what to install.
pub fn find_program(program: &str, package: &str) -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&on_path)
        .chain(package_folders())
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!("{program} was not found: install it (Debian: apt-get install {package}; macOS: brew install {package})")
        })
}

/// Debian keeps PostgreSQL's server programs off PATH; Homebrew keeps versioned formulas off PATH.
fn package_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for parent in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        folders.extend(entries.map(|entry| entry.path().join("bin")));
    }
    folders.sort();
    folders.reverse();
    folders
}

/// The user that servers run as when the tests run as root, which PostgreSQL refuses to be.
#[derive(Clone, Copy)]
pub struct Unprivileged {
    uid: u32,
    gid: u32,
}

impl Unprivileged {
    /// `None` when the tests do not run as root: nothing needs to change then.
    ///
    /// # Panics
    /// When the machine has neither a user `postgres` nor `nobody`.
    pub fn when_root() -> Option<Unprivileged> {
        use std::os::unix::fs::MetadataExt;
        let folder_owner = fs::metadata(root()).expect("the root folder was just made").uid();
        if folder_owner != 0 {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").expect("the list of users can be read");
        let user = ["postgres", "nobody"].iter().find_map(|name| Unprivileged::named(&users, name));
        Some(user.expect("there is a user postgres or nobody to run the servers as"))
    }

    fn named(users: &str, name: &str) -> Option<Unprivileged> {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some(Unprivileged { uid: numbers.next()?.ok()?, gid: numbers.next()?.ok()? })
    }

    /// Makes `command` run as this user.
    pub fn become_in(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives `path` to this user.
    ///
    /// # Panics
    /// When the owner cannot be changed, which root always can.
    pub fn own(self, path: &Path) {
        chown(path, Some(self.uid), Some(self.gid)).expect("root may give files away");
    }
}
