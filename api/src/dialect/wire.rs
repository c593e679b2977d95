//! What the wires of several dialects have in common: errors on a raw socket, frames that come in, times, and what stands behind
//! the question mark.

use std::borrow::Cow;

use axum::extract::Query;
use axum::http::{HeaderMap, HeaderValue, Uri};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::Value;
use shared::error::{Code, Error, Refusal};
use shared::id::Nonce;
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::json_check::{self, JsonLimits};
use crate::respond::{Failure, sentence};

/// A frame that is none of a dialect's: why, and the name of the send that it was to be, if it said one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misread {
    pub(crate) why: Refusal,
    pub(crate) client_msg_id: Option<String>,
}

/// Reads a frame: a JSON object that says its `type`. `expected` tells what a frame of a type has to be like, for those types
/// that there are.
pub(crate) fn read_frame<T: DeserializeOwned>(
    text: &str,
    limits: JsonLimits,
    expected: impl Fn(&str) -> Option<&'static str>,
) -> Result<T, Misread> {
    let misread = |why| Misread { why, client_msg_id: None };
    let invalid = |why| Refusal::new(Code::Invalid, why);
    let frame = json_check::read(text.as_bytes(), limits).map_err(misread)?;
    let kind = frame.get("type").and_then(Value::as_str);
    let kind = kind.ok_or_else(|| misread(invalid("A frame must be a JSON object with a type")))?;
    let expected = expected(kind).ok_or_else(|| misread(invalid("Unknown type of frame")))?;
    let named = frame.get("client_msg_id").and_then(Value::as_str);
    // Said back only if it can be a name, so that nobody makes us send large or unprintable things.
    let client_msg_id = named.filter(|name| Nonce::parse(name).is_ok()).map(str::to_owned);
    serde_json::from_value(frame).map_err(|_| Misread { why: invalid(expected), client_msg_id })
}

/// Why something was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorFrame<'a> {
    /// For people.
    #[schema(value_type = String)]
    message: Cow<'a, str>,
    /// For programs; stable.
    #[schema(value_type = String, examples("rate_limited"))]
    code: &'static str,
    /// Which send it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    client_msg_id: Option<Cow<'a, str>>,
    /// When it is worth trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after_ms: Option<u64>,
}

impl<'a> ErrorFrame<'a> {
    /// What a client may know of an error, and the send that it is about.
    pub(crate) fn of(error: &'a Error, client_msg_id: Option<&'a str>) -> Self {
        let wait = match error {
            Error::Refused(refusal) => refusal.retry_after,
            Error::Unavailable(_) | Error::Bug(_) => None,
        };
        Self {
            message: Cow::Borrowed(sentence(error)),
            code: error.code().as_str(),
            client_msg_id: client_msg_id.map(Cow::Borrowed),
            retry_after_ms: wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)),
        }
    }
}

impl ErrorFrame<'_> {
    /// The JSON of a frame of type `error`.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        enum Frame<'a> {
            Error(&'a ErrorFrame<'a>),
        }
        serde_json::to_vec(&Frame::Error(self)).expect("frames have string keys and no failing parts")
    }
}

/// `2024-01-01T19:00:00.000Z`: RFC 3339 with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ZonedUtc(pub(crate) DateTime<Utc>);

impl Serialize for ZonedUtc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl PartialSchema for ZonedUtc {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("UTC in RFC 3339 with milliseconds"))
            .examples(["2024-01-01T19:00:00.000Z"]);
        RefOr::T(schema.build().into())
    }
}

impl ToSchema for ZonedUtc {}

/// What is wrong with a query: the name, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadQuery(pub(crate) &'static str, pub(crate) &'static str);

impl From<BadQuery> for Failure {
    fn from(BadQuery(name, why): BadQuery) -> Self {
        Failure::invalid(name, why)
    }
}

/// The names and values of a query.
pub(crate) fn pairs(uri: &Uri) -> Vec<(String, String)> {
    Query::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default()
}

/// The first value of a name.
pub(crate) fn value<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    query.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
}

/// The sender's name for a send, or one of ours for a sender who gave none.
pub(crate) fn nonce(given: Option<&str>) -> Result<Nonce, Refusal> {
    given.map_or_else(
        || Ok(Nonce::draw()),
        |given| {
            let why = "client_msg_id must have 1 to 64 characters, none of them a control character";
            Nonce::parse(given).map_err(|_| Refusal::new(Code::Invalid, why))
        },
    )
}

/// The same for a call over REST, where the name may also be in a header.
pub(crate) fn nonce_of(client_msg_id: Option<&str>, headers: &HeaderMap) -> Result<Nonce, Failure> {
    let named = match client_msg_id {
        Some(named) => nonce(Some(named)),
        None => nonce(idempotency_key(headers)?),
    };
    named.map_err(|refusal| Failure::from(refusal).at("client_msg_id"))
}

/// The name of a send, from where some HTTP clients put it by themselves.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let key = headers.get("idempotency-key").map(HeaderValue::to_str).transpose();
    key.map_err(|_| Failure::invalid("Idempotency-Key", "must be printable ASCII"))
}
