//! The descriptions of the api.

use axum::Router;
use utoipa_axum::router::OpenApiRouter;

use crate::app::Shared;

/// The routes that are described.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
}

/// The pages that describe them.
pub(crate) fn pages(_api: utoipa::openapi::OpenApi) -> Router<Shared> {
    Router::new()
}
