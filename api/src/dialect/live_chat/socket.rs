//! The socket `/live-chat/ws/{session_id}`: who is let in, and what becomes of the frames that come in.
//!
//! Promise: whatever a client sends, it gets an `error` and keeps its connection; only the end of its sign-in or of the
//! window closes it. Its sends take effect in the order in which it wrote them. What goes out is the hub's work.

mod visit;

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::Utc;
use shared::error::{Code, Error, Refusal};
use shared::id::Position;
use shared::store::live::LiveSession;
use utoipa_axum::router::OpenApiRouter;

use self::visit::Visit;
use super::not_active;
use super::wire::SocketQuery;
use crate::app::Shared;
use crate::auth::Caller;
use crate::chat::live_session;
use crate::dialect::door::{self, Guest, Rejection};
use crate::hub::Start;
use crate::limits::SocketPlace;
use crate::respond::Failure;
use crate::transport::websocket::{Settings, upgrade};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    // OpenAPI has no word for a socket; the AsyncAPI document describes it.
    OpenApiRouter::new().route("/live-chat/ws/{session_id}", get(open))
}

/// Somebody who is let in, with everything that was found out at the door.
struct Entry {
    caller: Caller,
    session: LiveSession,
    start: Start,
    /// Counts this socket among its person's and its address's for as long as it lives.
    place: SocketPlace,
}

/// Answers the upgrade request. Every refusal comes before the 101, unless `close_codes=1` asks for the ones that a script
/// should be able to see as a close code right after it.
async fn open(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(session_id): Path<String>,
    request: Request,
) -> Response {
    let settings = Settings::of(&app.config);
    let query = match SocketQuery::parse(request.uri()) {
        Ok(query) => query,
        Err(bad) => return Failure::from(bad).into_response(),
    };
    let (mut request, guest) = door::let_in(&app, peer.ip(), request).await;
    let entry = match guest {
        Ok(guest) => admit(&app, guest, &session_id, query.after).await.map_err(Rejection::Told),
        Err(rejection) => Err(rejection),
    };
    match entry {
        Ok(entry) => upgrade(&mut request, settings, |outbox| Visit::new(app, entry, outbox)),
        Err(rejection) => door::turn_away(&mut request, settings, rejection, query.close_codes),
    }
}

/// What is left to check once it is known who it is.
async fn admit(
    app: &Shared,
    guest: Guest,
    session_id: &str,
    after: Option<Position>,
) -> Result<Entry, Error> {
    let Guest { caller, place } = guest;
    let session = open_session(app, session_id).await?;
    let here = app.hub.prepare(app, session.room).await?;
    let start = after.map_or(Start::Now(here), Start::Resume);
    Ok(Entry { caller, session, start, place })
}

/// The session of that id, if it is open. Which ids exist is no secret: they are counted from 1.
async fn open_session(app: &Shared, id: &str) -> Result<LiveSession, Error> {
    let absent = || Refusal::new(Code::NotFound, "No such session");
    let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    let id = id.parse().ok().filter(|_| is_number).ok_or_else(absent)?;
    let session = live_session::by_id(app, id).await?.ok_or_else(absent)?;
    if !app.sessions.enabled() || !session.is_open(Utc::now()) {
        return Err(not_active().into());
    }
    Ok(session)
}
