//! What two people are to each other: one row per pair.
//!
//! A request, its decline and its being taken back are that row alone: nobody's right to send hangs on them. The beginning
//! and the end of a friendship are also membership changes of the pair's direct room, in the same transaction, because a
//! send must be checked against them where the order is made. Locks are taken in one order, by the persister too: the
//! room, its members, the friendship. Who accepts has the friendship before the members, which nobody has without the room.

mod lists;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, PgPool, Row as _};
use uuid::Uuid;

use super::membership::{self, Committed, Wish};
use super::rooms;
use crate::error::Error;
use crate::event::Became;
use crate::id::{AccountId, RoomId};

pub use lists::{Listed, blocks, friend_ids, friends, requests};

/// A request, open or answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its name; another request of the same people has another.
    pub id: Uuid,
    /// The other one of the two, seen from who asks.
    pub other: AccountId,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Who wants to be whose friend.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Who asks.
    pub me: AccountId,
    /// Who is asked; somebody else.
    pub other: AccountId,
    /// The request's name, if it is new.
    pub id: Uuid,
    /// Requests of one person that may be unanswered at once.
    pub most_open: i64,
}

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The other has it before them.
    Pending(Request),
    /// The other had asked before: accepting that request is the answer.
    Crossing(Uuid),
    /// They are friends, or it was asked before.
    Already,
    /// Nobody of that name, or nobody who may be asked: closed, or one of the two blocks the other.
    NoSuchPerson,
    /// Too many are unanswered.
    TooMany,
}

/// What came of an answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is so, by this call or since before.
    Done(Request),
    /// Only the one who was asked can answer.
    Own,
    /// They are friends since, which is ended and not declined.
    Friends,
    /// There is no such request, or none any more.
    NoRequest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    None,
    Requested,
    Accepted,
}

struct Row {
    id: Uuid,
    pair: [AccountId; 2],
    state: State,
    requested_by: Option<AccountId>,
    created_at: DateTime<Utc>,
}

impl Row {
    fn request(&self, me: AccountId) -> Request {
        let other = if self.pair[0] == me { self.pair[1] } else { self.pair[0] };
        Request { id: self.id, other, created_at: self.created_at }
    }

    /// What somebody who asks finds here, unless it is nothing.
    fn meets(&self, me: AccountId) -> Option<Asked> {
        match self.state {
            State::None => None,
            State::Requested if self.requested_by != Some(me) => Some(Asked::Crossing(self.id)),
            State::Requested | State::Accepted => Some(Asked::Already),
        }
    }
}

/// Asks somebody to be a friend, unless there is something between the two already.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn request(pool: &PgPool, ask: &Ask) -> Result<Asked, Error> {
    let Ask { me, other, .. } = *ask;
    let (pair, room) = (ordered(me, other), RoomId::of_pair(me, other));
    let mut tx = super::begin(pool).await?;
    // One request of a person at a time, on all nodes, so that counting them is exact.
    sqlx::query("select from hubbub.account where id = $1 for no key update")
        .bind(me.0)
        .execute(&mut *tx)
        .await?;
    if !may_be_asked(&mut *tx, other, room).await? {
        return Ok(Asked::NoSuchPerson);
    }
    if let Some(asked) = of_pair(&mut tx, pair).await?.and_then(|row| row.meets(me)) {
        return Ok(asked);
    }
    if count_open(&mut *tx, me).await? >= ask.most_open {
        return Ok(Asked::TooMany);
    }
    if let Some(created_at) = write_request(&mut *tx, ask, pair).await? {
        // A block that came meanwhile has the row from us after this, or had it before: then it is seen now.
        if !may_be_asked(&mut *tx, other, room).await? {
            return Ok(Asked::NoSuchPerson);
        }
        tx.commit().await?;
        return Ok(Asked::Pending(Request { id: ask.id, other, created_at }));
    }
    // The other asked for the first time at the same moment, and was first.
    let met = of_pair(&mut tx, pair).await?.and_then(|row| row.meets(me));
    met.ok_or_else(|| Error::unavailable("a friendship changes faster than it can be read"))
}

/// Whether somebody is there, open, and not apart from the asker by a block: one statement, so that the three reasons
/// against it take the same time.
async fn may_be_asked(
    executor: impl PgExecutor<'_>,
    other: AccountId,
    room: RoomId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select from hubbub.account where id = $1 and is_active)
             and not exists (select from hubbub.member where room = $2 and blocks)",
    )
    .bind(other.0)
    .bind(room.0)
    .fetch_one(executor)
    .await
}

