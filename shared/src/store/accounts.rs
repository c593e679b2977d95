//! Accounts. Issuers own the people, we only remember them: a row is written when somebody is first seen and when what
//! their issuer says about them has changed, so that signing in again costs one read.

use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, PgPool, Row};

use crate::error::{Code, Error};
use crate::id::AccountId;
use crate::user::{Account, Roles};

/// A person as an issuer describes them at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Our name for the person.
    pub id: AccountId,
    /// The configured name of who vouches for them.
    pub issuer: &'a str,
    /// The name shown; nothing when the issuer gives none, and then an earlier name stays.
    pub username: Option<&'a str>,
    /// The name shown as long as no issuer ever gave one.
    pub fallback_name: &'a str,
    /// The longer name.
    pub full_name: Option<&'a str>,
    /// An http(s) address.
    pub avatar: Option<&'a str>,
    /// From the claims; an admin's override is kept apart and stands.
    pub roles: Roles,
}

/// A person as other people see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The account.
    pub id: AccountId,
    /// The name shown.
    pub username: String,
    /// The longer name, where there is one.
    pub full_name: Option<String>,
    /// The picture, where there is one.
    pub avatar: Option<String>,
}

impl Summary {
    pub(super) fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: AccountId(row.try_get("id")?),
            username: row.try_get("username")?,
            full_name: row.try_get("full_name")?,
            avatar: row.try_get("avatar")?,
        })
    }
}

/// The issuer of somebody whom no issuer has vouched for yet. The first who does takes the account over.
const NOBODY: &str = "";

/// A row with what its issuer last said, which the override may hide.
struct Stored {
    account: Account,
    issuer: String,
    claimed_roles: Roles,
}

impl Stored {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let claimed = Roles::from_names(row.try_get::<Vec<String>, _>("roles")?);
        let set_by_admin = row.try_get::<Option<Vec<String>>, _>("roles_override")?;
        Ok(Self {
            account: Account {
                id: AccountId(row.try_get("id")?),
                no: row.try_get("no")?,
                username: row.try_get("username")?,
                full_name: row.try_get("full_name")?,
                avatar: row.try_get("avatar")?,
                roles: set_by_admin.map_or(claimed, Roles::from_names),
                is_active: row.try_get("is_active")?,
                token_version: row.try_get("token_version")?,
            },
            issuer: row.try_get("issuer")?,
            claimed_roles: claimed,
        })
    }

    fn says(&self, seen: &Seen<'_>) -> bool {
        seen.username.is_none_or(|name| name == self.account.username)
            && seen.full_name == self.account.full_name.as_deref()
            && seen.avatar == self.account.avatar.as_deref()
            && seen.roles == self.claimed_roles
    }
}

/// The account of somebody whom an issuer vouches for, written if they are new or changed.
///
/// # Errors
/// Refused with `unauthorized` when the account belongs to another issuer: two issuers may hand out the same UUID, and
/// whoever was first keeps it.
pub async fn see(pool: &PgPool, seen: &Seen<'_>) -> Result<Account, Error> {
    let stored = match stored(pool, seen.id).await? {
        Some(stored) if ![seen.issuer, NOBODY].contains(&&*stored.issuer) => return Err(belongs_to_another()),
        Some(stored) if stored.issuer == seen.issuer && stored.says(seen) => return Ok(stored.account),
        _ => write(pool, seen).await?,
    };
    stored.map(|stored| stored.account).ok_or_else(belongs_to_another)
}

fn belongs_to_another() -> Error {
    Error::refused(Code::Unauthorized, "Could not validate credentials")
}

/// The account of that name, active or not.
pub async fn by_id(db: impl PgExecutor<'_>, id: AccountId) -> Result<Option<Account>, Error> {
    Ok(stored(db, id).await?.map(|stored| stored.account))
}

pub(super) fn read(row: &PgRow) -> Result<Account, sqlx::Error> {
    Ok(Stored::from_row(row)?.account)
}

/// How others see these people, in no order; those that have no account are left out.
pub async fn summaries(db: impl PgExecutor<'_>, ids: &[AccountId]) -> Result<Vec<Summary>, Error> {
    let rows = sqlx::query("select id, username, full_name, avatar from hubbub.account where id = any ($1)")
        .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    Ok(rows.iter().map(Summary::from_row).collect::<Result<_, _>>()?)
}

