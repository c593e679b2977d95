//! Direct rooms as the two people in them see them: which there are, what is in them, what has arrived and what is unread.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, PgPool, Row as _};
use uuid::Uuid;

use super::effects::each;
use super::messages::{StoredMessage, read_all};
use super::{Stored, epoch_column, marks, number, partition_column, seq_column};
use crate::error::Error;
use crate::id::{AccountId, MessageId, Partition, Position, RoomId};

/// A direct room of somebody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectRoom {
    /// The room.
    pub room: RoomId,
    /// The last position that is stored.
    pub last: Position,
    /// The room's last membership change, at which the person is in it.
    pub number: u64,
    /// Whether it holds messages that the person has not read.
    pub has_unread: bool,
    /// Whether anything was ever written in it.
    pub has_messages: bool,
}

/// What a person is in which direct room: nobody leaves one.
const ROOMS: &str = "
    select m.account, r.id, r.last_epoch::bigint as last_epoch, r.last_seq, r.number, m.unread > 0 as has_unread,
           r.last_message_at is not null as has_messages
    from hubbub.member m
    join hubbub.room r on r.id = m.room and r.kind = 'direct'
    where m.is_active and m.account = any($1) and r.created_at >= $2";

/// The direct rooms of these people that were made since `since`, each with its person.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn rooms_of(
    executor: impl PgExecutor<'_>,
    people: &[AccountId],
    since: DateTime<Utc>,
) -> Result<Vec<(AccountId, DirectRoom)>, Error> {
    let rows =
        sqlx::query(ROOMS).bind(each(people, |person| person.0)).bind(since).fetch_all(executor).await?;
    Ok(rows.iter().map(read_room).collect::<Result<_, _>>()?)
}

fn read_room(row: &PgRow) -> Result<(AccountId, DirectRoom), sqlx::Error> {
    let room = DirectRoom {
        room: RoomId(row.try_get("id")?),
        last: Position { epoch: number(row, "last_epoch")?, seq: number(row, "last_seq")? },
        number: number(row, "number")?,
        has_unread: row.try_get("has_unread")?,
        has_messages: row.try_get("has_messages")?,
    };
    Ok((AccountId(row.try_get("account")?), room))
}

/// Whether the two people of a direct room are friends, or anything was ever written in it.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn has_begun(executor: impl PgExecutor<'_>, room: RoomId) -> Result<bool, Error> {
    let has_begun = sqlx::query_scalar(
        "select exists (select from hubbub.room where id = $1 and last_message_at is not null)
             or exists (
                 select from hubbub.member one
                 join hubbub.member other on other.room = one.room and other.account > one.account
                 join hubbub.friendship f on f.low = one.account and f.high = other.account
                 where one.room = $1 and f.state = 'accepted')",
    );
    Ok(has_begun.bind(room.0).fetch_one(executor).await?)
}

/// A part of a direct room, and what is true of it as a whole in the same snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Newest first.
    pub messages: Vec<StoredMessage>,
    /// All messages that can be read and are not deleted.
    pub total: i64,
    /// Up to where messages have reached a socket of each of the people.
    pub delivered: Vec<(AccountId, Position)>,
}

/// Which messages of a room.
#[derive(Clone, Copy, Debug)]
pub struct Newest<'a> {
    /// Only those before this place.
    pub before: Option<Position>,
    /// These, whatever became of them; they are not counted in what follows.
    pub known: &'a [MessageId],
    /// Without the newest so many of the others.
    pub skip: u64,
    /// At most so many of them.
    pub limit: u64,
}

/// Messages that can be read and are not deleted, newest first.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn newest(
    pool: &PgPool,
    room: RoomId,
    partition: Partition,
    which: Newest<'_>,
) -> Result<Stored<Page>, Error> {
    let before = which.before.unwrap_or(Position { epoch: u32::MAX, seq: u64::MAX });
    let rows = sqlx::query(concat!(
        "select ",
        marks!(),
        ", ",
        super::messages::message_columns!(),
        ",
             (select count(*) from hubbub.message
              where room = $1 and author <> '00000000-0000-0000-0000-000000000000')
             - (select count(*) from hubbub.message where room = $1 and deleted_at is not null) as total,
             (select array_agg(account order by account) from hubbub.member where room = $1) as people,
             (select array_agg(delivered_epoch::bigint order by account) from hubbub.member where room = $1) as epochs,
             (select array_agg(delivered_seq order by account) from hubbub.member where room = $1) as seqs
         from hubbub.partition p
         left join hubbub.room r on r.id = $1
         left join lateral (
             (select * from hubbub.message
              where room = $1 and (epoch, seq) < ($3, $4) and deleted_at is null and kind <> 'unreadable'
                and id <> all ($7)
              order by epoch desc, seq desc
              offset $5 limit $6)
             union all
             select * from hubbub.message where room = $1 and id = any ($7)
         ) m on true
         left join hubbub.account a on a.id = m.author
         ",
        super::messages::receiver!(),
        "
         where p.id = $2
         order by m.epoch desc, m.seq desc"
    ))
    .bind(room.0)
    .bind(partition_column(partition))
    .bind(epoch_column(before.epoch))
    .bind(seq_column(before.seq))
    .bind(i64::try_from(which.skip).unwrap_or(i64::MAX))
    .bind(i64::try_from(which.limit).unwrap_or(i64::MAX))
    .bind(each(which.known, |message| message.0))
    .fetch_all(pool)
    .await?;
    let stored = read_all(&rows)?;
    let first = rows.first().ok_or_else(|| Error::bug("a partition without a row"))?;
    let (total, delivered) = (first.try_get("total")?, read_marks(first)?);
    Ok(stored.map(|messages| Page { messages, total, delivered }))
}