async fn count_open(executor: impl PgExecutor<'_>, me: AccountId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) from hubbub.friendship where requested_by = $1 and state = 'requested'",
    )
    .bind(me.0)
    .fetch_one(executor)
    .await
}

/// Writes a request where nothing is; nothing when something was.
async fn write_request(
    executor: impl PgExecutor<'_>,
    ask: &Ask,
    pair: [AccountId; 2],
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar(
        "insert into hubbub.friendship as f (id, low, high, state, requested_by)
         values ($1, $2, $3, 'requested', $4)
         on conflict (low, high) do update
         set id = $1, state = 'requested', requested_by = $4, created_at = now(), updated_at = now()
         where f.state = 'none'
         returning created_at",
    )
    .bind(ask.id)
    .bind(pair[0].0)
    .bind(pair[1].0)
    .bind(ask.me.0)
    .fetch_optional(executor)
    .await
}

/// The other one of the two whom a request or friendship of this name is about; nothing when `me` is not one of them.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn other_of(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    me: AccountId,
) -> Result<Option<AccountId>, Error> {
    let pair = pair_named(executor, id, me).await?;
    Ok(pair.map(|pair| if pair[0] == me { pair[1] } else { pair[0] }))
}

/// Accepts a request that was made to `me`; the caller brings the room's changes into the log before it says so.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn accept(pool: &PgPool, id: Uuid, me: AccountId) -> Result<Answered, Error> {
    let mut tx = super::begin(pool).await?;
    let Some(pair) = pair_named(&mut *tx, id, me).await? else { return Ok(Answered::NoRequest) };
    let room = RoomId::of_pair(pair[0], pair[1]);
    rooms::insert_direct_within(&mut tx, room, pair).await?;
    membership::lock_room(&mut tx, room).await?;
    let row = of_pair(&mut tx, pair).await?.filter(|row| row.id == id);
    let Some(row) = row.filter(|row| row.state != State::None) else { return Ok(Answered::NoRequest) };
    if row.requested_by == Some(me) {
        return Ok(Answered::Own);
    }
    change(&mut tx, room, me, me, Became::Befriended).await?;
    tx.commit().await?;
    Ok(Answered::Done(row.request(me)))
}

/// Declines a request that was made to `me`.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn decline(pool: &PgPool, id: Uuid, me: AccountId) -> Result<Answered, Error> {
    let mut tx = super::begin(pool).await?;
    let Some(pair) = pair_named(&mut *tx, id, me).await? else { return Ok(Answered::NoRequest) };
    let row = of_pair(&mut tx, pair).await?.filter(|row| row.id == id);
    let Some(row) = row else { return Ok(Answered::NoRequest) };
    if row.requested_by == Some(me) {
        return Ok(Answered::Own);
    }
    if row.state == State::Accepted {
        return Ok(Answered::Friends);
    }
    take_back(&mut *tx, pair, &pair).await?;
    tx.commit().await?;
    Ok(Answered::Done(row.request(me)))
}

/// Ends a friendship, and takes back what `me` asked; what the other asks stays to be answered. The caller brings the
/// room's changes into the log before it says so.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn end(pool: &PgPool, me: AccountId, other: AccountId) -> Result<(), Error> {
    let mut tx = super::begin(pool).await?;
    end_within(&mut tx, [me, other], me, &[me]).await?;
    tx.commit().await?;
    Ok(())
}

/// The same within a transaction of the caller's, at the wish of `by`, with the requests of `askers`.
pub(super) async fn end_within(
    tx: &mut PgConnection,
    people: [AccountId; 2],
    by: AccountId,
    askers: &[AccountId],
) -> Result<(), Error> {
    let (pair, room) = (ordered(people[0], people[1]), RoomId::of_pair(people[0], people[1]));
    let mut has_room = membership::lock_room(&mut *tx, room).await?.is_some();
    if !has_room {
        // Without the room there never was a friendship, unless one begins at this moment: then this waits for that request, is
        // too late for it, and the room is there. Whoever took a request back must not wait for a room.
        let was_in_time = take_back(&mut *tx, pair, askers).await?;
        has_room = !was_in_time && membership::lock_room(&mut *tx, room).await?.is_some();
    }
    if has_room {
        change(&mut *tx, room, people[0], by, Became::Unfriended).await?;
        take_back(tx, pair, askers).await?;
    }
    Ok(())
}

