//! Bad input: a clear error with a stable code, and nobody else notices.

use harness::person::Person;
use harness::raw::{Raw, TEXT, frame};
use harness::socket::Socket;
use harness::stack::Stack;
use serde_json::{Value, json};

/// Sends a body that must be refused over both transports.
async fn both_refuse(ana: &Person, socket: &mut Socket, body: &str) {
    ana.post_raw("/live-chat/send-message", body.to_owned()).await.refused(422, "invalid");
    let as_frame = body.replacen('{', "{\"type\":\"message\",", 1);
    socket.send_text(&as_frame).await;
    let error = socket.next("error").await;
    assert_eq!(error["code"], "invalid", "{as_frame:.200}: {error}");
}

#[tokio::test]
async fn s21_bad_json_is_refused_by_rest_and_socket_alike() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    let mut socket = ana.connect().await;
    let deep = format!(r#"{{"message":"x","more":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    let wide: String = (0..100).map(|key| format!(r#","k{key}":0"#)).collect();
    let cases = [
        r#"{"message":"a\u0000b"}"#.to_owned(),
        r#"{"message":"\ud800"}"#.to_owned(),
        r#"{"message":"\udc00\ud800"}"#.to_owned(),
        deep,
        format!(r#"{{"message":"x"{wide}}}"#),
        r#"{"message":1e999}"#.to_owned(),
        r#"{"message":null}"#.to_owned(),
        r#"{"message":["x"]}"#.to_owned(),
        r#"{"text":"x"}"#.to_owned(),
        r#"{"message":"x","client_msg_id":7}"#.to_owned(),
    ];
    for body in &cases {
        both_refuse(&ana, &mut socket, body).await;
    }
    for body in ["", "[]", "42", "\"x\"", "{", "\u{feff}{}"] {
        ana.post_raw("/live-chat/send-message", body).await.refused(422, "invalid");
        socket.send_text(body).await;
        assert_eq!(socket.next("error").await["code"], "invalid", "{body}");
    }
    ana.says(&"\u{1f30d}".repeat(1_000)).await;
    socket.say("and the socket is still good").await;
    assert_eq!(socket.hears(2).await[1], "and the socket is still good");
    drop(socket);
    stack.finish().await;
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn s18_131072_one_byte_fragments_end_the_socket_and_cost_nothing() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    let mut other = ana.connect().await;
    let mut raws: Vec<Raw> = Vec::new();
    for _ in 0..20 {
        raws.push(ana.connect_raw().await);
    }
    let mut flood = frame(0x01, b"x");
    for _ in 1..131_072 {
        flood.extend_from_slice(&[0x00, 0x81, 0, 0, 0, 0, b'x']);
    }
    let before = resident();
    for raw in &mut raws {
        raw.send(&flood).await;
        // The node may have reset the connection under so much that it did not want to read.
        assert!(matches!(raw.close_code().await, Some(1008 | 1009) | None));
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB more");
    ana.says("undisturbed").await;
    assert_eq!(other.hears(1).await, ["undisturbed"]);
    drop((other, raws));
    stack.finish().await;
}

#[tokio::test]
async fn s18_half_a_frame_and_then_silence_is_not_waited_for() {
    let stack = Stack::builder()
        .var("LIMIT_WS_FRAGMENT_SECS", "1")
        .var("LIMIT_PING_SECS", "1")
        .var("LIMIT_PONG_SECS", "1")
        .start()
        .await;
    let ana = stack.person("ana").await;
    let whole = frame(TEXT, json!({ "type": "message", "message": "half" }).to_string().as_bytes());
    let unfinished = frame(0x01, b"{\"type\":");
    for begun in [&whole[..1], &whole[..8], &whole[..whole.len() - 1], &unfinished[..]] {
        let mut raw = ana.connect_raw().await;
        raw.send(begun).await;
        assert!(matches!(raw.close_code().await, Some(1008) | None));
    }
    let mut silent = ana.connect_raw().await;
    let mut pinged = false;
    while let Some(frame) = silent.frame().await {
        pinged |= frame.opcode == 9;
    }
    assert!(pinged, "whoever is silent is asked first, and let go when there is no answer");
    assert_eq!(ana.reads().await, [""; 0]);
    stack.finish().await;
}

#[tokio::test]
async fn s13_what_only_the_server_may_say_is_ignored_wherever_a_client_says_it() {
    let stack = Stack::start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let mut socket = ana.connect().await;
    let extras = json!({
        "message": "mine", "id": 1, "message_id": 1, "user_id": ben.account["id"], "username": "ben",
        "sender": "ben", "author": { "username": "ben" }, "profile_pic": "https://evil.example/x.png",
        "is_host": true, "is_winner": true, "roles": ["admin", "host"], "likes": 1_000, "total_likes": 1_000,
        "created_at": "1999-01-01T00:00:00", "seq": 99, "epoch": 99, "room_id": "00000000-0000-0000-0000-000000000000",
        "message_type": "system", "session_id": 7,
    });
    ana.post("/live-chat/send-message", &extras).await.ok();
    let mut frame = extras.clone();
    frame["type"] = "message".into();
    socket.send(&frame).await;
    let check = |message: &Value| {
        assert_eq!((&message["username"], &message["user_id"]), (&json!("ana"), &ana.account["id"]));
        assert_eq!((&message["is_host"], &message["is_winner"]), (&json!(false), &json!(false)));
        assert_eq!((&message["likes"], &message["message_type"]), (&json!(0), &json!("text")));
        assert_eq!(message["profile_pic"], Value::Null);
        assert!(message["seq"] == 1 || message["seq"] == 2, "{message}");
        assert!(!message["created_at"].as_str().expect("a time").starts_with("1999"), "{message}");
    };
    for _ in 0..2 {
        check(&socket.next("new_message").await["message"]);
    }
    for _ in 0..2 {
        let page = ana.get("/live-chat/messages").await.ok();
        page["messages"].as_array().expect("messages").iter().for_each(check);
        stack.stored().await;
    }
    let liked =
        ana.post("/live-chat/like", &json!({ "total_likes": 99, "user_id": ben.account["id"] })).await.ok();
    assert_eq!(liked["total_likes"], 1);
    assert_eq!(
        ben.post("/live-chat/like", &json!({})).await.ok()["total_likes"],
        2,
        "ben's like is still his own"
    );
    drop(socket);
    stack.finish().await;
}

#[tokio::test]
async fn s26_lists_are_bounded_and_likes_are_idempotent() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    for number in 0..105 {
        ana.says(&format!("m{number}")).await;
    }
    for limit in ["100", "101", "1000000000", "99999999999999999999"] {
        let page = ana.get(&format!("/live-chat/messages?limit={limit}")).await.ok();
        assert_eq!(page["messages"].as_array().map(Vec::len), Some(100), "{limit}");
    }
    for limit in ["0", "-1", "%00"] {
        ana.get(&format!("/live-chat/messages?limit={limit}")).await.refused(422, "invalid");
    }
    for _ in 0..3 {
        ana.post("/live-chat/like", &json!({})).await;
    }
    assert_eq!(ana.get("/live-chat/likes").await.ok()["total_likes"], 1);
    stack.finish().await;
}

#[tokio::test]
async fn s43_what_looks_like_sql_is_only_text() {
    let stack = Stack::start().await;
    let corpus = [
        "' or '1'='1",
        "'; drop table hubbub.message; --",
        "\\'; select pg_sleep(10); --",
        "$1 $2 %s {} {{}}",
        "1); delete from hubbub.account where (1=1",
        "\u{2019} or 1=1 --",
    ];
    let ana = stack.person("ana'; drop table hubbub.account; --").await;
    for text in corpus {
        ana.says(text).await;
        ana.post_raw(
            "/live-chat/send-message",
            json!({ "message": text, "client_msg_id": text }).to_string(),
        )
        .await;
        let query: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for path in ["messages?limit=", "messages?before="] {
            ana.get(&format!("/live-chat/{path}{query}")).await.refused(422, "invalid");
        }
        ana.post(&format!("/live-chat/like-message/{query}"), &json!({})).await.refused(422, "invalid");
        ana.is_kept_out_of(&query).await.refused(404, "not_found");
    }
    let doubled: Vec<&str> = corpus.iter().flat_map(|text| [*text, *text]).collect();
    assert_eq!(ana.reads().await, doubled);
    stack.stored().await;
    assert_eq!(ana.reads().await, doubled);
    assert_eq!(stack.count("select count(*) from hubbub.account").await, 1);
    stack.finish().await;
}

#[tokio::test]
async fn s45_markup_is_stored_and_sent_as_the_text_that_it_is() {
    let stack = Stack::start().await;
    let corpus = [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "\"><svg/onload=alert(1)>",
        "javascript:alert(1)",
        "{{constructor.constructor('alert(1)')()}}",
        "</script><script>alert(1)</script>",
        "\u{2028}alert(1)\u{2029}",
    ];
    let ana = stack.person("<b>ana</b>").await;
    let mut socket = ana.connect().await;
    for text in corpus {
        ana.says(text).await;
        assert_eq!(socket.hears(1).await, [text], "not changed on the way");
    }
    let page = ana.get("/live-chat/messages").await;
    assert_eq!(page.header("content-type"), Some("application/json"), "and never called a page");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(
        page.header("content-security-policy").map(|policy| policy.contains("default-src 'none'")),
        Some(true)
    );
    assert_eq!(harness::person::texts(&page.body), corpus);
    assert_eq!(page.body["messages"][0]["username"], "<b>ana</b>");
    let errors = ana.get("/live-chat/messages?limit=<script>").await;
    assert!(!errors.text.contains("<script>"), "{errors:?}");
    drop(socket);
    stack.finish().await;
}
