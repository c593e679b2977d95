//! The door of every raw WebSocket: the checks that have nothing to do with where somebody wants to go, the cheapest and the most
//! general first. Every refusal comes before the 101, unless the client asks to see it as a close code right after it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use shared::error::{Code, Error};
use shared::id::Nonce;

use super::wire::ErrorFrame;
use crate::app::Shared;
use crate::auth::Caller;
use crate::auth::client_ip::client_ip;
use crate::hub::outbox::{CloseReason, Outbox};
use crate::limits::SocketPlace;
use crate::respond::{self, Failure};
use crate::transport::websocket::connection::Session;
use crate::transport::websocket::frame::text_frame;
use crate::transport::websocket::{Settings, upgrade};

/// Somebody of whom it is known who they are.
pub(crate) struct Guest {
    pub(crate) caller: Caller,
    /// Counts this socket among its person's and its address's for as long as it lives.
    pub(crate) place: SocketPlace,
}

/// Why somebody is not let in.
pub(crate) enum Rejection {
    /// A page that may not talk to us, or too many: an HTTP status, always before the upgrade.
    AtTheDoor(Error),
    /// About the token or where it leads: a script may ask to see these as close codes.
    Told(Error),
}

/// Checks a request for an upgrade, and hands it back: it is needed for the answer.
pub(crate) async fn let_in(
    app: &Shared,
    peer: IpAddr,
    request: Request,
) -> (Request, Result<Guest, Rejection>) {
    // The body can't be shared between threads while we wait, and so neither can a request.
    let (parts, body) = request.into_parts();
    let guest = check(app, peer, &parts).await;
    (Request::from_parts(parts, body), guest)
}

async fn check(app: &Shared, peer: IpAddr, parts: &Parts) -> Result<Guest, Rejection> {
    let address = client_ip(peer, &parts.headers, &app.config.trusted_proxies);
    app.limits.let_handshake_pass(&app.bus, address).await.map_err(Rejection::AtTheDoor)?;
    let credential = app.auth.upgrade_credential(&parts.method, &parts.headers, parts.uri.query());
    let credential = credential.map_err(Rejection::AtTheDoor)?;
    let caller = app.auth.authenticate(credential).await.map_err(Rejection::Told)?;
    let node = app.clone();
    let boot = Arc::new(move || node.hub.boot());
    let place = app.limits.enter(&app.bus, boot, caller.account.id, address).await;
    Ok(Guest { caller, place: place.map_err(Rejection::AtTheDoor)? })
}

/// Answers a request for an upgrade with a refusal.
pub(crate) fn turn_away(
    request: &mut Request,
    settings: Settings,
    rejection: Rejection,
    by_close_code: bool,
) -> Response {
    let error = match rejection {
        Rejection::AtTheDoor(error) => return Failure::from(error).into_response(),
        Rejection::Told(error) => error,
    };
    match close_reason(&error) {
        Some(reason) if by_close_code => {
            upgrade(request, settings, move |outbox| TurnedAway { outbox, error, reason })
        }
        _ => Failure::from(error).into_response(),
    }
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

/// Tells a socket why something was refused; on a send also which one, if what a frame called it can be a name.
pub(crate) fn tell(outbox: &Outbox, error: &Error, client_msg_id: Option<&str>) {
    respond::note(error);
    let client_msg_id = client_msg_id.filter(|name| Nonce::parse(name).is_ok());
    outbox.send(text_frame(&ErrorFrame::of(error, client_msg_id).to_json()));
}

/// Somebody who asked to hear by close code why the door stays shut.
struct TurnedAway {
    outbox: Arc<Outbox>,
    error: Error,
    reason: CloseReason,
}

impl Session for TurnedAway {
    async fn on_open(&mut self) {
        tell(&self.outbox, &self.error, None);
        self.outbox.close(self.reason);
    }

    async fn on_text(&mut self, _: &str) {}

    async fn on_binary(&mut self, _: &[u8]) {}
}
