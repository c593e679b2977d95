//! What an operator asks of the persister from the command line.

use std::fmt::Write as _;

use shared::Error;
use shared::id::{EntryId, Partition};
use shared::store::{self, partitions};
use shared::stream::dead_letter::{self, DeadLetter};
use sqlx::PgPool;

use crate::{persist, row};

/// Letters that one listing shows.
const LISTED: i64 = 1_000;

/// The letters that wait to be redriven, a line each.
pub async fn list(pool: &PgPool) -> Result<String, Error> {
    let letters = dead_letter::list(pool, LISTED).await?;
    Ok(letters.iter().map(line).collect())
}

fn line(letter: &DeadLetter) -> String {
    let DeadLetter { envelope, sqlstate, reason, parked_at, .. } = letter;
    let room = envelope.room.map_or_else(|| "-".to_owned(), |room| room.to_string());
    let state = sqlstate.as_deref().unwrap_or("-");
    format!("{} {} {parked_at} room {room} {state} {reason}\n", envelope.partition, envelope.entry)
}

/// One letter with its body; bytes that are not text are escaped.
pub async fn show(pool: &PgPool, partition: Partition, entry: EntryId) -> Result<String, Error> {
    let letter = find(pool, partition, entry).await?;
    let mut text = line(&letter);
    let _ = writeln!(text, "{}", letter.envelope.body.escape_ascii());
    if let Some(at) = letter.redriven_at {
        let _ = writeln!(text, "redriven at {at}");
    }
    Ok(text)
}

/// Stores a letter's entry after all, in place of the placeholder that stood for it, and marks it as done.
pub async fn redrive(
    pool: &PgPool,
    partition: Partition,
    entry: EntryId,
    partition_count: u16,
) -> Result<String, Error> {
    let letter = find(pool, partition, entry).await?;
    let envelopes = [letter.envelope.clone()];
    let mut rows = row::rows(&envelopes, partition_count);
    rows.amendments.extend(letter.amendment.clone());
    if let Some(parking) = rows.parked.first() {
        return Err(Error::bug(format!("this release can't read it either: {}", parking.reason)));
    }
    let mut tx = store::begin(pool).await?;
    dead_letter::mark_redriven(&mut tx, &letter).await?;
    persist::write(&mut tx, &rows).await?;
    tx.commit().await?;
    Ok(format!("{partition} {entry} redriven\n"))
}

async fn find(pool: &PgPool, partition: Partition, entry: EntryId) -> Result<DeadLetter, Error> {
    let letter = dead_letter::show(pool, partition, entry).await?;
    letter.ok_or_else(|| Error::bug(format!("no dead letter {partition} {entry}")))
}

/// Each partition's epoch, watermark and fence.
pub async fn epochs(pool: &PgPool) -> Result<String, Error> {
    let holds = partitions::all(pool).await?;
    let line = |hold: &partitions::Hold| {
        let EntryId { epoch, pseq } = hold.watermark;
        format!("{} epoch {epoch} watermark {pseq} fence {}\n", hold.partition, hold.fence)
    };
    Ok(holds.iter().map(line).collect())
}
