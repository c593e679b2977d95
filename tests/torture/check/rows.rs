//! Rows against acks: each accepted message once, where its receipt said, and nothing that nobody sent.

use std::collections::{BTreeMap, BTreeSet};

use harness::load::Said;

use crate::board::Findings;
use crate::people::sender::{Fate, Sent};

pub(super) fn compare(
    rows: &[Said],
    by_text: &BTreeMap<&str, &Said>,
    sent: &[Vec<Sent>],
    findings: &mut Findings,
) {
    let mut known = BTreeSet::new();
    for messages in sent {
        let mut last = None;
        for Sent { text, fate } in messages {
            known.insert(text.as_str());
            match fate {
                Fate::Accepted(said) => {
                    match by_text.get(text.as_str()) {
                        None => findings.add("every accepted message is stored", format!("{said:?} is not")),
                        Some(row) if *row != said => {
                            findings
                                .add("a receipt tells place and id", format!("{said:?}, stored as {row:?}"));
                        }
                        Some(_) => {}
                    }
                    // The next one was begun only after this one's receipt.
                    if last.is_some_and(|last| said.position <= last) {
                        findings.add(
                            "what one person sends in turn stays in turn",
                            format!("{said:?} after {last:?}"),
                        );
                    }
                    last = Some(said.position);
                }
                Fate::GivenUp => {}
                Fate::Open => {
                    findings.add("everything sent is answered in the end", format!("{text} was not"));
                }
            }
        }
    }
    let mut seen = BTreeSet::new();
    for said in rows {
        if !known.contains(said.text.as_str()) {
            findings.add("nothing is stored that was not sent", format!("{said:?}"));
        }
        if !seen.insert(said.text.as_str()) {
            findings.add("one row for each message", format!("{said:?} is there twice"));
        }
    }
}
