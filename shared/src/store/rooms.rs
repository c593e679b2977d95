//! Rooms and who is in them, as the api reads them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, PgPool, Row as _};
use uuid::Uuid;

use super::effects::each;
use super::number;
use crate::error::Error;
use crate::id::{AccountId, RoomId};
use crate::room::RoomKind;

/// A row of `hubbub.room`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The name that events use.
    pub id: RoomId,
    /// Its integer twin.
    pub no: i64,
    /// What sort of conversation it is.
    pub kind: RoomKind,
    /// Shown to people; direct rooms have none.
    pub name: Option<String>,
    /// Shown below the name.
    pub description: Option<String>,
    /// A picture.
    pub avatar: Option<String>,
    /// Who made it.
    pub created_by: Option<AccountId>,
    /// A closed room takes no messages.
    pub is_active: bool,
    /// The last membership change.
    pub number: u64,
    /// The last membership change that took something away.
    pub restricting: u64,
    /// Active members.
    pub member_count: i32,
    /// When the last message was accepted.
    pub last_message_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its name or picture changed.
    pub updated_at: DateTime<Utc>,
}

/// What a person is in a room, as of the room's membership number in the same state of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The kind of the room.
    pub kind: RoomKind,
    /// Whether the room takes messages.
    pub is_active: bool,
    /// The room's last membership change: what is true here is true at this number.
    pub number: u64,
    /// The last one that took something away.
    pub restricting: u64,
    /// Whether one of the two people of a direct room blocks the other.
    pub is_blocked: bool,
    /// The other person of a direct room in which the person is.
    pub peer: Option<AccountId>,
    /// Whether the two people of a direct room are friends.
    pub is_friend: bool,
    /// The person's row, if the person was ever a member.
    pub member: Option<Member>,
}

impl Seat {
    /// The two people of a direct room, of whom this is the seat of `me`; nobody in other rooms.
    #[must_use]
    pub fn people(&self, me: AccountId) -> Vec<AccountId> {
        self.peer.into_iter().flat_map(|peer| [me, peer]).collect()
    }
}

/// A row of `hubbub.member`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// May change the room and its members.
    pub is_admin: bool,
    /// Is a member now; the row of one who left stays.
    pub is_active: bool,
    /// Is not to come back.
    pub is_banned: bool,
    /// The membership change that made it so.
    pub number: u64,
    /// Since when.
    pub joined_at: DateTime<Utc>,
}

/// A room that is to be.
#[derive(Clone, Debug)]
pub struct NewRoom<'a> {
    /// Its name in events.
    pub id: RoomId,
    /// What sort of conversation it is.
    pub kind: RoomKind,
    /// Shown to people.
    pub name: Option<&'a str>,
    /// Shown below the name.
    pub description: Option<&'a str>,
    /// Who makes it; nobody makes the room of a live session.
    pub created_by: Option<AccountId>,
}

/// The room with this id.
pub async fn by_id(executor: impl PgExecutor<'_>, id: RoomId) -> Result<Option<Room>, Error> {
    let row = sqlx::query(
        "select id, no, kind, name, description, avatar, created_by, is_active, number, restricting, member_count,
             last_message_at, created_at, updated_at
         from hubbub.room
         where id = $1",
    )
    .bind(id.0)
    .fetch_optional(executor)
    .await?;
    Ok(row.as_ref().map(read_room).transpose()?)
}

/// The last number of each of these rooms that is stored.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn last_seqs(
    executor: impl PgExecutor<'_>,
    rooms: &[RoomId],
) -> Result<HashMap<RoomId, u64>, Error> {
    let rows = sqlx::query("select id, last_seq from hubbub.room where id = any ($1)");
    let rows = rows.bind(each(rooms, |room| room.0)).fetch_all(executor).await?;
    let read = |row: &PgRow| Ok((RoomId(row.try_get("id")?), number(row, "last_seq")?));
    Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
}

/// What a person is in a room; nothing when there is no such room.
pub async fn seat(
    executor: impl PgExecutor<'_>,
    room: RoomId,
    person: AccountId,
) -> Result<Option<Seat>, Error> {
    let row = sqlx::query(
        "select r.kind, r.is_active, r.number, r.restricting,
             exists (select from hubbub.member b where r.kind = 'direct' and b.room = r.id and b.blocks) as is_blocked,
             m.is_admin as member_is_admin, m.is_active as member_is_active, m.is_banned as member_is_banned,
             m.number as member_number, m.joined_at,
             p.account as peer, coalesce(f.state = 'accepted', false) as is_friend
         from hubbub.room r
         left join hubbub.member m on m.room = r.id and m.account = $2
         left join hubbub.member p
             on r.kind = 'direct' and m.is_active and p.room = r.id and p.account <> m.account and p.is_active
         left join hubbub.friendship f
             on f.low = least(m.account, p.account) and f.high = greatest(m.account, p.account)
         where r.id = $1",
    )
    .bind(room.0)
    .bind(person.0)
    .fetch_optional(executor)
    .await?;
    Ok(row.as_ref().map(read_seat).transpose()?)
}

