//! A person's friends, requests and blocks, a page at a time: what somebody else can make long is never read whole. Friends are
//! what two people made so; their ids alone are read together.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, Row as _};
use uuid::Uuid;

use crate::error::Error;
use crate::id::AccountId;
use crate::store::accounts::Summary;

/// An open request, as one of its two people sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub id: Uuid,
    /// The other one.
    pub account: Summary,
    /// Whether the other one asks.
    pub incoming: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Friends of a person in the order of their ids, behind `after`.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn friends(
    executor: impl PgExecutor<'_>,
    person: AccountId,
    after: Option<AccountId>,
    most: i64,
) -> Result<Vec<Summary>, Error> {
    let rows = sqlx::query(
        "select a.id, a.username, a.full_name, a.avatar
         from hubbub.friendship f
         join hubbub.account a on a.id = case when f.low = $1 then f.high else f.low end
         where (f.low = $1 or f.high = $1) and f.state = 'accepted' and ($2::uuid is null or a.id > $2)
         order by a.id
         limit $3",
    )
    .bind(person.0)
    .bind(after.map(|after| after.0))
    .bind(most)
    .fetch_all(executor)
    .await?;
    Ok(rows.iter().map(Summary::from_row).collect::<Result<_, _>>()?)
}

/// All friends of a person.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn friend_ids(executor: impl PgExecutor<'_>, person: AccountId) -> Result<Vec<AccountId>, Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select case when low = $1 then high else low end from hubbub.friendship
         where (low = $1 or high = $1) and state = 'accepted'",
    )
    .bind(person.0)
    .fetch_all(executor)
    .await?;
    Ok(ids.into_iter().map(AccountId).collect())
}

/// Open requests to and from a person, newest first, older than the one called `before`: ids of requests grow with time.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn requests(
    executor: impl PgExecutor<'_>,
    person: AccountId,
    before: Option<Uuid>,
    most: i64,
) -> Result<Vec<Listed>, Error> {
    let rows = sqlx::query(
        "select a.id, a.username, a.full_name, a.avatar,
             f.id as request, f.requested_by <> $1 as incoming, f.created_at
         from hubbub.friendship f
         join hubbub.account a on a.id = case when f.low = $1 then f.high else f.low end
         where (f.low = $1 or f.high = $1) and f.state = 'requested' and ($2::uuid is null or f.id < $2)
         order by f.id desc
         limit $3",
    )
    .bind(person.0)
    .bind(before)
    .bind(most)
    .fetch_all(executor)
    .await?;
    let read = |row: &sqlx::postgres::PgRow| {
        Ok::<_, sqlx::Error>(Listed {
            id: row.try_get("request")?,
            account: Summary::from_row(row)?,
            incoming: row.try_get("incoming")?,
            created_at: row.try_get("created_at")?,
        })
    };
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Whom a person blocks, in the order of their ids, behind `after`.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn blocks(
    executor: impl PgExecutor<'_>,
    person: AccountId,
    after: Option<AccountId>,
    most: i64,
) -> Result<Vec<Summary>, Error> {
    let rows = sqlx::query(
        "select a.id, a.username, a.full_name, a.avatar
         from hubbub.member mine
         join hubbub.member theirs on theirs.room = mine.room and theirs.account <> mine.account
         join hubbub.account a on a.id = theirs.account
         where mine.account = $1 and mine.blocks and ($2::uuid is null or a.id > $2)
         order by a.id
         limit $3",
    )
    .bind(person.0)
    .bind(after.map(|after| after.0))
    .bind(most)
    .fetch_all(executor)
    .await?;
    Ok(rows.iter().map(Summary::from_row).collect::<Result<_, _>>()?)
}