fn read_marks(row: &PgRow) -> Result<Vec<(AccountId, Position)>, sqlx::Error> {
    let people: Vec<Uuid> = row.try_get::<Option<_>, _>("people")?.unwrap_or_default();
    let epochs: Vec<i64> = row.try_get::<Option<_>, _>("epochs")?.unwrap_or_default();
    let seqs: Vec<i64> = row.try_get::<Option<_>, _>("seqs")?.unwrap_or_default();
    let mark = |((person, epoch), seq)| {
        let position =
            Position { epoch: u32::try_from(epoch).unwrap_or(0), seq: u64::try_from(seq).unwrap_or(0) };
        (AccountId(person), position)
    };
    Ok(people.into_iter().zip(epochs).zip(seqs).map(mark).collect())
}

/// Up to where messages of a room have reached a socket of a person.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn delivered(
    executor: impl PgExecutor<'_>,
    room: RoomId,
    person: AccountId,
) -> Result<Position, Error> {
    let row = sqlx::query(
        "select delivered_epoch::bigint as epoch, delivered_seq as seq from hubbub.member
         where room = $1 and account = $2",
    );
    let row = row.bind(room.0).bind(person.0).fetch_optional(executor).await?;
    let Some(row) = row else { return Ok(Position::default()) };
    Ok(Position { epoch: number(&row, "epoch")?, seq: number(&row, "seq")? })
}

/// How many messages a person has not read in all direct rooms together.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn unread(executor: impl PgExecutor<'_>, person: AccountId) -> Result<i64, Error> {
    let unread = sqlx::query_scalar(
        "select coalesce(sum(m.unread), 0)::bigint
         from hubbub.member m
         join hubbub.room r on r.id = m.room and r.kind = 'direct'
         where m.account = $1 and m.is_active",
    );
    Ok(unread.bind(person.0).fetch_one(executor).await?)
}

/// What became of marks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Those that moved; the others that are not left were there already.
    pub moved: HashSet<(RoomId, AccountId)>,
    /// Those whose rows somebody else had locked.
    pub left: HashSet<(RoomId, AccountId)>,
}

/// Moves the marks of what has arrived; a mark only grows. A row that somebody else has locked is left for the next time, so that
/// this waits for nobody.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn note_delivered(
    executor: impl PgExecutor<'_>,
    marks: &[(RoomId, AccountId, Position)],
) -> Result<Noted, Error> {
    let rows: Vec<(Uuid, Uuid, bool)> = sqlx::query_as(
        "with new as (
             select * from unnest($1::uuid[], $2::uuid[], $3::int[], $4::bigint[]) as new (room, account, epoch, seq)
         ), free as (
             select p.room, p.account, new.epoch, new.seq
             from new join hubbub.member p on p.room = new.room and p.account = new.account
             for no key update of p skip locked
         ), moved as (
             update hubbub.member p
             set delivered_epoch = free.epoch, delivered_seq = free.seq
             from free
             where p.room = free.room and p.account = free.account
               and (free.epoch, free.seq) > (p.delivered_epoch, p.delivered_seq)
             returning p.room, p.account
         ), locked as (
             select room, account from new join hubbub.member using (room, account)
             except
             select room, account from free
         )
         select room, account, true as has_moved from moved
         union all
         select room, account, false from locked",
    )
    .bind(each(marks, |mark| mark.0.0))
    .bind(each(marks, |mark| mark.1.0))
    .bind(each(marks, |mark| epoch_column(mark.2.epoch)))
    .bind(each(marks, |mark| seq_column(mark.2.seq)))
    .fetch_all(executor)
    .await?;
    let mut noted = Noted::default();
    for (room, account, has_moved) in rows {
        let these = if has_moved { &mut noted.moved } else { &mut noted.left };
        these.insert((RoomId(room), AccountId(account)));
    }
    Ok(noted)
}
