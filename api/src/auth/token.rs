//! Whether a token holds. What the token says about how to check it is never believed: its `iss` only looks up a
//! configured issuer, its `kid` only picks among that issuer's keys, its `alg` must be the one configured, and a header
//! that brings a key or the address of one is refused.
//!
//! jsonwebtoken checks the signature, times, issuer and audience; because its notion of a claim's type has changed
//! between releases (CVE-2026-25537), we read header and claims ourselves as well, strictly, and both must agree.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use shared::error::{Code, Error};
use shared::telemetry::names;

use super::claims::{self, ClaimPaths, Identity, LEEWAY_SECS};
use super::issuer::{Issuer, KeySource, OWN};
use super::jwks::{KeySet, Missing, Pace};
use super::strict_json;

/// Longest token, in bytes: what fits a request's headers next to everything else.
pub(crate) const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Longest `kid`, in bytes.
const KID_BYTES_MAX: usize = 256;

/// Header members that change how a token is to be read or where its key comes from.
const HEADERS_REFUSED: [&str; 9] = ["crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c", "epk"];

/// What is wrong with a token: for our logs and counters. Clients are told only that it does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Malformed,
    Header,
    Issuer,
    Algorithm,
    Key,
    Signature,
    Audience,
    Expired,
    NotYet,
    Claim(&'static str),
    Revoked,
}

impl Flaw {
    /// The name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Header => "header",
            Self::Issuer => "issuer",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Claim(_) => "claim",
            Self::Revoked => "revoked",
        }
    }
}

/// Why a token was not accepted.
#[derive(Debug)]
pub(crate) enum Rejected {
    /// It does not hold.
    Flawed(Flaw),
    /// Its key is not known and the issuer's key server does not answer, so nobody can tell.
    KeysAway,
}

impl From<Flaw> for Rejected {
    fn from(flaw: Flaw) -> Self {
        Self::Flawed(flaw)
    }
}

impl From<Rejected> for Error {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Flawed(flaw) => {
                metrics::counter!(names::TOKENS_REFUSED, "reason" => flaw.name()).increment(1);
                Self::refused(Code::Unauthorized, "Could not validate credentials")
            }
            Rejected::KeysAway => Self::unavailable("the key server of a token's issuer does not answer"),
        }
    }
}

/// Everybody who may vouch for people, by the `iss` of their tokens.
pub(crate) struct Issuers(HashMap<String, Checker>);

struct Checker {
    name: Arc<str>,
    algorithm: Algorithm,
    /// For this key family and issuer alone.
    validation: Validation,
    keys: Keys,
    paths: ClaimPaths,
}

enum Keys {
    Shared(Vec<DecodingKey>),
    Published(Arc<KeySet>),
}

impl Issuers {
    /// Checkers for `issuers`; public keys are fetched through `http`, at the pace given.
    pub(crate) fn new(issuers: Vec<Issuer>, http: &reqwest::Client, pace: Pace) -> Self {
        let checker = |issuer: Issuer| (issuer.iss.clone(), Checker::new(issuer, http, pace));
        Self(issuers.into_iter().map(checker).collect())
    }

    /// Who the bearer of `token` is.
    pub(crate) async fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Identity, Rejected> {
        let parts = Parts::split(token)?;
        let iss = parts.claims.get("iss").and_then(Value::as_str).ok_or(Flaw::Claim("iss"))?;
        let checker = self.0.get(iss).ok_or(Flaw::Issuer)?;
        checker.check_signature(token, &parts).await?;
        Ok(claims::read(&parts.claims, &checker.name, &*checker.name == OWN, &checker.paths, now)?)
    }

    /// The issuers' published key sets.
    pub(super) fn key_sets(&self) -> impl Iterator<Item = &Arc<KeySet>> {
        self.0.values().filter_map(|checker| match &checker.keys {
            Keys::Published(set) => Some(set),
            Keys::Shared(_) => None,
        })
    }
}

