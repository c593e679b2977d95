//! The corpus of bad tokens, of which none may be accepted, and the good ones beside them, which all must be: a checker
//! that refuses everything would pass the first half.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use jsonwebtoken::Algorithm::{ES256, HS256, RS256};
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::super::claims::account_of;
use super::super::jwks::Pace;
use super::super::token::{Flaw, Issuers, Rejected, TOKEN_BYTES_MAX};
use super::*;

type Corpus = Vec<(String, String)>;

const GOOD_HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

fn named(what: impl Into<String>, token: impl Into<String>) -> (String, String) {
    (what.into(), token.into())
}

/// Claims that are not what they should be, under a good signature.
fn bad_claims() -> Corpus {
    let bad = [
        json!({"exp": null}),
        json!({"sub": null}),
        json!({"iss": null}),
        json!({"aud": null}),
        json!({"aud": "other"}),
        json!({"aud": ["other", "Hubbub"]}),
        json!({"aud": []}),
        json!({"aud": 7}),
        json!({"aud": {"hubbub": true}}),
        json!({"iss": "https://evil.example"}),
        json!({"iss": ["hubbub"]}),
        json!({"iss": "Hubbub"}),
        json!({"iss": "hubbub "}),
        json!({"sub": ""}),
        json!({"sub": 42}),
        json!({"sub": ["ana"]}),
        json!({"sub": "x".repeat(256)}),
        json!({"sub": "a\u{0}b"}),
        json!({"exp": now() - 31}),
        json!({"exp": 0}),
        json!({"exp": (now() + 600).to_string()}),
        json!({"exp": now() as f64 + 600.5}),
        json!({"exp": -1}),
        json!({"exp": -(now() + 600)}),
        json!({"exp": u64::MAX}),
        json!({"exp": i64::MAX}),
        json!({"exp": 1e300}),
        json!({"exp": [now() + 600]}),
        json!({"exp": {"$numberLong": "1"}}),
        json!({"exp": true}),
        json!({"exp": false}),
        json!({"nbf": now() + 40}),
        json!({"nbf": (now() - 5).to_string()}),
        json!({"nbf": now() as f64 - 5.5}),
        json!({"nbf": -1}),
        json!({"nbf": [0]}),
        json!({"nbf": u64::MAX}),
        json!({"iat": "now"}),
        json!({"iat": -1}),
        json!({"iat": now() as f64 + 0.5}),
        json!({"ver": "0"}),
        json!({"ver": 0.5}),
        json!({"ver": 1_u64 << 33}),
    ];
    bad.into_iter().map(|changes| named(format!("claims {changes}"), own(&but(claims(), changes)))).collect()
}

