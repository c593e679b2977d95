//! Membership changes: committed here first, under the room's next number, together with the entry that is to be appended.
//!
//! The api that commits a change appends it at once and answers after that; what a crash leaves in the outbox is swept. A
//! row is deleted by the persister alone, in the transaction that stores its entry: until then the log could lose it.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool, Row as _};
use uuid::Uuid;

use super::number;
use crate::error::Error;
use crate::event::{Became, Event, MembershipChanged};
use crate::id::{AccountId, RoomId};

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

/// What somebody is in a room, as far as changes are about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    is_active: bool,
    is_admin: bool,
    is_banned: bool,
    blocks: bool,
}

/// The columns that a change sets; the others stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Effect {
    is_active: Option<bool>,
    is_admin: Option<bool>,
    is_banned: Option<bool>,
    blocks: Option<bool>,
}

impl Effect {
    fn of(became: Became, before: State) -> Effect {
        let none = Effect::default();
        match became {
            // Whoever comes back after having left is no admin by that.
            Became::Member if before.is_active => none,
            Became::Member => Effect { is_active: Some(true), is_admin: Some(false), ..none },
            Became::Admin => Effect { is_active: Some(true), is_admin: Some(true), ..none },
            Became::Demoted => Effect { is_admin: Some(false), ..none },
            Became::Gone => Effect { is_active: Some(false), is_admin: Some(false), ..none },
            Became::Banned => {
                Effect { is_active: Some(false), is_admin: Some(false), is_banned: Some(true), ..none }
            }
            Became::Unbanned => Effect { is_banned: Some(false), ..none },
            Became::Blocking => Effect { blocks: Some(true), ..none },
            Became::Unblocking => Effect { blocks: Some(false), ..none },
        }
    }

    fn on(self, before: State) -> State {
        State {
            is_active: self.is_active.unwrap_or(before.is_active),
            is_admin: self.is_admin.unwrap_or(before.is_admin),
            is_banned: self.is_banned.unwrap_or(before.is_banned),
            blocks: self.blocks.unwrap_or(before.blocks),
        }
    }
}

/// Commits a wish under the room's next number, unless it is so already.
///
/// # Errors
/// `Unavailable` while Postgres is away: then nobody knows, and the wish may be repeated.
pub async fn commit(pool: &PgPool, wish: &Wish) -> Result<Committed, Error> {
    let mut tx = super::begin(pool).await?;
    let Some((last, restricting)) = lock_room(&mut tx, wish.room).await? else {
        return Ok(Committed::NoRoom);
    };
    if wish.checked < restricting {
        return Ok(Committed::Stale);
    }
    let before = state(&mut tx, wish.room, wish.person).await?;
    let effect = Effect::of(wish.became, before);
    let after = effect.on(before);
    if after == before {
        return Ok(Committed::Done);
    }
    let Wish { room, person, by, became, .. } = *wish;
    let change = MembershipChanged { number: last + 1, person, by, became };
    let members = i32::from(after.is_active) - i32::from(before.is_active);
    number_room(&mut tx, room, &change, members).await?;
    apply(&mut *tx, room, &change, effect, Utc::now()).await?;
    let body = String::from_utf8(Event::MembershipChanged(change).to_body()).map_err(Error::bug)?;
    sqlx::query(
        "insert into hubbub.outbox (room, number, restricting, to_accounts, body) values ($1, $2, $3, $4, $5)",
    )
    .bind(room.0)
    .bind(column(change.number))
    .bind(became.takes_away())
    .bind([person.0].as_slice())
    .bind(body)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Committed::Done)
}

/// The room's last number and last restricting number, which nobody else can move until this transaction ends.
async fn lock_room(tx: &mut PgConnection, room: RoomId) -> Result<Option<(u64, u64)>, sqlx::Error> {
    let row = sqlx::query("select number, restricting from hubbub.room where id = $1 for update")
        .bind(room.0)
        .fetch_optional(tx)
        .await?;
    row.map(|row| Ok((number(&row, "number")?, number(&row, "restricting")?))).transpose()
}

async fn state(tx: &mut PgConnection, room: RoomId, person: AccountId) -> Result<State, sqlx::Error> {
    let row = sqlx::query(
        "select is_active, is_admin, is_banned, blocks from hubbub.member where room = $1 and account = $2",
    )
    .bind(room.0)
    .bind(person.0)
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else { return Ok(State::default()) };
    Ok(State {
        is_active: row.try_get("is_active")?,
        is_admin: row.try_get("is_admin")?,
        is_banned: row.try_get("is_banned")?,
        blocks: row.try_get("blocks")?,
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

/// Rooms with changes older than `seconds` that are not known to be in the log, at most `most`.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn left_behind(
    executor: impl PgExecutor<'_>,
    seconds: f64,
    most: i64,
) -> Result<Vec<RoomId>, Error> {
    let rooms: Vec<Uuid> = sqlx::query_scalar(
        "select room from hubbub.outbox where created_at <= now() - make_interval(secs => $1)
         group by room order by min(created_at) limit $2",
    )
    .bind(seconds)
    .bind(most)
    .fetch_all(executor)
    .await?;
    Ok(rooms.into_iter().map(RoomId).collect())
}

/// The entry of a change is being stored: the outbox is done with it, and what an older Postgres did not know of it is
/// made good.
///
/// # Errors
/// As Postgres says.
pub async fn settle(
    tx: &mut PgConnection,
    room: RoomId,
    change: &MembershipChanged,
    at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    // The room before its members, as a request that commits a change has it: in the other order the two could wait for
    // each other.
    lock_room(&mut *tx, room).await?;
    let before = state(&mut *tx, room, change.person).await?;
    let effect = Effect::of(change.became, before);
    let is_news = apply(&mut *tx, room, change, effect, at).await?;
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

    const ALL: [Became; 8] = [
        Became::Member,
        Became::Admin,
        Became::Demoted,
        Became::Gone,
        Became::Banned,
        Became::Unbanned,
        Became::Blocking,
        Became::Unblocking,
    ];

    fn after(changes: &[Became]) -> State {
        changes.iter().fold(State::default(), |state, became| Effect::of(*became, state).on(state))
    }

    #[test]
    fn a_change_that_is_repeated_changes_nothing() {
        for first in ALL {
            for second in ALL {
                assert_eq!(after(&[first, second, second]), after(&[first, second]), "{first:?} {second:?}");
            }
        }
    }

    #[test]
    fn who_was_an_admin_and_left_comes_back_as_a_member() {
        let state = after(&[Became::Admin, Became::Gone, Became::Member]);
        assert_eq!(state, State { is_active: true, ..State::default() });
        assert!(after(&[Became::Admin, Became::Member]).is_admin, "an admin who joins again stays one");
    }

    #[test]
    fn a_ban_ends_membership_and_its_end_does_not_bring_it_back() {
        assert_eq!(after(&[Became::Admin, Became::Banned]), State { is_banned: true, ..State::default() });
        assert_eq!(after(&[Became::Member, Became::Banned, Became::Unbanned]), State::default());
    }
}
