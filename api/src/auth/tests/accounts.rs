//! The authorizer without Postgres: what the cache lets through, for how long, and what it must not.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use axum::http::{HeaderMap, Method};
use shared::error::{Code, Error};
use shared::id::AccountId;
use shared::store;
use shared::user::{Account, Roles};
use tokio::time::Instant;

use super::super::claims::{Claims, account_of};
use super::super::{Authenticator, Credential, FRESH, Known, STALE_MAX, Settings};
use super::*;

/// An authorizer whose Postgres is away.
fn authenticator() -> Authenticator {
    // Port 1 is nobody's, so a connection is refused at once.
    let pool = store::connect("postgres://nobody@127.0.0.1:1/none", 1, "test", Duration::from_secs(1))
        .expect("a good address");
    let key = Secret::new(OURS);
    let settings = Settings {
        app_env: AppEnv::Production,
        secret_key: &key,
        secret_key_previous: None,
        auth_issuers: None,
        allowed_origins: &["https://app.example".to_owned()],
        public_url: Some("https://chat.example"),
        dev_login: true,
        key_pace: Pace::default(),
    };
    let http = super::super::jwks::http_client().expect("a client");
    Authenticator::new(&settings, pool, &http, Box::new(|_| {})).unwrap_or_else(|error| panic!("{error}"))
}

fn ana() -> Account {
    Account {
        id: account_of("hubbub", "ana"),
        no: 1,
        username: "ana".into(),
        full_name: None,
        avatar: None,
        roles: Roles::NONE,
        is_active: true,
        token_version: 3,
    }
}

/// Puts an account into the cache as if it had been read `ago`.
async fn remember(authenticator: &Authenticator, account: Account, ago: Duration) {
    let read_at = Instant::now().checked_sub(ago).expect("the machine runs longer than that");
    let known = Known {
        issuer: "hubbub".into(),
        claims: Claims { username: Some("ana".into()), ..Claims::default() },
        read_at,
        ask_again_at: read_at + FRESH,
        account: Arc::new(account),
    };
    authenticator.cache.insert(account_of("hubbub", "ana"), known).await;
}

async fn outcome(authenticator: &Authenticator, changes: Value) -> Result<Arc<Account>, Code> {
    let token = own(&but(claims(), changes));
    let caller = authenticator.authenticate(Some(Credential::bearer(token))).await;
    caller.map(|caller| caller.account).map_err(|error| error.code())
}

#[tokio::test]
async fn somebody_never_seen_has_to_wait_for_postgres() {
    let authenticator = authenticator();
    assert_eq!(outcome(&authenticator, json!({})).await, Err(Code::Unavailable));
    let nobody = authenticator.authenticate(None).await.map(|_| ()).map_err(|error| error.code());
    assert_eq!(nobody, Err(Code::Unauthorized));
    assert_eq!(
        outcome(&authenticator, json!({"exp": 1})).await,
        Err(Code::Unauthorized),
        "without asking Postgres"
    );
}

#[tokio::test]
async fn a_cached_account_goes_on_while_postgres_is_away_but_not_for_ever() {
    let authenticator = authenticator();
    remember(&authenticator, ana(), Duration::ZERO).await;
    assert_eq!(outcome(&authenticator, json!({})).await, Ok(Arc::new(ana())));
    remember(&authenticator, ana(), FRESH + Duration::from_secs(1)).await;
    assert_eq!(outcome(&authenticator, json!({})).await, Ok(Arc::new(ana())));
    let again = authenticator.cache.get(&ana().id).await.expect("it stays");
    assert!(again.ask_again_at > Instant::now(), "not every call waits for a Postgres that is away");
    if Instant::now().checked_sub(STALE_MAX).is_some() {
        remember(&authenticator, ana(), STALE_MAX).await;
        assert_eq!(outcome(&authenticator, json!({})).await, Err(Code::Unavailable));
    }
}

