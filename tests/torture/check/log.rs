//! The log against the rows. Nothing was trimmed within the run, so the log still has everything: places in the room are
//! dense, and each message has its row.

use std::collections::{BTreeMap, BTreeSet};

use harness::dialect::Spoken;
use harness::servers::PARTITIONS;
use harness::stack::Stack;
use shared::event::{Envelope, Event};
use shared::id::{EntryId, Partition, RoomId};
use shared::stream::Reading;

use crate::board::Findings;
use crate::room::Room;

/// Entries of one read.
const AT_ONCE: usize = 1_000;

/// The room's entries that have a place in it, oldest first.
///
/// # Panics
/// When the log does not answer.
pub(super) async fn entries(stack: &Stack, room: RoomId) -> Vec<Envelope> {
    let log = stack.log().await;
    let mut cursor = log.cursor(Partition::of(room, PARTITIONS), EntryId { epoch: 0, pseq: 0 });
    let mut entries = Vec::new();
    loop {
        let read = cursor.read(Reading::Now, AT_ONCE).await.expect("the log answers");
        let Some(last) = read.last() else { return entries };
        cursor.at = last.entry;
        entries.extend(read.into_iter().filter(|envelope| has_place(envelope, room)));
    }
}

/// Per epoch, the first and the last place.
pub(super) fn epochs(entries: &[Envelope]) -> BTreeMap<u32, (u64, u64)> {
    let mut epochs = BTreeMap::new();
    for envelope in entries {
        let places = epochs.entry(envelope.entry.epoch).or_insert((envelope.seq, envelope.seq));
        places.1 = envelope.seq;
    }
    epochs
}

pub(super) fn compare(room: &Room, entries: &[Envelope], rows: &[Spoken], findings: &mut Findings) {
    const DENSE: &str = "places in the room are dense";
    let mut logged = BTreeSet::new();
    let mut last: Option<&Envelope> = None;
    for envelope in entries {
        if let Some(last) = last
            && envelope.seq != last.seq + 1
        {
            // A new epoch goes on counting from what was stored, which is everything, as nothing was lost.
            findings.add(DENSE, format!("{} follows {}", envelope.position(), last.position()));
        }
        last = Some(envelope);
        match envelope.event() {
            Ok(Event::MessageSent(message)) => {
                let id = room.id_shown(message.id.0, envelope.message_no(PARTITIONS).0);
                logged.insert(Spoken { position: envelope.position(), id, text: message.text });
            }
            Ok(_) => {}
            Err(error) => findings.add("entries can be read", format!("{}: {error}", envelope.entry)),
        }
    }
    let stored: BTreeSet<&Spoken> = rows.iter().collect();
    for said in logged.iter().filter(|said| !stored.contains(said)) {
        findings.add("everything in the log is stored", format!("{said:?} is not"));
    }
    for said in stored.into_iter().filter(|said| !logged.contains(said)) {
        findings.add("everything stored was in the log", format!("{said:?} was not"));
    }
}

/// Whether an entry takes a place in the room.
fn has_place(envelope: &Envelope, room: RoomId) -> bool {
    envelope.room == Some(room) && envelope.seq > 0
}
