//! Dead letters: entries that can't be stored, parked with their raw bytes so that everything behind them goes on.
//!
//! Only what a value itself causes is poison: SQLSTATE class 22 (data exceptions) and 54 (limits of the program), and bodies
//! that can't be read. A violated constraint (class 23) is a bug of ours and stops the partition; a server that is away is
//! waited for.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use crate::event::{Envelope, Event};
use crate::id::{EntryId, Partition};
use crate::store::amendments::AmendmentRow;

/// What to do about an error of Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Some value in the batch can't be stored: find it and park it.
    Poison,
    /// Postgres is away, restarting or overloaded: try again.
    Away,
    /// Our own mistake: stop, raise the alarm, park nothing.
    Bug,
}

/// Sorts an error by what is to be done.
#[must_use]
pub fn judge(error: &sqlx::Error) -> Verdict {
    if let sqlx::Error::Encode(_) = error {
        return Verdict::Poison;
    }
    let state = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    judge_state(state.as_deref(), crate::error::is_postgres_away(error))
}

fn judge_state(state: Option<&str>, away: bool) -> Verdict {
    match state {
        Some(state) if state.starts_with("22") || state.starts_with("54") => Verdict::Poison,
        _ if away => Verdict::Away,
        _ => Verdict::Bug,
    }
}

/// An entry to be parked.
#[derive(Clone, Debug)]
pub struct Parking<'a> {
    /// The entry as it was read.
    pub envelope: &'a Envelope,
    /// Postgres' name for the trouble, when it was Postgres that refused.
    pub sqlstate: Option<String>,
    /// The trouble in words.
    pub reason: String,
}

/// Parks an entry, raw.
pub async fn park(executor: impl PgExecutor<'_>, parking: &Parking<'_>) -> Result<(), sqlx::Error> {
    let Envelope { partition, entry, room, to, seq, prev, at_ms, total, body } = parking.envelope;
    let message = match parking.envelope.event() {
        Ok(Event::MessageSent(message)) => Some(message.id.to_string()),
        _ => None,
    };
    let fields = serde_json::json!({
        "to": to.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "seq": seq, "prev": prev, "at": at_ms, "total": total, "message": message,
    });
    sqlx::query(
        "insert into hubbub.dead_letter (partition, epoch, pseq, room, sqlstate, reason, fields, body)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (partition, epoch, pseq) do nothing",
    )
    .bind(i16::try_from(partition.number()).expect("there are at most 1,024 partitions"))
    .bind(i32::try_from(entry.epoch).unwrap_or(i32::MAX))
    .bind(i64::from(entry.pseq))
    .bind(room.map(|room| room.0))
    .bind(&parking.sqlstate)
    .bind(&parking.reason)
    .bind(fields)
    .bind(body.as_ref())
    .execute(executor)
    .await?;
    Ok(())
}

/// Notes how parked messages stand after edits and deletions, which find no row of theirs: a message that is redriven must not
/// come back as it was before. At most one row a message.
pub async fn amend(tx: &mut sqlx::PgConnection, rows: &[AmendmentRow]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let messages: Vec<String> = rows.iter().map(|row| row.message.to_string()).collect();
    let amendments: Vec<serde_json::Value> = rows
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<_, _>>()
        .map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(
        "update hubbub.dead_letter d set fields = d.fields || jsonb_build_object('amendment', new.amendment)
         from unnest($1::text[], $2::jsonb[]) as new (message, amendment)
         where d.redriven_at is null and d.fields->>'message' = new.message
           and d.fields->'amendment'->'text' is distinct from 'null'",
    )
    .bind(messages)
    .bind(amendments)
    .execute(tx)
    .await?;
    Ok(())
}

/// A parked entry.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The entry with its raw body.
    pub envelope: Envelope,
    /// How the message stands after what came later in the log.
    pub amendment: Option<AmendmentRow>,
    /// Postgres' name for the trouble.
    pub sqlstate: Option<String>,
    /// The trouble in words.
    pub reason: String,
    /// When it was parked.
    pub parked_at: DateTime<Utc>,
    /// When it was redriven.
    pub redriven_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    partition: i16,
    epoch: i32,
    pseq: i64,
    room: Option<Uuid>,
    sqlstate: Option<String>,
    reason: String,
    fields: serde_json::Value,
    body: Vec<u8>,
    parked_at: DateTime<Utc>,
    redriven_at: Option<DateTime<Utc>>,
}

