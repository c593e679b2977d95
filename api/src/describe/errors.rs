//! The bodies of refusals, as the documents show them. [`crate::respond`] writes them; a test holds both against each
//! other.

use serde::Serialize;
use utoipa::ToSchema;

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// For people.
    #[schema(examples("Chat is not active"))]
    detail: String,
    /// For programs; stable.
    #[schema(examples("not_active"))]
    code: String,
    /// Under which this request stands in our log.
    request_id: String,
    /// When it is worth trying again; the header Retry-After says the same in whole seconds.
    #[schema(nullable = false)]
    retry_after_ms: Option<u64>,
}

/// What is wrong with the form of a request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Invalid {
    /// One for each thing that is wrong.
    detail: Vec<InvalidItem>,
    /// `invalid`, or `too_long`.
    #[schema(examples("invalid"))]
    code: String,
    /// Under which this request stands in our log.
    request_id: String,
}

/// One thing that is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvalidItem {
    /// The name of the field or parameter, or `body` for the whole.
    #[schema(examples(json!(["limit"])))]
    loc: Vec<String>,
    /// For people.
    msg: String,
    /// For programs.
    #[serde(rename = "type")]
    kind: String,
}
