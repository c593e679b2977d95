//! When the chat is open, and what is said when it is not.

use chrono::{SecondsFormat, TimeDelta, Utc};
use harness::golden::assert_like;
use harness::person::Person;
use harness::stack::Stack;
use serde_json::json;

const HOUR: f64 = 3_600.0;

fn in_hours(hours: i64) -> String {
    (Utc::now() + TimeDelta::hours(hours)).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Everything but the status refuses.
async fn nothing_else_works(ana: &Person) {
    let inactive = |answer: harness::http::Answer| {
        let body = answer.refused(403, "not_active");
        assert_eq!(body["detail"], "Chat is not active");
    };
    for path in ["messages", "viewers", "likes", "stats"] {
        inactive(ana.get(&format!("/live-chat/{path}")).await);
    }
    for path in ["like", "like-message/1"] {
        inactive(ana.post(&format!("/live-chat/{path}"), &json!({})).await);
        inactive(ana.delete(&format!("/live-chat/{path}")).await);
    }
    inactive(ana.tries_to_say("hi", None).await.expect("an answer"));
}

#[tokio::test]
async fn a_disabled_chat_says_so() {
    let stack = Stack::builder().var("LIVE_CHAT_ENABLED", "false").start().await;
    let ana = stack.person("ana").await;
    let disabled = json!({
        "enabled": false, "is_active": false, "session": null, "message": "Live chat is disabled",
    });
    assert_like(&ana.get("/live-chat/status").await.ok(), &disabled);
    nothing_else_works(&ana).await;
    ana.is_kept_out_of("1").await.refused(404, "not_found");
    assert_eq!(stack.count("select count(*) from hubbub.live_session").await, 0);
    stack.finish().await;
}

#[tokio::test]
async fn a_closed_chat_says_when_it_opens() {
    let draw = in_hours(3);
    let stack = Stack::builder()
        .var("DRAW_TIMES", &draw)
        .var("LIVE_CHAT_PRE_DRAW_HOURS", "1")
        .var("LIVE_CHAT_POST_DRAW_HOURS", "1.5")
        .start()
        .await;
    let ana = stack.person("ana").await;
    let closed = json!({
        "enabled": true, "is_active": false, "session": null,
        "next_start_time": "<naive>", "next_start_time_utc": "<utc>",
    });
    let status = ana.get("/live-chat/status").await.ok();
    assert_like(&status, &closed);
    let opens: chrono::DateTime<Utc> =
        status["next_start_time_utc"].as_str().expect("a time").parse().expect("a time");
    let draw: chrono::DateTime<Utc> = draw.parse().expect("a time");
    assert_eq!(opens, draw - TimeDelta::hours(1));
    nothing_else_works(&ana).await;
    stack.finish().await;
}

#[tokio::test]
async fn when_the_window_ends_everybody_is_told_and_sent_home() {
    let (seconds, draw) = (4.0, Utc::now());
    let stack = Stack::builder()
        .nodes(2)
        .var("DRAW_TIMES", &draw.to_rfc3339_opts(SecondsFormat::Millis, true))
        .var("LIVE_CHAT_POST_DRAW_HOURS", &format!("{:.8}", seconds / HOUR))
        .start()
        .await;
    let ana = stack.person("ana").await;
    let mut sockets = [ana.connect().await, ana.at(harness::person::Node(2)).connect().await];
    ana.says("in time").await;
    for socket in &mut sockets {
        assert_eq!(socket.hears(1).await, ["in time"]);
        let error = socket.next("error").await;
        assert_eq!(
            (error["message"].as_str(), error["code"].as_str()),
            (Some("Chat is not active"), Some("not_active"))
        );
        assert_eq!(socket.closed().await, Some(4403));
    }
    let late = (Utc::now() - draw).as_seconds_f64() - seconds;
    assert!((0.0..2.0).contains(&late), "told {late} s after the end");
    nothing_else_works(&ana).await;
    ana.is_kept_out_of("1").await.refused(403, "not_active");
    let status = ana.get("/live-chat/status").await.ok();
    assert_eq!((&status["is_active"], &status["next_start_time"]), (&json!(false), &json!(null)));
    stack.finish().await;
}

#[tokio::test]
async fn sessions_that_are_not_there_are_not_found() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    for id in ["0", "2", "-1", "x", "1.0", "%31%00", "9223372036854775808", "99999999999999999999", "1%20"] {
        ana.is_kept_out_of(id).await.refused(404, "not_found");
    }
    let token = ana.with_token("nonsense");
    token.is_kept_out_of("1").await.refused(401, "unauthorized");
    token.is_kept_out_of("2").await.refused(401, "unauthorized");
    stack.finish().await;
}

#[tokio::test]
async fn a_script_can_ask_to_see_refusals_as_close_codes() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    for (person, session, code) in [(&ana, 2, 4404), (&ana.with_token("x"), 1, 4401)] {
        let url = person.socket_url(session, "&close_codes=1");
        let opened = harness::socket::Socket::open("ana", &url, &[]).await;
        let mut socket = opened.unwrap_or_else(|refusal| panic!("{refusal:?}"));
        socket.next("error").await;
        assert_eq!(socket.closed().await, Some(code));
    }
    stack.finish().await;
}
