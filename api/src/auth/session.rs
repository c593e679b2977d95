//! Tokens that we sign ourselves, and the cookie that carries them. Each says under which version of the account's
//! sign-ins it was made (`ver`), so that raising the version ends all of them at once, on every node.

use axum::http::HeaderValue;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use shared::config::Secret;
use shared::error::Error;
use shared::user::Account;

use super::issuer::OWN;

/// The cookie that keeps a browser signed in.
pub(crate) const COOKIE: &str = "hubbub_session";

/// How long a sign-in by name lasts: a working day of development.
pub(crate) const DEV_LOGIN_LIFETIME: TimeDelta = TimeDelta::hours(12);

/// Signs our own tokens.
pub(crate) struct Sessions {
    key: EncodingKey,
    /// Whether browsers reach us by https, so that the cookie must never travel without.
    secure: bool,
}

#[derive(Serialize)]
struct OwnClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: i64,
    exp: i64,
    ver: i32,
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    full_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<&'a str>,
    roles: Vec<String>,
}

impl Sessions {
    /// Signs with `key`; `public_url` is where browsers find us.
    pub(super) fn new(key: &Secret, public_url: Option<&str>) -> Self {
        let secure = public_url.is_some_and(|url| url.to_ascii_lowercase().starts_with("https://"));
        Self { key: EncodingKey::from_secret(key.expose().as_bytes()), secure }
    }

    /// A token by which the bearer is `account`, known to us as `subject`.
    pub(crate) fn token(
        &self,
        subject: &str,
        account: &Account,
        now: DateTime<Utc>,
        lifetime: TimeDelta,
    ) -> Result<String, Error> {
        let claims = OwnClaims {
            iss: OWN,
            aud: OWN,
            sub: subject,
            iat: now.timestamp(),
            exp: (now + lifetime).timestamp(),
            ver: account.token_version,
            username: &account.username,
            full_name: account.full_name.as_deref(),
            avatar: account.avatar.as_deref(),
            roles: account.roles.to_names(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.key).map_err(Error::bug)
    }

    /// The `Set-Cookie` that keeps a browser signed in by `token`.
    pub(crate) fn cookie(&self, token: &str, lifetime: TimeDelta) -> HeaderValue {
        self.set_cookie(token, lifetime.num_seconds())
    }

    /// The `Set-Cookie` that signs a browser out.
    pub(crate) fn clearing_cookie(&self) -> HeaderValue {
        self.set_cookie("", 0)
    }

    fn set_cookie(&self, value: &str, max_age_secs: i64) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let text =
            format!("{COOKIE}={value}; Max-Age={max_age_secs}; Path=/; HttpOnly; SameSite=Lax{secure}");
        let mut header = HeaderValue::try_from(text).expect("a token is base64url and dots");
        header.set_sensitive(true);
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s47_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites() {
        let key = Secret::new("7f3c9be1a5d2480c96e1f0b8d4a37c52");
        let plain = Sessions::new(&key, Some("http://localhost:8000"));
        let secure = Sessions::new(&key, Some("https://chat.example"));
        for (sessions, end) in [(&plain, "SameSite=Lax"), (&secure, "SameSite=Lax; Secure")] {
            for header in [sessions.cookie("a.b.c", DEV_LOGIN_LIFETIME), sessions.clearing_cookie()] {
                let text = header.to_str().expect("plain text").to_owned();
                assert!(text.contains("; Path=/; HttpOnly; ") && text.ends_with(end), "{text}");
                assert!(header.is_sensitive(), "kept out of logs");
            }
        }
        assert!(
            plain
                .cookie("a.b.c", DEV_LOGIN_LIFETIME)
                .to_str()
                .unwrap()
                .starts_with("hubbub_session=a.b.c; Max-Age=43200;")
        );
        assert!(plain.clearing_cookie().to_str().unwrap().starts_with("hubbub_session=; Max-Age=0;"));
    }
}
