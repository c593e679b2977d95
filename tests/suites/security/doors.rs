//! What is asked before anything else: where a page comes from, and whether a client is serious.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::http::Answer;
use harness::person::{Node, Person};
use harness::raw::{Raw, upgrade_request};
use harness::socket::Socket;
use harness::stack::Stack;
use reqwest::Method;
use serde_json::json;

const OURS: &str = "https://chat.example";

async fn ask(person: &Person, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = person.request(method, path).json(&json!({ "message": "hi" }));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::of(request.send().await.expect("an answer")).await
}

#[tokio::test]
async fn s47_a_cookie_alone_changes_nothing_unless_our_own_page_asks() {
    let stack = Stack::builder().var("ALLOWED_ORIGINS", OURS).start().await;
    let ana = stack.person("ana").await;
    let cookie = format!("hubbub_session={}", ana.token);
    let cookie = ("cookie", cookie.as_str());
    let unsafe_calls = [
        (Method::POST, "/live-chat/send-message"),
        (Method::POST, "/live-chat/like"),
        (Method::DELETE, "/live-chat/like"),
        (Method::POST, "/live-chat/like-message/1"),
        (Method::DELETE, "/live-chat/like-message/1"),
        (Method::POST, "/auth/logout"),
    ];
    for (method, path) in &unsafe_calls {
        for headers in [&[cookie][..], &[cookie, ("origin", "https://evil.example")]] {
            ask(&ana, method.clone(), path, headers).await.refused(403, "forbidden");
        }
    }
    let url = format!("ws://{}/live-chat/ws/1", ana.address());
    Socket::open("ana", &url, &[cookie])
        .await
        .err()
        .expect("an upgrade counts as unsafe")
        .refused(403, "forbidden");
    ask(&ana, Method::GET, "/live-chat/status", &[cookie]).await.ok();
    ask(&ana, Method::POST, "/live-chat/send-message", &[cookie, ("origin", OURS)]).await.ok();
    let login = ana.request(Method::POST, "/auth/dev-login").json(&json!({ "username": "ana" }));
    let login = login.header("origin", OURS).send().await.expect("an answer");
    let set = login.headers()["set-cookie"].to_str().expect("text").to_owned();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax"), "{set}");
    stack.finish().await;
}

#[tokio::test]
async fn s05_a_hundred_connects_without_a_token_get_a_refusal_and_nothing_else() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    let mut socket = ana.connect().await;
    let strangers = (0..100).map(|_| async {
        let mut raw = Raw::connect(ana.address()).await;
        raw.send(upgrade_request(ana.address(), "/live-chat/ws/1", "").as_bytes()).await;
        let refused = raw.answer().await;
        refused.refused(401, "unauthorized");
    });
    join_all(strangers).await;
    ana.says("undisturbed").await;
    assert_eq!(socket.hears(1).await, ["undisturbed"]);
    let metrics = stack.metrics(1).await;
    assert!(metrics.contains("hubbub_connections"), "{metrics}");
    drop(socket);
    stack.finish().await;
}

#[tokio::test]
async fn s05_who_says_nothing_is_not_waited_for() {
    let stack = Stack::builder().var("LIMIT_HEADER_SECS", "1").start().await;
    let ana = stack.person("ana").await;
    let began = Instant::now();
    let mut silent = Raw::connect(ana.address()).await;
    silent.ended().await;
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    stack.finish().await;
}

#[tokio::test]
async fn s20_a_handshake_that_drips_or_swells_is_cut_off() {
    let stack = Stack::builder().var("LIMIT_HEADER_SECS", "1").start().await;
    let ana = stack.person("ana").await;
    let request = upgrade_request(ana.address(), &ana.socket_path(1), "");
    let mut half = Raw::connect(ana.address()).await;
    half.send(&request.as_bytes()[..request.len() / 2]).await;
    half.ended().await;
    let swollen =
        upgrade_request(ana.address(), &ana.socket_path(1), &format!("X-Long: {}\r\n", "x".repeat(20_000)));
    let mut raw = Raw::connect(ana.address()).await;
    raw.send(swollen.as_bytes()).await;
    assert_eq!(raw.answer().await.status, 431);
    ana.get("/live-chat/status").await.ok();
    stack.finish().await;
}

#[tokio::test]
async fn s23_a_body_that_is_large_or_late_is_refused() {
    let stack = Stack::builder().var("LIMIT_BODY_SECS", "1").start().await;
    let ana = stack.person("ana").await;
    let large = json!({ "message": "x".repeat(65_536) }).to_string();
    ana.post_raw("/live-chat/send-message", large).await.refused(413, "too_large");
    let mut slow = Raw::connect(ana.address()).await;
    let head = format!(
        "POST /live-chat/send-message HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"message\":",
        ana.address(),
        ana.token
    );
    let began = Instant::now();
    slow.send(head.as_bytes()).await;
    let refused = slow.answer().await;
    assert!(matches!(refused.status, 408 | 422), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    let login = json!({ "username": "x".repeat(70_000) }).to_string();
    assert_eq!(ana.post_raw("/auth/dev-login", login).await.status, 413);
    ana.at(Node(1)).says("undisturbed").await;
    stack.finish().await;
}
