//! What every answer says besides its body: who may read it, keep it and frame it, and under which id its request
//! stands in the log. A handler may say otherwise for its own answer; these are the defaults, and they are strict.
//!
//! The log gets a request's path and never its query, where raw WebSockets carry their token.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, Entry, HeaderMap, HeaderName,
    HeaderValue, REFERRER_POLICY, RETRY_AFTER, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{Method, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument;
use uuid::Uuid;

use crate::config::ANY_ORIGIN;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest request id that is taken over from a caller.
const REQUEST_ID_CHARS_MAX: usize = 64;
/// Longest path that goes to the log.
const LOGGED_PATH_CHARS_MAX: usize = 256;
/// How long a browser may remember what a preflight told it.
const PREFLIGHT_AGE: Duration = Duration::from_secs(600);

/// Answers are data: nothing in them is run, loaded or framed.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// The pages under /docs run their own scripts and call us. Swagger UI sets styles from scripts and draws with data
/// URLs.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
     form-action 'none'";
/// A year, as browsers' preload lists expect. Not for subdomains: they may not be ours.
const ENCRYPTED_FOR_A_YEAR: &str = "max-age=31536000";

/// Wraps a router, so that all its answers carry these headers, refusals and preflights too.
pub(crate) fn dress(router: Router, public_url: Option<&str>, allowed_origins: &[String]) -> Router {
    let encryption = match public_url {
        Some(url) if url.starts_with("https://") => Encryption::Promised,
        _ => Encryption::NotPromised,
    };
    router
        .layer(cors(allowed_origins))
        .layer(from_fn_with_state(encryption, protect))
        .layer(from_fn(name_request))
}

/// Pages of exactly these origins may read answers, with credentials.
fn cors(allowed_origins: &[String]) -> CorsLayer {
    let allowed = if allowed_origins.iter().any(|origin| origin == ANY_ORIGIN) {
        AllowOrigin::mirror_request()
    } else {
        AllowOrigin::list(allowed_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE, IDEMPOTENCY_KEY, X_REQUEST_ID])
        .expose_headers([X_REQUEST_ID, RETRY_AFTER])
        .max_age(PREFLIGHT_AGE)
}

/// Whether browsers are told to come back by https only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    Promised,
    NotPromised,
}

