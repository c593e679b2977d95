//! The bodies, byte for byte as clients of the first hour read them, with what was added since behind.

use serde_json::{Value, json};
use shared::id::{MessageNo, Position};

use super::super::samples;
use super::*;

fn value(body: &impl Serialize) -> Value {
    serde_json::to_value(body).expect("bodies have string keys")
}

#[test]
fn an_open_chat_shows_its_session() {
    let body = StatusBody::open(
        SessionBody::of(&samples::session(), 5, 12),
        Some(Position { epoch: 1, seq: 42 }),
        false,
    );
    let expected = concat!(
        r#"{"enabled":true,"is_active":true,"session":{"id":1,"name":"Draw Chat - January 01, 2024","#,
        r#""viewer_count":5,"total_likes":12,"start_time":"2024-01-01T19:00:00","end_time":"2024-01-01T21:00:00","#,
        r#""start_time_utc":"2024-01-01T19:00:00.000Z","end_time_utc":"2024-01-01T21:00:00.000Z","#,
        r#""room_id":"01920000-0000-7000-8000-000000000001"},"position":"1:42"}"#,
    );
    assert_eq!(serde_json::to_string(&body).unwrap(), expected);
}

#[test]
fn a_closed_chat_says_when_it_opens_and_a_disabled_one_that_it_is() {
    let closed = value(&StatusBody::closed(Some(samples::time())));
    let expected = json!({
        "enabled": true, "is_active": false, "session": null,
        "next_start_time": "2024-01-01T20:30:00", "next_start_time_utc": "2024-01-01T20:30:00.042Z",
    });
    assert_eq!(closed, expected);
    assert_eq!(value(&StatusBody::closed(None))["next_start_time"], Value::Null);
    assert_eq!(
        serde_json::to_string(&StatusBody::disabled()).unwrap(),
        r#"{"enabled":false,"is_active":false,"session":null,"message":"Live chat is disabled"}"#
    );
}

#[test]
fn a_message_is_shown_as_it_was_written_with_the_badges_of_its_time() {
    let message = samples::message();
    let expected = concat!(
        r#"{"id":68719476739,"user_id":12,"username":"ana","profile_pic":null,"#,
        r#""message":"<b>\"hé😀\"</b>\n","message_type":"text","likes":3,"created_at":"2024-01-01T20:30:00","#,
        r#""is_winner":true,"is_host":false,"created_at_utc":"2024-01-01T20:30:00.042Z","#,
        r#""room_id":"01920000-0000-7000-8000-000000000001","client_msg_id":"n-1","epoch":1,"seq":7}"#,
    );
    assert_eq!(serde_json::to_string(&MessageBody::of(&message)).unwrap(), expected);
}

#[test]
fn what_has_no_text_is_left_out_of_a_page_without_ending_the_paging() {
    let deleted = Message { text: None, no: MessageNo(35), ..samples::message() };
    let page = |more: bool| Page {
        messages: vec![deleted.clone(), samples::message()],
        position: Position { epoch: 1, seq: 9 },
        restricting: 0,
        incomplete: !more,
        more,
    };
    let first = page(true);
    let body = value(&MessagesBody::from(&first));
    assert_eq!(body["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!((&body["next_cursor"], &body["position"]), (&json!(35), &json!("1:9")));
    assert!(body.get("incomplete").is_none(), "said only when it is so");
    let last = page(false);
    let body = value(&MessagesBody::from(&last));
    assert_eq!((&body["next_cursor"], &body["incomplete"]), (&Value::Null, &json!(true)));
}

#[test]
fn counts_keep_the_names_that_clients_know() {
    let session = samples::session();
    let totals = Totals { likes: 12, messages: 45, recent_messages: 8, incomplete: false };
    let body = value(&StatsBody::of(&session, (5, false), &totals));
    let expected = json!({
        "session_id": 1, "session_name": "Draw Chat - January 01, 2024", "viewer_count": 5, "total_likes": 12,
        "total_messages": 45, "recent_messages": 8, "is_active": true,
        "start_time": "2024-01-01T19:00:00", "end_time": "2024-01-01T21:00:00",
        "start_time_utc": "2024-01-01T19:00:00.000Z", "end_time_utc": "2024-01-01T21:00:00.000Z",
    });
    assert_eq!(body, expected);
    assert_eq!(value(&StatsBody::of(&session, (0, true), &totals))["incomplete"], json!(true));

    let (session_id, session_name) = (1, session.name);
    let viewers =
        ViewersBody { viewer_count: 5, session_id, session_name: session_name.clone(), incomplete: false };
    assert_eq!(
        serde_json::to_string(&viewers).unwrap(),
        r#"{"viewer_count":5,"session_id":1,"session_name":"Draw Chat - January 01, 2024"}"#
    );
    let likes = LikesBody { total_likes: 12, session_id, session_name, incomplete: false };
    assert_eq!(
        serde_json::to_string(&likes).unwrap(),
        r#"{"total_likes":12,"session_id":1,"session_name":"Draw Chat - January 01, 2024"}"#
    );
}

#[test]
fn a_sent_message_is_receipted() {
    let receipt = Receipt {
        id: samples::message().id,
        no: MessageNo(123),
        position: Position { epoch: 1, seq: 7 },
        at: samples::time(),
        entry: None,
    };
    let expected = concat!(
        r#"{"message":"Message sent successfully","message_id":123,"created_at":"2024-01-01T20:30:00","#,
        r#""created_at_utc":"2024-01-01T20:30:00.042Z","room_id":"01920000-0000-7000-8000-000000000001","#,
        r#""client_msg_id":"n-1","epoch":1,"seq":7}"#,
    );
    assert_eq!(serde_json::to_string(&Sent::of(&samples::session(), "n-1", &receipt)).unwrap(), expected);
}

#[test]
fn s13_only_the_text_and_its_name_are_taken_from_a_sender() {
    let given = r#"{"message":"hi","id":1,"user_id":2,"username":"host","is_host":true,"is_winner":true,"likes":9,
        "created_at":"1970-01-01T00:00:00","epoch":9,"seq":9,"room_id":"x","client_msg_id":null}"#;
    let body: SendBody = serde_json::from_str(given).unwrap();
    assert_eq!((body.message.as_str(), body.client_msg_id), ("hi", None));
    for bad in
        [r#"{}"#, r#"{"message":1}"#, r#"{"message":null}"#, r#"{"message":"hi","client_msg_id":7}"#, "[]"]
    {
        assert!(serde_json::from_str::<SendBody>(bad).is_err(), "{bad}");
    }
}
