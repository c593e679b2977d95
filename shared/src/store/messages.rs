//! Reading messages: pages, what a returning client missed, single ones. Each answer is one statement, so rows and marks
//! ([`Stored`]) agree with each other; the caller has read the tail of the log before and merges the two.
//!
//! A deleted message is a row without text, whatever the table still holds.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgExecutor, Row as _};
use uuid::Uuid;

use super::{Stored, epoch_column, marks, number, partition_column, seq_column};
use crate::error::Error;
use crate::id::{AccountId, MessageId, MessageNo, Partition, Position, RoomId};
use crate::message::Message;
use crate::user::{Author, Roles};

/// A message as Postgres has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// The message.
    pub message: Message,
    /// The last event that changed it after it was sent.
    pub changed: Option<Position>,
    /// Who took it back.
    pub deleted_by: Option<AccountId>,
}

impl StoredMessage {
    /// Where a client that has everything up to `after` is to hear of it: at its own place when that is new to the
    /// client, else at its last change.
    #[must_use]
    pub fn place_after(&self, after: Position) -> Position {
        if self.message.position > after { self.message.position } else { self.changed.unwrap_or(after) }
    }
}

/// How much was said in a room, deleted messages left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Since it exists.
    pub total: i64,
    /// Within the last hour.
    pub last_hour: i64,
}

/// The columns of [`StoredMessage`], of `m` (a message), `a` (its author, perhaps none) and `t` ([`receiver!`]).
macro_rules! message_columns {
    () => {
        "m.id, m.no, m.room, m.author, m.epoch::bigint as epoch, m.seq, \
         case when m.deleted_at is null then m.content end as content, m.nonce, m.author_roles, m.likes, \
         m.created_at, m.edited_at, m.deleted_at, m.changed_epoch::bigint as changed_epoch, m.changed_seq, \
         m.deleted_by, t.receiver, t.read_at, \
         a.no as author_no, a.username, a.full_name, a.avatar"
    };
}

/// The other person `t` of a direct room `r`, with the receipt for the message `m`; nothing in other rooms.
macro_rules! receiver {
    () => {
        "left join lateral (
             select q.account as receiver, s.read_at
             from hubbub.member q
             left join hubbub.message_receipt s on s.message = m.id and s.account = q.account
             where r.kind = 'direct' and q.room = m.room and q.account <> m.author
             limit 1
         ) t on true"
    };
}

pub(super) use {message_columns, receiver};

/// The newest `limit` messages of a room, or those before a place, newest first. Tombstones are among them.
pub async fn page(
    executor: impl PgExecutor<'_>,
    room: RoomId,
    partition: Partition,
    before: Option<Position>,
    limit: u32,
) -> Result<Stored<Vec<StoredMessage>>, Error> {
    let before = before.unwrap_or(Position { epoch: u32::MAX, seq: u64::MAX });
    let rows = sqlx::query(concat!(
        "select ",
        marks!(),
        ", ",
        message_columns!(),
        "
         from hubbub.partition p
         left join hubbub.room r on r.id = $1
         left join lateral (
             select * from hubbub.message
             where room = $1 and (epoch, seq) < ($3, $4)
             order by epoch desc, seq desc
             limit $5
         ) m on true
         left join hubbub.account a on a.id = m.author
         ",
        receiver!(),
        "
         where p.id = $2
         order by m.epoch desc, m.seq desc"
    ))
    .bind(room.0)
    .bind(partition_column(partition))
    .bind(epoch_column(before.epoch))
    .bind(seq_column(before.seq))
    .bind(i64::from(limit))
    .fetch_all(executor)
    .await?;
    read_all(&rows)
}

/// What a client that has everything up to `after` has missed: messages that are new to it, and older ones that were
/// changed since, each once and as it stands now, in the order of [`StoredMessage::place_after`]. At most `limit`; when
/// there are so many, there may be more.
pub async fn after(
    executor: impl PgExecutor<'_>,
    room: RoomId,
    partition: Partition,
    after: Position,
    limit: u32,
) -> Result<Stored<Vec<StoredMessage>>, Error> {
    let rows = sqlx::query(concat!(
        "select ",
        marks!(),
        ", ",
        message_columns!(),
        "
         from hubbub.partition p
         left join hubbub.room r on r.id = $1
         left join lateral (
             select * from (
                 (select *, epoch as place_epoch, seq as place_seq
                  from hubbub.message
                  where room = $1 and (epoch, seq) > ($3, $4)
                  order by epoch, seq
                  limit $5)
                 union all
                 (select *, changed_epoch, changed_seq
                  from hubbub.message
                  where room = $1 and changed_epoch is not null
                    and (changed_epoch, changed_seq) > ($3, $4) and (epoch, seq) <= ($3, $4)
                  order by changed_epoch, changed_seq
                  limit $5)
             ) missed
             order by place_epoch, place_seq
             limit $5
         ) m on true
         left join hubbub.account a on a.id = m.author
         ",
        receiver!(),
        "
         where p.id = $2
         order by m.place_epoch, m.place_seq"
    ))
    .bind(room.0)
    .bind(partition_column(partition))
    .bind(epoch_column(after.epoch))
    .bind(seq_column(after.seq))
    .bind(i64::from(limit))
    .fetch_all(executor)
    .await?;
    read_all(&rows)
}

/// The last seq that is stored of a room up to and with `epoch`. A position of an older epoch is still good for a replay
/// when it is not above this.
pub async fn last_seq_up_to(executor: impl PgExecutor<'_>, room: RoomId, epoch: u32) -> Result<u64, Error> {
    let row = sqlx::query(
        "select greatest(
             (select seq from hubbub.message
              where room = $1 and epoch <= $2 order by epoch desc, seq desc limit 1),
             (select changed_seq from hubbub.message
              where room = $1 and changed_epoch is not null and changed_epoch <= $2
              order by changed_epoch desc, changed_seq desc limit 1),
             0) as seq",
    )
    .bind(room.0)
    .bind(epoch_column(epoch))
    .fetch_one(executor)
    .await?;
    Ok(number(&row, "seq")?)
}

