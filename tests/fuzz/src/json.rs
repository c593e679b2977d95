//! JSON of clients: what is let through is within the limits and is what any reader of JSON finds in it, what is within
//! them is let through, and the live chat's frames and bodies are read accordingly.

use api::decoders::{self, Said};
use serde_json::{Map, Value};
use shared::error::Code;
use shared::id::Nonce;
use shared::message::MessageText;

use crate::input::Input;

const TEXT_CHARS_MAX: usize = 100;

/// The limits, and JSON.
///
/// # Panics
/// When the promise is broken.
pub fn check(data: &[u8]) -> bool {
    let mut input = Input(data);
    let (depth, keys) = (1 + usize::from(input.byte() % 16), 1 + usize::from(input.byte() % 64));
    let bytes = input.0;
    let value = decoders::json(bytes, depth, keys);
    is_within(bytes, value.as_ref(), depth, keys);
    let object = value.as_ref().and_then(Value::as_object);

    if let Ok(text) = std::str::from_utf8(bytes) {
        let said = decoders::live_chat_frame(text, depth, keys);
        assert_eq!(said, object.map_or(Said::Nothing(None), frame));
        if let Said::Message(text, name) = said {
            is_text(&text);
            if let Some(name) = name {
                is_nonce(&name);
            }
        }
    }
    let sent = decoders::live_chat_send(bytes, depth, keys);
    // Who names a member twice is refused there and is no case for a comparison.
    if sent.is_some() || decoders::strict_json(bytes).is_some() {
        assert_eq!(sent, object.and_then(message));
    }
    value.is_some()
}

fn is_within(bytes: &[u8], value: Option<&Value>, depth: usize, keys: usize) {
    let plain: Option<Value> = serde_json::from_slice(bytes).ok();
    if let Some(value) = value {
        assert_eq!(plain.as_ref(), Some(value));
    }
    if let Some(plain) = plain {
        let (deep, wide) = extent(&plain);
        let fits = deep <= depth && wide <= keys;
        assert!(fits || value.is_none(), "{deep} levels and {wide} keys were let through");
        // Of repeated names only one is left in `plain`.
        let is_all_there = decoders::strict_json(bytes).is_some() || plain.is_array() && wide == 0;
        assert!(value.is_some() || !(fits && is_all_there), "{deep} levels and {wide} keys were refused");
    }
}

/// The depth of a value, and the size of its largest object.
fn extent(value: &Value) -> (usize, usize) {
    let (inner, keys): (Vec<&Value>, usize) = match value {
        Value::Array(items) => (items.iter().collect(), 0),
        Value::Object(members) => (members.values().collect(), members.len()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return (0, 0),
    };
    let deepest =
        inner.into_iter().map(extent).fold((0, keys), |(d, k), (deep, wide)| (d.max(deep), k.max(wide)));
    (deepest.0 + 1, deepest.1)
}

/// What a frame says, by the words of the protocol.
fn frame(object: &Map<String, Value>) -> Said {
    let name = object.get("client_msg_id").and_then(Value::as_str).filter(|name| is_nonce(name));
    match object.get("type").and_then(Value::as_str) {
        Some("ping") => Said::Ping,
        Some("message") => match message(object) {
            Some((text, name)) => Said::Message(text, name),
            None => Said::Nothing(name.map(str::to_owned)),
        },
        _ => Said::Nothing(None),
    }
}

fn message(object: &Map<String, Value>) -> Option<(String, Option<String>)> {
    let text = object.get("message")?.as_str()?.to_owned();
    match object.get("client_msg_id") {
        None | Some(Value::Null) => Some((text, None)),
        Some(Value::String(name)) => Some((text, Some(name.clone()))),
        Some(_) => None,
    }
}

fn is_text(text: &str) {
    let outcome = MessageText::parse(text.to_owned(), TEXT_CHARS_MAX);
    let expected = match text.chars().count() {
        _ if text.chars().all(char::is_whitespace) => Err(Code::Empty),
        _ if text.contains('\0') => Err(Code::Invalid),
        0..=TEXT_CHARS_MAX => Ok(text),
        _ => Err(Code::TooLong),
    };
    assert_eq!(outcome.as_ref().map(MessageText::as_str).map_err(|refusal| refusal.code), expected);
}

fn is_nonce(name: &str) -> bool {
    let nonce = Nonce::parse(name);
    let is_good = (1..=64).contains(&name.chars().count()) && !name.contains(char::is_control);
    assert_eq!(nonce.is_ok(), is_good, "{name:?}");
    if let Ok(nonce) = nonce {
        assert_eq!((nonce.as_str(), nonce.is_drawn_here()), (name, false));
        assert!(nonce.made_at_ms().is_none_or(|ms| ms < 1 << 48), "a UUID has 48 bits for its time");
    }
    is_good
}

/// Frames and bodies as clients send them, at the limits that are served.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let deep = format!("{}1{}", "[".repeat(16), "]".repeat(16));
    [
        r#"{"type":"message","message":"hi \ud83d\ude00","client_msg_id":"018bcfe5-687b-7000-8000-000000000001"}"#,
        r#"{"type":"ping"}"#,
        r#"{"message":"hi","client_msg_id":null,"other":[{"a":1.5e3},true]}"#,
        r#"{"type":"message","message":17,"client_msg_id":"n"}"#,
        r#"{"a":"[[{\"","b":{"c":{"d":[]}}}"#,
        &deep,
    ]
    .iter()
    .map(|json| [&[15, 63], json.as_bytes()].concat())
    .collect()
}
