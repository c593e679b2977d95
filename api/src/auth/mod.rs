//! Who is calling. One authorizer serves every transport, so that what closes an account, ends a sign-in or spoils a
//! token closes, ends and spoils it for REST and for every kind of socket alike.
//!
//! The hot path asks no database: an account is cached, is read again after seconds, and when Postgres is away goes on
//! for minutes, because accepting messages must not depend on Postgres. Somebody never seen before has to wait for it.

pub(crate) mod claims;
pub(crate) mod client_ip;
pub(crate) mod credential;
#[cfg(feature = "dev-login")]
mod dev_login;
mod extract;
pub(crate) mod issuer;
pub(crate) mod jwks;
pub(crate) mod origin;
pub(crate) mod routes;
pub(crate) mod session;
pub(crate) mod strict_json;
#[cfg(test)]
mod tests;
pub(crate) mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use moka::future::Cache;
use shared::config::{AppEnv, ConfigError, Secret};
use shared::error::{Code, Error};
use shared::id::AccountId;
use shared::store::PgPool;
use shared::store::accounts::{self, Seen};
use shared::user::Account;
use tokio::time::{Instant, sleep, timeout};

use crate::config::Config;

use self::claims::{Claims, Identity};
pub(crate) use self::credential::{Credential, Via};
use self::issuer::Issuer;
use self::jwks::Pace;
use self::origin::Origins;
use self::session::Sessions;
use self::token::{Flaw, Issuers, Rejected};

/// How long a cached account is taken as it is. Revocations are announced and take effect at once; this bounds what an
/// announcement that got lost can do to REST, as the sweep over sockets does there.
const FRESH: Duration = Duration::from_secs(15);

/// How long an account goes on while Postgres is away: an outage of minutes must not stop sends, and somebody who was
/// closed at its very beginning must not stay for longer.
const STALE_MAX: Duration = Duration::from_secs(600);

/// How long after Postgres did not answer a cached account is used without asking again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// How long to wait for Postgres about somebody whose cached account could serve instead, and about anybody else.
const PATIENCE_KNOWN: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(5);

/// Most accounts cached, of about 500 bytes each.
const CACHED_MAX: u64 = 100_000;

/// Told of every account whose sign-ins were ended on this node, so that its sockets are closed on all of them.
pub(crate) type OnRevoked = Box<dyn Fn(AccountId) + Send + Sync>;

/// What the authorizer is told at start.
pub(crate) struct Settings<'a> {
    pub(crate) app_env: AppEnv,
    pub(crate) secret_key: &'a Secret,
    pub(crate) secret_key_previous: Option<&'a Secret>,
    /// The JSON of AUTH_ISSUERS.
    pub(crate) auth_issuers: Option<&'a str>,
    pub(crate) allowed_origins: &'a [String],
    pub(crate) public_url: Option<&'a str>,
    /// Whether anybody may sign in by name alone. Believed in development only.
    pub(crate) dev_login: bool,
    pub(crate) key_pace: Pace,
}

impl<'a> From<&'a Config> for Settings<'a> {
    fn from(config: &'a Config) -> Self {
        Self {
            app_env: config.common.app_env,
            secret_key: &config.secret_key,
            secret_key_previous: config.secret_key_previous.as_ref(),
            auth_issuers: config.auth_issuers.as_ref().map(Secret::expose),
            allowed_origins: &config.allowed_origins,
            public_url: config.public_url.as_deref(),
            dev_login: config.dev_login,
            key_pace: Pace::default(),
        }
    }
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) account: Arc<Account>,
    /// When the token ends; a socket must be closed then.
    pub(crate) expires_at: DateTime<Utc>,
}

/// The one authorizer.
pub(crate) struct Authenticator {
    issuers: Issuers,
    pub(crate) origins: Origins,
    pub(crate) sessions: Sessions,
    pool: PgPool,
    cache: Cache<AccountId, Known>,
    /// How often anything was forgotten: a row that was being read meanwhile must not come back into the cache.
    forgotten: AtomicU64,
    key_pace: Pace,
    dev_login: bool,
    on_revoked: OnRevoked,
}

