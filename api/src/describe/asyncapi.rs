//! The AsyncAPI 3.0 document of the sockets, made from the schemas of the very types that are written and read: each
//! variant of a frame type is one message.

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::dialect::{friends, live_chat};

/// One socket address and what is said on it.
struct Channel {
    name: &'static str,
    address: &'static str,
    title: &'static str,
    description: &'static str,
    parameters: Value,
    query: Value,
    said: Messages,
    told: Messages,
}

/// The whole document.
pub(super) fn document() -> Value {
    let mut schemas = Vec::new();
    live_chat::FrameIn::schemas(&mut schemas);
    live_chat::FrameOut::schemas(&mut schemas);
    friends::FrameIn::schemas(&mut schemas);
    friends::FrameOut::schemas(&mut schemas);
    let channels = [live_chat_channel(), friends_channel()];
    let operations = channels.iter().flat_map(Channel::operations).collect::<Map<_, _>>();
    let messages = channels.iter().flat_map(Channel::components).collect::<Map<_, _>>();
    let described =
        channels.iter().map(|channel| (channel.name.to_owned(), channel.describe())).collect::<Map<_, _>>();
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
        "channels": described,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas.into_iter().collect::<std::collections::BTreeMap<String, RefOr<Schema>>>(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "token": {"type": "httpApiKey", "in": "query", "name": "token"},
            },
        },
    })
}

fn live_chat_channel() -> Channel {
    Channel {
        name: "liveChat",
        address: "/live-chat/ws/{session_id}",
        title: "The live chat of one session",
        description: "Opened by an upgrade request with a token. Refused before the upgrade with 401 (token), 403 \
            (origin, or the session is over), 404 (no such session), 422 (malformed `after`) or 429 (too many). Close \
            codes: 1012 the node is stopping or lacks something that you missed, and 4408 you read too slowly (come \
            back and resume), 1009 a message over 64 KiB, 1011 a store was away when you came, 4401 the \
            token ended or the account was closed, 4403 the session is over, 4404 no such session.",
        parameters: json!({"session_id": {"description": "`session.id` of GET /live-chat/status"}}),
        query: query(json!({
            "after": {
                "type": "string",
                "pattern": r"^\d+:\d+$",
                "description": "Resume: the epoch and seq of the last frame known. What was missed comes first, or resync",
            },
        })),
        said: messages(&live_chat::FrameIn::schema()),
        told: messages(&live_chat::FrameOut::schema()),
    }
}

fn friends_channel() -> Channel {
    Channel {
        name: "friends",
        address: "/api/v1/chat/ws/chat",
        title: "Everything between a person and their friends",
        description: "Opened by an upgrade request with a token. Refused before the upgrade with 401 (token), 403 \
            (origin, or the account is closed) or 429 (too many). Close codes: 1012 the node is stopping or lacks \
            something that you missed, and 4408 you read too slowly (come back and resume), 1009 a message over 64 KiB, \
            1011 a store was away when you came, 4401 the token ended or the account was closed, 4403 (with `close_codes`) \
            the account is closed.",
        parameters: json!({}),
        query: query(json!({
            "resume": {
                "type": "string",
                "enum": ["1"],
                "description": "Your first frame will be resume, within five seconds; until then nothing \
                    that happens in rooms is told",
            },
        })),
        said: messages(&friends::FrameIn::schema()),
        told: messages(&friends::FrameOut::schema()),
    }
}

/// What every socket takes behind the question mark, and what this one takes besides.
fn query(own: Value) -> Value {
    let mut properties = json!({
        "token": {"type": "string", "description": "The token, where headers can't be set"},
        "caps": {"type": "string", "description": "What else the client understands, with commas"},
        "close_codes": {
            "type": "string",
            "enum": ["1"],
            "description": "Tell refusals by the close codes 4401, 4403 and 4404 after the upgrade",
        },
    });
    if let (Some(all), Value::Object(own)) = (properties.as_object_mut(), own) {
        all.extend(own);
    }
    json!({"type": "object", "properties": properties})
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

impl Channel {
    fn messages(&self) -> impl Iterator<Item = &(String, Value)> {
        self.said.iter().chain(&self.told)
    }

    /// Under which key a message stands: several channels have one of the same name.
    fn key(&self, message: &str) -> String {
        let words = message.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
        format!("{}.{}", self.name, words.collect::<String>())
    }

    fn components(&self) -> impl Iterator<Item = (String, Value)> {
        self.messages().map(|(name, message)| (self.key(name), message.clone()))
    }

    fn describe(&self) -> Value {
        let reference = |(name, _): &(String, Value)| {
            let key = self.key(name);
            (key.clone(), json!({"$ref": format!("#/components/messages/{key}")}))
        };
        json!({
            "address": self.address,
            "title": self.title,
            "description": self.description,
            "parameters": self.parameters,
            "messages": self.messages().map(reference).collect::<Map<_, _>>(),
            "bindings": {"ws": {"method": "GET", "query": self.query, "bindingVersion": "0.1.0"}},
        })
    }

    fn operations(&self) -> [(String, Value); 2] {
        [
            (
                format!("{}ClientSays", self.name),
                self.operation("receive", "What a client may say", &self.said),
            ),
            (
                format!("{}ClientIsTold", self.name),
                self.operation("send", "What a client is told", &self.told),
            ),
        ]
    }

    fn operation(&self, action: &str, summary: &str, messages: &Messages) -> Value {
        let of_channel = |(name, _): &(String, Value)| json!({"$ref": format!("#/channels/{}/messages/{}", self.name, self.key(name))});
        json!({
            "action": action,
            "summary": summary,
            "channel": {"$ref": format!("#/channels/{}", self.name)},
            "messages": messages.iter().map(of_channel).collect::<Vec<_>>(),
            "security": [{"$ref": "#/components/securitySchemes/bearer"}, {"$ref": "#/components/securitySchemes/token"}],
        })
    }
}
