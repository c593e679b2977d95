//! Membership changes: committed here first, under the room's next number, together with the entry that is to be appended.
//!
//! The api that commits a change appends it at once and answers after that; what a crash leaves in the outbox is swept. A
//! row is deleted by the persister alone, in the transaction that stores its entry: until then the log could lose it.

mod effect;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool, Row as _};
use uuid::Uuid;

use super::{friendships, number, rooms};
use crate::error::Error;
use crate::event::{Became, Event, MembershipChanged};
use crate::id::{AccountId, RoomId};

use effect::{Effect, State};

/// What somebody wants another person, or themselves, to be in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Where.
    pub room: RoomId,
    /// Who is to be something else.
    pub person: AccountId,
    /// Who wants it.
    pub by: AccountId,
    /// What.
    pub became: Became,
    /// The membership number at which `by` was found to be allowed to.
    pub checked: u64,
}

/// What came of a wish. Unless there is no such room, the room's outbox may hold entries that must reach the log before
/// the caller is told "done".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is so, by this call or since before.
    Done,
    /// Something was taken away in the room since `checked`: look again, and decide again.
    Stale,
    /// There is no such room.
    NoRoom,
}

/// A committed change that is not known to be in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Where.
    pub room: RoomId,
    /// Its number in the room.
    pub number: u64,
    /// Whether it takes a right away.
    pub restricting: bool,
    /// Whom the entry concerns beyond those who watch the room.
    pub to: Vec<AccountId>,
    /// The body of the entry, byte for byte.
    pub body: String,
}

/// A change as its entry in the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Where.
    pub room: RoomId,
    /// Whom the entry names: in a direct room both people.
    pub to: Vec<AccountId>,
    /// What changed.
    pub change: MembershipChanged,
    /// When it was logged.
    pub at: DateTime<Utc>,
}

impl Logged {
    /// The two people of a direct room, which is known by its name: it derives from them.
    fn pair(&self) -> Option<[AccountId; 2]> {
        let pair: [AccountId; 2] = self.to.as_slice().try_into().ok()?;
        (RoomId::of_pair(pair[0], pair[1]) == self.room).then_some(pair)
    }
}

/// A room whose numbers nobody else can move until the transaction ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Locked {
    number: u64,
    restricting: u64,
    /// The two people of a direct room.
    pair: Option<[AccountId; 2]>,
}

/// Commits a wish under the room's next number, unless it is so already.
///
/// # Errors
/// `Unavailable` while Postgres is away: then nobody knows, and the wish may be repeated.
pub async fn commit(pool: &PgPool, wish: &Wish) -> Result<Committed, Error> {
    let mut tx = super::begin(pool).await?;
    let committed = commit_within(&mut tx, wish).await?;
    if committed == Committed::Done {
        tx.commit().await?;
    }
    Ok(committed)
}

/// The same within a transaction of the caller's, who commits it when it is done.
pub(super) async fn commit_within(tx: &mut PgConnection, wish: &Wish) -> Result<Committed, Error> {
    let Some(locked) = lock_room(&mut *tx, wish.room).await? else {
        return Ok(Committed::NoRoom);
    };
    if wish.checked < locked.restricting {
        return Ok(Committed::Stale);
    }
    let before = state(&mut *tx, wish.room, wish.person, locked.pair).await?;
    let effect = Effect::of(wish.became, before);
    let after = effect.on(before);
    if after == before {
        return Ok(Committed::Done);
    }
    let Wish { room, person, by, became, .. } = *wish;
    let change = MembershipChanged { number: locked.number + 1, person, by, became };
    let members = i32::from(after.is_active) - i32::from(before.is_active);
    number_room(&mut *tx, room, &change, members).await?;
    apply(&mut *tx, room, &change, effect, Utc::now()).await?;
    apply_to_pair(&mut *tx, locked.pair, &change, effect, Utc::now()).await?;
    // A node that hears of a direct room by its people must hear of each of its numbers, whoever it is about.
    let to = locked.pair.map_or_else(|| vec![person.0], |pair| pair.map(|one| one.0).to_vec());
    let body = String::from_utf8(Event::MembershipChanged(change).to_body()).map_err(Error::bug)?;
    sqlx::query(
        "insert into hubbub.outbox (room, number, restricting, to_accounts, body) values ($1, $2, $3, $4, $5)",
    )
    .bind(room.0)
    .bind(column(change.number))
    .bind(became.takes_away())
    .bind(to)
    .bind(body)
    .execute(tx)
    .await?;
    Ok(Committed::Done)
}

