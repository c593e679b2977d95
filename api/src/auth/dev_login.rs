//! Signing in by name alone: for development, where everybody may be anybody. It takes a cargo feature, which the
//! container image is built without, and APP_ENV=development.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use serde::{Deserialize, Serialize};
use shared::error::{Code, Error};
use shared::store::accounts::{self, Seen};
use shared::user::Roles;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::claims::{NAME_CHARS_MAX, account_of, clean_name, uuid_of};
use super::issuer::OWN;
use super::origin::Asked;
use super::routes::AccountBody;
use super::session::DEV_LOGIN_LIFETIME;
use super::{Authenticator, PATIENCE, patiently};
use crate::respond::Failure;

/// Who somebody wants to be.
#[derive(Debug, Deserialize, ToSchema)]
struct DevLogin {
    /// 1 to 64 characters. The same name is the same account.
    username: String,
    /// Any of `host`, `winner`, `admin`; others are ignored.
    #[serde(default)]
    roles: Vec<String>,
}

/// A token and whom it names.
#[derive(Debug, Serialize, ToSchema)]
struct SignedIn {
    access_token: String,
    /// Always `bearer`.
    token_type: &'static str,
    account: AccountBody,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Authenticator>> {
    OpenApiRouter::new().routes(routes!(dev_login))
}

/// Signs in by name, for twelve hours. In development only.
#[utoipa::path(post, path = "/auth/dev-login", tag = "auth", request_body = DevLogin, responses(
    (status = 200, description = "A token, and the session cookie", body = SignedIn),
    (status = 422, description = "No name, one of over 64 characters, or one that looks like an account id"),
))]
async fn dev_login(
    State(authenticator): State<Arc<Authenticator>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let asked = Asked { method: &method, headers: &headers, is_upgrade: false, has_cookie_credential: false };
    authenticator.origins.check(asked)?;
    let (token, account) = authenticator.sign_in_by_name(&body).await?;
    let cookie = [(header::SET_COOKIE, authenticator.sessions.cookie(&token, DEV_LOGIN_LIFETIME))];
    let signed_in = SignedIn { access_token: token, token_type: "bearer", account };
    Ok((cookie, Json(signed_in)).into_response())
}

impl Authenticator {
    async fn sign_in_by_name(&self, body: &[u8]) -> Result<(String, AccountBody), Error> {
        let login: DevLogin = serde_json::from_slice(body).map_err(|_| {
            Error::refused(Code::Invalid, "Expected {\"username\": \"...\", \"roles\": [...]}")
        })?;
        let name = name(&login.username)?;
        let id = account_of(OWN, &name);
        let seen = Seen {
            id,
            issuer: OWN,
            username: Some(&name),
            fallback_name: &name,
            full_name: None,
            avatar: None,
            roles: Roles::from_names(&login.roles),
        };
        let account = patiently(PATIENCE, accounts::see(&self.pool, &seen)).await?;
        self.forget(id).await;
        let token = self.sessions.token(&name, &account, Utc::now(), DEV_LOGIN_LIFETIME)?;
        Ok((token, AccountBody::from(&account)))
    }
}

/// The name as it is kept. One that reads as an account id would sign in as that account, whoever's it is.
fn name(given: &str) -> Result<String, Error> {
    let cleaned =
        clean_name(given).ok_or_else(|| Error::refused(Code::Empty, "username must not be empty"))?;
    if given.trim().chars().count() > NAME_CHARS_MAX {
        return Err(Error::refused(Code::TooLong, "username must have at most 64 characters"));
    }
    if uuid_of(&cleaned).is_some() {
        return Err(Error::refused(Code::Invalid, "username must not be an account id"));
    }
    Ok(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_nobodys_account_id() {
        assert_eq!(name("  Ana ").ok().as_deref(), Some("Ana"));
        for (bad, code) in [
            ("", Code::Empty),
            (" \u{202e}\n", Code::Empty),
            ("6f9619ff-8b86-4011-b42d-00cf4fc964ff", Code::Invalid),
            (&*"x".repeat(65), Code::TooLong),
        ] {
            assert_eq!(name(bad).expect_err(bad).code(), code, "{bad}");
        }
    }
}
