//! Edits and deletions of stored messages. Repeating them changes nothing, a deleted message is never edited, and its text
//! is gone from the row for good.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::effects::each;
use super::{epoch_column, receipts, seq_column};
use crate::id::{AccountId, MessageId, Position};

/// How a message stands after the amendments of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmendmentRow {
    /// Which message.
    pub message: MessageId,
    /// Its text from here on; none when it was deleted.
    pub text: Option<String>,
    /// Who did that.
    pub by: AccountId,
    /// When.
    pub at: DateTime<Utc>,
    /// The place of the last of those events.
    pub position: Position,
}

/// Brings messages to how they stand. At most one row a message.
///
/// # Errors
/// As Postgres says.
pub async fn apply(tx: &mut PgConnection, rows: &[AmendmentRow]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let amended: Vec<(Uuid, bool)> = sqlx::query_as(
        "update hubbub.message m
         set content = new.content,
             media = case when new.content is null then null else m.media end,
             edited_at = case when new.content is null then m.edited_at else new.at end,
             deleted_at = case when new.content is null then new.at end,
             deleted_by = case when new.content is null then new.account end,
             changed_epoch = case when (new.epoch, new.seq) > (coalesce(m.changed_epoch, 0), coalesce(m.changed_seq, 0))
                             then new.epoch else m.changed_epoch end,
             changed_seq = case when (new.epoch, new.seq) > (coalesce(m.changed_epoch, 0), coalesce(m.changed_seq, 0))
                           then new.seq else m.changed_seq end
         from unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[], $5::int[], $6::bigint[])
              as new (message, content, account, at, epoch, seq)
         where m.id = new.message and m.deleted_at is null
           and (new.content is null or m.edited_at is null or m.edited_at <= new.at)
         returning m.id, new.content is null",
    )
    .bind(each(rows, |row| row.message.0))
    .bind(each(rows, |row| row.text.as_deref()))
    .bind(each(rows, |row| row.by.0))
    .bind(each(rows, |row| row.at))
    .bind(each(rows, |row| epoch_column(row.position.epoch)))
    .bind(each(rows, |row| seq_column(row.position.seq)))
    .fetch_all(&mut *tx)
    .await?;
    let deleted: Vec<Uuid> = amended.into_iter().filter(|(_, is_gone)| *is_gone).map(|(id, _)| id).collect();
    receipts::forget_deleted(tx, &deleted).await
}
