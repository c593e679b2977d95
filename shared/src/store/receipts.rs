//! What has been read, and what has not: a receipt per message and reader, and in direct rooms a counter per person. The
//! counter moves only with rows that were really inserted, read or deleted, so it equals counting by hand whatever was
//! replayed.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::effects::each;
use super::{epoch_column, seq_column};
use crate::id::{AccountId, MessageId, Position, RoomId};

/// A message that somebody has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRow {
    /// Where.
    pub room: RoomId,
    /// Which message.
    pub message: MessageId,
    /// By whom.
    pub reader: AccountId,
    /// When.
    pub at: DateTime<Utc>,
    /// The place of the event.
    pub position: Position,
}

/// So many messages of an author are new in a direct room: the other person has not read them.
pub(super) async fn count_new(
    tx: impl PgExecutor<'_>,
    new: &HashMap<(Uuid, Uuid), i64>,
) -> Result<(), sqlx::Error> {
    if new.is_empty() {
        return Ok(());
    }
    let rows: Vec<(Uuid, Uuid, i64)> =
        new.iter().map(|((room, author), count)| (*room, *author, *count)).collect();
    sqlx::query(
        "update hubbub.member p
         set unread = p.unread + new.count
         from unnest($1::uuid[], $2::uuid[], $3::bigint[]) as new (room, author, count)
         join hubbub.room r on r.id = new.room and r.kind = 'direct'
         where p.room = new.room and p.account <> new.author",
    )
    .bind(each(&rows, |row| row.0))
    .bind(each(&rows, |row| row.1))
    .bind(each(&rows, |row| row.2))
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes receipts that are not there yet, and takes their messages off what is unread.
///
/// # Errors
/// As Postgres says.
pub async fn read(tx: &mut PgConnection, rows: &[ReadRow]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let fresh: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "insert into hubbub.message_receipt (message, account, room, read_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[])
         on conflict (message, account) do nothing
         returning message, account",
    )
    .bind(each(rows, |row| row.message.0))
    .bind(each(rows, |row| row.reader.0))
    .bind(each(rows, |row| row.room.0))
    .bind(each(rows, |row| row.at))
    .fetch_all(&mut *tx)
    .await?;
    // Before its deletion a message was unread, after it it is nothing that could be.
    sqlx::query(
        "update hubbub.member p
         set unread = p.unread - seen.count
         from (
             select m.room, fresh.account, count(*) as count
             from unnest($1::uuid[], $2::uuid[]) as fresh (message, account)
             join hubbub.message m on m.id = fresh.message and m.deleted_at is null and m.author <> fresh.account
             join hubbub.room r on r.id = m.room and r.kind = 'direct'
             group by m.room, fresh.account
         ) seen
         where p.room = seen.room and p.account = seen.account",
    )
    .bind(each(&fresh, |row| row.0))
    .bind(each(&fresh, |row| row.1))
    .execute(&mut *tx)
    .await?;
    note_changes(tx, rows).await
}

/// A message that was read is one that was changed: whoever was away is to hear of it.
async fn note_changes(tx: impl PgExecutor<'_>, rows: &[ReadRow]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update hubbub.message m
         set changed_epoch = new.epoch, changed_seq = new.seq
         from unnest($1::uuid[], $2::int[], $3::bigint[]) as new (message, epoch, seq)
         where m.id = new.message
           and (new.epoch, new.seq) > (coalesce(m.changed_epoch, 0), coalesce(m.changed_seq, 0))",
    )
    .bind(each(rows, |row| row.message.0))
    .bind(each(rows, |row| epoch_column(row.position.epoch)))
    .bind(each(rows, |row| seq_column(row.position.seq)))
    .execute(tx)
    .await?;
    Ok(())
}

/// These messages were deleted just now: whoever had not read them has fewer to read.
pub(super) async fn forget_deleted(tx: impl PgExecutor<'_>, deleted: &[Uuid]) -> Result<(), sqlx::Error> {
    if deleted.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update hubbub.member p
         set unread = p.unread - gone.count
         from (
             select m.room, p.account, count(*) as count
             from unnest($1::uuid[]) as d (message)
             join hubbub.message m on m.id = d.message and m.kind <> 'unreadable'
             join hubbub.room r on r.id = m.room and r.kind = 'direct'
             join hubbub.member p on p.room = m.room and p.account <> m.author
             where not exists (
                 select from hubbub.message_receipt t where t.message = m.id and t.account = p.account
             )
             group by m.room, p.account
         ) gone
         where p.room = gone.room and p.account = gone.account",
    )
    .bind(deleted)
    .execute(tx)
    .await?;
    Ok(())
}
