//! The REST calls. All need a sign-in.

mod friends;
mod messages;

use shared::id::AccountId;
use utoipa_axum::router::OpenApiRouter;

use crate::app::Shared;
use crate::respond::Failure;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    friends::routes().merge(messages::routes())
}

/// The account that a part of the address or of a body names: 422 for what is no UUID.
fn account_id(text: &str, field: &'static str) -> Result<AccountId, Failure> {
    text.parse().map_err(|_| Failure::invalid(field, "must be a UUID"))
}
