//! An issuer's published keys, kept at hand so that checking a token asks nobody.
//!
//! The address comes from the settings and from nowhere else, and is not followed anywhere. One fetch runs at a time. A
//! token with an unknown `kid` may cause one, but not more often than the pace allows, so a flood of invented ones costs
//! the issuer nothing. An answer replaces all keys: one that was withdrawn is refused from then on. While the server is
//! away, or answers nonsense, the known keys go on serving.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;
use shared::telemetry::names;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// Largest answer read, in bytes. Real ones have 1 to 20 KiB.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Shortest and longest RSA modulus, in bits: below it can be factored, above it is a way to burn our time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// How often a key server is asked, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between two fetches caused by unknown keys.
    pub(crate) unknown_key: Duration,
    /// Between two fetches anyway, which notice withdrawn keys.
    pub(crate) refresh: Duration,
    /// For the whole answer.
    pub(crate) deadline: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            unknown_key: Duration::from_secs(30),
            refresh: Duration::from_secs(600),
            deadline: Duration::from_secs(5),
        }
    }
}

/// Why there is no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The issuer has no such key.
    Unknown,
    /// The issuer could not be asked.
    Unanswered,
}

/// The keys of one issuer, so that nobody's `kid` can mean another issuer's key.
pub(super) struct KeySet {
    issuer: String,
    url: Url,
    algorithm: Algorithm,
    http: reqwest::Client,
    pace: Pace,
    keys: ArcSwap<Vec<Key>>,
    /// Whether the last fetch succeeded.
    answered: AtomicBool,
    fetches: AtomicU64,
    /// When the last fetch began; held while one runs.
    last: Mutex<Option<Instant>>,
}

#[derive(Clone)]
pub(crate) struct Key {
    kid: Option<String>,
    key: Arc<DecodingKey>,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("no answer in time")]
    Late,
    #[error("status {0}")]
    Status(u16),
    #[error("more than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error("no key set")]
    Malformed(#[from] serde_json::Error),
    #[error("{0}")]
    Http(#[from] reqwest::Error),
}

/// A client that goes where it is told and no further.
pub(crate) fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("hubbub/", env!("CARGO_PKG_VERSION")))
        .build()
}

impl KeySet {
    pub(super) fn new(
        issuer: &str,
        url: Url,
        algorithm: Algorithm,
        http: reqwest::Client,
        pace: Pace,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            url,
            algorithm,
            http,
            pace,
            keys: ArcSwap::default(),
            answered: AtomicBool::new(false),
            fetches: AtomicU64::new(0),
            last: Mutex::new(None),
        }
    }

    /// The key that a token names. A token without `kid` means the only key there is.
    pub(super) async fn key(self: &Arc<Self>, kid: Option<&str>) -> Result<Arc<DecodingKey>, Missing> {
        if let Some(key) = self.find(kid) {
            return Ok(key);
        }
        let (set, seen) = (Arc::clone(self), self.fetches.load(Ordering::Acquire));
        // In a task of its own: a client that hangs up must not break off the fetch that others wait for.
        let asked = tokio::spawn(async move { set.ask_for_unknown(seen).await }).await;
        self.find(kid).ok_or(match asked.is_ok() && self.answered.load(Ordering::Acquire) {
            true => Missing::Unknown,
            false => Missing::Unanswered,
        })
    }

    /// Asks the server now. Whether it gave an answer.
    pub(super) async fn refresh(&self) -> bool {
        let mut last = self.last.lock().await;
        self.fetch(&mut last).await
    }

    fn find(&self, kid: Option<&str>) -> Option<Arc<DecodingKey>> {
        let keys = self.keys.load();
        let found = match (kid, keys.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(kid), keys) => keys.iter().find(|key| key.kid.as_deref() == Some(kid)),
        };
        found.map(|key| Arc::clone(&key.key))
    }

    /// One fetch serves all who found their key missing before it ended (`seen` is the number of fetches they knew of).
    async fn ask_for_unknown(&self, seen: u64) {
        let mut last = self.last.lock().await;
        let served = self.fetches.load(Ordering::Acquire) != seen;
        let too_soon = last.is_some_and(|at| at.elapsed() < self.pace.unknown_key);
        if !served && !too_soon {
            self.fetch(&mut last).await;
        }
    }

    async fn fetch(&self, last: &mut Option<Instant>) -> bool {
        *last = Some(Instant::now());
        let answer = timeout(self.pace.deadline, self.download()).await.unwrap_or(Err(FetchError::Late));
        let outcome = answer.and_then(|body| Ok(parse(&body, self.algorithm)?));
        let answered = outcome.is_ok();
        match outcome {
            Ok(keys) => self.keys.store(Arc::new(keys)),
            Err(error) => tracing::warn!(issuer = self.issuer, %error, "key server did not give its keys"),
        }
        metrics::counter!(names::KEY_FETCHES, "issuer" => self.issuer.clone(), "ok" => answered.to_string())
            .increment(1);
        self.answered.store(answered, Ordering::Release);
        self.fetches.fetch_add(1, Ordering::Release);
        answered
    }

    async fn download(&self) -> Result<Vec<u8>, FetchError> {
        let request = self.http.get(self.url.clone()).header("accept", "application/json");
        let mut response = request.send().await.map_err(reqwest::Error::without_url)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// The keys in an answer that can check a signature of `algorithm`; all others are passed over, because a set may hold
/// keys for other purposes and of kinds yet to be invented.
pub(crate) fn parse(body: &[u8], algorithm: Algorithm) -> Result<Vec<Key>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Answer {
        keys: Vec<Value>,
    }
    let answer: Answer = serde_json::from_slice(body)?;
    Ok(answer.keys.iter().filter_map(|jwk| usable(jwk, algorithm)).collect())
}

fn usable(jwk: &Value, algorithm: Algorithm) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let absent_or = |name: &str, wanted: &str| jwk.get(name).is_none() || text(name) == Some(wanted);
    let verifies = jwk.get("key_ops").is_none_or(|ops| {
        ops.as_array().is_some_and(|ops| ops.iter().any(|op| op.as_str() == Some("verify")))
    });
    if !absent_or("use", "sig") || !absent_or("alg", &format!("{algorithm:?}")) || !verifies {
        return None;
    }
    let key = match (algorithm, text("kty")?) {
        (Algorithm::RS256, "RSA") => {
            let modulus = text("n")?;
            let long_enough = RSA_BITS.contains(&bits(&URL_SAFE_NO_PAD.decode(modulus).ok()?));
            DecodingKey::from_rsa_components(modulus, text("e")?).ok().filter(|_| long_enough)?
        }
        (Algorithm::ES256, "EC") if text("crv") == Some("P-256") => {
            DecodingKey::from_ec_components(text("x")?, text("y")?).ok()?
        }
        _ => return None,
    };
    Some(Key { kid: text("kid").map(str::to_owned), key: Arc::new(key) })
}

fn bits(modulus: &[u8]) -> usize {
    let significant: Vec<u8> = modulus.iter().copied().skip_while(|byte| *byte == 0).collect();
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}