/// Makes two people friends whom nobody asked, within a transaction of the caller's; false when one of them blocks the
/// other.
pub(super) async fn befriend_within(
    tx: &mut PgConnection,
    people: [AccountId; 2],
    by: AccountId,
) -> Result<bool, Error> {
    let room = RoomId::of_pair(people[0], people[1]);
    rooms::insert_direct_within(&mut *tx, room, people).await?;
    membership::lock_room(&mut *tx, room).await?;
    let is_blocked: bool =
        sqlx::query_scalar("select exists (select from hubbub.member where room = $1 and blocks)")
            .bind(room.0)
            .fetch_one(&mut *tx)
            .await?;
    if !is_blocked {
        change(tx, room, people[0], by, Became::Befriended).await?;
    }
    Ok(!is_blocked)
}

async fn change(
    tx: &mut PgConnection,
    room: RoomId,
    person: AccountId,
    by: AccountId,
    became: Became,
) -> Result<(), Error> {
    // The right to it is the friendship's own row, which is locked: no seat was looked up before.
    match membership::commit_within(tx, &Wish { room, person, by, became, checked: u64::MAX }).await? {
        Committed::Done => Ok(()),
        Committed::Stale | Committed::NoRoom => Err(Error::bug("a locked room can't change or go")),
    }
}

/// Ends a request, if one of `askers` made it; whether there was one.
async fn take_back(
    executor: impl PgExecutor<'_>,
    pair: [AccountId; 2],
    askers: &[AccountId],
) -> Result<bool, sqlx::Error> {
    let taking = sqlx::query(
        "update hubbub.friendship set state = 'none', updated_at = now()
         where low = $1 and high = $2 and state = 'requested' and requested_by = any ($3)",
    );
    let askers: Vec<Uuid> = askers.iter().map(|asker| asker.0).collect();
    let ended = taking.bind(pair[0].0).bind(pair[1].0).bind(askers).execute(executor).await?;
    Ok(ended.rows_affected() > 0)
}

/// Whose friendship or request has this name, if `me` is one of them.
async fn pair_named(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    me: AccountId,
) -> Result<Option<[AccountId; 2]>, sqlx::Error> {
    let pair: Option<(Uuid, Uuid)> =
        sqlx::query_as("select low, high from hubbub.friendship where id = $1 and $2 in (low, high)")
            .bind(id)
            .bind(me.0)
            .fetch_optional(executor)
            .await?;
    Ok(pair.map(|(low, high)| [AccountId(low), AccountId(high)]))
}

/// The row of a pair, which nobody else can change until the transaction ends.
async fn of_pair(tx: &mut PgConnection, pair: [AccountId; 2]) -> Result<Option<Row>, sqlx::Error> {
    let row = sqlx::query(
        "select id, low, high, state, requested_by, created_at from hubbub.friendship
         where low = $1 and high = $2
         for update",
    )
    .bind(pair[0].0)
    .bind(pair[1].0)
    .fetch_optional(tx)
    .await?;
    row.as_ref().map(read_row).transpose()
}

/// Whether two people are friends.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn are_friends(
    executor: impl PgExecutor<'_>,
    one: AccountId,
    other: AccountId,
) -> Result<bool, Error> {
    Ok(is_accepted(executor, [one, other]).await?)
}

pub(super) async fn is_accepted(
    executor: impl PgExecutor<'_>,
    people: [AccountId; 2],
) -> Result<bool, sqlx::Error> {
    let [low, high] = ordered(people[0], people[1]);
    sqlx::query_scalar(
        "select exists (select from hubbub.friendship where low = $1 and high = $2 and state = 'accepted')",
    )
    .bind(low.0)
    .bind(high.0)
    .fetch_one(executor)
    .await
}

fn ordered(one: AccountId, other: AccountId) -> [AccountId; 2] {
    [one.min(other), one.max(other)]
}

fn read_row(row: &PgRow) -> Result<Row, sqlx::Error> {
    let state = match row.try_get("state")? {
        "requested" => State::Requested,
        "accepted" => State::Accepted,
        _ => State::None,
    };
    Ok(Row {
        id: row.try_get("id")?,
        pair: [AccountId(row.try_get("low")?), AccountId(row.try_get("high")?)],
        state,
        requested_by: row.try_get::<Option<Uuid>, _>("requested_by")?.map(AccountId),
        created_at: row.try_get("created_at")?,
    })
}
