//! Tokens that a stack's built-in issuer would sign, for as long as a scenario wants.

use chrono::{TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::person::Person;
use crate::stack::SECRET_KEY;

/// Another token of somebody who is signed in; it holds for `seconds`.
///
/// # Panics
/// Never: these claims can be signed.
pub fn another(person: &Person, seconds: i64) -> String {
    let now = Utc::now();
    let claims = json!({
        "iss": "hubbub", "aud": "hubbub", "sub": person.id(), "username": person.name,
        "iat": now.timestamp(), "exp": (now + TimeDelta::seconds(seconds)).timestamp(),
    });
    let key = EncodingKey::from_secret(SECRET_KEY.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).expect("claims can be signed")
}
