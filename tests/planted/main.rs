//! Shows that the tests can fail: takes one guard of the delivery path away at a time and waits for its test to notice. First
//! each of these tests has to pass in the same build without a bug, or its failure would prove nothing.

mod binaries;
mod table;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use shared::planted::{Bug, VARIABLE};

use binaries::Binaries;
use table::{CASES, Case, Test};

/// A test that has not failed by then has not noticed.
const NOTICED_WITHIN: Duration = Duration::from_secs(240);
/// How often a running test is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What came of one run of one test.
enum Outcome {
    Passed,
    /// With what it said.
    Failed(String),
    Endless,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is for people")]
fn main() -> ExitCode {
    let binaries = match Binaries::build() {
        Ok(binaries) => binaries,
        Err(error) => {
            eprintln!("planted: {error}");
            return ExitCode::from(2);
        }
    };
    let mut noticed = 0;
    for case in &CASES {
        let began = Instant::now();
        let verdict = notices(&binaries, case);
        noticed += usize::from(verdict.is_ok());
        let (word, said) = match verdict {
            Ok(said) => ("caught", said),
            Err(said) => ("MISSED", said),
        };
        let (bug, test, seconds) = (case.bug.name(), case.caught_by.name, began.elapsed().as_secs());
        println!("{word} {bug:<24} {seconds:>3} s  {test}\n       {said}");
    }
    println!("planted: {noticed} of {} bugs were noticed", CASES.len());
    ExitCode::from(u8::from(noticed < CASES.len()))
}

/// What the test of a case says when its guard is missing; an error when it does not notice.
fn notices(binaries: &Binaries, case: &Case) -> Result<String, String> {
    match run(binaries, case.caught_by, None) {
        Outcome::Passed => {}
        Outcome::Failed(said) => return Err(format!("its test fails without it: {said}")),
        Outcome::Endless => return Err("its test does not end without it".to_owned()),
    }
    match run(binaries, case.caught_by, Some(case.bug)) {
        Outcome::Failed(said) => Ok(said),
        Outcome::Passed => Err("not noticed".to_owned()),
        Outcome::Endless => Err(format!("not noticed within {NOTICED_WITHIN:?}")),
    }
}

/// Runs one test to its end, in a process of its own.
fn run(binaries: &Binaries, test: Test, bug: Option<Bug>) -> Outcome {
    let output = std::env::temp_dir().join(format!("hubbub-planted-{}", std::process::id()));
    let outcome = run_into(&binaries.path(test.binary), test, bug, &output);
    let _ = std::fs::remove_file(&output);
    outcome.unwrap_or_else(|error| Outcome::Failed(format!("it can't be run: {error}")))
}

fn run_into(program: &PathBuf, test: Test, bug: Option<Bug>, output: &PathBuf) -> std::io::Result<Outcome> {
    let written = std::fs::File::create(output)?;
    let mut child = Command::new(program)
        .args(["--exact", test.name, "--include-ignored", "--nocapture"])
        .env("TEST_BACKEND", "local")
        .env(VARIABLE, bug.map_or("", Bug::name))
        .stdin(Stdio::null())
        .stdout(written.try_clone()?)
        .stderr(written)
        .spawn()?;
    let began = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if began.elapsed() > NOTICED_WITHIN => {
                child.kill()?;
                child.wait()?;
                return Ok(Outcome::Endless);
            }
            None => std::thread::sleep(LOOK_EVERY),
        }
    };
    let said = std::fs::read_to_string(output)?;
    Ok(match (status.success(), said.contains("1 passed")) {
        (true, true) => Outcome::Passed,
        (true, false) => Outcome::Failed("there is no such test".to_owned()),
        (false, _) => Outcome::Failed(complaint(&said)),
    })
}

/// The first panic of a test, on one line.
fn complaint(said: &str) -> String {
    let mut lines = said.lines().skip_while(|line| !line.contains("panicked at")).skip(1);
    let told: Vec<&str> =
        lines.by_ref().take_while(|line| !line.starts_with("note:")).take(3).map(str::trim).collect();
    told.join(" | ").chars().take(200).collect()
}