/// The room's numbers, which nobody else can move until this transaction ends.
pub(super) async fn lock_room(tx: &mut PgConnection, room: RoomId) -> Result<Option<Locked>, sqlx::Error> {
    let row = sqlx::query(
        "select r.number, r.restricting,
             (select array_agg(m.account) from hubbub.member m where r.kind = 'direct' and m.room = r.id) as people
         from hubbub.room r
         where r.id = $1
         for update of r",
    )
    .bind(room.0)
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let people = row.try_get::<Option<Vec<Uuid>>, _>("people")?.unwrap_or_default();
    let pair = <[Uuid; 2]>::try_from(people).ok().map(|pair| pair.map(AccountId));
    Ok(Some(Locked { number: number(&row, "number")?, restricting: number(&row, "restricting")?, pair }))
}

async fn state(
    tx: &mut PgConnection,
    room: RoomId,
    person: AccountId,
    pair: Option<[AccountId; 2]>,
) -> Result<State, sqlx::Error> {
    let is_friend = match pair {
        Some(pair) => friendships::is_accepted(&mut *tx, pair).await?,
        None => false,
    };
    let row = sqlx::query(
        "select is_active, is_admin, is_banned, blocks from hubbub.member where room = $1 and account = $2",
    )
    .bind(room.0)
    .bind(person.0)
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else { return Ok(State { is_friend, ..State::default() }) };
    Ok(State {
        is_active: row.try_get("is_active")?,
        is_admin: row.try_get("is_admin")?,
        is_banned: row.try_get("is_banned")?,
        blocks: row.try_get("blocks")?,
        is_friend,
    })
}

async fn number_room(
    tx: &mut PgConnection,
    room: RoomId,
    change: &MembershipChanged,
    members: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update hubbub.room
         set number = $2, restricting = case when $3 then $2 else restricting end, member_count = member_count + $4
         where id = $1",
    )
    .bind(room.0)
    .bind(column(change.number))
    .bind(change.became.takes_away())
    .bind(members)
    .execute(tx)
    .await?;
    Ok(())
}

/// Brings a person's row to what the change makes of it, unless a later change was there already; whether it did.
async fn apply(
    executor: impl PgExecutor<'_>,
    room: RoomId,
    change: &MembershipChanged,
    effect: Effect,
    at: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into hubbub.member as m
             (room, account, number, is_active, is_admin, is_banned, blocks, joined_at, left_at)
         values ($1, $2, $3, coalesce($4, false), coalesce($5, false), coalesce($6, false), coalesce($7, false), $8,
                 case when not $4 then $8 end)
         on conflict (room, account) do update
         set number = $3, is_active = coalesce($4, m.is_active), is_admin = coalesce($5, m.is_admin),
             is_banned = coalesce($6, m.is_banned), blocks = coalesce($7, m.blocks),
             joined_at = case when $4 and not m.is_active then $8 else m.joined_at end,
             left_at = case when not $4 then $8 when $4 then null else m.left_at end
         where m.number < $3",
    )
    .bind(room.0)
    .bind(change.person.0)
    .bind(column(change.number))
    .bind(effect.is_active)
    .bind(effect.is_admin)
    .bind(effect.is_banned)
    .bind(effect.blocks)
    .bind(at)
    .execute(executor)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Brings the friendship of a direct room's two people to what the change makes of it, unless a later change was there
