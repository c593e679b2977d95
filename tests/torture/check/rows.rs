//! Rows against acks: each accepted message once, where its receipt said, and nothing that nobody sent.

use std::collections::{BTreeMap, BTreeSet};

use harness::dialect::Spoken;
use harness::stack::Stack;
use shared::id::Position;
use sqlx::Row as _;

use crate::board::Findings;
use crate::people::sender::{Fate, Sent};
use crate::room::Room;

/// The messages of a room as Postgres has them, in the room's order.
///
/// # Panics
/// When Postgres does not answer, or a row holds what no message can.
pub(super) async fn of(stack: &Stack, room: &Room) -> Vec<Spoken> {
    let rows = sqlx::query(
        "select id, no, epoch, seq, content from hubbub.message where room = $1 order by epoch, seq",
    );
    let rows = rows.bind(room.id.0).fetch_all(&stack.pool).await.expect("Postgres answers");
    let said = |row: &sqlx::postgres::PgRow| Spoken {
        position: Position {
            epoch: u32::try_from(row.get::<i32, _>("epoch")).expect("an epoch"),
            seq: u64::try_from(row.get::<i64, _>("seq")).expect("a number in the room"),
        },
        id: room.id_shown(row.get("id"), row.get("no")),
        text: row.get::<Option<String>, _>("content").unwrap_or_default(),
    };
    rows.iter().map(said).collect()
}

pub(super) fn compare(rows: &[Spoken], sent: &[Vec<Sent>], findings: &mut Findings) {
    let by_text: BTreeMap<&str, &Spoken> = rows.iter().map(|said| (said.text.as_str(), said)).collect();
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
