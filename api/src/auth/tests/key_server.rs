//! Published keys, against a key server that can be told to change its keys, break, stall and count.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::Utc;
use futures_util::future::join_all;
use jsonwebtoken::Algorithm::{ES256, RS256};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::super::jwks::Pace;
use super::super::token::{Flaw, Issuers, Rejected};
use super::*;

/// What the server does when it is asked.
#[derive(Clone)]
enum Manner {
    Answers(String),
    Fails,
    Redirects(String),
    Stalls,
    Floods,
}

struct Shared {
    manner: Mutex<Manner>,
    asked: AtomicU32,
}

/// An issuer's key server.
pub(super) struct KeyServer {
    pub(super) url: String,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

impl KeyServer {
    pub(super) async fn start(answer: &Value) -> Self {
        let manner = Mutex::new(Manner::Answers(answer.to_string()));
        let shared = Arc::new(Shared { manner, asked: AtomicU32::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/keys", listener.local_addr().expect("a bound port"));
        let app = Router::new().route("/keys", get(answer_keys)).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { url, shared, serving }
    }

    fn now(&self, manner: Manner) {
        *self.shared.manner.lock().expect("nobody panics here") = manner;
    }

    fn publishes(&self, keys: &[Value]) {
        self.now(Manner::Answers(json!({ "keys": keys }).to_string()));
    }

    fn asked(&self) -> u32 {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer_keys(State(shared): State<Arc<Shared>>) -> Response {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let manner = shared.manner.lock().expect("nobody panics here").clone();
    match manner {
        Manner::Answers(text) => text.into_response(),
        Manner::Fails => (StatusCode::INTERNAL_SERVER_ERROR, "oops").into_response(),
        Manner::Redirects(to) => (StatusCode::FOUND, [("location", to)]).into_response(),
        Manner::Stalls => std::future::pending().await,
        Manner::Floods => {
            let piece = || Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 4096]));
            Body::from_stream(futures_util::stream::repeat_with(piece)).into_response()
        }
    }
}

/// Asks at every unknown key, and does not wait long.
const EAGER: Pace = Pace {
    unknown_key: Duration::ZERO,
    refresh: Duration::from_secs(600),
    deadline: Duration::from_millis(200),
};

fn games(server: &KeyServer, algorithm: &str, pace: Pace) -> Issuers {
    issuers(
        &json!([{"name": "games", "iss": "https://games.example", "alg": algorithm, "jwks_url": server.url}]),
        pace,
    )
}

fn good_claims() -> Value {
    json!({"iss": "https://games.example", "sub": "ana", "exp": now() + 600})
}

fn signed_by(pem: &str, kid: &str) -> String {
    keyed(&good_claims(), &rsa(pem), RS256, kid)
}

fn public(pem: &str, kid: &str) -> Value {
    published(&rsa(pem), RS256, kid)
}

async fn flaw(issuers: &Issuers, token: &str) -> Option<Flaw> {
    match issuers.verify(token, Utc::now()).await {
        Ok(_) => None,
        Err(Rejected::Flawed(flaw)) => Some(flaw),
        Err(Rejected::KeysAway) => panic!("the key server was taken for away"),
    }
}

async fn keys_away(issuers: &Issuers, token: &str) -> bool {
    matches!(issuers.verify(token, Utc::now()).await, Err(Rejected::KeysAway))
}

async fn refreshed(issuers: &Issuers) -> bool {
    join_all(issuers.key_sets().map(|set| set.refresh())).await == [true]
}

#[tokio::test]
async fn s03_a_key_is_fetched_once_and_a_rotated_one_is_refused_after_the_refresh() {
    let server = KeyServer::start(&json!({"keys": [public(RSA_ONE, "one")]})).await;
    let issuers = games(&server, "RS256", EAGER);
    let (one, two) = (signed_by(RSA_ONE, "one"), signed_by(RSA_TWO, "two"));
    for _ in 0..3 {
        assert_eq!(flaw(&issuers, &one).await, None);
    }
    assert_eq!(server.asked(), 1);

    server.publishes(&[public(RSA_ONE, "one"), public(RSA_TWO, "two")]);
    assert_eq!(flaw(&issuers, &two).await, None, "an unknown key is asked for");
    assert_eq!(flaw(&issuers, &one).await, None, "both serve while they overlap");

    server.publishes(&[public(RSA_TWO, "two")]);
    assert_eq!(flaw(&issuers, &one).await, None, "not known to be withdrawn yet");
    assert!(refreshed(&issuers).await);
    assert_eq!(flaw(&issuers, &one).await, Some(Flaw::Key));
    assert_eq!(flaw(&issuers, &signed_by(RSA_ONE, "two")).await, Some(Flaw::Signature));
    assert_eq!(flaw(&issuers, &two).await, None);
}

#[tokio::test]
async fn s03_a_flood_of_unknown_keys_costs_the_issuer_nothing() {
    let server = KeyServer::start(&json!({"keys": [public(RSA_ONE, "one")]})).await;
    let issuers = games(&server, "RS256", Pace::default());
    let tokens: Vec<String> = (0..200).map(|n| signed_by(RSA_TWO, &format!("invented-{n}"))).collect();
    let flaws = join_all(tokens.iter().map(|token| flaw(&issuers, token))).await;
    assert!(flaws.iter().all(|found| *found == Some(Flaw::Key)));
    assert_eq!(server.asked(), 1, "one fetch serves all who wait, and the next has to wait");
    assert_eq!(flaw(&issuers, &signed_by(RSA_ONE, "one")).await, None);
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn s03_a_client_that_hangs_up_does_not_break_off_the_fetch() {
    let server = KeyServer::start(&json!({"keys": [public(RSA_ONE, "one")]})).await;
    let issuers = games(&server, "RS256", Pace::default());
    let token = signed_by(RSA_ONE, "one");
    let hung_up = futures_util::poll!(Box::pin(issuers.verify(&token, Utc::now())));
    assert!(hung_up.is_pending());
    assert_eq!(flaw(&issuers, &token).await, None);
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn s03_known_keys_go_on_serving_while_the_server_is_away_or_mad() {
    let server = KeyServer::start(&json!({"keys": [public(RSA_ONE, "one")]})).await;
    let issuers = games(&server, "RS256", EAGER);
    let (one, two) = (signed_by(RSA_ONE, "one"), signed_by(RSA_TWO, "two"));
    assert_eq!(flaw(&issuers, &one).await, None);
    let elsewhere = KeyServer::start(&json!({"keys": [public(RSA_TWO, "two")]})).await;
    for manner in [
        Manner::Fails,
        Manner::Stalls,
        Manner::Floods,
        Manner::Redirects(elsewhere.url.clone()),
        Manner::Answers("<html>".into()),
        Manner::Answers("{}".into()),
        Manner::Answers(r#"{"keys":{}}"#.into()),
    ] {
        server.now(manner);
        assert!(!refreshed(&issuers).await);
        assert_eq!(flaw(&issuers, &one).await, None);
        assert!(keys_away(&issuers, &two).await, "nobody can tell whether that key exists");
    }
    assert_eq!(elsewhere.asked(), 0, "redirects are not followed");
    server.publishes(&[public(RSA_TWO, "two")]);
    assert_eq!(flaw(&issuers, &two).await, None, "it mends by itself");
    drop(server);
    assert!(!refreshed(&issuers).await);
    assert_eq!(flaw(&issuers, &two).await, None);
}

#[tokio::test]
async fn s03_keys_of_another_purpose_or_kind_are_passed_over() {
    let fine = public(RSA_ONE, "k");
    let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
    let unusable = [
        but(fine.clone(), json!({"use": "enc"})),
        but(fine.clone(), json!({"alg": "RS512"})),
        but(fine.clone(), json!({"alg": "HS256"})),
        but(fine.clone(), json!({"key_ops": ["encrypt"]})),
        but(fine.clone(), json!({"n": short})),
        but(fine.clone(), json!({"n": "!"})),
        but(fine.clone(), json!({"e": null})),
        but(fine.clone(), json!({"kty": "oct", "k": "AAAA"})),
        but(fine.clone(), json!({"kty": null})),
        but(fine.clone(), json!({"kid": 7})),
        published(&ec(), ES256, "k"),
        json!(null),
        json!("k"),
        json!([]),
    ];
    let server = KeyServer::start(&json!({ "keys": unusable })).await;
    let issuers = games(&server, "RS256", EAGER);
    let token = signed_by(RSA_ONE, "k");
    assert_eq!(flaw(&issuers, &token).await, Some(Flaw::Key));
    let with_purpose = but(fine, json!({"use": "sig", "key_ops": ["verify"]}));
    server.publishes(&[unusable.as_slice(), &[with_purpose]].concat());
    assert_eq!(flaw(&issuers, &token).await, None);
}

#[tokio::test]
async fn s03_elliptic_curves_serve_too_and_only_their_own_algorithm() {
    let server =
        KeyServer::start(&json!({"keys": [published(&ec(), ES256, "e"), public(RSA_ONE, "one")]})).await;
    let issuers = games(&server, "ES256", EAGER);
    assert_eq!(flaw(&issuers, &keyed(&good_claims(), &ec(), ES256, "e")).await, None);
    assert_eq!(flaw(&issuers, &signed_by(RSA_ONE, "one")).await, Some(Flaw::Algorithm));
    let wrong_curve = but(published(&ec(), ES256, "e"), json!({"crv": "P-384"}));
    server.publishes(&[wrong_curve]);
    assert!(refreshed(&issuers).await);
    assert_eq!(flaw(&issuers, &keyed(&good_claims(), &ec(), ES256, "e")).await, Some(Flaw::Key));
}

#[tokio::test]
async fn s03_a_kid_means_a_key_of_the_tokens_own_issuer() {
    let games_server = KeyServer::start(&json!({"keys": [public(RSA_ONE, "one")]})).await;
    let evil_server = KeyServer::start(&json!({"keys": [public(RSA_TWO, "one")]})).await;
    let entry = |name: &str, server: &KeyServer| json!({"name": name, "iss": format!("https://{name}.example"), "alg": "RS256", "jwks_url": server.url});
    let issuers = issuers(&json!([entry("games", &games_server), entry("evil", &evil_server)]), EAGER);
    let evils =
        keyed(&but(good_claims(), json!({"iss": "https://evil.example"})), &rsa(RSA_TWO), RS256, "one");
    assert_eq!(flaw(&issuers, &evils).await, None, "at home that key is good");
    assert_eq!(flaw(&issuers, &signed_by(RSA_TWO, "one")).await, Some(Flaw::Signature));
    assert_eq!(flaw(&issuers, &signed_by(RSA_ONE, "one")).await, None);
}
