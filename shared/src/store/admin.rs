//! What admins do, each deed with its record in the same transaction: there is none without the other.

use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool, Row as _};

use super::{accounts, friendships};
use crate::error::Error;
use crate::id::AccountId;
use crate::user::{Account, Roles};

/// Which admin, in which request.
#[derive(Clone, Copy, Debug)]
pub struct Admin<'a> {
    /// Who.
    pub id: AccountId,
    /// Under which name the request stands in the log of the node.
    pub request: Option<&'a str>,
}

/// What is to become of an account; what is not given stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountWish {
    /// Open, or closed.
    pub is_active: Option<bool>,
    /// Other roles than those of the claims, or these again.
    pub roles: Option<Option<Roles>>,
}

/// An account as an admin sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Administered {
    /// With the roles in force.
    pub account: Account,
    /// Those that an admin set.
    pub roles_set: Option<Roles>,
}

/// Changes an account; nothing when there is none of that name.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn change_account(
    pool: &PgPool,
    admin: Admin<'_>,
    id: AccountId,
    wish: AccountWish,
) -> Result<Option<Administered>, Error> {
    let mut tx = super::begin(pool).await?;
    let row = sqlx::query(
        "update hubbub.account
         set is_active = coalesce($2, is_active), roles_override = case when $3 then $4 else roles_override end,
             updated_at = now()
         where id = $1
         returning id, no, issuer, username, full_name, avatar, roles, roles_override, is_active, token_version",
    )
    .bind(id.0)
    .bind(wish.is_active)
    .bind(wish.roles.is_some())
    .bind(wish.roles.flatten().map(Roles::to_names))
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let administered = Administered {
        account: accounts::read(&row)?,
        roles_set: row.try_get::<Option<Vec<String>>, _>("roles_override")?.map(Roles::from_names),
    };
    let mut details = serde_json::Map::new();
    if let Some(is_active) = wish.is_active {
        details.insert("is_active".to_owned(), is_active.into());
    }
    if let Some(roles) = wish.roles {
        details.insert("roles".to_owned(), json!(roles.map(Roles::to_names)));
    }
    record(&mut tx, admin, "account_changed", &[id], details.into()).await?;
    tx.commit().await?;
    Ok(Some(administered))
}

/// Ends all sign-ins of an account; false when there is none of that name.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn revoke(pool: &PgPool, admin: Admin<'_>, id: AccountId) -> Result<bool, Error> {
    let mut tx = super::begin(pool).await?;
    if accounts::bump_token_version(&mut *tx, id).await?.is_none() {
        return Ok(false);
    }
    record(&mut tx, admin, "sign_ins_revoked", &[id], json!({})).await?;
    tx.commit().await?;
    Ok(true)
}

/// Makes two people friends, who need not have been seen before; false when one of them blocks the other. The caller
/// brings the room's changes into the log before it says so.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn befriend(pool: &PgPool, admin: Admin<'_>, people: [AccountId; 2]) -> Result<bool, Error> {
    let mut tx = super::begin(pool).await?;
    accounts::expect(&mut *tx, &people).await?;
    if !friendships::befriend_within(&mut tx, people, admin.id).await? {
        return Ok(false);
    }
    record(&mut tx, admin, "friendship_made", &people, json!({})).await?;
    tx.commit().await?;
    Ok(true)
}

/// Ends a friendship and whatever one of the two asked. The caller brings the room's changes into the log before it says
/// so.
///
/// # Errors
/// `Unavailable` while Postgres is away.
pub async fn part(pool: &PgPool, admin: Admin<'_>, people: [AccountId; 2]) -> Result<(), Error> {
    let mut tx = super::begin(pool).await?;
    friendships::end_within(&mut tx, people, admin.id, &people).await?;
    record(&mut tx, admin, "friendship_ended", &people, json!({})).await?;
    tx.commit().await?;
    Ok(())
}

async fn record(
    tx: &mut PgConnection,
    admin: Admin<'_>,
    action: &'static str,
    accounts: &[AccountId],
    details: Value,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into hubbub.admin_action (actor, action, accounts, details, request_id)
         values ($1, $2, $3, $4, $5)",
    )
    .bind(admin.id.0)
    .bind(action)
    .bind(accounts.iter().map(|account| account.0).collect::<Vec<_>>())
    .bind(details)
    .bind(admin.request)
    .execute(tx)
    .await?;
    Ok(())
}
