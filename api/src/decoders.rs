//! The decoders of what strangers send, as `tests/fuzz` reaches them: whatever bytes come, it checks what comes out.
//! Nothing else may use them, and nothing here decides anything. They are part of every build, so that what is searched
//! for bugs is what runs.

use std::net::IpAddr;
use std::time::Instant;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use ipnet::IpNet;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use shared::config::Secret;
use shared::id::Position;
use shared::user::Roles;
use uuid::Uuid;

use crate::auth::issuer::Issuer;
use crate::auth::jwks::{self, Pace};
use crate::auth::token::Issuers;
use crate::auth::{Credential, client_ip, strict_json};
use crate::dialect::live_chat::wire::{FrameIn, MessagesQuery, SendBody, SocketQuery};
use crate::json_check::{self, JsonLimits};
use crate::transport::websocket::frame::{
    self, Event, FrameLimits, Parser, Violation, binary_frame, close_frame, pong_frame, text_frame,
};
use crate::transport::websocket::handshake;

/// What a client's bytes came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Messages and control frames by their opcode; of a close, its code.
    pub events: Vec<(u8, Vec<u8>)>,
    /// The close code of the violation that ended it.
    pub violation: Option<u16>,
    /// Most bytes of payload that were ever held room for, less twice the bytes that had come until then.
    pub held_beyond: usize,
    /// Most bytes of payload that were ever held room for.
    pub held_most: usize,
}

/// Reads a client's bytes, come in these pieces, with at most so many bytes in a frame and a message and so many
/// fragments: the parser belongs to a connection, and what it holds shows from inside only.
pub fn frames<'a>(limits: [usize; 3], pieces: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    let [frame_bytes, message_bytes, fragments] = limits;
    let mut parser = Parser::new(FrameLimits { frame_bytes, message_bytes, fragments });
    let mut heard = Heard { events: Vec::new(), violation: None, held_beyond: 0, held_most: 0 };
    let (now, mut events, mut came) = (Instant::now(), Vec::new(), 0);
    for piece in pieces {
        let outcome = parser.feed(&mut piece.to_vec(), now, &mut events);
        came += piece.len();
        heard.held_most = heard.held_most.max(parser.held());
        heard.held_beyond = heard.held_beyond.max(parser.held().saturating_sub(2 * came));
        if let Err(violation) = outcome {
            heard.violation = Some(match violation {
                Violation::Protocol(_) => 1002,
                Violation::InvalidUtf8 => 1007,
                Violation::TooLarge => 1009,
            });
            break;
        }
    }
    heard.events = events.into_iter().map(by_opcode).collect();
    heard
}

fn by_opcode(event: Event) -> (u8, Vec<u8>) {
    match event {
        Event::Text(text) => (0x1, text.into_bytes()),
        Event::Binary(bytes) => (0x2, bytes),
        Event::Close(code) => (0x8, code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default()),
        Event::Ping(payload) => (0x9, payload),
        Event::Pong => (0xA, Vec::new()),
    }
}

/// The other end of the same wire: a frame of ours, with an opcode that [`frames`] gives. A ping is answered by a pong.
#[must_use]
pub fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    match opcode {
        0x1 => text_frame(payload),
        0x2 => binary_frame(payload),
        0x8 => close_frame(payload.try_into().ok().map(u16::from_be_bytes), ""),
        0x9 | 0xA => pong_frame(payload),
        _ => frame::ping_frame(),
    }
}

/// The headers in these lines, without those that HTTP itself would refuse.
fn headers(lines: &[(&[u8], &[u8])]) -> HeaderMap {
    let header = |(name, value): &(&[u8], &[u8])| {
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.iter().filter_map(header) {
        headers.append(name, value);
    }
    headers
}

/// Asks for an upgrade with these headers; answers the key that is said back. The request is hyper's, so a test over a
/// socket would search hyper.
#[must_use]
pub fn handshake(lines: &[(&[u8], &[u8])]) -> Option<Vec<u8>> {
    let mut request = Request::builder().method(Method::GET).body(()).expect("an address of its own");
    *request.headers_mut() = headers(lines);
    let (response, _) = handshake::accept(&mut request).ok()?;
    Some(response.headers()["sec-websocket-accept"].as_bytes().to_vec())
}

/// The token that the opener of a socket brings: the authorizer that reads it wants a database.
#[must_use]
pub fn credential(lines: &[(&[u8], &[u8])], query: Option<&str>) -> Option<String> {
    Credential::of_upgrade(&headers(lines), query).map(|credential| credential.token)
}

/// Whose address counts for a request from `peer`, when `proxy` alone may speak for others.
#[must_use]
pub fn client_ip(peer: IpAddr, proxy: IpAddr, lines: &[(&[u8], &[u8])]) -> IpAddr {
    client_ip::client_ip(peer, &headers(lines), &[IpNet::from(proxy)])
}

/// Somebody as a token that holds describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Their account.
    pub account: Uuid,
    /// The name shown.
    pub username: Option<String>,
    /// The longer one.
    pub full_name: Option<String>,
    /// The address of their picture.
    pub avatar: Option<String>,
    /// Their roles.
    pub roles: Roles,
    /// The version of their sign-ins.
    pub token_version: Option<i32>,
    /// When the token ends, in seconds since 1970.
    pub expires_at: i64,
}