/// An account as it was when last read, and what its token said then.
#[derive(Clone)]
struct Known {
    account: Arc<Account>,
    issuer: Arc<str>,
    claims: Claims,
    read_at: Instant,
    ask_again_at: Instant,
}

impl Known {
    fn is_of(&self, identity: &Identity) -> bool {
        self.issuer == identity.issuer && self.claims == identity.claims
    }

    /// A token of a later version than the cached one shows that the cache is behind.
    fn is_behind(&self, identity: &Identity) -> bool {
        identity.token_version.is_some_and(|version| version > self.account.token_version)
    }
}

impl Authenticator {
    /// An authorizer that reads accounts through `pool` and published keys through `http` (see [`jwks::http_client`]).
    pub(crate) fn new(
        settings: &Settings<'_>,
        pool: PgPool,
        http: &reqwest::Client,
        on_revoked: OnRevoked,
    ) -> Result<Self, ConfigError> {
        let mut issuers = match settings.auth_issuers {
            Some(json) => issuer::parse(json, settings.app_env)?,
            None => Vec::new(),
        };
        issuers.push(own_issuer(settings)?);
        Ok(Self {
            issuers: Issuers::new(issuers, http, settings.key_pace),
            origins: Origins::new(settings.allowed_origins, settings.public_url, settings.app_env)?,
            sessions: Sessions::new(settings.secret_key, settings.public_url),
            pool,
            cache: Cache::builder().max_capacity(CACHED_MAX).time_to_live(STALE_MAX).build(),
            forgotten: AtomicU64::new(0),
            key_pace: settings.key_pace,
            dev_login: settings.dev_login && settings.app_env == AppEnv::Development,
            on_revoked,
        })
    }

    /// Lets the bearer of a credential in, on whatever transport.
    ///
    /// # Errors
    /// Refused with `unauthorized` (no token, or one that does not hold, or a revoked one) or `forbidden` (the account is
    /// closed); unavailable when neither cache nor Postgres, or no key server, can tell.
    pub(crate) async fn authenticate(&self, credential: Option<Credential>) -> Result<Caller, Error> {
        let Some(credential) = credential else {
            return Err(Error::refused(Code::Unauthorized, "Not authenticated"));
        };
        let identity = self.issuers.verify(&credential.token, Utc::now()).await?;
        let account = self.account(&identity).await?;
        Ok(Caller { account, expires_at: identity.expires_at })
    }

    /// Ends all sign-ins of an account: tokens of ours made before are refused from now on, and its sockets are closed.
    pub(crate) async fn revoke(&self, account: AccountId) -> Result<(), Error> {
        let version = patiently(PATIENCE, accounts::bump_token_version(&self.pool, account)).await?;
        if version.is_some() {
            self.announce(account).await;
        }
        Ok(())
    }

    /// Has every node look at an account again, now that it was closed, opened, given other roles or revoked.
    pub(crate) async fn announce(&self, account: AccountId) {
        self.forget(account).await;
        (self.on_revoked)(account);
    }

