//! What must not get out: tokens and texts into logs, the inside of the node into answers.

use harness::http::Answer;
use harness::person::{Node, Person};
use harness::socket::Socket;
use harness::stack::{Role, SECRET_KEY, Stack};
use reqwest::Method;
use serde_json::json;

const SECRET_TEXT: &str = "the-words-that-are-nobodys-business";

/// Everything that carries a token, a cookie or a text, good and bad.
async fn use_everything(ana: &Person) {
    let mut socket = ana.connect().await;
    socket.say(SECRET_TEXT).await;
    assert_eq!(socket.hears(1).await, [SECRET_TEXT]);
    socket.say(&format!("\0{SECRET_TEXT}")).await;
    socket.next("error").await;
    ana.says(SECRET_TEXT).await;
    ana.post_raw("/live-chat/send-message", format!("{{\"message\":\"{SECRET_TEXT}")).await;
    let cookie = format!("hubbub_session={}", ana.token);
    for path in ["/live-chat/status", "/nowhere", "/live-chat/ws/1", "/live-chat/messages?limit=x"] {
        ana.get(path).await;
        let glued = format!("{path}{}token={}", if path.contains('?') { '&' } else { '?' }, ana.token);
        ana.with_token("").get(&glued).await;
        ana.request(Method::GET, path).header("cookie", &cookie).send().await.expect("an answer");
    }
    let bad = format!("{}x", ana.token);
    ana.with_token(&bad).is_kept_out_of("1").await.refused(401, "unauthorized");
    ana.with_token(&bad).get("/auth/me").await.refused(401, "unauthorized");
    ana.is_kept_out_of("7").await.refused(404, "not_found");
    ana.post("/auth/logout", &json!({})).await;
    socket.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s04_no_token_cookie_key_or_text_is_in_any_log() {
    let quiet = "debug,hyper=info,h2=info,sqlx=debug";
    let mut stack = Stack::builder().processes().var("RUST_LOG", quiet).start().await;
    let ana = stack.person("ana").await;
    use_everything(&ana).await;
    stack.stored().await;
    // Failing servers make the most talkative logs.
    let ben = stack.person("ben").await;
    stack.servers.log.kill9();
    ben.tries_to_say(SECRET_TEXT, None).await.expect("an answer").refused(503, "unavailable");
    stack.servers.log.start().await;
    stack.ready().await;
    for role in [Role::Api, Role::FanoutWorker, Role::Persister] {
        let log = stack.service(role, 1).process().log();
        assert!(!log.is_empty(), "{role:?} logs something");
        // The middle part of a token is what would identify it; a header alone is the same for all.
        let parts = |person: &Person| person.token.split('.').skip(1).map(str::to_owned).collect::<Vec<_>>();
        for secret in
            parts(&ana).iter().chain(&parts(&ben)).map(String::as_str).chain([SECRET_TEXT, SECRET_KEY])
        {
            let line = log.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{role:?} logged a secret: {line:?}");
        }
        for forbidden in ["authorization:", "Bearer ", "hubbub_session=", "\u{1b}["] {
            let line = log.lines().find(|line| line.contains(forbidden));
            assert!(line.is_none(), "{role:?} logged {forbidden}: {line:?}");
        }
    }
    stack.finish().await;
}

/// What no answer may show: SQL, keys, paths, addresses, names of libraries.
fn shows_nothing(answer: &Answer, stack: &Stack) {
    let text = answer.text.to_lowercase();
    // With its colon: the digits alone may well be in a request id.
    let port = |url: &str| format!(":{}", url.rsplit(':').next().unwrap_or_default().trim_end_matches('/'));
    let ports = [port(&stack.servers.log_url), port(&stack.servers.bus_url)];
    let inside = [
        "select ",
        "insert ",
        "hubbub.",
        "sqlx",
        "postgres",
        "redis",
        "{p",
        "evalsha",
        "os error",
        ".rs",
        "panicked",
        "backtrace",
        "/src/",
        "127.0.0.1",
        "connection refused",
        "broken pipe",
    ];
    for word in inside.into_iter().chain(ports.iter().map(String::as_str)) {
        assert!(!text.contains(word), "{word:?} is in {answer:?}");
    }
}

#[tokio::test]
async fn s36_a_failing_server_shows_nothing_of_the_inside() {
    let mut stack = Stack::builder().own_postgres().start().await;
    let (ana, ben, leaver) =
        (stack.person("ana").await, stack.person("ben").await, stack.person("carl").await);
    let id = ana.says("before").await["message_id"].clone();
    stack.stored().await;
    let mut socket = ana.connect().await;
    let mut statuses = Vec::new();
    for fault in 0..3 {
        match fault {
            0 => stack.servers.bus.kill9(),
            1 => stack.servers.log.kill9(),
            _ => stack.servers.postgres.stop().await,
        }
        let answers = [
            ana.get("/live-chat/status").await,
            ana.get("/live-chat/messages").await,
            ana.get("/live-chat/stats").await,
            ana.get("/live-chat/viewers").await,
            ana.get("/live-chat/likes").await,
            ana.post("/live-chat/like", &json!({})).await,
            ana.post(&format!("/live-chat/like-message/{id}"), &json!({})).await,
            ana.tries_to_say("during", None).await.expect("an answer"),
            leaver.post("/auth/logout", &json!({})).await,
            ben.post("/auth/dev-login", &json!({ "username": format!("new{fault}") })).await,
            ana.get("/readyz").await,
        ];
        for answer in &answers[..answers.len() - 1] {
            shows_nothing(answer, &stack);
            if answer.status >= 500 {
                let keys: Vec<&String> = answer.body.as_object().expect("an object").keys().collect();
                assert_eq!(keys, ["code", "detail", "request_id"], "{answer:?}");
            }
            statuses.push(answer.status);
        }
        let url = ben.socket_url(1, "");
        if let Err(refused) = Socket::open("ben", &url, &[]).await {
            shows_nothing(&refused, &stack);
        }
    }
    assert!(statuses.contains(&503), "faults were met: {statuses:?}");
    assert!(!statuses.contains(&500), "and all were known to be passing: {statuses:?}");
    socket.say("without any store").await;
    socket.next("error").await;
    for frame in socket.catches_up().await {
        let answer = Answer::new(0, reqwest::header::HeaderMap::new(), frame.to_string());
        shows_nothing(&answer, &stack);
    }
    drop(socket);
    stack.servers.bus.start().await;
    stack.servers.log.start().await;
    stack.servers.postgres.start().await;
    stack.finish().await;
}

#[tokio::test]
async fn s40_services_need_no_right_to_change_the_schema_or_the_servers() {
    let stack = Stack::builder().own_postgres().start().await;
    let admin = stack.pool.clone();
    let grants = [
        "create role teller login",
        "grant usage on schema hubbub, public to teller",
        "grant select, insert, update, delete on all tables in schema hubbub to teller",
        "grant usage on all sequences in schema hubbub to teller",
        "grant select on all tables in schema public to teller",
    ];
    for grant in grants {
        sqlx::query(grant).execute(&admin).await.unwrap_or_else(|error| panic!("{grant}: {error}"));
    }
    let mut limited = stack;
    let url = limited.variables()["DATABASE_URL"].replacen("hubbub@", "teller@", 1);
    limited.set("DATABASE_URL", &url);
    limited.stop(Role::Persister, 1).await;
    limited.add(Role::Persister).await;
    limited.add(Role::Api).await;
    limited.ready().await;
    let ana = limited.person("ana").await.at(Node(2));
    let mut socket = ana.connect().await;
    socket.say("with few rights").await;
    assert_eq!(socket.hears(1).await, ["with few rights"]);
    ana.post("/live-chat/like", &json!({})).await.ok();
    ana.get("/live-chat/stats").await.ok();
    assert_eq!(ana.post("/auth/logout", &json!({})).await.status, 204);
    drop(socket);
    limited.finish().await;
}

#[tokio::test]
async fn s44_the_node_survives_every_request_that_this_suite_can_think_of() {
    let mut stack = Stack::builder().processes().start().await;
    let ana = stack.person("ana").await;
    let long = "x".repeat(8_000);
    let odd = [
        "/",
        "//",
        "/%",
        "/%00",
        "/live-chat",
        "/live-chat//messages",
        "/live-chat/messages/../../auth/me",
        "/live-chat/ws/",
        "/live-chat/ws/%F0%9F%8C%8D",
        "/live-chat/like-message/",
        "/live-chat/like-message/%ff",
        "/docs/../../etc/passwd",
        "/docs/%2e%2e/%2e%2e/etc/passwd",
        "/openapi.json/x",
        "/live-chat/messages?limit=%ff&before=%ff",
        long.as_str(),
    ];
    for path in odd {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::HEAD] {
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            let answer = ana
                .request(method, &path)
                .bearer_auth(&ana.token)
                .body("{}")
                .send()
                .await
                .expect("an answer");
            assert!(answer.status().as_u16() < 500, "{path}: {answer:?}");
            assert!(!answer.text().await.unwrap_or_default().contains("root:"), "{path}");
        }
    }
    let pid = stack.service(Role::Api, 1).process().id();
    ana.says("still here").await;
    assert_eq!(stack.service(Role::Api, 1).process().id(), pid);
    assert!(!stack.service(Role::Api, 1).process().log().contains("panicked"));
    stack.finish().await;
}