impl Checker {
    fn new(issuer: Issuer, http: &reqwest::Client, pace: Pace) -> Self {
        let mut validation = Validation::new(issuer.algorithm);
        validation.leeway = LEEWAY_SECS.unsigned_abs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&issuer.iss]);
        if issuer.audiences.is_empty() {
            validation.validate_aud = false;
            validation.set_required_spec_claims(&["exp", "sub", "iss"]);
        } else {
            validation.set_audience(&issuer.audiences);
            validation.set_required_spec_claims(&["exp", "sub", "iss", "aud"]);
        }
        let keys = match issuer.keys {
            KeySource::Shared(secrets) => Keys::Shared(
                secrets.iter().map(|s| DecodingKey::from_secret(s.expose().as_bytes())).collect(),
            ),
            KeySource::Published(url) => Keys::Published(Arc::new(KeySet::new(
                &issuer.name,
                url,
                issuer.algorithm,
                http.clone(),
                pace,
            ))),
        };
        let (name, algorithm, paths) = (issuer.name.into(), issuer.algorithm, issuer.paths);
        Self { name, algorithm, validation, keys, paths }
    }

    async fn check_signature(&self, token: &str, parts: &Parts) -> Result<(), Rejected> {
        if parts.algorithm != format!("{:?}", self.algorithm) {
            return Err(Flaw::Algorithm.into());
        }
        match &self.keys {
            Keys::Shared(secrets) => {
                let mut outcome = Err(Flaw::Signature);
                for secret in secrets {
                    outcome = self.check_with(token, secret);
                    if outcome != Err(Flaw::Signature) {
                        break;
                    }
                }
                Ok(outcome?)
            }
            Keys::Published(set) => {
                let key = set.key(parts.kid.as_deref()).await.map_err(|missing| match missing {
                    Missing::Unknown => Rejected::Flawed(Flaw::Key),
                    Missing::Unanswered => Rejected::KeysAway,
                })?;
                Ok(self.check_with(token, &key)?)
            }
        }
    }

    fn check_with(&self, token: &str, key: &DecodingKey) -> Result<(), Flaw> {
        let outcome = jsonwebtoken::decode::<IgnoredAny>(token, key, &self.validation);
        outcome.map(|_| ()).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => Flaw::Signature,
            ErrorKind::ExpiredSignature => Flaw::Expired,
            ErrorKind::ImmatureSignature => Flaw::NotYet,
            ErrorKind::InvalidAudience => Flaw::Audience,
            ErrorKind::InvalidIssuer => Flaw::Issuer,
            ErrorKind::InvalidAlgorithm => Flaw::Algorithm,
            _ => Flaw::Malformed,
        })
    }
}

/// A token taken apart; nothing in it is true yet.
struct Parts {
    algorithm: String,
    kid: Option<String>,
    claims: Map<String, Value>,
}

impl Parts {
    fn split(token: &str) -> Result<Self, Flaw> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Flaw::Malformed);
        }
        let segments: Vec<&str> = token.splitn(4, '.').collect();
        let &[header, claims, signature] = segments.as_slice() else { return Err(Flaw::Malformed) };
        let base64url = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        if signature.is_empty() || !signature.bytes().all(base64url) {
            return Err(Flaw::Malformed);
        }
        let header = decode(header)?;
        let (algorithm, kid) = Self::read_header(&header)?;
        Ok(Self { algorithm, kid, claims: decode(claims)? })
    }

    fn read_header(header: &Map<String, Value>) -> Result<(String, Option<String>), Flaw> {
        if HEADERS_REFUSED.iter().any(|name| header.contains_key(*name)) {
            return Err(Flaw::Header);
        }
        // A token made for another purpose (logout, security event) is no access token, though the same key signed it.
        match header.get("typ") {
            None => {}
            Some(Value::String(typ)) if is_access_token(typ) => {}
            Some(_) => return Err(Flaw::Header),
        }
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(Flaw::Algorithm)?;
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= KID_BYTES_MAX => Some(kid.clone()),
            Some(_) => return Err(Flaw::Header),
        };
        Ok((algorithm.to_owned(), kid))
    }
}

fn is_access_token(typ: &str) -> bool {
    ["JWT", "at+jwt", "application/at+jwt"].iter().any(|known| known.eq_ignore_ascii_case(typ))
}

fn decode(segment: &str) -> Result<Map<String, Value>, Flaw> {
    let bytes = URL_SAFE_NO_PAD.decode(segment).map_err(|_| Flaw::Malformed)?;
    strict_json::object(&bytes).ok_or(Flaw::Malformed)
}
