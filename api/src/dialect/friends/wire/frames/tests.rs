use serde_json::{Value, json};
use shared::error::Code;
use shared::event::LikeTarget;
use shared::message::Message;

use super::super::samples::{self, ALL_CAPS, ear, happenings, letter, origin, receiver, words};
use super::*;
use crate::dialect::live_chat::samples::{happened, time};

const LIMITS: JsonLimits = JsonLimits { depth: 16, keys: 64 };

fn json_of(frame: Option<FrameOut<'_>>) -> Value {
    frame.map_or(Value::Null, |frame| serde_json::from_slice(&frame.to_json()).expect("JSON"))
}

#[test]
fn each_of_the_people_is_told_a_message_in_their_own_way() {
    let message = letter();
    let posted = &happenings()[0];
    let told = |person, socket| json_of(FrameOut::of(&ear(person, socket), Caps::default(), posted));
    let received = told(receiver(), None);
    assert_eq!(
        received,
        json!({
            "type": "new_message",
            "message": {
                "message_id": message.id.0, "sender_id": message.author.id.0, "receiver_id": receiver().0,
                "content": message.text, "status": "delivered", "created_at": "2024-01-01T20:30:00.042Z",
                "sender": {
                    "account_id": message.author.id.0, "username": "ana", "full_name": "Ana Silva", "avatar": null
                },
                "room_id": message.room.0, "client_msg_id": "n-1", "epoch": 1, "seq": 7,
            },
            "room_id": message.room.0, "epoch": 1, "seq": 7,
        })
    );
    let elsewhere = told(message.author.id, None);
    assert_eq!(
        (&elsewhere["type"], &elsewhere["message"]["status"]),
        (&json!("new_message"), &json!("sent"))
    );
    assert_eq!(
        told(message.author.id, Some(origin())),
        json!({
            "type": "message_sent", "message_id": message.id.0, "status": "sent", "client_msg_id": "n-1",
            "room_id": message.room.0, "epoch": 1, "seq": 7,
        })
    );
}

#[test]
fn who_has_read_a_message_is_told_to_the_other_alone() {
    let message = letter();
    let read = happened(Happening::MessageRead { id: message.id, by: receiver(), at: time() });
    let told = |person| json_of(FrameOut::of(&ear(person, None), Caps::default(), &read));
    assert_eq!(
        told(message.author.id),
        json!({
            "type": "message_read", "message_id": message.id.0, "read_by": receiver().0,
            "room_id": message.room.0, "epoch": 1, "seq": 7,
        })
    );
    assert_eq!(told(receiver()), Value::Null);
}

#[test]
fn what_the_document_does_not_know_is_told_only_to_those_who_asked() {
    let message = letter();
    let deleted = happened(Happening::MessageDeleted { id: message.id, by: message.author.id, at: time() });
    let kinds = |caps| {
        let of_word = |word: &Word| json_of(FrameOut::of_word(caps, word))["type"].clone();
        let words = words().iter().map(of_word).collect::<Vec<_>>();
        (json_of(FrameOut::of(&ear(receiver(), None), caps, &deleted))["type"].clone(), words)
    };
    let typing = json!("typing_indicator");
    let none = Value::Null;
    assert_eq!(
        kinds(Caps::default()),
        (none.clone(), vec![typing.clone(), none.clone(), none.clone(), none])
    );
    let all = ["message_delivered", "friend_online", "friend_offline"].map(|kind| json!(kind));
    assert_eq!(kinds(ALL_CAPS), (json!("message_deleted"), [vec![typing], all.to_vec()].concat()));
}

#[test]
fn nobody_is_told_a_text_that_is_gone_nor_what_this_dialect_does_not_know() {
    let gone = Message { text: None, deleted_at: Some(time()), ..letter() };
    let target = LikeTarget::Session;
    for what in [
        Happening::MessagePosted(gone),
        Happening::LikesChanged { target, total: 1 },
        Happening::ViewerCount(3),
        Happening::MessageEdited { id: letter().id, text: "x".into(), at: time() },
    ] {
        let happened = happened(what);
        assert_eq!(json_of(FrameOut::of(&ear(receiver(), None), ALL_CAPS, &happened)), Value::Null);
    }
}

#[test]
fn frames_are_read_and_what_is_none_says_what_it_should_be() {
    let id = "0192f0c0-0000-7000-8000-000000000001";
    let read = |frame: Value| FrameIn::read(&frame.to_string(), LIMITS).map_err(|misread| misread.why.code);
    assert!(read(json!({"type": "send_message", "receiver_id": id, "content": "x", "more": 1})).is_ok());
    assert!(read(json!({"type": "mark_read", "message_id": id})).is_ok());
    assert!(read(json!({"type": "typing", "receiver_id": id, "is_typing": false})).is_ok());
    let after = HashMap::from([(RoomId(id.parse().expect("a UUID")), Position { epoch: 1, seq: 42 })]);
    assert_eq!(read(json!({"type": "resume", "after": {id: "1:42"}})), Ok(FrameIn::Resume { after }));
    for bad in [
        json!({"type": "send_message", "receiver_id": "ben", "content": "x"}),
        json!({"type": "send_message", "receiver_id": id}),
        json!({"type": "mark_read", "message_id": 7}),
        json!({"type": "typing", "receiver_id": id, "is_typing": "yes"}),
        json!({"type": "resume", "after": {id: "42"}}),
        json!({"type": "resume", "after": ["1:42"]}),
        json!({"type": "new_message"}),
        json!({}),
        json!([]),
    ] {
        assert_eq!(read(bad.clone()), Err(Code::Invalid), "{bad}");
    }
    let named = json!({"type": "send_message", "client_msg_id": "n-1", "content": "x"});
    let misread = FrameIn::read(&named.to_string(), LIMITS).expect_err("nobody is named");
    assert_eq!(misread.client_msg_id.as_deref(), Some("n-1"));
}

#[test]
fn the_samples_have_one_of_each_frame() {
    let mut kinds: Vec<String> = samples::frames_told()
        .iter()
        .map(|frame| serde_json::from_slice::<Value>(frame).expect("JSON")["type"].to_string())
        .collect();
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds.len(), 12, "{kinds:?}");
}