/// already. A block leaves its number there also where there was no friendship: a request that is on its way meets it.
async fn apply_to_pair(
    tx: &mut PgConnection,
    pair: Option<[AccountId; 2]>,
    change: &MembershipChanged,
    effect: Effect,
    at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let (Some([one, other]), Some(is_friend)) = (pair, effect.is_friend) else { return Ok(()) };
    sqlx::query(
        "insert into hubbub.friendship as f (low, high, state, number, created_at, updated_at)
         values ($1, $2, case when $3 then 'accepted' else 'none' end, $4, $5, $5)
         on conflict (low, high) do update
         set state = case when $3 then 'accepted' else 'none' end, number = $4, updated_at = $5
         where f.number < $4",
    )
    .bind(one.min(other).0)
    .bind(one.max(other).0)
    .bind(is_friend)
    .bind(column(change.number))
    .bind(at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The room's changes that are not known to be in the log, in the order of their numbers.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn pending(executor: impl PgExecutor<'_>, room: RoomId) -> Result<Vec<Pending>, Error> {
    let rows = sqlx::query(
        "select number, restricting, to_accounts, body from hubbub.outbox where room = $1 order by number",
    )
    .bind(room.0)
    .fetch_all(executor)
    .await?;
    let read = |row: &sqlx::postgres::PgRow| {
        Ok::<_, sqlx::Error>(Pending {
            room,
            number: number(row, "number")?,
            restricting: row.try_get("restricting")?,
            to: row.try_get::<Vec<Uuid>, _>("to_accounts")?.into_iter().map(AccountId).collect(),
            body: row.try_get("body")?,
        })
    };
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Rooms with changes older than `seconds` that are not known to be in the log: at most `most` of those behind `after`, in the
/// order of their ids.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn left_behind(
    executor: impl PgExecutor<'_>,
    seconds: f64,
    after: RoomId,
    most: i64,
) -> Result<Vec<RoomId>, Error> {
    let rooms: Vec<Uuid> = sqlx::query_scalar(
        "select distinct room from hubbub.outbox
         where created_at <= now() - make_interval(secs => $1) and room > $2 order by room limit $3",
    )
    .bind(seconds)
    .bind(after.0)
    .bind(most)
    .fetch_all(executor)
    .await?;
    Ok(rooms.into_iter().map(RoomId).collect())
}

/// The entry of a change is being stored: the outbox is done with it, and what an older Postgres did not know of it is
/// made good. An older Postgres may not even know that the two people of a direct room ever met.
///
/// # Errors
/// As Postgres says.
pub async fn settle(tx: &mut PgConnection, logged: &Logged) -> Result<(), sqlx::Error> {
    let Logged { room, change, at, .. } = logged;
    let (room, pair) = (*room, logged.pair());
    if let Some(pair) = pair {
        rooms::insert_direct_within(&mut *tx, room, pair).await?;
    }
    // The room before its members, and these before their friendship, as a request that commits a change has it: in
    // another order the two could wait for each other.
    lock_room(&mut *tx, room).await?;
    let before = state(&mut *tx, room, change.person, pair).await?;
    let effect = Effect::of(change.became, before);
    let is_news = apply(&mut *tx, room, change, effect, *at).await?;
    apply_to_pair(&mut *tx, pair, change, effect, *at).await?;
    sqlx::query(
        "update hubbub.room r
         set stored_number = greatest(stored_number, $2), number = greatest(number, $2),
             restricting = case when $3 then greatest(restricting, $2) else restricting end,
             member_count = case when $4 then (select count(*) from hubbub.member m where m.room = r.id and m.is_active)
                                 else member_count end
         where id = $1",
    )
    .bind(room.0)
    .bind(column(change.number))
    .bind(change.became.takes_away())
    .bind(is_news)
    .execute(&mut *tx)
    .await?;
    forget(tx, room, change.number).await
}

/// Takes a change out of the outbox: its entry is stored.
pub(crate) async fn forget(
    executor: impl PgExecutor<'_>,
    room: RoomId,
    change: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query("delete from hubbub.outbox where room = $1 and number = $2")
        .bind(room.0)
        .bind(column(change))
        .execute(executor)
        .await?;
    Ok(())
}

fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_a_direct_room_names_its_pair_and_no_other_does() {
        let people = [1, 2, 3].map(|n| AccountId(Uuid::from_u128(n)));
        let change =
            MembershipChanged { number: 1, person: people[0], by: people[0], became: Became::Befriended };
        let logged = |room, to: &[AccountId]| Logged { room, to: to.to_vec(), change, at: Utc::now() };
        let room = RoomId::of_pair(people[0], people[1]);
        assert_eq!(logged(room, &people[..2]).pair(), Some([people[0], people[1]]));
        for others in [&people[..1], &people[1..], &people[..], &[]] {
            assert_eq!(logged(room, others).pair(), None, "{others:?}");
        }
    }
}