impl From<Row> for DeadLetter {
    fn from(row: Row) -> Self {
        let number = |name: &str| row.fields[name].as_i64();
        let people = row.fields["to"].as_array().into_iter().flatten();
        let envelope = Envelope {
            partition: Partition::numbered(u16::try_from(row.partition).unwrap_or(0)),
            entry: EntryId {
                epoch: u32::try_from(row.epoch).unwrap_or(0),
                pseq: u32::try_from(row.pseq).unwrap_or(0),
            },
            room: row.room.map(crate::id::RoomId),
            to: people.filter_map(|id| id.as_str()?.parse().ok()).collect(),
            seq: number("seq").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            prev: number("prev").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            at_ms: number("at").unwrap_or(0),
            total: number("total"),
            body: row.body.into(),
        };
        let amendment = serde_json::from_value(row.fields["amendment"].clone()).ok();
        Self {
            envelope,
            amendment,
            sqlstate: row.sqlstate,
            reason: row.reason,
            parked_at: row.parked_at,
            redriven_at: row.redriven_at,
        }
    }
}

/// Parked entries that were not redriven, oldest first.
pub async fn list(pool: &PgPool, most: i64) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from hubbub.dead_letter where redriven_at is null order by parked_at, partition, epoch, pseq limit $1",
    )
    .bind(most)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(DeadLetter::from).collect())
}

/// One parked entry.
pub async fn show(
    pool: &PgPool,
    partition: Partition,
    entry: EntryId,
) -> Result<Option<DeadLetter>, sqlx::Error> {
    let row: Option<Row> =
        sqlx::query_as("select * from hubbub.dead_letter where partition = $1 and epoch = $2 and pseq = $3")
            .bind(i16::try_from(partition.number()).unwrap_or(-1))
            .bind(i32::try_from(entry.epoch).unwrap_or(-1))
            .bind(i64::from(entry.pseq))
            .fetch_optional(pool)
            .await?;
    Ok(row.map(DeadLetter::from))
}

/// Notes that a parked entry was redriven, and removes the placeholder that stood for it.
pub async fn mark_redriven(tx: &mut sqlx::PgConnection, letter: &DeadLetter) -> Result<(), sqlx::Error> {
    let Envelope { partition, entry, room, seq, .. } = &letter.envelope;
    sqlx::query(
        "update hubbub.dead_letter set redriven_at = now() where partition = $1 and epoch = $2 and pseq = $3",
    )
    .bind(i16::try_from(partition.number()).unwrap_or(-1))
    .bind(i32::try_from(entry.epoch).unwrap_or(-1))
    .bind(i64::from(entry.pseq))
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "delete from hubbub.message where room = $1 and epoch = $2 and seq = $3 and kind = 'unreadable'",
    )
    .bind(room.map(|room| room.0))
    .bind(i32::try_from(entry.epoch).unwrap_or(-1))
    .bind(i64::try_from(*seq).unwrap_or(-1))
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_value_causes_is_poison() {
        for (state, verdict) in [
            ("22P05", Verdict::Poison), // a character the encoding can't hold
            ("22021", Verdict::Poison), // NUL in text
            ("22P02", Verdict::Poison), // malformed input for a type
            ("54001", Verdict::Poison), // nested too deeply
            ("23505", Verdict::Bug),    // our own uniqueness
            ("42P01", Verdict::Bug),    // a table that is not there
        ] {
            assert_eq!(judge_state(Some(state), false), verdict, "{state}");
        }
        assert_eq!(judge_state(Some("57P01"), true), Verdict::Away);
        assert_eq!(judge_state(None, true), Verdict::Away);
        assert_eq!(judge_state(None, false), Verdict::Bug);
    }
}
