//! How much of anything one may have: the figures of production, met by people who want more.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::http::Answer;
use harness::person::Node;
use harness::socket::Socket;
use harness::stack::Stack;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn s24_a_person_has_ten_sockets_over_all_nodes() {
    let stack = Stack::builder().nodes(2).strict().var("LIMIT_HANDSHAKES_PER_SECOND", "1000").start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let mut sockets = Vec::new();
    for number in 0..10 {
        sockets.push(ana.at(Node(1 + number % 2)).connect().await);
    }
    for node in [1, 2] {
        let refused = ana.at(Node(node)).is_kept_out_of("1").await;
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        refused.refused(429, "rate_limited");
    }
    let bens = ben.connect().await;
    sockets.pop().expect("ten sockets").close().await;
    let place = harness::children::eventually(harness::children::PATIENCE, async || {
        Socket::open("ana", &ana.at(Node(2)).socket_url(1, ""), &[]).await.ok()
    });
    assert!(place.await.is_some(), "a place that was left can be taken");
    drop((sockets, bens));
    stack.finish().await;
}

#[tokio::test]
async fn s24_an_address_has_twenty_handshakes_a_second_over_all_nodes() {
    let stack = Stack::builder().nodes(2).strict().var("LIMIT_SOCKETS_PER_USER", "1000").start().await;
    let ana = stack.person("ana").await;
    let began = Instant::now();
    let handshakes = join_all((0..120).map(|number| {
        let ana = ana.at(Node(1 + number % 2));
        async move { Socket::open("ana", &ana.socket_url(1, ""), &[]).await }
    }))
    .await;
    let seconds = usize::try_from(began.elapsed().as_secs()).expect("a short time") + 2;
    let let_in = handshakes.iter().filter(|handshake| handshake.is_ok()).count();
    assert!(let_in >= 20 && let_in <= 20 * seconds, "{let_in} were let in within {seconds} s");
    for refusal in handshakes.into_iter().filter_map(Result::err) {
        assert!(refusal.header("retry-after").is_some());
        refusal.refused(429, "rate_limited");
    }
    stack.finish().await;
}

#[tokio::test]
async fn s24_a_person_has_a_burst_of_messages_and_a_socket_fifty_frames_a_second() {
    let stack =
        Stack::builder().strict().var("LIVE_CHAT_MAX_MESSAGES_PER_USER_PER_MINUTE", "1000").start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let mut socket = ana.connect().await;
    for number in 0..40 {
        socket.say_as(&format!("m{number}"), &format!("n{number}")).await;
    }
    let passed = socket.catches_up().await;
    let refused = passed.iter().filter(|frame| frame["code"] == "rate_limited").count();
    assert!((1..=20).contains(&refused), "twenty at once and ten a second pass, not {}", 40 - refused);
    let error = passed.iter().find(|frame| frame["code"] == "rate_limited").expect("one");
    assert!(error["retry_after_ms"].as_u64().is_some_and(|wait| wait <= 1_000), "{error}");

    let mut bens = ben.connect().await;
    let began = Instant::now();
    for _ in 0..200 {
        bens.send(&json!({ "type": "ping" })).await;
    }
    let mut pongs = 0_u128;
    for _ in 0..200 {
        let answer =
            bens.until("an answer", |frame| frame["type"] == "pong" || frame["type"] == "error").await;
        pongs += u128::from(answer["type"] == "pong");
    }
    let allowed = 50 + began.elapsed().as_millis() / 20 + 1;
    assert!(pongs >= 50 && pongs <= allowed, "{pongs} of 200 pings were answered, {allowed} may be");
    drop((socket, bens));
    stack.finish().await;
}

/// Handshakes from one place that name another address each time: how many were let in.
async fn let_in(stack: &Stack, header: impl Fn(usize) -> String) -> usize {
    let ana = stack.person("ana").await;
    let handshakes = join_all((0..60).map(|number| {
        let (ana, forwarded) = (ana.clone(), header(number));
        async move {
            Socket::open("ana", &ana.socket_url(1, ""), &[("x-forwarded-for", forwarded.as_str())])
                .await
                .is_ok()
        }
    }))
    .await;
    handshakes.into_iter().filter(|was_let_in| *was_let_in).count()
}

