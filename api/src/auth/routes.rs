//! `/auth`: who am I, sign me out, and in development sign me in by name. Nothing here may be cached by anybody.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::id::AccountId;
use shared::user::Account;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{Authenticator, Caller};
use crate::respond::Failure;

/// An account as its own person sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountBody {
    /// The account's UUID.
    account_id: Uuid,
    /// The integer by which some dialects know the account.
    id: i64,
    /// The name shown, 1 to 64 characters.
    username: String,
    /// The longer name, if there is one.
    full_name: Option<String>,
    /// An http(s) address of a picture, if there is one.
    avatar: Option<String>,
    /// Any of `host`, `winner`, `admin`.
    roles: Vec<String>,
}

impl From<&Account> for AccountBody {
    fn from(account: &Account) -> Self {
        let AccountId(account_id) = account.id;
        Self {
            account_id,
            id: account.no,
            username: account.username.clone(),
            full_name: account.full_name.clone(),
            avatar: account.avatar.clone(),
            roles: account.roles.to_names(),
        }
    }
}

/// The routes of `/auth`. Signing in by name exists in development only.
pub(crate) fn routes<S>(authenticator: Arc<Authenticator>) -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    let mut router = OpenApiRouter::new().routes(routes!(me)).routes(routes!(logout));
    if authenticator.dev_login {
        router = with_dev_login(router);
    }
    let no_store = HeaderValue::from_static("no-store");
    router
        .layer(SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, no_store))
        .with_state(authenticator)
}

#[cfg(feature = "dev-login")]
fn with_dev_login(router: OpenApiRouter<Arc<Authenticator>>) -> OpenApiRouter<Arc<Authenticator>> {
    router.merge(super::dev_login::routes())
}

#[cfg(not(feature = "dev-login"))]
fn with_dev_login(router: OpenApiRouter<Arc<Authenticator>>) -> OpenApiRouter<Arc<Authenticator>> {
    router
}

/// The caller's own account.
#[utoipa::path(get, path = "/auth/me", tag = "auth", responses(
    (status = 200, description = "The account", body = AccountBody),
    (status = 401, description = "No token, or one that does not hold"),
    (status = 403, description = "The account is closed, or the page may not talk to us"),
))]
async fn me(caller: Caller) -> Json<AccountBody> {
    Json(AccountBody::from(&*caller.account))
}

/// Ends all sign-ins of the caller, closes their sockets on every node and takes the session cookie away.
#[utoipa::path(post, path = "/auth/logout", tag = "auth", responses(
    (status = 204, description = "Signed out everywhere"),
    (status = 401, description = "No token, or one that does not hold"),
    (status = 403, description = "The account is closed, or the page may not talk to us"),
))]
async fn logout(
    State(authenticator): State<Arc<Authenticator>>,
    caller: Caller,
) -> Result<Response, Failure> {
    authenticator.revoke(caller.account.id).await?;
    let cookie = [(header::SET_COOKIE, authenticator.sessions.clearing_cookie())];
    Ok((StatusCode::NO_CONTENT, cookie).into_response())
}