async fn stored(db: impl PgExecutor<'_>, id: AccountId) -> Result<Option<Stored>, Error> {
    let row = sqlx::query(
        "select id, no, issuer, username, full_name, avatar, roles, roles_override, is_active, token_version
         from hubbub.account
         where id = $1",
    )
    .bind(id.0)
    .fetch_optional(db)
    .await?;
    Ok(row.as_ref().map(Stored::from_row).transpose()?)
}

/// Inserts or updates; nothing when the row is another issuer's (who may have come between our read and this).
async fn write(db: impl PgExecutor<'_>, seen: &Seen<'_>) -> Result<Option<Stored>, Error> {
    let row = sqlx::query(
        "insert into hubbub.account as a (id, issuer, username, full_name, avatar, roles)
         values ($1, $2, coalesce($3, $4), $5, $6, $7)
         on conflict on constraint account_pkey do update
         set issuer = $2, full_name = $5, avatar = $6, roles = $7, updated_at = now(),
             username = case when a.issuer = '' then coalesce($3, $4) else coalesce($3, a.username) end
         where a.issuer in ($2, '')
         returning id, no, issuer, username, full_name, avatar, roles, roles_override, is_active, token_version",
    )
    .bind(seen.id.0)
    .bind(seen.issuer)
    .bind(seen.username)
    .bind(seen.fallback_name)
    .bind(seen.full_name)
    .bind(seen.avatar)
    .bind(seen.roles.to_names())
    .fetch_optional(db)
    .await?;
    Ok(row.as_ref().map(Stored::from_row).transpose()?)
}

/// Makes rows for those of `people` who were never seen, under their ids for names, until an issuer says more.
pub(super) async fn expect(db: impl PgExecutor<'_>, people: &[AccountId]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into hubbub.account (id, issuer, username)
         select id, $2, id::text from unnest($1::uuid[]) as new (id)
         on conflict (id) do nothing",
    )
    .bind(people.iter().map(|person| person.0).collect::<Vec<_>>())
    .bind(NOBODY)
    .execute(db)
    .await?;
    Ok(())
}

/// Ends all sign-ins of an account. The new version, or nothing when there is no such account.
pub async fn bump_token_version(db: impl PgExecutor<'_>, id: AccountId) -> Result<Option<i32>, Error> {
    let version = sqlx::query_scalar(
        "update hubbub.account set token_version = token_version + 1, updated_at = now()
         where id = $1
         returning token_version",
    )
    .bind(id.0)
    .fetch_optional(db)
    .await?;
    Ok(version)
}

/// Whether there is such an account, open or closed.
pub async fn exists(db: impl PgExecutor<'_>, id: AccountId) -> Result<bool, Error> {
    let exists = sqlx::query_scalar("select exists (select from hubbub.account where id = $1)")
        .bind(id.0)
        .fetch_one(db)
        .await?;
    Ok(exists)
}

/// Whether an account is there and open.
pub async fn is_active(db: impl PgExecutor<'_>, id: AccountId) -> Result<bool, Error> {
    let active = sqlx::query_scalar("select is_active from hubbub.account where id = $1")
        .bind(id.0)
        .fetch_optional(db)
        .await?;
    Ok(active.unwrap_or(false))
}

/// Which of these sign-ins (account, and the token version it was made under) hold no longer, because the account was
/// closed, is gone, or has another version now.
pub async fn no_longer_good(
    db: impl PgExecutor<'_>,
    held: &[(AccountId, i32)],
) -> Result<Vec<(AccountId, i32)>, Error> {
    let (ids, versions): (Vec<_>, Vec<_>) = held.iter().map(|(id, version)| (id.0, *version)).unzip();
    let ended: Vec<(uuid::Uuid, i32)> = sqlx::query_as(
        "select held.id, held.version
         from unnest($1::uuid[], $2::integer[]) as held (id, version)
         where not exists (
             select from hubbub.account a
             where a.id = held.id and a.is_active and a.token_version = held.version
         )",
    )
    .bind(ids)
    .bind(versions)
    .fetch_all(db)
    .await?;
    Ok(ended.into_iter().map(|(id, version)| (AccountId(id), version)).collect())
}