/// The message with this integer id. The marks are those of its room.
pub async fn by_no(
    executor: impl PgExecutor<'_>,
    no: MessageNo,
    partition: Partition,
) -> Result<Stored<Option<StoredMessage>>, Error> {
    let row = sqlx::query(concat!(
        "select ",
        marks!(),
        ", ",
        message_columns!(),
        "
         from hubbub.partition p
         left join hubbub.message m on m.no = $1
         left join hubbub.room r on r.id = m.room
         left join hubbub.account a on a.id = m.author
         ",
        receiver!(),
        "
         where p.id = $2"
    ))
    .bind(no.0)
    .bind(partition_column(partition))
    .fetch_one(executor)
    .await?;
    read_one(&row)
}

/// The message with this id. The marks are those of its room.
pub async fn by_id(
    executor: impl PgExecutor<'_>,
    id: MessageId,
    partition: Partition,
) -> Result<Stored<Option<StoredMessage>>, Error> {
    let row = sqlx::query(concat!(
        "select ",
        marks!(),
        ", ",
        message_columns!(),
        "
         from hubbub.partition p
         left join hubbub.message m on m.id = $1
         left join hubbub.room r on r.id = m.room
         left join hubbub.account a on a.id = m.author
         ",
        receiver!(),
        "
         where p.id = $2"
    ))
    .bind(id.0)
    .bind(partition_column(partition))
    .fetch_one(executor)
    .await?;
    read_one(&row)
}

/// How much was said in a room. It walks one index entry per message counted (1 ms per 4,000), so those who are asked
/// often share an answer.
pub async fn counts(
    executor: impl PgExecutor<'_>,
    room: RoomId,
    partition: Partition,
) -> Result<Stored<Counts>, Error> {
    let row = sqlx::query(concat!(
        "select ",
        marks!(),
        ",
             (select count(*) from hubbub.message where room = $1)
             - (select count(*) from hubbub.message where room = $1 and deleted_at is not null) as total,
             (select count(*) from hubbub.message
              where room = $1 and created_at > now() - interval '1 hour' and deleted_at is null) as last_hour
         from hubbub.partition p
         left join hubbub.room r on r.id = $1
         where p.id = $2"
    ))
    .bind(room.0)
    .bind(partition_column(partition))
    .fetch_one(executor)
    .await?;
    let counts = Counts { total: row.try_get("total")?, last_hour: row.try_get("last_hour")? };
    Ok(Stored::around(counts, &row)?)
}

/// The messages in rows that all carry the same marks. A room without messages still has one row, which has no message.
pub(super) fn read_all(rows: &[PgRow]) -> Result<Stored<Vec<StoredMessage>>, Error> {
    let first = rows.first().ok_or_else(|| Error::bug("a partition without a row"))?;
    let messages = rows.iter().map(read_message).filter_map(Result::transpose).collect::<Result<_, _>>()?;
    Ok(Stored::around(messages, first)?)
}

fn read_one(row: &PgRow) -> Result<Stored<Option<StoredMessage>>, Error> {
    Ok(Stored::around(read_message(row)?, row)?)
}

fn read_message(row: &PgRow) -> Result<Option<StoredMessage>, sqlx::Error> {
    match row.try_get::<Option<Uuid>, _>("id")? {
        Some(_) => MessageRow::from_row(row)?.into_message(row).map(Some),
        None => Ok(None),
    }
}

#[derive(FromRow)]
struct MessageRow {
    id: Uuid,
    no: i64,
    room: Uuid,
    author: Uuid,
    content: Option<String>,
    nonce: String,
    author_roles: Vec<String>,
    likes: i64,
    created_at: DateTime<Utc>,
    edited_at: Option<DateTime<Utc>>,
    deleted_at: Option<DateTime<Utc>>,
    deleted_by: Option<Uuid>,
    receiver: Option<Uuid>,
    read_at: Option<DateTime<Utc>>,
    changed_epoch: Option<i64>,
    author_no: Option<i64>,
    username: Option<String>,
    full_name: Option<String>,
    avatar: Option<String>,
}

impl MessageRow {
    fn into_message(self, row: &PgRow) -> Result<StoredMessage, sqlx::Error> {
        let changed = match self.changed_epoch {
            Some(_) => {
                Some(Position { epoch: number(row, "changed_epoch")?, seq: number(row, "changed_seq")? })
            }
            None => None,
        };
        let position = Position { epoch: number(row, "epoch")?, seq: number(row, "seq")? };
        let author = Author {
            id: AccountId(self.author),
            // An author whose row is not there (Postgres was restored from before the first sight of them): the message
            // is shown all the same, until the next sign-in brings the row.
            no: self.author_no.unwrap_or(0),
            username: self
                .username
                .unwrap_or_else(|| format!("user-{}", &self.author.simple().to_string()[..8])),
            full_name: self.full_name,
            avatar: self.avatar,
            roles: Roles::from_names(self.author_roles),
        };
        let message = Message {
            id: MessageId(self.id),
            no: MessageNo(self.no),
            room: RoomId(self.room),
            position,
            author,
            text: self.content,
            nonce: self.nonce,
            likes: self.likes,
            created_at: self.created_at,
            edited_at: self.edited_at,
            deleted_at: self.deleted_at,
            receiver: self.receiver.map(AccountId),
            read_at: self.read_at,
        };
        Ok(StoredMessage { message, changed, deleted_by: self.deleted_by.map(AccountId) })
    }
}
