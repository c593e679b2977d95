//! Times of this dialect. Its clients were written for naive UTC without a fraction, so that form keeps its name; beside
//! it stands a `*_utc` twin in RFC 3339, because a time without zone is read as local time by most languages.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// `2024-01-01T19:00:00`: UTC, whole seconds, no zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NaiveUtc(pub(crate) DateTime<Utc>);

impl Serialize for NaiveUtc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: &dyn Display = &self.0.format("%Y-%m-%dT%H:%M:%S");
        serializer.collect_str(text)
    }
}

impl PartialSchema for NaiveUtc {
    fn schema() -> RefOr<Schema> {
        // No `format`: "date-time" would promise a zone.
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$"))
            .description(Some("UTC, whole seconds, without a zone"))
            .examples(["2024-01-01T19:00:00"]);
        RefOr::T(schema.build().into())
    }
}

impl ToSchema for NaiveUtc {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::wire::ZonedUtc;

    #[test]
    fn both_forms_show_the_same_moment() {
        let time = DateTime::from_timestamp_millis(1_704_135_600_999).expect("in range");
        assert_eq!(serde_json::to_string(&NaiveUtc(time)).unwrap(), "\"2024-01-01T19:00:00\"");
        assert_eq!(serde_json::to_string(&ZonedUtc(time)).unwrap(), "\"2024-01-01T19:00:00.999Z\"");
    }
}