/// Writes a room, unless it is there. Answers whether it was written.
pub async fn insert(executor: impl PgExecutor<'_>, room: &NewRoom<'_>) -> Result<bool, Error> {
    Ok(write(executor, room).await?)
}

async fn write(executor: impl PgExecutor<'_>, room: &NewRoom<'_>) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into hubbub.room (id, kind, name, description, created_by)
         values ($1, $2, $3, $4, $5)
         on conflict (id) do nothing",
    )
    .bind(room.id.0)
    .bind(room.kind.as_str())
    .bind(room.name)
    .bind(room.description)
    .bind(room.created_by.map(|person| person.0))
    .execute(executor)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes the direct room of two people with both of them in it, unless it is there.
pub async fn insert_direct(pool: &PgPool, room: RoomId, people: [AccountId; 2]) -> Result<(), Error> {
    let mut tx = super::begin(pool).await?;
    insert_direct_within(&mut tx, room, people).await?;
    tx.commit().await?;
    Ok(())
}

/// The same within a transaction of the caller's. Whoever meets another who is making the room waits for them.
pub(super) async fn insert_direct_within(
    tx: &mut PgConnection,
    room: RoomId,
    people: [AccountId; 2],
) -> Result<(), sqlx::Error> {
    let new = NewRoom { id: room, kind: RoomKind::Direct, name: None, description: None, created_by: None };
    if write(&mut *tx, &new).await? {
        sqlx::query(
            "insert into hubbub.member (room, account) select $1, unnest($2::uuid[]) on conflict do nothing",
        )
        .bind(room.0)
        .bind(people.map(|person| person.0).as_slice())
        .execute(&mut *tx)
        .await?;
        sqlx::query("update hubbub.room set member_count = 2 where id = $1")
            .bind(room.0)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Holds rooms whose members are going to be written, until the transaction ends. A request that changes members has the room
/// before its members; in the other order the two could wait for each other.
pub async fn hold(executor: impl PgExecutor<'_>, rooms: &[RoomId]) -> Result<(), sqlx::Error> {
    if rooms.is_empty() {
        return Ok(());
    }
    sqlx::query("select id from hubbub.room where id = any($1) order by id for no key update")
        .bind(rooms.iter().map(|room| room.0).collect::<Vec<_>>())
        .execute(executor)
        .await?;
    Ok(())
}

fn read_room(row: &PgRow) -> Result<Room, sqlx::Error> {
    Ok(Room {
        id: RoomId(row.try_get("id")?),
        no: row.try_get("no")?,
        kind: read_kind(row)?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        avatar: row.try_get("avatar")?,
        created_by: row.try_get::<Option<Uuid>, _>("created_by")?.map(AccountId),
        is_active: row.try_get("is_active")?,
        number: number(row, "number")?,
        restricting: number(row, "restricting")?,
        member_count: row.try_get("member_count")?,
        last_message_at: row.try_get("last_message_at")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn read_seat(row: &PgRow) -> Result<Seat, sqlx::Error> {
    let member = match row.try_get::<Option<bool>, _>("member_is_admin")? {
        Some(is_admin) => Some(Member {
            is_admin,
            is_active: row.try_get("member_is_active")?,
            is_banned: row.try_get("member_is_banned")?,
            number: number(row, "member_number")?,
            joined_at: row.try_get("joined_at")?,
        }),
        None => None,
    };
    Ok(Seat {
        kind: read_kind(row)?,
        is_active: row.try_get("is_active")?,
        number: number(row, "number")?,
        restricting: number(row, "restricting")?,
        is_blocked: row.try_get("is_blocked")?,
        peer: row.try_get::<Option<Uuid>, _>("peer")?.map(AccountId),
        is_friend: row.try_get("is_friend")?,
        member,
    })
}

fn read_kind(row: &PgRow) -> Result<RoomKind, sqlx::Error> {
    let name: &str = row.try_get("kind")?;
    RoomKind::parse(name).ok_or_else(|| sqlx::Error::Decode(format!("unknown room kind {name:?}").into()))
}
