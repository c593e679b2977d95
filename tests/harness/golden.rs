//! Exact bodies: every field is there, none beside, each with its value or with one of the right form.
//!
//! A string in angle brackets in the expected value stands for a form: `<int>`, `<uuid>`, `<naive>` (a time without
//! zone), `<utc>` (RFC 3339 with milliseconds), `<position>`, `<text>` and `<any>`.

use chrono::{DateTime, NaiveDateTime};
use serde_json::Value;
use shared::id::Position;
use uuid::Uuid;

/// Checks `actual` against `expected`.
///
/// # Panics
/// When they differ; the message says where first.
#[track_caller]
pub fn assert_like(actual: &Value, expected: &Value) {
    if let Err(difference) = compare("", actual, expected) {
        panic!("{difference}\nexpected {expected:#}\ngot {actual:#}");
    }
}

fn compare(path: &str, actual: &Value, expected: &Value) -> Result<(), String> {
    match (actual, expected) {
        (_, Value::String(form)) if form.starts_with('<') && form.ends_with('>') => {
            if has_form(actual, form) { Ok(()) } else { Err(format!("{path} is no {form}: {actual}")) }
        }
        (Value::Object(actual), Value::Object(expected)) => {
            let beside = actual.keys().find(|key| !expected.contains_key(*key));
            if let Some(key) = beside {
                return Err(format!("{path}.{key} was not expected"));
            }
            expected.iter().try_for_each(|(key, expected)| {
                let actual = actual.get(key).ok_or_else(|| format!("{path}.{key} is missing"))?;
                compare(&format!("{path}.{key}"), actual, expected)
            })
        }
        (Value::Array(actual), Value::Array(expected)) => {
            if actual.len() != expected.len() {
                return Err(format!("{path} has {} items, expected {}", actual.len(), expected.len()));
            }
            let mut pairs = actual.iter().zip(expected).enumerate();
            pairs.try_for_each(|(n, (actual, expected))| compare(&format!("{path}[{n}]"), actual, expected))
        }
        _ if actual == expected => Ok(()),
        _ => Err(format!("{path} is {actual}, expected {expected}")),
    }
}

fn has_form(value: &Value, form: &str) -> bool {
    let text = value.as_str().unwrap_or_default();
    match form {
        "<int>" => value.is_i64(),
        "<uuid>" => Uuid::parse_str(text).is_ok(),
        "<naive>" => text.len() == 19 && NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").is_ok(),
        "<utc>" => text.len() == 24 && text.ends_with('Z') && DateTime::parse_from_rfc3339(text).is_ok(),
        "<position>" => text.parse::<Position>().is_ok(),
        "<text>" => value.is_string(),
        "<any>" => true,
        _ => panic!("{form} is no form"),
    }
}