async fn protect(State(encryption): State<Encryption>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let docs = path == "/docs" || path.starts_with("/docs/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    default(headers, CONTENT_SECURITY_POLICY, if docs { DOCS_POLICY } else { DATA_POLICY });
    default(headers, CACHE_CONTROL, "no-store");
    default(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    default(headers, X_FRAME_OPTIONS, "DENY");
    default(headers, REFERRER_POLICY, "no-referrer");
    if encryption == Encryption::Promised {
        default(headers, STRICT_TRANSPORT_SECURITY, ENCRYPTED_FOR_A_YEAR);
    }
    response
}

fn default(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    if let Entry::Vacant(vacant) = headers.entry(name) {
        vacant.insert(HeaderValue::from_static(value));
    }
}

/// What a request is called in the log, in its answer and in the caller's own records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(Arc<str>);

tokio::task_local! {
    static CURRENT: RequestId;
}

impl RequestId {
    /// The id of the request that this task is answering, if it is answering one.
    pub(crate) fn current() -> Option<RequestId> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The caller's own id if it is short and plain, else a new one.
    fn of(headers: &HeaderMap) -> RequestId {
        let plain = |id: &&str| {
            (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        match headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(plain) {
            Some(given) => RequestId(given.into()),
            None => RequestId(Uuid::now_v7().simple().to_string().into()),
        }
    }
}

/// Gives the request its id and runs it inside a span of that name. Handlers find the id in the extensions too.
async fn name_request(mut request: Request, next: Next) -> Response {
    let (id, began) = (RequestId::of(request.headers()), Instant::now());
    request.extensions_mut().insert(id.clone());
    let span = tracing::info_span!(
        "request",
        request_id = id.as_str(),
        method = %request.method(),
        uri = %Redacted(request.uri()),
    );
    let echoed = HeaderValue::from_str(id.as_str()).expect("ids are letters, digits and a few marks");
    let answer = async {
        let mut response = next.run(request).await;
        response.headers_mut().insert(X_REQUEST_ID, echoed);
        tracing::debug!(status = response.status().as_u16(), elapsed = ?began.elapsed(), "answered");
        response
    };
    CURRENT.scope(id, answer.instrument(span)).await
}

/// A URI as it may stand in a log: its path, cut short, and that there was a query.
pub(crate) struct Redacted<'u>(pub(crate) &'u Uri);

impl Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.path();
        let end = path.char_indices().nth(LOGGED_PATH_CHARS_MAX).map_or(path.len(), |(at, _)| at);
        let rest = if end < path.len() { "..." } else { "" };
        let query = if self.0.query().is_some() { "?[redacted]" } else { "" };
        write!(f, "{}{rest}{query}", &path[..end])
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use tower::ServiceExt;

    use super::*;

    fn node(public_url: Option<&str>, allowed_origins: &[&str]) -> Router {
        let own = [(CACHE_CONTROL, "public, max-age=60"), (CONTENT_SECURITY_POLICY, "default-src 'self'")];
        let router = Router::new()
            .route("/status", get("ok"))
            .route("/docs/", get("page"))
            .route("/own", get((own, "page")))
            .route(
                "/id",
                get(async || RequestId::current().map(|id| id.as_str().to_owned()).unwrap_or_default()),
            )
            .route("/send", post("ok"))
            .route("/broken", get(StatusCode::INTERNAL_SERVER_ERROR));
        dress(router, public_url, &allowed_origins.iter().map(|&o| o.to_owned()).collect::<Vec<_>>())
    }

    async fn ask(node: &Router, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(Body::empty()).expect("a well-formed request");
        node.clone().oneshot(request).await.expect("a router does not fail")
    }

    fn header<'r>(response: &'r Response, name: &str) -> &'r str {
        response.headers().get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    #[tokio::test]
    async fn s42_every_answer_is_protected() {
        let node = node(Some("https://chat.example.org"), &[]);
        for path in ["/status", "/absent", "/broken", "/send"] {
            let answer = ask(&node, Method::GET, path, &[]).await;
            assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
            assert_eq!(header(&answer, "x-frame-options"), "DENY", "{path}");
            assert_eq!(header(&answer, "referrer-policy"), "no-referrer", "{path}");
            assert_eq!(header(&answer, "strict-transport-security"), "max-age=31536000", "{path}");
            assert!(header(&answer, "content-security-policy").contains("frame-ancestors 'none'"), "{path}");
            assert!(header(&answer, "content-security-policy").contains("default-src 'none'"), "{path}");
        }
    }

    #[tokio::test]
    async fn s42_encryption_is_promised_only_where_it_is_had() {
        for public_url in [None, Some("http://localhost:8000")] {
            let answer = ask(&node(public_url, &[]), Method::GET, "/status", &[]).await;
            assert_eq!(header(&answer, "strict-transport-security"), "");
        }
    }

    #[tokio::test]
    async fn s42_the_docs_may_load_their_own_scripts_and_nothing_else() {
        let answer = ask(&node(None, &[]), Method::GET, "/docs/", &[]).await;
        let policy = header(&answer, "content-security-policy");
        assert!(policy.contains("script-src 'self';") && policy.contains("connect-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(
            !policy.contains("http") && !policy.contains("unsafe-eval") && !policy.contains('*'),
            "{policy}"
        );
    }

    #[tokio::test]
    async fn s16_answers_are_not_kept_unless_they_say_so() {
        let node = node(None, &[]);
        for path in ["/status", "/absent", "/broken"] {
            let answer = ask(&node, Method::GET, path, &[]).await;
            assert_eq!(header(&answer, "cache-control"), "no-store", "{path}");
        }
        let own = ask(&node, Method::GET, "/own", &[]).await;
        assert_eq!(header(&own, "cache-control"), "public, max-age=60");
        assert_eq!(header(&own, "content-security-policy"), "default-src 'self'");
    }

    #[tokio::test]
    async fn s42_cors_is_an_exact_list() {
        let node = node(None, &["https://a.example", "http://localhost:3000"]);
        for origin in ["https://a.example", "http://localhost:3000"] {
            let answer = ask(&node, Method::GET, "/status", &[("origin", origin)]).await;
            assert_eq!(header(&answer, "access-control-allow-origin"), origin);
            assert_eq!(header(&answer, "access-control-allow-credentials"), "true");
            assert!(header(&answer, "vary").contains("origin"));
        }
        for origin in [
            "null",
            "http://a.example",
            "https://a.example:444",
            "https://sub.a.example",
            "https://a.example.evil.org",
            "https://evil-a.example",
            "https://A.EXAMPLE",
        ] {
            let answer = ask(&node, Method::GET, "/status", &[("origin", origin)]).await;
            assert_eq!(header(&answer, "access-control-allow-origin"), "", "{origin}");
        }
    }

    #[tokio::test]
    async fn s42_a_preflight_allows_what_the_api_needs() {
        let node = node(None, &["https://a.example"]);
        let asked = [
            ("origin", "https://a.example"),
            ("access-control-request-method", "DELETE"),
            ("access-control-request-headers", "authorization,idempotency-key"),
        ];
        let answer = ask(&node, Method::OPTIONS, "/send", &asked).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(header(&answer, "access-control-allow-origin"), "https://a.example");
        assert!(header(&answer, "access-control-allow-methods").contains("DELETE"));
        assert!(header(&answer, "access-control-allow-headers").contains("idempotency-key"));
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
    }

    #[tokio::test]
    async fn a_plain_request_id_is_kept_and_any_other_replaced() {
        let node = node(None, &[]);
        let kept = ask(&node, Method::GET, "/id", &[("x-request-id", "abc-1.2_3")]).await;
        assert_eq!(header(&kept, "x-request-id"), "abc-1.2_3");
        let body = axum::body::to_bytes(kept.into_body(), 100).await.expect("a short body");
        assert_eq!(body, "abc-1.2_3", "handlers see it");
        for bad in ["", "a b", "a\tb", "<script>", &"x".repeat(65)] {
            let made = ask(&node, Method::GET, "/id", &[("x-request-id", bad)]).await;
            assert_eq!(header(&made, "x-request-id").len(), 32, "{bad}");
        }
    }

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic while writing").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn s04_a_token_in_the_query_is_in_no_log_line() {
        let page = Page::default();
        let writer = page.clone();
        let everything = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        let _until_the_end =
            tracing::subscriber::set_default(everything.with_writer(move || writer.clone()).finish());
        let node = node(None, &[]);
        for path in ["/status?token=hunter2", "/absent?token=hunter2", "/broken?a=b&token=hunter2"] {
            ask(&node, Method::GET, path, &[("x-request-id", "abc")]).await;
        }
        let log = String::from_utf8(page.0.lock().expect("no panic while writing").clone()).expect("UTF-8");
        assert!(log.contains("uri=/status?[redacted]") && log.contains("status=500"), "{log}");
        assert!(log.contains("request_id=\"abc\""), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }

    #[test]
    fn s04_the_query_never_reaches_the_log() {
        let long = format!("/{}?token=hunter2", "x".repeat(1_000));
        for uri in ["/live-chat/ws/7?token=hunter2", "http://u:hunter2@h/x?token=hunter2", "*", &long] {
            let shown = Redacted(&uri.parse().expect("a URI")).to_string();
            assert!(!shown.contains("hunter2") && shown.len() < 300, "{shown}");
        }
        assert_eq!(Redacted(&"/a?b=c".parse().expect("a URI")).to_string(), "/a?[redacted]");
        assert_eq!(Redacted(&"/a".parse().expect("a URI")).to_string(), "/a");
    }
}
