//! The frames, byte for byte, and what becomes of a frame that is none.

use std::time::Duration;

use super::super::samples::{happened, happenings, message};
use super::*;
use shared::error::{Code, Error, Refusal};
use shared::message::Message;

const LIMITS: JsonLimits = JsonLimits { depth: 16, keys: 64 };

fn told(what: Happening) -> Option<String> {
    let happened = happened(what);
    FrameOut::of(&happened).map(|frame| String::from_utf8(frame.to_json()).expect("JSON is UTF-8"))
}

#[test]
fn everything_that_happens_is_told_in_the_words_that_clients_know() {
    let place = r#""room_id":"01920000-0000-7000-8000-000000000001","epoch":1,"seq":7}"#;
    let expected = [
        format!(
            concat!(
                r#"{{"type":"new_message","message":{{"id":68719476739,"user_id":12,"username":"ana","#,
                r#""profile_pic":null,"message":"<b>\"hé😀\"</b>\n","message_type":"text","likes":3,"#,
                r#""created_at":"2024-01-01T20:30:00","is_winner":true,"is_host":false,"#,
                r#""created_at_utc":"2024-01-01T20:30:00.042Z","#,
                r#""room_id":"01920000-0000-7000-8000-000000000001","client_msg_id":"n-1","epoch":1,"seq":7}},{}"#,
            ),
            place
        ),
        format!(r#"{{"type":"session_like_update","total_likes":12,{place}"#),
        format!(r#"{{"type":"message_like_update","message_id":68719476739,"likes":4,{place}"#),
        format!(r#"{{"type":"viewer_count_update","viewer_count":5,{place}"#),
        format!(r#"{{"type":"resync",{place}"#),
    ];
    let told: Vec<String> = happenings().into_iter().filter_map(told).collect();
    assert_eq!(told, expected);
    assert_eq!(FrameOut::Pong.to_json(), br#"{"type":"pong"}"#);
}

#[test]
fn a_message_without_text_is_never_told() {
    assert_eq!(told(Happening::MessagePosted(Message { text: None, ..message() })), None);
}

#[test]
fn an_error_says_which_send_it_is_about_and_nothing_of_our_own() {
    let json = |error: &Error, about| {
        String::from_utf8(FrameOut::Error(ErrorFrame::of(error, about)).to_json()).expect("JSON is UTF-8")
    };
    let slow = Refusal::new(Code::RateLimited, "Slow down").retry_after(Duration::from_micros(10));
    assert_eq!(
        json(&slow.into(), Some("n-1")),
        concat!(
            r#"{"type":"error","message":"Slow down","code":"rate_limited","client_msg_id":"n-1","#,
            r#""retry_after_ms":1}"#
        )
    );
    let bug = json(&Error::bug("select * from secrets"), None);
    assert_eq!(bug, r#"{"type":"error","message":"Internal error","code":"internal"}"#);
    assert!(!json(&Error::unavailable("10.0.0.7:6379"), None).contains("10.0.0.7"), "s36");
}

#[test]
fn a_client_says_two_things() {
    let read = |text: &str| FrameIn::read(text, LIMITS);
    let message = |text: &str, name: Option<&str>| {
        Ok(FrameIn::Message { message: text.to_owned(), client_msg_id: name.map(str::to_owned) })
    };
    assert_eq!(
        read(r#"{"type": "message", "message": "Hello everyone!"}"#),
        message("Hello everyone!", None)
    );
    assert_eq!(
        read(
            r#"{"message":"\ud83d\ude00","client_msg_id":"n-1","type":"message","user_id":1,"is_host":true}"#
        ),
        message("😀", Some("n-1"))
    );
    assert_eq!(read(r#"{"type":"message","message":"","client_msg_id":null}"#), message("", None));
    assert_eq!(read(r#" {"type":"ping","t":1} "#), Ok(FrameIn::Ping));
}

#[test]
fn s21_whatever_else_it_says_is_refused_by_one_code() {
    let deep = format!(r#"{{"type":"message","message":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    let keys: Vec<String> = (0..70).map(|key| format!("\"{key}\":1")).collect();
    let wide = format!("{{\"type\":\"ping\",{}}}", keys.join(","));
    let bad = [
        "",
        "hello",
        "null",
        "[]",
        "17",
        "{",
        r#"{"message":"hi"}"#,
        r#"{"type":7,"message":"hi"}"#,
        r#"{"type":"new_message","message":"hi"}"#,
        r#"{"type":"error"}"#,
        r#"{"type":"Message","message":"hi"}"#,
        r#"{"type":"message"}"#,
        r#"{"type":"message","message":null}"#,
        r#"{"type":"message","message":{"text":"hi"}}"#,
        r#"{"type":"message","message":"hi","client_msg_id":7}"#,
        r#"{"type":"message","message":"\ud800"}"#,
        "{\"type\":\"message\",\"message\":\"\u{0}\"}",
        r#"{"type":"ping"} {"type":"ping"}"#,
        &deep,
        &wide,
    ];
    for frame in bad {
        let misread = FrameIn::read(frame, LIMITS).expect_err(frame);
        assert_eq!((misread.why.code, misread.client_msg_id), (Code::Invalid, None), "{frame}");
    }
}

#[test]
fn a_refused_send_is_named_if_its_name_can_be_one() {
    let named = |name: &str| {
        let frame = serde_json::json!({"type": "message", "client_msg_id": name}).to_string();
        FrameIn::read(&frame, LIMITS).expect_err("no text").client_msg_id
    };
    assert_eq!(named("n-1").as_deref(), Some("n-1"));
    assert_eq!(named(&"x".repeat(65)), None);
    assert_eq!(named("a\nb"), None);
}
