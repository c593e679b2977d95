//! Every node shows everybody the rows, in their order.

use harness::children::eventually;
use harness::dialect::{Dialect, Spoken};
use shared::id::Position;

use super::SETTLED_WITHIN;
use crate::board::Findings;
use crate::people::Caller;
use crate::people::history::{self, History};

const PROMISE: &str = "pages agree with the rows on every node";

/// Compares what the caller's present node shows; answers it.
pub(super) async fn compare(caller: &Caller, rows: &[Spoken], findings: &mut Findings) -> Option<History> {
    let (name, node) = (&caller.person.name, caller.node());
    let read = eventually(SETTLED_WITHIN, async || history::read(caller, Position::default()).await).await;
    let Some(history) = read else {
        findings.add(PROMISE, format!("node {node} does not give {name} whole pages"));
        return None;
    };
    if history.said != rows {
        let first = history.said.iter().zip(rows).find(|(shown, row)| shown != row);
        let (shown, stored) = (history.said.len(), rows.len());
        let told = format!("node {node} shows {name} {shown} of {stored}; first difference {first:?}");
        findings.add(PROMISE, told);
    }
    // The live chat tells no total.
    if caller.room.dialect == Dialect::Friends {
        for page in history.pages.iter().filter(|page| page["total"] != rows.len()) {
            let told = format!("node {node} tells {name} {}, {} are stored", page["total"], rows.len());
            findings.add("the total is the number of rows", told);
        }
    }
    Some(history)
}
