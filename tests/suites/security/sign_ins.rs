//! Who may come in, for how long, and what ends it: the same for REST and for sockets, on every node.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{TimeDelta, Utc};
use harness::children::{PATIENCE, eventually};
use harness::http::Answer;
use harness::person::{Node, Person};
use harness::socket::Socket;
use harness::stack::{SECRET_KEY, Stack};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// Claims of the built-in issuer that hold for `seconds`.
fn claims(name: &str, seconds: i64) -> Value {
    let now = Utc::now();
    json!({
        "iss": "hubbub", "aud": "hubbub", "sub": name, "username": name,
        "iat": now.timestamp(), "exp": (now + TimeDelta::seconds(seconds)).timestamp(),
    })
}

fn sign(algorithm: Algorithm, key: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(key.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).expect("claims can be signed")
}

fn signed(claims: &Value) -> String {
    sign(Algorithm::HS256, SECRET_KEY, claims)
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(header), part(claims))
}

/// Both transports answer this status, and each with the stable code.
async fn both_refuse(person: &Person, status: u16, code: &str) {
    person.get("/live-chat/status").await.refused(status, code);
    person.tries_to_say("hi", None).await.expect("an answer").refused(status, code);
    person.is_kept_out_of("1").await.refused(status, code);
}

#[tokio::test]
async fn s02_forged_tokens_open_neither_rest_nor_socket() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    let with = |name: &str, value: Value| {
        let mut claims = claims("ana", 600);
        claims[name] = value;
        claims
    };
    let good = signed(&claims("ana", 600));
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let flipped: String = signature.chars().rev().collect();
    let forged = [
        String::new(),
        "nonsense".to_owned(),
        "a.b.c".to_owned(),
        format!("{head}.{flipped}"),
        format!("{head}."),
        unsigned(&json!({ "alg": "none", "typ": "JWT" }), &claims("ana", 600)),
        unsigned(&json!({ "alg": "None" }), &claims("ana", 600)),
        sign(Algorithm::HS256, "another key, as long as the real one is", &claims("ana", 600)),
        sign(Algorithm::HS512, SECRET_KEY, &claims("ana", 600)),
        signed(&claims("ana", -60)),
        signed(&with("exp", json!("tomorrow"))),
        signed(&with("exp", Value::Null)),
        signed(&with("nbf", json!(Utc::now().timestamp() + 600))),
        signed(&with("aud", json!("somebody else"))),
        signed(&with("aud", Value::Null)),
        signed(&with("iss", json!("somebody else"))),
        signed(&with("sub", json!(""))),
        signed(&with("sub", json!(42))),
        signed(&with("ver", json!(99))),
    ];
    for token in &forged[1..] {
        both_refuse(&ana.with_token(token), 401, "unauthorized").await;
    }
    both_refuse(&ana.with_token(&forged[0]), 401, "unauthorized").await;
    ana.with_token(&good).get("/live-chat/status").await.ok();
    stack.finish().await;
}

#[tokio::test]
async fn s07_also_when_the_bus_was_down_at_that_moment() {
    let mut stack = Stack::builder().nodes(2).var("LIMIT_REVOCATION_CHECK_SECS", "1").start().await;
    let ana = stack.person("ana").await;
    let mut socket = ana.at(Node(2)).connect().await;
    stack.servers.bus.kill9();
    assert_eq!(ana.post("/auth/logout", &json!({})).await.status, 204);
    assert_eq!(socket.closed().await, Some(4401), "the node looks by itself");
    stack.servers.bus.start().await;
    stack.finish().await;
}

#[tokio::test]
async fn s08_a_closed_account_is_refused_on_every_transport() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let account = ana.account["account_id"].as_str().expect("an id");
    sqlx::query("update hubbub.account set is_active = false where account.id::text = $1")
        .bind(account)
        .execute(&stack.pool)
        .await
        .expect("an update");
    // The second node never saw this person, so it has no older word of the account.
    let ana = ana.at(Node(2));
    both_refuse(&ana, 403, "forbidden").await;
    let cookie = format!("hubbub_session={}", ana.token);
    let origin = format!("http://{}", ana.address());
    let answer = ana
        .request(reqwest::Method::GET, "/live-chat/status")
        .header("cookie", &cookie)
        .send()
        .await
        .expect("an answer");
    Answer::of(answer).await.refused(403, "forbidden");
    let url = format!("ws://{}/live-chat/ws/1", ana.address());
    let headers = [("cookie", cookie.as_str()), ("origin", origin.as_str())];
    let refused = Socket::open("ana", &url, &headers).await.err().expect("no socket either");
    refused.refused(403, "forbidden");
    ben.at(Node(2)).get("/live-chat/status").await.ok();
    stack.finish().await;
}

#[tokio::test]
async fn s08_closing_an_account_closes_its_sockets() {
    let stack = Stack::builder().nodes(2).var("LIMIT_REVOCATION_CHECK_SECS", "1").start().await;
    let ana = stack.person("ana").await;
    let mut sockets = [ana.connect().await, ana.at(Node(2)).connect().await];
    let account = ana.account["account_id"].as_str().expect("an id");
    sqlx::query("update hubbub.account set is_active = false where account.id::text = $1")
        .bind(account)
        .execute(&stack.pool)
        .await
        .expect("an update");
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, Some(4401));
    }
    let refused =
        eventually(PATIENCE, async || (ana.get("/live-chat/status").await.status == 403).then_some(()));
    assert!(refused.await.is_some(), "REST refuses, too");
    stack.finish().await;
}

#[tokio::test]
async fn s09_coming_back_is_checked_like_coming() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let first = ben.says("while she was there").await;
    let position = format!("{}:{}", first["epoch"], first["seq"]);
    ana.post("/auth/logout", &json!({})).await;
    ben.says("when she was gone").await;
    for node in [1, 2] {
        let url = ana.at(Node(node)).socket_url(1, &format!("&after={position}"));
        let refused = Socket::open("ana", &url, &[]).await.err().expect("nothing of the gap is delivered");
        refused.refused(401, "unauthorized");
        let url = ana.at(Node(node)).socket_url(1, &format!("&after={position}&close_codes=1"));
        let mut socket = Socket::open("ana", &url, &[]).await.unwrap_or_else(|refusal| panic!("{refusal:?}"));
        assert_eq!(socket.closed().await, Some(4401));
        assert!(socket.passed.iter().all(|frame| frame["type"] == "error"), "{:?}", socket.passed);
    }
    let short = ben.with_token(signed(&claims("ben", -31)));
    let url = short.socket_url(1, &format!("&after={position}"));
    Socket::open("ben", &url, &[]).await.err().expect("expired").refused(401, "unauthorized");
    stack.finish().await;
}
