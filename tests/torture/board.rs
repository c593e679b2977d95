//! What everybody in a run shares: the time, who may stop, when messages were accepted, and what was found wrong.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// So many facts of one kind are kept with their words; the rest is counted.
const FACTS_TOLD: usize = 5;

/// How long people may take to bring to an end what was under way when the load ended.
pub(crate) const HOME_WITHIN: Duration = Duration::from_secs(30);

/// One for a run.
pub(crate) struct Board {
    /// When the load began.
    pub(crate) began: Instant,
    /// When people were told to bring to an end what is under way.
    closed: OnceLock<Instant>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    acks: Vec<Ack>,
    refusals: BTreeMap<String, u64>,
    unknown: u64,
    findings: Findings,
}

/// An accepted message, as its sender saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    /// When it was first sent.
    pub(crate) sent: Duration,
    /// When it was known to be accepted.
    pub(crate) known: Duration,
}

/// Promises that were broken: how often each, and in words for the first few.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Findings(pub(crate) BTreeMap<&'static str, Finding>);

#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Finding {
    pub(crate) count: u64,
    pub(crate) first: Vec<String>,
}

impl Findings {
    /// Notes that `promise` was broken.
    pub(crate) fn add(&mut self, promise: &'static str, fact: impl Into<String>) {
        let finding = self.0.entry(promise).or_default();
        finding.count += 1;
        if finding.first.len() < FACTS_TOLD {
            finding.first.push(fact.into());
        }
    }
}

impl Board {
    pub(crate) fn new() -> Board {
        Board { began: Instant::now(), closed: OnceLock::new(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    /// How long the load has been on.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// No new message, like or cut from here on.
    pub(crate) fn close(&self) {
        self.closed.get_or_init(Instant::now);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closed.get().is_some()
    }

    /// Whether people have had time enough to come to an end.
    pub(crate) fn is_over(&self) -> bool {
        self.closed.get().is_some_and(|closed| closed.elapsed() > HOME_WITHIN)
    }

    /// A message was accepted that was first sent at `sent`.
    pub(crate) fn acknowledged(&self, sent: Duration) {
        let known = self.now();
        self.state().acks.push(Ack { sent, known });
    }

    pub(crate) fn refused(&self, code: &str) {
        *self.state().refusals.entry(code.to_owned()).or_default() += 1;
    }

    /// Nothing came back, or something that tells nothing.
    pub(crate) fn no_answer(&self) {
        self.state().unknown += 1;
    }

    pub(crate) fn broken(&self, promise: &'static str, fact: impl Into<String>) {
        self.state().findings.add(promise, fact);
    }

    /// Everything that was noted: acks, refusals by code, calls without an answer, and findings.
    pub(crate) fn read(&self) -> (Vec<Ack>, BTreeMap<String, u64>, u64, Findings) {
        let state = self.state();
        (state.acks.clone(), state.refusals.clone(), state.unknown, state.findings.clone())
    }
}
