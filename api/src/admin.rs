//! `/api/v1/admin`: what the role `admin` may do to accounts and friendships. Each deed leaves a record that nobody can
//! change, in the transaction of the deed.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRef, FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Deserializer, Serialize};
use shared::error::{Code, Error};
use shared::id::AccountId;
use shared::store::admin::{self, AccountWish, Administered};
use shared::user::{Role, Roles};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::Shared;
use crate::auth::{Authenticator, Caller};
use crate::chat::friends;
use crate::describe::{Invalid, Problem};
use crate::headers::RequestId;
use crate::respond::{self, Failure};

/// Somebody who wears the role `admin` now.
struct Admin {
    id: AccountId,
    request: Option<RequestId>,
}

impl Admin {
    fn record(&self) -> admin::Admin<'_> {
        admin::Admin { id: self.id, request: self.request.as_ref().map(RequestId::as_str) }
    }
}

impl<S> FromRequestParts<S> for Admin
where
    Arc<Authenticator>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if !caller.account.roles.contains(Role::Admin) {
            return Err(Error::refused(Code::Forbidden, "This takes the role admin").into());
        }
        Ok(Self { id: caller.account.id, request: RequestId::current() })
    }
}

pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(change_account))
        .routes(routes!(revoke))
        .routes(routes!(befriend, part))
}

/// What is to become of an account; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
struct AccountChange {
    /// False closes the account: it is refused everywhere, and its sockets are closed.
    #[schema(nullable = false)]
    is_active: Option<bool>,
    /// Any of `host`, `winner`, `admin`, instead of those that the claims give; null leaves it to the claims again.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    roles: Option<Option<Vec<String>>>,
}

/// Tells a null from nothing.
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<Vec<String>>>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

impl AccountChange {
    fn wish(self) -> Result<AccountWish, Failure> {
        if self.is_active.is_none() && self.roles.is_none() {
            return Err(Failure::invalid("body", "must have is_active or roles"));
        }
        let roles = self.roles.map(|roles| roles.as_deref().map(known_roles).transpose()).transpose()?;
        Ok(AccountWish { is_active: self.is_active, roles })
    }
}

fn known_roles(names: &[String]) -> Result<Roles, Failure> {
    let roles: Option<Roles> = names.iter().map(|name| Role::parse(name)).collect();
    roles.ok_or_else(|| Failure::invalid("roles", "must be any of host, winner, admin"))
}

/// An account as an admin sees it.
#[derive(Debug, Serialize, ToSchema)]
struct AccountState {
    account_id: Uuid,
    username: String,
    is_active: bool,
    /// Those in force.
    roles: Vec<String>,
    /// Those that an admin set; null when they are left to the claims.
    #[schema(required = true)]
    roles_set: Option<Vec<String>>,
}

impl From<Administered> for AccountState {
    fn from(administered: Administered) -> Self {
        let Administered { account, roles_set } = administered;
        Self {
            account_id: account.id.0,
            username: account.username,
            is_active: account.is_active,
            roles: account.roles.to_names(),
            roles_set: roles_set.map(Roles::to_names),
        }
    }
}

/// Closes or opens an account, or sets its roles.
#[utoipa::path(put, path = "/api/v1/admin/accounts/{id}", tag = "admin", operation_id = "admin_change_account",
    params(("id" = Uuid, Path, description = "The account")), request_body = AccountChange, responses(
    (status = 200, description = "How the account is now; every node acts by it within 2 s", body = AccountState),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "Not an admin", body = Problem),
    (status = 404, description = "No such account", body = Problem),
    (status = 422, description = "Not of this form", body = Invalid),
))]
async fn change_account(
    State(app): State<Shared>,
    admin: Admin,
    Path(id): Path<String>,
    respond::Json(change): respond::Json<AccountChange>,
) -> Result<Json<AccountState>, Failure> {
    let id = account(&id, "id")?;
    let changed = admin::change_account(&app.pool, admin.record(), id, change.wish()?).await?;
    let changed = changed.ok_or_else(no_such_account)?;
    app.auth.announce(id).await;
    Ok(Json(changed.into()))
}

/// Ends all sign-ins of an account and closes its sockets, on all nodes within 2 s.
#[utoipa::path(post, path = "/api/v1/admin/accounts/{id}/revoke", tag = "admin", operation_id = "admin_revoke",
    params(("id" = Uuid, Path, description = "The account")), responses(
    (status = 204, description = "Signed out everywhere"),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "Not an admin", body = Problem),
    (status = 404, description = "No such account", body = Problem),
    (status = 422, description = "Not a UUID", body = Invalid),
))]
async fn revoke(
    State(app): State<Shared>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let id = account(&id, "id")?;
    if !admin::revoke(&app.pool, admin.record(), id).await? {
        return Err(no_such_account().into());
    }
    app.auth.announce(id).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes two people friends. An account that was never seen gets a row, which its issuer fills at its first sign-in.
#[utoipa::path(put, path = "/api/v1/admin/friendships/{a}/{b}", tag = "admin", operation_id = "admin_befriend",
    params(("a" = Uuid, Path, description = "One"), ("b" = Uuid, Path, description = "The other")), responses(
    (status = 204, description = "Friends, on every node, from this answer on"),
    (status = 400, description = "The same person twice", body = Problem),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "Not an admin", body = Problem),
    (status = 409, description = "One of them blocks the other", body = Problem),
    (status = 422, description = "Not a UUID", body = Invalid),
    (status = 503, description = "Outcome unknown: try again", body = Problem),
))]
async fn befriend(
    State(app): State<Shared>,
    admin: Admin,
    Path((a, b)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let people = two(&a, &b)?;
    if !friends::befriend(&app, admin.record(), people).await? {
        return Err(Error::refused(Code::Conflict, "One of them blocks the other").into());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a friendship, and what one of the two asked.
#[utoipa::path(delete, path = "/api/v1/admin/friendships/{a}/{b}", tag = "admin", operation_id = "admin_part",
    params(("a" = Uuid, Path, description = "One"), ("b" = Uuid, Path, description = "The other")), responses(
    (status = 204, description = "No friends, on every node, from this answer on"),
    (status = 400, description = "The same person twice", body = Problem),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "Not an admin", body = Problem),
    (status = 422, description = "Not a UUID", body = Invalid),
    (status = 503, description = "Outcome unknown: try again", body = Problem),
))]
async fn part(
    State(app): State<Shared>,
    admin: Admin,
    Path((a, b)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let people = two(&a, &b)?;
    friends::part(&app, admin.record(), people).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn account(text: &str, field: &'static str) -> Result<AccountId, Failure> {
    text.parse().map_err(|_| Failure::invalid(field, "must be a UUID"))
}

fn two(a: &str, b: &str) -> Result<[AccountId; 2], Failure> {
    let people = [account(a, "a")?, account(b, "b")?];
    if people[0] == people[1] {
        let same = Error::refused(Code::Invalid, "That is one person twice");
        return Err(Failure::from(same).status(StatusCode::BAD_REQUEST));
    }
    Ok(people)
}

fn no_such_account() -> Error {
    Error::refused(Code::NotFound, "No such account")
}
