//! All URLs of a node.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use shared::config::AppEnv;
use shared::{Code, Refusal};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::app::Shared;
use crate::auth::Authenticator;
use crate::json_check::JsonLimits;
use crate::respond::Failure;
use crate::{admin, auth, describe, dialect, headers, transport};

impl FromRef<Shared> for Arc<Authenticator> {
    fn from_ref(app: &Shared) -> Self {
        app.auth.clone()
    }
}

impl FromRef<Shared> for JsonLimits {
    fn from_ref(app: &Shared) -> Self {
        Self { depth: app.config.limits.json_depth, keys: app.config.limits.json_keys }
    }
}

/// The node's routes, dressed in what every answer carries.
pub(crate) fn router(app: &Shared) -> Router {
    let limits = &app.config.limits;
    let (routes, api) = describe::routes()
        .merge(auth::routes::routes(app.auth.clone()))
        .merge(dialect::routes())
        .merge(admin::routes())
        .split_for_parts();
    let mut routes = routes
        .merge(describe::pages(&api))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready));
    if app.config.common.app_env == AppEnv::Development {
        routes = routes.route("/dev/echo", get(transport::websocket::echo::echo));
    }
    let routes = routes
        .fallback(async || Failure::from(Refusal::new(Code::NotFound, "Not Found")))
        .method_not_allowed_fallback(async || {
            Failure::from(Refusal::new(Code::Invalid, "Method Not Allowed"))
                .status(StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(RequestBodyTimeoutLayer::new(limits.body_time))
        .layer(middleware::from_fn_with_state(limits.request_time, within))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(app.clone());
    let whole = Router::new().fallback_service(routes).layer(middleware::from_fn(without_trailing_slash));
    headers::dress(whole, app.config.public_url.as_deref(), &app.config.allowed_origins)
}

/// A panic is a bug of ours that one request has met; the node goes on.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Failure::from(shared::Error::bug("a handler panicked")).into_response()
}

/// A request that takes longer than this is given up; it is not known what became of it, and the answer says so.
async fn within(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(elapsed) => Failure::from(shared::Error::unavailable(elapsed)).into_response(),
    }
}

async fn ready(State(app): State<Shared>) -> Response {
    let (status, body) = app.health.state();
    (StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), body).into_response()
}

/// Serves `/path/` as `/path`, without a redirect.
async fn without_trailing_slash(mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.len() > 1 && path.ends_with('/') && request.method() != Method::CONNECT {
        let trimmed = path.trim_end_matches('/');
        let trimmed = if trimmed.is_empty() { "/" } else { trimmed };
        let target = match request.uri().query() {
            Some(query) => format!("{trimmed}?{query}"),
            None => trimmed.to_owned(),
        };
        if let Ok(uri) = target.parse::<Uri>() {
            *request.uri_mut() = uri;
        }
    }
    next.run(request).await
}
