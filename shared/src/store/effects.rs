//! The rows that log entries become. Everything here may be repeated: a row that is there stays as it is, and a counter
//! moves only with rows that were really inserted or removed.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::receipts;
use crate::id::{AccountId, MessageId, MessageNo, Position, RoomId};
use crate::user::Roles;

/// What a message's `kind` column says of one whose entry could not be read.
pub const UNREADABLE: &str = "unreadable";

/// A row of `hubbub.message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// Its id.
    pub id: MessageId,
    /// Its integer id.
    pub no: MessageNo,
    /// Its room.
    pub room: RoomId,
    /// Its author; nil for an unreadable one.
    pub author: AccountId,
    /// Its place.
    pub position: Position,
    /// `text`, or [`UNREADABLE`].
    pub kind: &'static str,
    /// Its text.
    pub content: Option<String>,
    /// SHA-256 of the body as it was sent.
    pub digest: [u8; 32],
    /// The sender's own name for it.
    pub nonce: String,
    /// Badges worn at sending.
    pub roles: Roles,
    /// When it was accepted.
    pub at: DateTime<Utc>,
    /// Whether it was sent to somebody, who has not read it then.
    pub is_direct: bool,
}

/// The last state of one person's like in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LikeRow {
    /// The room.
    pub room: RoomId,
    /// A message's id, or the room's for its session.
    pub target: Uuid,
    /// Whose like.
    pub person: AccountId,
    /// Given, or taken back.
    pub liked: bool,
    /// When, and at which place in the room.
    pub at: DateTime<Utc>,
    /// The place of the change.
    pub position: Position,
}

/// Inserts messages that are not there yet and counts them for their sessions; answers how many were new. A placeholder is
/// not counted: if its message can be stored after all, that one is.
pub async fn insert_messages(tx: &mut PgConnection, rows: &[MessageRow]) -> Result<u64, sqlx::Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let inserted: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "with inserted as (
         insert into hubbub.message
             (id, no, room, author, epoch, seq, kind, content, digest, nonce, author_roles, created_at)
         select id, no, room, author, epoch, seq, kind, content, digest, nonce,
                string_to_array(roles, ',', ''), created_at
         from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::int[], $6::bigint[], $7::text[],
                     $8::text[], $9::bytea[], $10::text[], $11::text[], $12::timestamptz[])
              as new (id, no, room, author, epoch, seq, kind, content, digest, nonce, roles, created_at)
         on conflict (id) do nothing
         returning room, author, kind)
         select room, author from inserted where kind <> 'unreadable'",
    )
    .bind(each(rows, |row| row.id.0))
    .bind(each(rows, |row| row.no.0))
    .bind(each(rows, |row| row.room.0))
    .bind(each(rows, |row| row.author.0))
    .bind(each(rows, |row| epoch(row.position)))
    .bind(each(rows, |row| seq(row.position)))
    .bind(each(rows, |row| row.kind))
    .bind(each(rows, |row| row.content.as_deref()))
    .bind(each(rows, |row| row.digest.to_vec()))
    .bind(each(rows, |row| row.nonce.as_str()))
    .bind(each(rows, |row| row.roles.to_names().join(",")))
    .bind(each(rows, |row| row.at))
    .fetch_all(&mut *tx)
    .await?;
    let direct: HashSet<Uuid> = rows.iter().filter(|row| row.is_direct).map(|row| row.room.0).collect();
    let (letters, others): (Vec<_>, Vec<_>) = inserted.iter().partition(|(room, _)| direct.contains(room));
    receipts::count_new(&mut *tx, &count(letters)).await?;
    let per_room = count(others.into_iter().map(|(room, _)| room));
    if !per_room.is_empty() {
        count_for_sessions(tx, &per_room).await?;
    }
    Ok(inserted.len() as u64)
}

async fn count_for_sessions(
    tx: impl PgExecutor<'_>,
    per_room: &HashMap<Uuid, i64>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update hubbub.live_session s set total_messages = total_messages + new.count
         from unnest($1::uuid[], $2::bigint[]) as new (room, count) where s.room = new.room",
    )
    .bind(per_room.keys().copied().collect::<Vec<_>>())
    .bind(per_room.values().copied().collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

/// Brings likes to their state; answers how many were really given or taken back.
pub async fn apply_likes(tx: &mut PgConnection, rows: &[LikeRow]) -> Result<u64, sqlx::Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let (given, taken): (Vec<LikeRow>, Vec<LikeRow>) = rows.iter().partition(|row| row.liked);
    let mut totals: HashMap<Uuid, i64> = HashMap::new();
    for target in insert_likes(&mut *tx, &given).await? {
        *totals.entry(target).or_default() += 1;
    }
    for target in delete_likes(&mut *tx, &taken).await? {
        *totals.entry(target).or_default() -= 1;
    }
    move_totals(tx, rows, &totals).await?;
    Ok(totals.values().map(|change| change.unsigned_abs()).sum())
}

