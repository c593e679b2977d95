//! The AsyncAPI 3.0 document of the sockets, made from the schemas of the very types that are written and read: each
//! variant of a frame type is one message.

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::dialect::live_chat::{FrameIn, FrameOut};

/// The whole document.
pub(super) fn document() -> Value {
    let mut schemas = Vec::new();
    FrameIn::schemas(&mut schemas);
    FrameOut::schemas(&mut schemas);
    let (said, told) = (messages(&FrameIn::schema()), messages(&FrameOut::schema()));
    let channel = "liveChat";
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Hubbub sockets",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Each message is one JSON object in a text frame, told apart by `type`. Fields may be \
                added; ignore those that you do not know.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            channel: {
                "address": "/live-chat/ws/{session_id}",
                "title": "The live chat of one session",
                "description": CHANNEL,
                "parameters": {
                    "session_id": {"description": "`session.id` of GET /live-chat/status"},
                },
                "messages": channel_messages(&[&said, &told]),
                "bindings": {"ws": {"method": "GET", "query": query(), "bindingVersion": "0.1.0"}},
            },
        },
        "operations": {
            "clientSays": operation("receive", channel, "What a client may say", &said),
            "clientIsTold": operation("send", channel, "What a client is told", &told),
        },
        "components": {
            "messages": components(&[&said, &told]),
            "schemas": schemas.into_iter().collect::<std::collections::BTreeMap<String, RefOr<Schema>>>(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "token": {"type": "httpApiKey", "in": "query", "name": "token"},
            },
        },
    })
}

const CHANNEL: &str = "Opened by an upgrade request with a token. Refused before the upgrade with 401 (token), 403 \
    (origin, or the session is over), 404 (no such session), 422 (malformed `after`) or 429 (too many). Close codes: \
    1012 the node is stopping or lacks something that you missed, and 4408 you read too slowly (come back and resume), 1009 a message over 64 KiB, 4401 the \
    token ended, 4403 the session is over, 4404 no such session.";

fn query() -> Value {
    json!({
        "type": "object",
        "properties": {
            "token": {"type": "string", "description": "The token, where headers can't be set"},
            "after": {
                "type": "string",
                "pattern": r"^\d+:\d+$",
                "description": "Resume: the epoch and seq of the last frame known. What was missed comes first, or resync",
            },
            "caps": {"type": "string", "description": "What else the client understands, with commas"},
            "close_codes": {
                "type": "string",
                "enum": ["1"],
                "description": "Tell refusals by the close codes 4401, 4403 and 4404 after the upgrade",
            },
        },
    })
}

/// A message by its name, which is the value of its `type`.
type Messages = Vec<(String, Value)>;

/// The variants of a frame type.
fn messages(frames: &RefOr<Schema>) -> Messages {
    let frames = serde_json::to_value(frames).expect("a schema has string keys and no failing parts");
    let variants = frames["oneOf"].as_array().cloned().unwrap_or_default();
    variants
        .into_iter()
        .map(|payload| {
            let name = name(&payload).expect("each variant is told apart by its type").to_owned();
            let message = json!({"name": name, "summary": payload["description"], "payload": payload});
            (name, message)
        })
        .collect()
}

/// The value of `type` in a variant, which is an object or a list of objects that all hold.
fn name(payload: &Value) -> Option<&str> {
    let own = &payload["properties"]["type"]["enum"][0];
    own.as_str().or_else(|| payload["allOf"].as_array()?.iter().find_map(name))
}

/// Under which key a message stands; both directions could have one of the same name.
fn key(name: &str) -> String {
    name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

fn components(messages: &[&Messages]) -> Map<String, Value> {
    messages
        .iter()
        .flat_map(|messages| messages.iter())
        .map(|(name, message)| (key(name), message.clone()))
        .collect()
}

fn channel_messages(messages: &[&Messages]) -> Map<String, Value> {
    let all = messages.iter().flat_map(|messages| messages.iter());
    all.map(|(name, _)| (key(name), json!({"$ref": format!("#/components/messages/{}", key(name))})))
        .collect()
}

fn operation(action: &str, channel: &str, summary: &str, messages: &Messages) -> Value {
    let of_channel =
        |(name, _): &(String, Value)| json!({"$ref": format!("#/channels/{channel}/messages/{}", key(name))});
    json!({
        "action": action,
        "summary": summary,
        "channel": {"$ref": format!("#/channels/{channel}")},
        "messages": messages.iter().map(of_channel).collect::<Vec<_>>(),
        "security": [{"$ref": "#/components/securitySchemes/bearer"}, {"$ref": "#/components/securitySchemes/token"}],
    })
}
