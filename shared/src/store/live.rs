//! Live sessions, and the shadow of who watches them.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use super::rooms::{self, NewRoom};
use crate::error::Error;
use crate::id::{AccountId, RoomId};
use crate::room::RoomKind;

/// A row of `hubbub.live_session`: one window, and the room in which it is talked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSession {
    /// 1, 2, 3 … as clients print it.
    pub id: i64,
    /// Its room.
    pub room: RoomId,
    /// Shown to people.
    pub name: String,
    /// The chat is open from here …
    pub starts_at: DateTime<Utc>,
    /// … to just before here.
    pub ends_at: DateTime<Utc>,
    /// Likes of the session, as far as they are stored.
    pub total_likes: i64,
    /// Messages that were stored, deleted ones too.
    pub total_messages: i64,
}

impl LiveSession {
    /// Whether the chat is open at that time.
    #[must_use]
    pub fn is_open(&self, at: DateTime<Utc>) -> bool {
        (self.starts_at..self.ends_at).contains(&at)
    }
}

/// A window as the schedule has it, and what a session in it is called.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// The room that its session has, named by the start.
    pub room: RoomId,
    /// The name of the session.
    pub name: &'a str,
    /// The first moment in it.
    pub starts_at: DateTime<Utc>,
    /// The first moment after it.
    pub ends_at: DateTime<Utc>,
}

/// A person was seen watching a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Where.
    pub room: RoomId,
    /// Who.
    pub person: AccountId,
    /// When.
    pub seen_at: DateTime<Utc>,
    /// Until when the person is counted without being seen again; `seen_at` for one who has left.
    pub counted_until: DateTime<Utc>,
}

/// Names the advisory lock under which sessions are numbered: "live" in ASCII.
const NUMBERING_LOCK: i64 = 0x6c69_7665;

/// The session of a window, made by whoever asks first. Ids have no holes, so numbers are taken one at a time and only
/// when it is certain that the row is missing. A session whose settings were changed since takes the new end and name.
pub async fn session_for_window(pool: &PgPool, window: &Window<'_>) -> Result<LiveSession, Error> {
    if let Some(session) = by_start(pool, window.starts_at).await?
        && session.ends_at == window.ends_at
        && session.name == window.name
    {
        return Ok(session);
    }
    let mut transaction = super::begin(pool).await?;
    lock_numbering(&mut transaction).await?;
    let session = match by_start(&mut *transaction, window.starts_at).await? {
        Some(session) => adjust(&mut *transaction, session.id, window).await?,
        None => create(&mut transaction, window).await?,
    };
    transaction.commit().await?;
    Ok(session)
}

/// The session with this id.
pub async fn by_id(executor: impl PgExecutor<'_>, id: i64) -> Result<Option<LiveSession>, Error> {
    let row: Option<SessionRow> = sqlx::query_as(
        "select id, room, name, starts_at, ends_at, total_likes, total_messages
         from hubbub.live_session
         where id = $1",
    )
    .bind(id)
    .fetch_optional(executor)
    .await?;
    Ok(row.map(Into::into))
}

/// The session whose room this is.
pub async fn by_room(executor: impl PgExecutor<'_>, room: RoomId) -> Result<Option<LiveSession>, Error> {
    let row: Option<SessionRow> = sqlx::query_as(
        "select id, room, name, starts_at, ends_at, total_likes, total_messages
         from hubbub.live_session
         where room = $1",
    )
    .bind(room.0)
    .fetch_optional(executor)
    .await?;
    Ok(row.map(Into::into))
}

/// The session that is open at a time: the one that started last, if it has not ended.
pub async fn current(executor: impl PgExecutor<'_>, at: DateTime<Utc>) -> Result<Option<LiveSession>, Error> {
    let row: Option<SessionRow> = sqlx::query_as(
        "select id, room, name, starts_at, ends_at, total_likes, total_messages
         from (select * from hubbub.live_session where starts_at <= $1 order by starts_at desc limit 1) latest
         where ends_at > $1",
    )
    .bind(at)
    .fetch_optional(executor)
    .await?;
    Ok(row.map(Into::into))
}

/// Notes who was seen. The latest sighting of a person in a room wins, so a replay changes nothing; rows are written in
/// the order of their key, so that two batches never wait for each other in a circle.
pub async fn see(executor: impl PgExecutor<'_>, sightings: &[Sighting]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into hubbub.viewer as v (room, account, first_seen, last_seen, counted_until)
         select distinct on (room, account)
             room, account, min(seen_at) over (partition by room, account), seen_at, counted_until
         from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[])
             as seen (room, account, seen_at, counted_until)
         order by room, account, seen_at desc
         on conflict (room, account) do update
         set last_seen = excluded.last_seen, counted_until = excluded.counted_until
         where excluded.last_seen >= v.last_seen",
    )
    .bind(sightings.iter().map(|sighting| sighting.room.0).collect::<Vec<_>>())
    .bind(sightings.iter().map(|sighting| sighting.person.0).collect::<Vec<_>>())
    .bind(sightings.iter().map(|sighting| sighting.seen_at).collect::<Vec<_>>())
    .bind(sightings.iter().map(|sighting| sighting.counted_until).collect::<Vec<_>>())
    .execute(executor)
    .await?;
    Ok(())
}

async fn by_start(
    executor: impl PgExecutor<'_>,
    starts_at: DateTime<Utc>,
) -> Result<Option<LiveSession>, Error> {
    let row: Option<SessionRow> = sqlx::query_as(
        "select id, room, name, starts_at, ends_at, total_likes, total_messages
         from hubbub.live_session
         where starts_at = $1",
    )
    .bind(starts_at)
    .fetch_optional(executor)
    .await?;
    Ok(row.map(Into::into))
}

async fn lock_numbering(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select pg_advisory_xact_lock($1)").bind(NUMBERING_LOCK).execute(connection).await?;
    Ok(())
}

async fn create(connection: &mut PgConnection, window: &Window<'_>) -> Result<LiveSession, Error> {
    let room = NewRoom {
        id: window.room,
        kind: RoomKind::Live,
        name: Some(window.name),
        description: None,
        created_by: None,
    };
    rooms::insert(&mut *connection, &room).await?;
    let row: SessionRow = sqlx::query_as(
        "insert into hubbub.live_session (room, name, starts_at, ends_at)
         values ($1, $2, $3, $4)
         returning id, room, name, starts_at, ends_at, total_likes, total_messages",
    )
    .bind(window.room.0)
    .bind(window.name)
    .bind(window.starts_at)
    .bind(window.ends_at)
    .fetch_one(connection)
    .await?;
    Ok(row.into())
}

async fn adjust(executor: impl PgExecutor<'_>, id: i64, window: &Window<'_>) -> Result<LiveSession, Error> {
    let row: SessionRow = sqlx::query_as(
        "update hubbub.live_session
         set name = $2, ends_at = $3
         where id = $1
         returning id, room, name, starts_at, ends_at, total_likes, total_messages",
    )
    .bind(id)
    .bind(window.name)
    .bind(window.ends_at)
    .fetch_one(executor)
    .await?;
    Ok(row.into())
}

#[derive(FromRow)]
struct SessionRow {
    id: i64,
    room: Uuid,
    name: String,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    total_likes: i64,
    total_messages: i64,
}

impl From<SessionRow> for LiveSession {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id,
            room: RoomId(row.room),
            name: row.name,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            total_likes: row.total_likes,
            total_messages: row.total_messages,
        }
    }
}