async fn insert_likes(tx: impl PgExecutor<'_>, rows: &[LikeRow]) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "insert into hubbub.reaction (room, target, account, created_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[])
         on conflict (target, account) do nothing
         returning target",
    )
    .bind(each(rows, |row| row.room.0))
    .bind(each(rows, |row| row.target))
    .bind(each(rows, |row| row.person.0))
    .bind(each(rows, |row| row.at))
    .fetch_all(tx)
    .await
}

async fn delete_likes(tx: impl PgExecutor<'_>, rows: &[LikeRow]) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "delete from hubbub.reaction r using unnest($1::uuid[], $2::uuid[]) as gone (target, account)
         where r.target = gone.target and r.account = gone.account
         returning r.target",
    )
    .bind(each(rows, |row| row.target))
    .bind(each(rows, |row| row.person.0))
    .fetch_all(tx)
    .await
}

async fn move_totals(
    tx: &mut PgConnection,
    rows: &[LikeRow],
    totals: &HashMap<Uuid, i64>,
) -> Result<(), sqlx::Error> {
    let mut changed: HashMap<Uuid, Position> = HashMap::new();
    for row in rows {
        let last = changed.entry(row.target).or_default();
        *last = (*last).max(row.position);
    }
    let targets: Vec<Uuid> = changed.keys().copied().collect();
    let changes: Vec<i64> = targets.iter().map(|target| totals.get(target).copied().unwrap_or(0)).collect();
    sqlx::query(
        "update hubbub.message m
         set likes = m.likes + new.change,
             changed_epoch = case when (new.epoch, new.seq) > (coalesce(m.changed_epoch, 0), coalesce(m.changed_seq, 0))
                             then new.epoch else m.changed_epoch end,
             changed_seq = case when (new.epoch, new.seq) > (coalesce(m.changed_epoch, 0), coalesce(m.changed_seq, 0))
                           then new.seq else m.changed_seq end
         from unnest($1::uuid[], $2::bigint[], $3::int[], $4::bigint[]) as new (target, change, epoch, seq)
         where m.id = new.target and new.change <> 0",
    )
    .bind(&targets)
    .bind(&changes)
    .bind(each(&targets, |target| epoch(changed[target])))
    .bind(each(&targets, |target| seq(changed[target])))
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "update hubbub.live_session s set total_likes = s.total_likes + new.change
         from unnest($1::uuid[], $2::bigint[]) as new (room, change) where s.room = new.room and new.change <> 0",
    )
    .bind(&targets)
    .bind(&changes)
    .execute(tx)
    .await?;
    Ok(())
}

/// Moves each room's last stored position; `messages` are the rooms' newest message times.
pub async fn move_heads(
    tx: impl PgExecutor<'_>,
    heads: &HashMap<RoomId, Position>,
    messages: &HashMap<RoomId, DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    if heads.is_empty() {
        return Ok(());
    }
    let rooms: Vec<RoomId> = heads.keys().copied().collect();
    sqlx::query(
        "update hubbub.room r
         set last_epoch = new.epoch, last_seq = new.seq,
             last_message_at = greatest(r.last_message_at, new.last_message_at)
         from unnest($1::uuid[], $2::int[], $3::bigint[], $4::timestamptz[])
              as new (room, epoch, seq, last_message_at)
         where r.id = new.room and (r.last_epoch, r.last_seq) < (new.epoch, new.seq)",
    )
    .bind(each(&rooms, |room| room.0))
    .bind(each(&rooms, |room| epoch(heads[room])))
    .bind(each(&rooms, |room| seq(heads[room])))
    .bind(each(&rooms, |room| messages.get(room).copied()))
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) fn each<'a, T, U>(rows: &'a [T], column: impl Fn(&'a T) -> U) -> Vec<U> {
    rows.iter().map(column).collect()
}

fn epoch(position: Position) -> i32 {
    i32::try_from(position.epoch).unwrap_or(i32::MAX)
}

fn seq(position: Position) -> i64 {
    i64::try_from(position.seq).unwrap_or(i64::MAX)
}

fn count<T: Eq + Hash>(things: impl IntoIterator<Item = T>) -> HashMap<T, i64> {
    things.into_iter().fold(HashMap::new(), |mut counts, thing| {
        *counts.entry(thing).or_default() += 1;
        counts
    })
}
