//! Listeners' lists against the rows: no hole, no inversion, no double, over all lives of a socket. Where a listener was told
//! to read the history anew, what it then read fills the hole.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::dialect::Spoken;
use harness::stack::Role;
use shared::event::Envelope;
use shared::id::Position;

use crate::board::Findings;
use crate::faults::Done;
use crate::people::sender::author_of;
use crate::people::watcher::{Heard, Record, Resync};
use crate::schedule::{Fault, Store, Target};

/// A replay of more events than this is refused (docs/protocol).
const REPLAY_MAX: usize = 1_000;
/// How long after a fault of a store a room may still find no source for what it missed.
const NO_SOURCE_WITHIN: Duration = Duration::from_secs(15);

/// Messages heard.
pub(super) fn count(record: &Record) -> usize {
    record.heard.iter().filter(|heard| matches!(heard, Heard::Said(_))).count()
}

/// Whether everything up to `last` has come, histories included.
pub(super) fn is_complete(record: &Record, last: Position) -> bool {
    let read =
        |resync: &Resync| resync.read.lock().expect("nothing panics while it holds this lock").is_some();
    record.last >= last && resyncs(record).all(read)
}

fn resyncs(record: &Record) -> impl Iterator<Item = &Resync> {
    record.heard.iter().filter_map(|heard| match heard {
        Heard::Resync(resync) => Some(resync),
        Heard::Said(_) | Heard::Again(_) | Heard::Became(_) => None,
    })
}

/// Compares one list.
pub(super) fn compare(record: &Record, rows: &[Spoken], findings: &mut Findings) {
    let name = &record.name;
    let own = rows.iter().filter(|said| author_of(&said.text) == name);
    let own: BTreeSet<&str> = own.map(|said| said.id.as_str()).collect();
    // The place in `rows` of what has to come next.
    let mut next = rows.partition_point(|row| row.position <= record.start);
    for heard in &record.heard {
        match heard {
            Heard::Said(said) => {
                let at = rows.partition_point(|row| row.position < said.position);
                if rows.get(at) != Some(said) {
                    findings.add("what is heard is stored", format!("{name} heard {said:?}"));
                } else if at < next {
                    findings
                        .add("nothing is heard twice or out of turn", format!("{name} heard {said:?} late"));
                } else {
                    if at > next {
                        findings.add(
                            "nothing is missed",
                            format!("{name} missed {} before {said:?}: {:?}", at - next, rows[next]),
                        );
                    }
                    next = at + 1;
                }
            }
            Heard::Again(said) => {
                if rows.binary_search(said).is_err() {
                    findings.add("what is heard is stored", format!("{name} was told again of {said:?}"));
                }
            }
            Heard::Became(id) => {
                if !own.contains(id.as_str()) {
                    findings.add(
                        "one is told what became of one's own messages",
                        format!("{name} was told of {id}"),
                    );
                }
            }
            Heard::Resync(resync) => {
                compare_history(name, resync, rows, findings);
                next = next.max(rows.partition_point(|row| row.position <= resync.to));
            }
        }
    }
    if next < rows.len() {
        let told = format!("{name} missed the last {}, from {:?}", rows.len() - next, rows[next]);
        findings.add("nothing is missed", told);
    }
}

fn compare_history(name: &str, resync: &Resync, rows: &[Spoken], findings: &mut Findings) {
    const PROMISE: &str = "the history has what a resync leaves out";
    let place = |position| rows.partition_point(|row| row.position <= position);
    let expected = rows.get(place(resync.from)..place(resync.to)).unwrap_or_default();
    let read = resync.read.lock().expect("nothing panics while it holds this lock");
    match read.as_deref() {
        Some(read) if read == expected => {}
        Some(read) => {
            let told =
                format!("{name}: {} of {} from {} to {}", read.len(), expected.len(), resync.from, resync.to);
            findings.add(PROMISE, told);
        }
        None => findings.add(PROMISE, format!("{name} could not read it")),
    }
}

