//! How errors look in HTTP, and how bodies are read: the only place that knows either.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use shared::error::{Code, Error, Refusal};
use shared::telemetry::names;

use crate::headers::RequestId;
use crate::json_check::{self, JsonLimits};

/// An error on its way to a client.
#[derive(Debug)]
pub(crate) struct Failure {
    error: Error,
    /// Instead of the status that goes with the code.
    status: Option<StatusCode>,
    /// Further fields of the body.
    extra: Map<String, Value>,
    /// Which field of the request is at fault.
    field: Option<&'static str>,
}

impl Failure {
    /// A value in the request that is not of its form: 422 with a list of what is wrong.
    pub(crate) fn invalid(field: &'static str, message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self { field: Some(field), ..Refusal::new(Code::Invalid, message).into() }
    }

    /// The same, saying which field of the request is at fault, where a list of such is told.
    #[must_use]
    pub(crate) fn at(mut self, field: &'static str) -> Self {
        let is_about_form = status_of(self.error.code()) == StatusCode::UNPROCESSABLE_ENTITY;
        self.field = is_about_form.then_some(field).or(self.field);
        self
    }

    /// The same with a further field in the body.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The same under another status.
    #[must_use]
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, status: None, extra: Map::new(), field: None }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Error::Refused(refusal).into()
    }
}

/// The sentence that a client reads. Of what went wrong on our side it learns nothing.
pub(crate) fn sentence(error: &Error) -> &str {
    match error {
        Error::Refused(refusal) => refusal.message.as_ref(),
        Error::Unavailable(_) => {
            "Temporarily unavailable; it is not known whether this was done, please retry"
        }
        Error::Bug(_) => "Internal error",
    }
}

fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::Forbidden | Code::NotActive | Code::NotFriends => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyLiked | Code::NotLiked | Code::Empty => StatusCode::BAD_REQUEST,
        Code::Invalid | Code::TooLong => StatusCode::UNPROCESSABLE_ENTITY,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::NonceReused | Code::Conflict => StatusCode::CONFLICT,
        Code::Overloaded | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Counts a refusal, and logs what is ours to mend.
pub(crate) fn note(error: &Error) {
    metrics::counter!(names::REFUSALS, "code" => error.code().as_str()).increment(1);
    match error {
        Error::Bug(source) => tracing::error!(error = %source, "internal error"),
        Error::Unavailable(source) => tracing::warn!(error = %source, "a store did not answer"),
        Error::Refused(_) => {}
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        note(&self.error);
        let code = self.error.code();
        let sentence = sentence(&self.error);
        let detail = match self.field {
            Some(field) => json!([{"loc": [field], "msg": sentence, "type": code.as_str()}]),
            None => json!(sentence),
        };
        let mut body = self.extra;
        body.insert("detail".to_owned(), detail);
        body.insert("code".to_owned(), code.as_str().into());
        if let Some(id) = RequestId::current() {
            body.insert("request_id".to_owned(), id.as_str().into());
        }
        let wait = match &self.error {
            Error::Refused(refusal) => refusal.retry_after,
            Error::Unavailable(_) | Error::Bug(_) => None,
        };
        if let Some(wait) = wait {
            body.insert(
                "retry_after_ms".to_owned(),
                u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).into(),
            );
        }
        let status = self.status.unwrap_or_else(|| status_of(code));
        let mut response = (status, axum::Json(Value::Object(body))).into_response();
        if let Some(wait) = wait {
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                response.headers_mut().insert(RETRY_AFTER, value);
            }
        }
        response
    }
}

/// A JSON body, checked for depth, keys and characters before anything is made of it.
pub(crate) struct Json<T>(pub(crate) T);

impl<S, T> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
    JsonLimits: axum::extract::FromRef<S>,
{
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let limits = <JsonLimits as axum::extract::FromRef<S>>::from_ref(state);
        let is_json = request.headers().get(CONTENT_TYPE).is_none_or(|kind| {
            kind.to_str().is_ok_and(|kind| {
                let kind = kind.split(';').next().unwrap_or_default().trim();
                kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
            })
        });
        if !is_json {
            return Err(Refusal::new(Code::UnsupportedMedia, "Content-Type must be application/json").into());
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let too_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
            let (code, message) = if too_large {
                (Code::TooLarge, "Body is too large")
            } else {
                (Code::Invalid, "Body can't be read")
            };
            Failure::from(Refusal::new(code, message))
        })?;
        json_check::parse(&bytes, limits)
            .map(Self)
            .map_err(|refusal| Failure { field: Some("body"), ..refusal.into() })
    }
}
