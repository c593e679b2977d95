//! The opening handshake (RFC 6455, 4.2): checks the request, answers 101, and hands over the bare TCP socket.
//!
//! After the answer hyper gives the socket back and its task and buffers are freed; from then on the connection costs what
//! our own transport costs. Neither a subprotocol nor an extension is ever agreed to: compression would have to be bounded
//! against bombs and would end the sharing of prebuilt frames.

use axum::body::Body;
use axum::http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::net::TcpStream;

/// The fixed text of RFC 6455, 1.3: an answer that knows it was meant as an answer to a WebSocket handshake.
const ACCEPT_SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Most that the kernel holds unsent for one connection. Beyond it bytes wait in the outbox, where their age is seen and
/// bounded; without it a stuck reader would hide megabytes in the kernel. In a lively room this is a second's worth, so that
/// much later its age is counted.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 32 * 1024;

/// What is wrong with an upgrade request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("A WebSocket handshake is a GET")]
    Method,
    #[error("This route speaks WebSocket: Connection and Upgrade headers over HTTP/1.1 are missing")]
    NotWebSocket,
    #[error("Only WebSocket version 13 is spoken here")]
    Version,
    #[error("Sec-WebSocket-Key must be 16 bytes in base64, once")]
    Key,
}

impl IntoResponse for HandshakeError {
    fn into_response(self) -> Response {
        let (status, hint): (_, Option<(HeaderName, HeaderValue)>) = match self {
            HandshakeError::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, Some((ALLOW, HeaderValue::from_static("GET"))))
            }
            HandshakeError::NotWebSocket => {
                (StatusCode::UPGRADE_REQUIRED, Some((UPGRADE, HeaderValue::from_static("websocket"))))
            }
            HandshakeError::Version => {
                (StatusCode::UPGRADE_REQUIRED, Some((SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))))
            }
            HandshakeError::Key => (StatusCode::BAD_REQUEST, None),
        };
        let body = serde_json::json!({ "detail": self.to_string(), "code": "invalid" }).to_string();
        let mut response = (status, [(CONTENT_TYPE, "application/json")], body).into_response();
        response.headers_mut().extend(hint);
        response
    }
}

/// The socket, as soon as hyper has written the 101 and let go of it.
pub(crate) struct Upgrading(OnUpgrade);

impl Upgrading {
    /// The socket and the bytes that were read past the request; `None` when the client left before the answer.
    pub(crate) async fn socket(self) -> Option<(TcpStream, Bytes)> {
        let upgraded = self.0.await.ok()?;
        let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
        let stream = parts.io.into_inner();
        #[cfg(target_os = "linux")]
        if let Err(error) = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX) {
            tracing::debug!(%error, "the kernel's share of a send queue stays at its default");
        }
        Some((stream, parts.read_buf))
    }
}

/// Checks an upgrade request; on success gives the 101 to return and the socket to come.
///
/// # Errors
/// What the client has to fix; it makes an HTTP answer by itself.
pub(crate) fn accept<B>(request: &mut Request<B>) -> Result<(Response, Upgrading), HandshakeError> {
    let key = check(request.method(), request.version(), request.headers())?;
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept_key(key.as_bytes()))
        .body(Body::empty())
        .expect("constant headers and base64 are valid");
    Ok((response, Upgrading(hyper::upgrade::on(request))))
}

fn check<'a>(
    method: &Method,
    version: Version,
    headers: &'a HeaderMap,
) -> Result<&'a HeaderValue, HandshakeError> {
    if method != Method::GET {
        return Err(HandshakeError::Method);
    }
    let asked = has_token(headers, &CONNECTION, "upgrade") && has_token(headers, &UPGRADE, "websocket");
    if !asked || version != Version::HTTP_11 {
        return Err(HandshakeError::NotWebSocket);
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(HandshakeError::Version);
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) if STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16) => Ok(key),
        _ => Err(HandshakeError::Key),
    }
}

/// Whether a comma-separated header, on one line or on several, holds the token in any case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn accept_key(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(ACCEPT_SALT).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request<()> {
        let request =
            Request::get("/ws").header("host", "chat.example").header("connection", "keep-alive, Upgrade");
        let request = request.header("upgrade", "WebSocket").header("sec-websocket-version", "13");
        request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").body(()).unwrap()
    }

    fn with(name: &'static str, value: &'static str) -> Request<()> {
        let mut request = request();
        request.headers_mut().insert(name, HeaderValue::from_static(value));
        request
    }

    fn without(name: &'static str) -> Request<()> {
        let mut request = request();
        request.headers_mut().remove(name);
        request
    }

    #[test]
    fn the_standards_own_example_is_answered_as_printed() {
        let (response, _) = accept(&mut request()).ok().unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()["upgrade"], "websocket");
        assert_eq!(response.headers()["connection"], "Upgrade");
    }

    #[test]
    fn s19_offered_extensions_and_subprotocols_are_not_taken_up() {
        let mut request = with("sec-websocket-extensions", "permessage-deflate; client_max_window_bits");
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("chat"));
        let (response, _) = accept(&mut request).ok().unwrap();
        assert!(!response.headers().contains_key("sec-websocket-extensions"));
        assert!(!response.headers().contains_key("sec-websocket-protocol"));
    }

    #[test]
    fn what_is_no_handshake_is_refused_with_a_hint() {
        let cases = [
            (without("connection"), HandshakeError::NotWebSocket, 426),
            (with("connection", "keep-alive"), HandshakeError::NotWebSocket, 426),
            (without("upgrade"), HandshakeError::NotWebSocket, 426),
            (with("upgrade", "h2c"), HandshakeError::NotWebSocket, 426),
            (without("sec-websocket-version"), HandshakeError::Version, 426),
            (with("sec-websocket-version", "8"), HandshakeError::Version, 426),
            (without("sec-websocket-key"), HandshakeError::Key, 400),
            (with("sec-websocket-key", ""), HandshakeError::Key, 400),
            (with("sec-websocket-key", "dG9vIHNob3J0"), HandshakeError::Key, 400),
            (with("sec-websocket-key", "not base64 at all!!"), HandshakeError::Key, 400),
        ];
        for (mut request, expected, status) in cases {
            let error = accept(&mut request).err().unwrap();
            assert_eq!((error, error.into_response().status().as_u16()), (expected, status));
        }
    }

    #[test]
    fn only_get_over_http_1_1_can_upgrade() {
        let mut post = request();
        *post.method_mut() = Method::POST;
        assert_eq!(accept(&mut post).err(), Some(HandshakeError::Method));
        let mut old = request();
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(accept(&mut old).err(), Some(HandshakeError::NotWebSocket));
    }

    #[test]
    fn a_second_key_is_refused() {
        let mut request = request();
        request
            .headers_mut()
            .append("sec-websocket-key", HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(accept(&mut request).err(), Some(HandshakeError::Key));
    }

    #[test]
    fn the_wrong_version_is_told_the_right_one() {
        let response = HandshakeError::Version.into_response();
        assert_eq!(response.headers()["sec-websocket-version"], "13");
    }
}