#[tokio::test]
async fn a_cached_account_serves_only_tokens_that_say_the_same() {
    let authenticator = authenticator();
    remember(&authenticator, ana(), Duration::ZERO).await;
    assert_eq!(outcome(&authenticator, json!({"roles": ["admin"]})).await, Err(Code::Unavailable));
    assert_eq!(outcome(&authenticator, json!({"username": "eve"})).await, Err(Code::Unavailable));
    assert!(outcome(&authenticator, json!({"exp": now() + 60})).await.is_ok());
}

#[tokio::test]
async fn s07_a_token_of_an_ended_sign_in_is_refused() {
    let authenticator = authenticator();
    remember(&authenticator, ana(), Duration::ZERO).await;
    assert!(outcome(&authenticator, json!({"ver": 3})).await.is_ok());
    assert_eq!(outcome(&authenticator, json!({"ver": 2})).await, Err(Code::Unauthorized));
    assert_eq!(
        outcome(&authenticator, json!({"ver": 4})).await,
        Err(Code::Unavailable),
        "the cache is behind: ask"
    );
    authenticator.forget(ana().id).await;
    assert_eq!(
        outcome(&authenticator, json!({"ver": 3})).await,
        Err(Code::Unavailable),
        "nothing is left to go by"
    );
}

#[tokio::test]
async fn s07_a_row_that_was_being_read_when_it_was_revoked_is_not_cached() {
    let authenticator = authenticator();
    let identity = authenticator.issuers.verify(&own(&claims()), Utc::now()).await.expect("a good token");
    let before = authenticator.forgotten.load(std::sync::atomic::Ordering::SeqCst);
    authenticator.forget(ana().id).await;
    authenticator.remember(&identity, &Arc::new(ana()), Instant::now(), FRESH, before).await;
    assert!(authenticator.cache.get(&ana().id).await.is_none());
}

#[tokio::test]
async fn s08_a_closed_account_is_refused_by_whichever_way_it_comes() {
    let authenticator = authenticator();
    remember(&authenticator, Account { is_active: false, ..ana() }, Duration::ZERO).await;
    let token = own(&claims());
    let (mut bearer, mut cookie) = (HeaderMap::new(), HeaderMap::new());
    bearer.insert("authorization", format!("Bearer {token}").parse().expect("a header value"));
    cookie.insert("cookie", format!("hubbub_session={token}").parse().expect("a header value"));
    cookie.insert("origin", "https://app.example".parse().expect("a header value"));
    let none = HeaderMap::new();
    let query = format!("token={token}");
    let get = Method::GET;
    let ways = [
        authenticator.authenticate_request(&get, &bearer).await,
        authenticator.authenticate_request(&get, &cookie).await,
        upgrade(&authenticator, &get, &bearer, None).await,
        upgrade(&authenticator, &get, &cookie, None).await,
        upgrade(&authenticator, &get, &none, Some(&query)).await,
        authenticator.authenticate(Some(Credential::bearer(token.clone()))).await,
    ];
    for (way, outcome) in ways.into_iter().enumerate() {
        assert_eq!(outcome.map(|_| ()).map_err(|error| error.code()), Err(Code::Forbidden), "way {way}");
    }
}

#[tokio::test]
async fn s01_a_foreign_page_is_refused_before_its_token_is_looked_at() {
    let authenticator = authenticator();
    remember(&authenticator, ana(), Duration::ZERO).await;
    let token = own(&claims());
    let headers = |cookie: bool, origin: Option<&str>| {
        let mut headers = HeaderMap::new();
        let value = if cookie { format!("hubbub_session={token}") } else { format!("Bearer {token}") };
        headers
            .insert(if cookie { "cookie" } else { "authorization" }, value.parse().expect("a header value"));
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse().expect("a header value"));
        }
        headers
    };
    let via = |outcome: Result<super::super::Caller, Error>| match outcome {
        Ok(_) => Ok(()),
        Err(error) => Err(error.code()),
    };
    for (cookie, origin, expected) in [
        (true, Some("https://app.example"), Ok(())),
        (true, Some("https://evil.example"), Err(Code::Forbidden)),
        (true, None, Err(Code::Forbidden)),
        (false, Some("https://evil.example"), Err(Code::Forbidden)),
        (false, None, Ok(())),
    ] {
        let headers = headers(cookie, origin);
        let upgraded = upgrade(&authenticator, &Method::GET, &headers, None).await;
        assert_eq!(via(upgraded), expected, "upgrade {cookie} {origin:?}");
        let post = authenticator.authenticate_request(&Method::POST, &headers).await;
        assert_eq!(via(post), expected, "post {cookie} {origin:?}");
    }
}

