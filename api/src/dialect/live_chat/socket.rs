//! The socket `/live-chat/ws/{session_id}`: who is let in, and what becomes of the frames that come in.
//!
//! Promise: whatever a client sends, it gets an `error` and keeps its connection; only the end of its sign-in or of the
//! window closes it. Its sends take effect in the order in which it wrote them. What goes out is the hub's work.

mod visit;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::Utc;
use shared::error::{Code, Error, Refusal};
use shared::id::Position;
use shared::store::live::LiveSession;
use utoipa_axum::router::OpenApiRouter;

use self::visit::{TurnedAway, Visit};
use super::not_active;
use super::wire::SocketQuery;
use crate::app::Shared;
use crate::auth::Caller;
use crate::auth::client_ip::client_ip;
use crate::chat::live_session;
use crate::hub::Start;
use crate::hub::outbox::CloseReason;
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

/// Why somebody is not let in.
enum Rejection {
    /// A page that may not talk to us, or too many: an HTTP status, always before the upgrade.
    AtTheDoor(Error),
    /// About the token or the session: a script may ask to see these as close codes.
    Told(Error),
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
    // The body can't be shared between threads while we wait, and so neither can a request.
    let (parts, body) = request.into_parts();
    let knock =
        Knock { peer: peer.ip(), method: &parts.method, headers: &parts.headers, query: parts.uri.query() };
    let admitted = admit(&app, knock, &session_id, query.after).await;
    let mut request = Request::from_parts(parts, body);
    match admitted {
        Ok(entry) => upgrade(&mut request, settings, |outbox| Visit::new(app, entry, outbox)),
        Err(Rejection::Told(error)) if query.close_codes => match close_reason(&error) {
            Some(reason) => {
                upgrade(&mut request, settings, move |outbox| TurnedAway { outbox, error, reason })
            }
            None => Failure::from(error).into_response(),
        },
        Err(Rejection::AtTheDoor(error) | Rejection::Told(error)) => Failure::from(error).into_response(),
    }
}

/// What the checks look at.
struct Knock<'r> {
    peer: IpAddr,
    method: &'r Method,
    headers: &'r HeaderMap,
    query: Option<&'r str>,
}

/// All checks, the cheapest and the most general first.
async fn admit(
    app: &Shared,
    knock: Knock<'_>,
    session_id: &str,
    after: Option<Position>,
) -> Result<Entry, Rejection> {
    let Knock { peer, method, headers, query } = knock;
    let address = client_ip(peer, headers, &app.config.trusted_proxies);
    app.limits.let_handshake_pass(&app.bus, address).await.map_err(Rejection::AtTheDoor)?;

    let credential = app.auth.upgrade_credential(method, headers, query).map_err(Rejection::AtTheDoor)?;
    let caller = app.auth.authenticate(credential).await.map_err(Rejection::Told)?;
    let node = app.clone();
    let boot = Arc::new(move || node.hub.boot());
    let place = app.limits.enter(&app.bus, boot, caller.account.id, address).await;
    let place = place.map_err(Rejection::AtTheDoor)?;
    let session = open_session(app, session_id).await.map_err(Rejection::Told)?;
    let here = app.hub.prepare(app, session.room).await.map_err(Rejection::Told)?;
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

/// The close that says what this status would have said; none where the client should simply try again.
fn close_reason(error: &Error) -> Option<CloseReason> {
    match error.code() {
        Code::Unauthorized => Some(CloseReason::Expired),
        Code::Forbidden | Code::NotActive => Some(CloseReason::Forbidden),
        Code::NotFound => Some(CloseReason::NotFound),
        _ => None,
    }
}
