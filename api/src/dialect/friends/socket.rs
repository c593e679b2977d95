//! The socket `/api/v1/chat/ws/chat`: everything that happens between a person and their friends.
//!
//! Promise: whatever a client sends, it gets an `error` and keeps its connection; only the end of its sign-in closes it. Its sends
//! take effect in the order in which it wrote them. What goes out is the hub's work.

mod visit;

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use self::visit::Visit;
use super::wire::SocketQuery;
use crate::app::Shared;
use crate::dialect::door;
use crate::transport::websocket::{Settings, upgrade};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    // OpenAPI has no word for a socket; the AsyncAPI document describes it.
    OpenApiRouter::new().route("/api/v1/chat/ws/chat", get(open))
}

/// Answers the upgrade request. Every refusal comes before the 101, unless `close_codes=1` asks for the ones that a script
/// should be able to see as a close code right after it.
async fn open(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let settings = Settings::of(&app.config);
    let query = SocketQuery::parse(request.uri());
    let (mut request, guest) = door::let_in(&app, peer.ip(), request).await;
    match guest {
        Ok(guest) => upgrade(&mut request, settings, move |outbox| Visit::new(app, guest, query, outbox)),
        Err(rejection) => door::turn_away(&mut request, settings, rejection, query.close_codes),
    }
}
