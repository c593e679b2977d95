//! What this node says about itself to those who write clients: OpenAPI for the REST calls at `/openapi.json`, AsyncAPI
//! for the sockets at `/asyncapi.json`, and Swagger UI at `/docs` with its files served by us.
//!
//! Promise: nothing here is written twice. The documents are made from the types that the wire is made from, once, at
//! start; asking for them costs copying some bytes.

mod asyncapi;
mod errors;
mod swagger;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa::openapi::{SecurityRequirement, tag::TagBuilder};
use utoipa_axum::router::OpenApiRouter;

pub(crate) use errors::{Invalid, Problem};

use crate::app::Shared;
use crate::auth::session::COOKIE;

/// Where the routes that are described are gathered.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(openapi())
}

/// The pages that describe them; `openapi` is complete.
pub(crate) fn pages<S>(openapi: &OpenApi) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let openapi = json(openapi.to_json());
    let asyncapi = json(serde_json::to_string(&asyncapi::document()));
    Router::new()
        .route("/openapi.json", get(move || document(openapi.clone())))
        .route("/asyncapi.json", get(move || document(asyncapi.clone())))
        .merge(swagger::routes())
}

/// The document to which the routers add their paths: who we are, and how one signs in.
fn openapi() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Hubbub")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE)));
    let components = ComponentsBuilder::new()
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .security_scheme(SESSION, cookie);
    let either = [BEARER, SESSION].map(|scheme| SecurityRequirement::new(scheme, Vec::<String>::new()));
    let tags = [
        TagBuilder::new()
            .name("live_chat")
            .description(Some("The live chat around a scheduled draw"))
            .build(),
        TagBuilder::new()
            .name("friends")
            .description(Some("Friends, and what they write to each other"))
            .build(),
        TagBuilder::new().name("auth").description(Some("Who am I, and signing out")).build(),
        TagBuilder::new().name("admin").description(Some("For the role admin")).build(),
    ];
    OpenApiBuilder::new()
        .info(info.build())
        .components(Some(components.build()))
        .security(Some(either))
        .tags(Some(tags))
        .build()
}

const BEARER: &str = "bearer";
const SESSION: &str = "session";

const ABOUT: &str = "A chat backend. These are its REST calls; its sockets are described at `/asyncapi.json`.\n\n\
     Every refusal has a stable `code`. On 503 `unavailable` the outcome is unknown: try a send again under the same \
     `client_msg_id`, which never makes a second message.";

fn json(written: serde_json::Result<String>) -> Bytes {
    Bytes::from(written.expect("a document has string keys and no failing parts"))
}

async fn document(json: Bytes) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], json)
}