#[tokio::test]
async fn s25_a_forged_address_buys_nothing_and_a_proxys_word_counts() {
    let strict = || {
        let strict = Stack::builder().strict().var("LIMIT_SOCKETS_PER_USER", "1000");
        // Few, so that even a slow machine can't spread sixty over the seconds that they would need.
        strict.var("LIMIT_HANDSHAKES_PER_SECOND", "2")
    };
    let open = strict().start().await;
    let forged = let_in(&open, |number| format!("203.0.113.{number}")).await;
    assert!(forged < 30, "{forged} of 60 forged addresses were let in");
    open.finish().await;

    let behind = strict().var("TRUSTED_PROXIES", "127.0.0.0/8").start().await;
    let honest = let_in(&behind, |number| format!("203.0.113.{number}")).await;
    assert_eq!(honest, 60, "sixty people behind our proxy");
    let forged = let_in(&behind, |number| format!("198.51.100.{number}, 192.0.2.1")).await;
    assert!(forged < 30, "{forged} of 60 forged addresses were let in through the proxy");
    behind.finish().await;
}

#[tokio::test]
async fn s16_nothing_that_is_somebodys_own_may_be_kept_by_anybody() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    ana.says("hi").await;
    let paths = ["status", "messages", "viewers", "likes", "stats"].map(|name| format!("/live-chat/{name}"));
    for path in paths.iter().map(String::as_str).chain(["/auth/me"]) {
        let answers = [ana.get(path).await, ana.with_token("").get(path).await];
        for answer in answers {
            let kept = answer.header("cache-control").unwrap_or_default();
            assert!(kept.contains("no-store") || kept.contains("private"), "{path}: {answer:?}");
        }
    }
    let login = ana.post("/auth/dev-login", &json!({ "username": "ana" })).await;
    assert_eq!(login.header("cache-control"), Some("no-store"));
    stack.finish().await;
}

#[tokio::test]
async fn s42_every_answer_of_a_node_is_protected() {
    let origin = "https://chat.example";
    let stack = Stack::builder()
        .var("PUBLIC_URL", origin)
        .var("ALLOWED_ORIGINS", "https://shop.example")
        .start()
        .await;
    let ana = stack.person("ana").await;
    for path in ["/live-chat/status", "/nowhere", "/openapi.json", "/docs", "/livez", "/live-chat/ws/1"] {
        for answer in [ana.get(path).await, ana.with_token("").get(path).await] {
            let has = |name: &str, part: &str| {
                let value = answer.header(name).unwrap_or_default();
                assert!(value.contains(part), "{path}: {name}: {value:?}");
            };
            has("x-content-type-options", "nosniff");
            has("content-security-policy", "frame-ancestors 'none'");
            has("referrer-policy", "no-referrer");
            has("strict-transport-security", "max-age=");
            assert!(answer.header("access-control-allow-origin").is_none(), "{path}");
            assert!(answer.header("server").is_none() && answer.header("x-powered-by").is_none());
        }
    }
    for (asked, allowed) in [("https://shop.example", true), ("https://evil.example", false)] {
        let preflight = ana
            .request(Method::OPTIONS, "/live-chat/send-message")
            .header("origin", asked)
            .header("access-control-request-method", "POST")
            .send()
            .await
            .expect("an answer");
        let preflight = Answer::of(preflight).await;
        let granted = preflight.header("access-control-allow-origin");
        assert_eq!(granted, allowed.then_some(asked));
    }
    stack.finish().await;
}

#[tokio::test]
async fn s27_a_client_that_stops_reading_costs_no_more_than_its_outbox() {
    let stack = Stack::builder().var("OUTBOX_AGE_MS", "500").start().await;
    let ana = stack.person("ana").await;
    let mut other = ana.connect().await;
    let small = tokio::net::TcpSocket::new_v4().expect("a socket");
    small.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut stuck = harness::raw::Raw::of(small.connect(ana.address()).await.expect("the node listens"));
    let request = harness::raw::upgrade_request(ana.address(), &ana.socket_path(1), "");
    stuck.send(request.as_bytes()).await;
    assert_eq!(stuck.answer().await.status, 101);
    let text = "\u{1f30d}".repeat(1_000);
    let began = Instant::now();
    loop {
        ana.says(&text).await;
        other.hears(1).await;
        if stack.metrics(1).await.contains("hubbub_outbox_closes_total{reason=\"slow_reader\"}") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it is still there");
    }
    drop((other, stuck));
    stack.finish().await;
}