/// Sorts resyncs: too much was missed, or a store was away for so long that there was no source. Others are not allowed.
pub(super) fn judge_resyncs(
    records: &[Record],
    entries: &[Envelope],
    faults: &[Done],
    findings: &mut Findings,
) -> (usize, usize) {
    let place = |position| entries.partition_point(|entry| entry.position() <= position);
    let (mut too_far, mut no_source) = (0, 0);
    for record in records {
        for resync in resyncs(record) {
            let missed = place(resync.to).saturating_sub(place(resync.from));
            if missed > REPLAY_MAX {
                too_far += 1;
            } else if faults.iter().any(|fault| takes_sources(fault, resync)) {
                no_source += 1;
            } else {
                let Resync { from, to, at, node, .. } = resync;
                let told =
                    format!("{} at {at:?} on node {node}, from {from} to {to}: {missed} missed", record.name);
                findings.add("a resync has a reason", told);
            }
        }
    }
    (too_far, no_source)
}

/// Whether the fault kept the node of this resync from the log or from Postgres shortly before.
fn takes_sources(fault: &Done, resync: &Resync) -> bool {
    let recently = fault.began <= resync.at && resync.at <= fault.healed + NO_SOURCE_WITHIN;
    let of_store = |store: Store| matches!(store, Store::Log | Store::Postgres);
    let touches = match fault.planned.fault {
        Fault::Kill(Target::Store(store)) | Fault::Pause(Target::Store(store)) => of_store(store),
        Fault::Link { from, to, .. } => from == Target::Service(Role::Api, resync.node) && of_store(to),
        Fault::SlowDisk { .. } => true,
        Fault::Kill(_) | Fault::Pause(_) | Fault::ClockBack { .. } => false,
    };
    recently && touches && fault.left_out.is_none()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn at(seq: u64) -> Position {
        Position { epoch: 1, seq }
    }

    fn said(seq: u64) -> Spoken {
        Spoken { position: at(seq), id: seq.to_string(), text: format!("m{seq}") }
    }

    /// Which promises a list breaks that begins behind 1, where 1, 2, 4 (3 was a like), 5 and 6 are stored.
    fn broken(heard: Vec<Heard>) -> Vec<(&'static str, u64)> {
        let rows = [1, 2, 4, 5, 6].map(said);
        let record = Record { name: "ana".to_owned(), start: at(1), heard, last: at(6), lives: 1 };
        let mut findings = Findings::default();
        compare(&record, &rows, &mut findings);
        findings.0.into_iter().map(|(promise, finding)| (promise, finding.count)).collect()
    }

    fn heard(seqs: &[u64]) -> Vec<Heard> {
        seqs.iter().map(|seq| Heard::Said(said(*seq))).collect()
    }

    #[test]
    fn a_whole_list_is_good_and_a_hole_a_double_and_an_inversion_are_not() {
        assert_eq!(broken(heard(&[2, 4, 5, 6])), []);
        assert_eq!(broken(heard(&[2, 5, 6])), [("nothing is missed", 1)]);
        assert_eq!(broken(heard(&[2, 4, 5])), [("nothing is missed", 1)]);
        assert_eq!(broken(heard(&[2, 4, 4, 5, 6])), [("nothing is heard twice or out of turn", 1)]);
        assert_eq!(
            broken(heard(&[2, 5, 4, 6])),
            [("nothing is heard twice or out of turn", 1), ("nothing is missed", 1)]
        );
        assert_eq!(broken(heard(&[2, 3, 4, 5, 6])), [("what is heard is stored", 1)]);
    }

    #[test]
    fn a_receipt_may_come_again_for_what_is_stored() {
        let with = |said| broken([heard(&[2, 4]), vec![Heard::Again(said)], heard(&[5, 6])].concat());
        assert_eq!(with(said(2)), []);
        assert_eq!(with(Spoken { id: "7".to_owned(), ..said(2) }), [("what is heard is stored", 1)]);
    }

    #[test]
    fn what_a_resync_leaves_out_must_be_in_the_history() {
        let resync = |read: Option<Vec<Spoken>>| {
            let read = Arc::new(Mutex::new(read));
            Heard::Resync(Resync { from: at(2), to: at(5), at: Duration::ZERO, node: 1, read })
        };
        let with = |read| broken([heard(&[2]), vec![resync(read)], heard(&[6])].concat());
        assert_eq!(with(Some(vec![said(4), said(5)])), []);
        for bad in [None, Some(vec![said(5)]), Some(vec![said(5), said(4)])] {
            assert_eq!(with(bad), [("the history has what a resync leaves out", 1)]);
        }
    }
}