    /// Reads the account again at its next call: another node revoked or changed it.
    pub(crate) async fn forget(&self, account: AccountId) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        self.cache.invalidate(&account).await;
    }

    /// Which of these sign-ins, given as account and token version, have ended: for the sweep over a node's sockets,
    /// which finds what an announcement that got lost did not tell. One statement, whatever their number.
    pub(crate) async fn no_longer_good(
        &self,
        held: &[(AccountId, i32)],
    ) -> Result<Vec<(AccountId, i32)>, Error> {
        let ended = patiently(PATIENCE, accounts::no_longer_good(&self.pool, held)).await?;
        for (account, _) in &ended {
            self.forget(*account).await;
        }
        Ok(ended)
    }

    /// Fetches the keys of all issuers that publish theirs; whether all answered.
    pub(crate) async fn refresh_keys(&self) -> bool {
        join_all(self.issuers.key_sets().map(|set| set.refresh())).await.into_iter().all(|answered| answered)
    }

    /// Keeps published keys fresh until `stop`, so that a withdrawn one is noticed without being used.
    pub(crate) async fn keep_keys_fresh(&self, stop: impl Future<Output = ()>) {
        let work = async {
            while self.issuers.key_sets().next().is_some() {
                let answered = self.refresh_keys().await;
                sleep(if answered { self.key_pace.refresh } else { self.key_pace.unknown_key }).await;
            }
        };
        tokio::select! { () = work => {}, () = stop => {} }
    }

    async fn account(&self, identity: &Identity) -> Result<Arc<Account>, Error> {
        let known = self.cache.get(&identity.account).await.filter(|known| known.is_of(identity));
        let usable = known.filter(|known| known.read_at.elapsed() < STALE_MAX && !known.is_behind(identity));
        if let Some(known) = &usable
            && Instant::now() < known.ask_again_at
        {
            return admit(&known.account, identity);
        }
        let patience = if usable.is_some() { PATIENCE_KNOWN } else { PATIENCE };
        let forgotten = self.forgotten.load(Ordering::Acquire);
        match (patiently(patience, accounts::see(&self.pool, &seen(identity))).await, usable) {
            (Ok(account), _) => {
                let account = Arc::new(account);
                self.remember(identity, &account, Instant::now(), FRESH, forgotten).await;
                admit(&account, identity)
            }
            (Err(Error::Unavailable(_)), Some(known)) => {
                self.remember(identity, &known.account, known.read_at, ASK_AGAIN, forgotten).await;
                admit(&known.account, identity)
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn remember(
        &self,
        identity: &Identity,
        account: &Arc<Account>,
        read_at: Instant,
        ask_again_in: Duration,
        forgotten: u64,
    ) {
        let (issuer, claims) = (Arc::clone(&identity.issuer), identity.claims.clone());
        let ask_again_at = Instant::now() + ask_again_in;
        let known = Known { account: Arc::clone(account), issuer, claims, read_at, ask_again_at };
        self.cache.insert(identity.account, known).await;
        if self.forgotten.load(Ordering::Acquire) != forgotten {
            self.cache.invalidate(&identity.account).await;
        }
    }
}

/// Our own issuer. A weak key is refused in production; in development the settings have warned about it.
fn own_issuer(settings: &Settings<'_>) -> Result<Issuer, ConfigError> {
    let keys =
        [("SECRET_KEY", Some(settings.secret_key)), ("SECRET_KEY_PREVIOUS", settings.secret_key_previous)];
    for (name, key) in keys {
        if let (AppEnv::Production, Some(weakness)) = (settings.app_env, key.and_then(Secret::weakness)) {
            return Err(ConfigError(vec![format!("{name} must be {weakness}")]));
        }
    }
    Ok(Issuer::own(settings.secret_key.clone(), settings.secret_key_previous.cloned()))
}

fn seen(identity: &Identity) -> Seen<'_> {
    Seen {
        id: identity.account,
        issuer: &identity.issuer,
        username: identity.claims.username.as_deref(),
        fallback_name: &identity.fallback_name,
        full_name: identity.claims.full_name.as_deref(),
        avatar: identity.claims.avatar.as_deref(),
        roles: identity.claims.roles,
    }
}

/// Every condition on an account, for all transports.
fn admit(account: &Arc<Account>, identity: &Identity) -> Result<Arc<Account>, Error> {
    if identity.token_version.is_some_and(|version| version != account.token_version) {
        return Err(Rejected::Flawed(Flaw::Revoked).into());
    }
    if !account.is_active {
        return Err(Error::refused(Code::Forbidden, "Inactive account"));
    }
    Ok(Arc::clone(account))
}

async fn patiently<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(patience, answer).await.unwrap_or_else(|late| Err(Error::unavailable(late)))
}
