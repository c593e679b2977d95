//! What every test of the authorizer needs: keys, tokens and somebody to check them.

mod accounts;
mod bad_tokens;
mod key_server;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use shared::config::{AppEnv, Secret};

use super::issuer::{self, Issuer};
use super::jwks::Pace;
use super::token::Issuers;

/// What we sign with.
const OURS: &str = "7f3c9be1a5d2480c96e1f0b8d4a37c52";
/// What we signed with until yesterday.
const OLD: &str = "0d8e51b7c2f94a63b1c7e5d20f8a6934";
/// What the shop signs with.
const SHOPS: &str = "n2Vd8qX0sK4pLw6ZbT1yRj9cGfHm3AeU";

/// Made for these tests by `openssl genpkey`; they open nothing.
const RSA_ONE: &str = include_str!("keys/rsa_one.pem");
const RSA_TWO: &str = include_str!("keys/rsa_two.pem");
const EC: &str = include_str!("keys/ec.pem");

fn secret(secret: &str) -> EncodingKey {
    EncodingKey::from_secret(secret.as_bytes())
}

fn rsa(pem: &str) -> EncodingKey {
    EncodingKey::from_rsa_pem(pem.as_bytes()).expect("an RSA key")
}

fn ec() -> EncodingKey {
    EncodingKey::from_ec_pem(EC.as_bytes()).expect("an EC key")
}

/// The public half of a key as a key server publishes it.
fn published(key: &EncodingKey, algorithm: Algorithm, kid: &str) -> Value {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).expect("a key pair has a public half");
    jwk.common.key_id = Some(kid.to_owned());
    serde_json::to_value(jwk).expect("a key is JSON")
}

fn now() -> i64 {
    Utc::now().timestamp()
}

/// Good claims of a token of ours.
fn claims() -> Value {
    json!({"iss": "hubbub", "aud": "hubbub", "sub": "ana", "exp": now() + 600, "username": "ana"})
}

/// `base` with some members replaced; those set to null are taken away.
fn but(mut base: Value, changes: Value) -> Value {
    let members = base.as_object_mut().expect("an object");
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    for (name, value) in changes {
        match value {
            Value::Null => drop(members.remove(&name)),
            value => drop(members.insert(name, value)),
        }
    }
    base
}

/// A token whose header and claims are these bytes, signed as `algorithm` says, whatever the header says.
fn signed(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).expect("a key that signs");
    format!("{message}.{signature}")
}

/// A token of ours with these claims.
fn own(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &secret(OURS)).expect("claims that can be signed")
}

/// A token with a `kid`, as issuers with published keys make them.
fn keyed(claims: &Value, key: &EncodingKey, algorithm: Algorithm, kid: &str) -> String {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, key).expect("claims that can be signed")
}

/// Checkers for ourselves and for the issuers in `entries`.
fn issuers(entries: &Value, pace: Pace) -> Issuers {
    let mut issuers = issuer::parse(&entries.to_string(), AppEnv::Development).expect("good settings");
    issuers.push(Issuer::own(Secret::new(OURS), Some(Secret::new(OLD))));
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client without a proxy");
    Issuers::new(issuers, &http, pace)
}

/// The shop's entry in AUTH_ISSUERS: HS256, its own audience.
fn shop() -> Value {
    json!({"name": "shop", "iss": "https://shop.example", "aud": ["chat", "web"], "alg": "HS256", "secret": SHOPS,
           "claims": {"username": "nick", "roles": "realm.roles"}})
}