/// Claims that `Value` can't express, under a good signature.
fn bad_json() -> Corpus {
    let good = claims().to_string();
    let open = good.trim_end_matches('}');
    [
        format!(r#"{open},"sub":"ben"}}"#),
        format!(r#"{open},"s\u0075b":"ben"}}"#),
        format!(r#"{open},"exp":99999999999}}"#),
        format!(r#"{open},"nbf":null}}"#),
        format!(r#"{open},"exp":1e999}}"#),
        format!(r#"{open},"profile":{{"a":1,"a":2}}}}"#),
        format!(r#"{open},"x":"\ud800"}}"#),
        format!(r#"{open},"x":{}{}}}"#, "[".repeat(300), "]".repeat(300)),
        format!("{good}{good}"),
        format!("[{good}]"),
        "null".to_owned(),
        String::new(),
        open.to_owned(),
    ]
    .into_iter()
    .map(|claims| {
        named(format!("claims text {claims:.200}"), signed(GOOD_HEADER, &claims, &secret(OURS), HS256))
    })
    .collect()
}

/// Headers that try to choose how they are checked.
fn bad_headers() -> Corpus {
    let shops_public = published(&rsa(RSA_ONE), RS256, "one").to_string();
    let mut corpus: Corpus = [
        r#"{"typ":"JWT","alg":"HS384"}"#.to_owned(),
        r#"{"typ":"JWT","alg":"HS512"}"#.to_owned(),
        r#"{"typ":"JWT","alg":"RS256"}"#.to_owned(),
        r#"{"typ":"JWT","alg":"hs256"}"#.to_owned(),
        r#"{"typ":"JWT","alg":["HS256"]}"#.to_owned(),
        r#"{"typ":"JWT","alg":null}"#.to_owned(),
        r#"{"typ":"JWT"}"#.to_owned(),
        r#"{"alg":"HS256","alg":"HS256"}"#.to_owned(),
        r#"{"alg":"HS256","crit":["exp"]}"#.to_owned(),
        r#"{"alg":"HS256","crit":[]}"#.to_owned(),
        r#"{"alg":"HS256","b64":false}"#.to_owned(),
        r#"{"alg":"HS256","zip":"DEF"}"#.to_owned(),
        r#"{"alg":"HS256","jku":"https://evil.example/keys"}"#.to_owned(),
        r#"{"alg":"HS256","x5u":"https://evil.example/cert"}"#.to_owned(),
        r#"{"alg":"HS256","x5c":["MIIB"]}"#.to_owned(),
        format!(r#"{{"alg":"HS256","jwk":{shops_public}}}"#),
        r#"{"alg":"HS256","typ":"logout+jwt"}"#.to_owned(),
        r#"{"alg":"HS256","typ":7}"#.to_owned(),
        r#"{"alg":"HS256","kid":7}"#.to_owned(),
        format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(257)),
        "[]".to_owned(),
        "{".to_owned(),
    ]
    .into_iter()
    .map(|header| {
        let token = signed(&header, &claims().to_string(), &secret(OURS), HS256);
        named(format!("header {header:.120}"), token)
    })
    .collect();
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let header = format!(r#"{{"typ":"JWT","alg":"{none}"}}"#);
        let signature_kept = signed(&header, &claims().to_string(), &secret(OURS), HS256);
        let (bare, _) = signature_kept.rsplit_once('.').expect("three segments");
        corpus.push(named(format!("alg {none:?} without signature"), format!("{bare}.")));
        corpus.push(named(format!("alg {none:?} with signature"), signature_kept));
    }
    corpus
}

/// Good headers and claims that the right key did not sign.
fn bad_keys() -> Corpus {
    let ours = claims().to_string();
    let games = games_claims().to_string();
    let public = published(&rsa(RSA_ONE), RS256, "one");
    let modulus = public["n"].as_str().expect("an RSA key has a modulus").to_owned();
    let public_pem =
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----\n";
    let header = |alg: &str, kid: &str| json!({"typ": "JWT", "alg": alg, "kid": kid}).to_string();
    let mut corpus = vec![
        named("signed by the shop in our name", signed(GOOD_HEADER, &ours, &secret(SHOPS), HS256)),
        named(
            "signed by us in the shop's name",
            signed(GOOD_HEADER, &shop_claims().to_string(), &secret(OURS), HS256),
        ),
        named("signed with nothing", signed(GOOD_HEADER, &ours, &secret(""), HS256)),
        named("signed by a stranger", keyed(&games_claims(), &rsa(RSA_TWO), RS256, "one")),
        named("the other algorithm's key", keyed(&games_claims(), &ec(), ES256, "one")),
        named("RSA in our name", signed(&header("RS256", "one"), &ours, &rsa(RSA_ONE), RS256)),
        named("RSA called HS256", signed(GOOD_HEADER, &games, &rsa(RSA_ONE), RS256)),
        named("a kid that is a path", keyed(&games_claims(), &secret(""), HS256, "../../../../dev/null")),
        named("a kid that is SQL", keyed(&games_claims(), &rsa(RSA_TWO), RS256, "one' or '1'='1")),
        named(
            "a kid that is an address",
            keyed(&games_claims(), &rsa(RSA_TWO), RS256, "https://evil.example/k"),
        ),
        named(
            "no kid at an issuer with two keys",
            signed(r#"{"alg":"RS256"}"#, &games, &rsa(RSA_ONE), RS256),
        ),
    ];
    // The public key taken for an HMAC secret, in the forms in which a careless checker would hold it.
    for confused in [modulus, public.to_string(), public_pem.to_owned()] {
        let key = EncodingKey::from_secret(confused.as_bytes());
        corpus.push(named("HS256 by public key", signed(&header("HS256", "one"), &games, &key, HS256)));
        corpus.push(named("HMAC called RS256", signed(&header("RS256", "one"), &games, &key, HS256)));
    }
    corpus
}

/// Texts that are hardly tokens.
fn bad_shapes() -> Corpus {
    let good = own(&claims());
    let segments: Vec<&str> = good.split('.').collect();
    let [header, body, signature] = segments[..] else { panic!("three segments") };
    let huge = own(&but(claims(), json!({"padding": "x".repeat(TOKEN_BYTES_MAX)})));
    let other_body = URL_SAFE_NO_PAD.encode(but(claims(), json!({"sub": "ben"})).to_string());
    let mut corpus: Corpus = [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        "a.b.c".into(),
        good[1..].to_owned(),
        good[..good.len() - 1].to_owned(),
        format!("{header}.{body}."),
        format!("{header}.{body}"),
        format!("{header}.{body}.{}", &signature[..signature.len() / 2]),
        format!("{good}.{signature}"),
        format!(".{good}"),
        format!("{good}."),
        format!("{header}..{signature}"),
        format!(".{body}.{signature}"),
        format!("{header}.{other_body}.{signature}"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("{header}. {body}.{signature}"),
        format!("{good}="),
        format!("{header}.{body}==.{signature}"),
        format!("{good}\0"),
        format!("Bearer {good}"),
        format!("\"{good}\""),
        huge,
        "x".repeat(1 << 20),
        format!("{header}.{body}.{}", signature.replace(['-', '_'], "+")) + "+",
        good.replace('.', "%2E"),
        "{\"payload\":\"\",\"signatures\":[]}".into(),
        "🦀.🦀.🦀".into(),
    ]
    .into_iter()
    .map(|token| named(format!("shape {token:.60}"), token))
    .collect();
    for place in (0..signature.len()).step_by(7) {
        let mut forged = signature.as_bytes().to_vec();
        forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).expect("ASCII");
        corpus.push(named(format!("signature changed at {place}"), format!("{header}.{body}.{forged}")));
    }
    corpus
}

fn shop_claims() -> Value {
    json!({"iss": "https://shop.example", "aud": "chat", "sub": "ana", "exp": now() + 600})
}

fn games_claims() -> Value {
    json!({"iss": "https://games.example", "sub": "ana", "exp": now() + 600})
}

/// Ourselves, the shop (HS256) and the games (RS256, with two published keys).
async fn checkers() -> (Issuers, key_server::KeyServer) {
    let keys = [("one", RSA_ONE), ("two", RSA_TWO)].map(|(kid, pem)| published(&rsa(pem), RS256, kid));
    let server = key_server::KeyServer::start(&json!({ "keys": keys })).await;
    let games =
        json!({"name": "games", "iss": "https://games.example", "alg": "RS256", "jwks_url": server.url});
    (issuers(&json!([shop(), games]), Pace::default()), server)
}

#[tokio::test]
async fn s02_of_a_corpus_of_bad_tokens_none_is_accepted() {
    let (issuers, _server) = checkers().await;
    let corpus = [bad_claims(), bad_json(), bad_headers(), bad_keys(), bad_shapes()].concat();
    assert!(corpus.len() >= 40, "only {} tokens", corpus.len());
    for (what, token) in &corpus {
        let outcome = issuers.verify(token, Utc::now()).await;
        assert!(matches!(outcome, Err(Rejected::Flawed(_))), "{what}: {outcome:?}");
    }
}

#[tokio::test]
async fn s02_tokens_that_hold_are_accepted() {
    let (issuers, _server) = checkers().await;
    let good = [
        own(&claims()),
        own(&but(claims(), json!({"aud": ["other", "hubbub"], "nbf": now() - 5, "iat": now(), "ver": 0}))),
        own(&but(claims(), json!({"exp": now() - 25, "nbf": now() + 25}))),
        signed(r#"{"alg":"HS256","typ":"at+jwt"}"#, &claims().to_string(), &secret(OURS), HS256),
        signed(r#"{"alg":"HS256","kid":"whatever"}"#, &claims().to_string(), &secret(OURS), HS256),
        signed(GOOD_HEADER, &shop_claims().to_string(), &secret(SHOPS), HS256),
        keyed(&games_claims(), &rsa(RSA_ONE), RS256, "one"),
        keyed(&but(games_claims(), json!({"aud": "anything"})), &rsa(RSA_TWO), RS256, "two"),
    ];
    for token in good {
        let outcome = issuers.verify(&token, Utc::now()).await;
        assert!(outcome.is_ok(), "{outcome:?}: {token}");
    }
}

#[tokio::test]
async fn s02_whose_issuer_it_is_decides_who_somebody_is() {
    let (issuers, _server) = checkers().await;
    let shops = but(shop_claims(), json!({"nick": "Ana", "username": "eve", "ver": 9, "roles": ["admin"]}));
    let shops = signed(GOOD_HEADER, &shops.to_string(), &secret(SHOPS), HS256);
    let at_the_shop = issuers.verify(&shops, Utc::now()).await.expect("a good token");
    assert_eq!(at_the_shop.account, account_of("shop", "ana"));
    assert_eq!(at_the_shop.claims.username.as_deref(), Some("Ana"));
    assert_eq!(at_the_shop.token_version, None, "only our own tokens carry our versions");
    assert!(at_the_shop.claims.roles.to_names().is_empty(), "the shop's roles are elsewhere");
    let here = issuers.verify(&own(&claims()), Utc::now()).await.expect("a good token");
    assert_ne!(here.account, at_the_shop.account);
    assert_eq!((&*here.issuer, here.account), ("hubbub", account_of("hubbub", "ana")));
}

#[tokio::test]
async fn s38_a_key_is_changed_without_signing_anybody_out() {
    let issuers = issuers(&json!([]), Pace::default());
    for key in [OURS, OLD] {
        let token = signed(GOOD_HEADER, &claims().to_string(), &secret(key), HS256);
        assert!(issuers.verify(&token, Utc::now()).await.is_ok());
    }
    let expired = but(claims(), json!({"exp": now() - 100})).to_string();
    let outcome = issuers.verify(&signed(GOOD_HEADER, &expired, &secret(OLD), HS256), Utc::now()).await;
    assert!(matches!(outcome, Err(Rejected::Flawed(Flaw::Expired))), "{outcome:?}");
}