/// A checker of our own tokens: the authorizer that has it wants a database.
pub struct Tokens(Issuers);

impl Tokens {
    /// For tokens that are signed with `current` or `previous`.
    #[must_use]
    pub fn new(current: &str, previous: &str) -> Self {
        let own = Issuer::own(Secret::new(current), Some(Secret::new(previous)));
        Self(Issuers::new(vec![own], &reqwest::Client::new(), Pace::default()))
    }

    /// Who the bearer is, at a time in seconds since 1970; nobody when the token does not hold.
    #[must_use]
    pub fn verify(&self, token: &str, now: i64) -> Option<Bearer> {
        let now: DateTime<Utc> = DateTime::from_timestamp(now, 0)?;
        let identity = self.0.verify(token, now).now_or_never().expect("shared secrets are asked of nobody");
        let identity = identity.ok()?;
        Some(Bearer {
            account: identity.account.0,
            username: identity.claims.username,
            full_name: identity.claims.full_name,
            avatar: identity.claims.avatar,
            roles: identity.claims.roles,
            token_version: identity.token_version,
            expires_at: identity.expires_at.timestamp(),
        })
    }
}

/// The claims in a segment of a token, before anything is believed of them.
#[must_use]
pub fn strict_json(bytes: &[u8]) -> Option<Map<String, Value>> {
    strict_json::object(bytes)
}

/// How many keys for RS256 and for ES256 there are in an answer of a key server, none when it is no such answer.
#[must_use]
pub fn key_set(answer: &[u8]) -> Option<[usize; 2]> {
    let keys = |algorithm| jwks::parse(answer, algorithm).ok().map(|keys| keys.len());
    Some([keys(Algorithm::RS256)?, keys(Algorithm::ES256)?])
}

/// JSON of a client, at most so deep and with so many keys per object.
#[must_use]
pub fn json(bytes: &[u8], depth: usize, keys: usize) -> Option<Value> {
    json_check::read(bytes, JsonLimits { depth, keys }).ok()
}

/// What a client of the live chat says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A message, and the sender's name for it.
    Message(String, Option<String>),
    /// Are you there?
    Ping,
    /// Nothing that is understood; perhaps with a name that is to be said back.
    Nothing(Option<String>),
}

/// A frame of the live chat's socket.
#[must_use]
pub fn live_chat_frame(text: &str, depth: usize, keys: usize) -> Said {
    match FrameIn::read(text, JsonLimits { depth, keys }) {
        Ok(FrameIn::Message { message, client_msg_id }) => Said::Message(message, client_msg_id),
        Ok(FrameIn::Ping) => Said::Ping,
        Err(misread) => Said::Nothing(misread.client_msg_id),
    }
}

/// The body of a send over REST.
#[must_use]
pub fn live_chat_send(bytes: &[u8], depth: usize, keys: usize) -> Option<(String, Option<String>)> {
    let body: SendBody = json_check::parse(bytes, JsonLimits { depth, keys }).ok()?;
    Some((body.message, body.client_msg_id))
}

/// `limit` and `before` in the address of a page of messages.
#[must_use]
pub fn live_chat_page(address: &str, cap: u32) -> Option<(u32, Option<i64>)> {
    let query = MessagesQuery::parse(&address.parse::<Uri>().ok()?, cap).ok()?;
    Some((query.limit, query.before.map(|no| no.0)))
}

/// `after` and `close_codes` in the address of a socket.
#[must_use]
pub fn live_chat_socket(address: &str) -> Option<(Option<Position>, bool)> {
    let query = SocketQuery::parse(&address.parse::<Uri>().ok()?).ok()?;
    Some((query.after, query.close_codes))
}
