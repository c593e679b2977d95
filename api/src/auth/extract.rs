//! `Caller` as an argument: a handler that names it is reached only by somebody who was let in, from a page that may
//! talk to us.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use shared::error::Error;

use super::origin::{Asked, is_upgrade};
use super::{Authenticator, Caller, Credential, Via};
use crate::respond::Failure;

impl Authenticator {
    /// Lets the sender of an ordinary request in.
    pub(crate) async fn authenticate_request(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Caller, Error> {
        let credential = Credential::of_request(headers);
        self.check_origin(method, headers, is_upgrade(headers), credential.as_ref())?;
        self.authenticate(credential).await
    }

    /// The credential of the opener of a raw WebSocket, from a page that may talk to us. It alone may give the token in
    /// the query: queries end up in the logs of everything on the way.
    pub(crate) fn upgrade_credential(
        &self,
        method: &Method,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Option<Credential>, Error> {
        let credential = Credential::of_upgrade(headers, query);
        self.check_origin(method, headers, true, credential.as_ref())?;
        Ok(credential)
    }

    fn check_origin(
        &self,
        method: &Method,
        headers: &HeaderMap,
        is_upgrade: bool,
        credential: Option<&Credential>,
    ) -> Result<(), Error> {
        let has_cookie_credential = credential.is_some_and(|credential| credential.via == Via::Cookie);
        self.origins.check(Asked { method, headers, is_upgrade, has_cookie_credential })
    }
}

impl<S> FromRequestParts<S> for Caller
where
    Arc<Authenticator>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let authenticator = Arc::<Authenticator>::from_ref(state);
        Ok(authenticator.authenticate_request(&parts.method, &parts.headers).await?)
    }
}