#[tokio::test]
async fn s06_a_caller_lasts_as_long_as_the_token_without_leeway() {
    let authenticator = authenticator();
    remember(&authenticator, ana(), Duration::ZERO).await;
    for (exp, at_most) in [(now() + 60, 60), (now() - 20, 0)] {
        let token = own(&but(claims(), json!({"exp": exp})));
        let caller =
            authenticator.authenticate(Some(Credential::bearer(token))).await.expect("within the leeway");
        assert!(
            caller.expires_at <= Utc::now() + chrono::TimeDelta::seconds(at_most),
            "{:?}",
            caller.expires_at
        );
    }
}

#[tokio::test]
async fn a_revocation_that_postgres_did_not_take_is_not_announced() {
    let announced = Arc::new(Mutex::new(Vec::<AccountId>::new()));
    let mut authenticator = authenticator();
    let heard = Arc::clone(&announced);
    authenticator.on_revoked =
        Box::new(move |account| heard.lock().expect("nobody panics here").push(account));
    let outcome = authenticator.revoke(ana().id).await;
    assert_eq!(outcome.map_err(|error| error.code()), Err(Code::Unavailable));
    assert!(announced.lock().expect("nobody panics here").is_empty());
}

#[test]
fn s38_a_weak_key_signs_nothing_in_production() {
    let strong = Secret::new(OURS);
    let weak = Secret::new("changeme-changeme-changeme-changeme-changeme");
    let settings = |key, previous, app_env| Settings {
        app_env,
        secret_key: key,
        secret_key_previous: previous,
        auth_issuers: None,
        allowed_origins: &[],
        public_url: None,
        dev_login: true,
        key_pace: Pace::default(),
    };
    let refused =
        |settings: &Settings<'_>| super::super::own_issuer(settings).err().map(|error| error.to_string());
    let said = refused(&settings(&weak, None, AppEnv::Production)).expect("refused");
    assert!(said.contains("SECRET_KEY") && !said.contains("changeme"), "{said}");
    let said = refused(&settings(&strong, Some(&weak), AppEnv::Production)).expect("refused");
    assert!(said.contains("SECRET_KEY_PREVIOUS"), "{said}");
    assert_eq!(refused(&settings(&strong, None, AppEnv::Production)), None);
    assert_eq!(refused(&settings(&weak, None, AppEnv::Development)), None);
}

#[tokio::test]
async fn s39_in_production_nobody_signs_in_by_name_and_nothing_is_cached() {
    let app: axum::Router = super::super::routes::routes(Arc::new(authenticator())).into();
    let ask = |method: &str, path: &str| {
        let request = axum::http::Request::builder().method(method).uri(path);
        let request = request.body(axum::body::Body::from(r#"{"username":"ana"}"#)).expect("a request");
        tower::ServiceExt::oneshot(app.clone(), request)
    };
    let login = ask("POST", "/auth/dev-login").await.expect("an answer");
    assert_eq!(login.status(), 404, "DEV_LOGIN alone does not bring the route");
    for (method, path) in [("GET", "/auth/me"), ("POST", "/auth/logout")] {
        let answer = ask(method, path).await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["cache-control"]),
            (401, &"no-store".parse().unwrap())
        );
    }
}

/// What a socket's route does.
async fn upgrade(
    authenticator: &Authenticator,
    method: &Method,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<super::super::Caller, Error> {
    let credential = authenticator.upgrade_credential(method, headers, query)?;
    authenticator.authenticate(credential).await
}
