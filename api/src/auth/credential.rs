//! Where a request carries its token. The header wins over the query, and both win over the cookie, which a browser adds
//! without being asked; whichever is found is the one that must hold, the others are not tried.

use axum::http::{HeaderMap, header};

use super::session::COOKIE;

/// By which way a token came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Via {
    /// `Authorization: Bearer`, or a dialect's own first frame.
    Bearer,
    /// `?token=` of a WebSocket.
    Query,
    /// The session cookie.
    Cookie,
}

/// A token as it came in. No `Debug`: it is as good as a password.
pub(crate) struct Credential {
    pub(crate) token: String,
    pub(crate) via: Via,
}

impl Credential {
    /// A token that a dialect was handed in a frame of its own.
    pub(crate) fn bearer(token: impl Into<String>) -> Self {
        Self { token: token.into(), via: Via::Bearer }
    }

    /// The credential of an ordinary request.
    pub(crate) fn of_request(headers: &HeaderMap) -> Option<Self> {
        bearer(headers).or_else(|| cookie(headers))
    }

    /// The credential of a WebSocket: browsers can't give it headers, so its query may carry the token.
    pub(crate) fn of_upgrade(headers: &HeaderMap, query: Option<&str>) -> Option<Self> {
        bearer(headers).or_else(|| query.and_then(from_query)).or_else(|| cookie(headers))
    }
}

fn bearer(headers: &HeaderMap) -> Option<Credential> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Credential::bearer(token.trim_matches(' ')))
}

/// As it stands: no character of a token needs escaping, so one that has an escape is none.
fn from_query(query: &str) -> Option<Credential> {
    let token = query.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    (!token.is_empty()).then(|| Credential { token: token.to_owned(), via: Via::Query })
}

fn cookie(headers: &HeaderMap) -> Option<Credential> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let token = lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE && !value.is_empty()).then_some(value)
    })?;
    Some(Credential { token: token.to_owned(), via: Via::Cookie })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[(&'static str, &str)], query: Option<&str>, is_upgrade: bool) -> Option<(String, Via)> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a header value"));
        }
        let credential = match is_upgrade {
            true => Credential::of_upgrade(&headers, query),
            false => Credential::of_request(&headers),
        };
        credential.map(|credential| (credential.token, credential.via))
    }

    #[test]
    fn s04_a_token_is_taken_from_header_query_or_cookie_in_this_order() {
        let is = |token: &str, via| Some((token.to_owned(), via));
        let cookie = ("cookie", "theme=dark; hubbub_session=c; x=y");
        let header = ("authorization", "bearer h");
        let query = Some("after=0:1&token=q&x=y");
        assert_eq!(found(&[cookie, header], query, true), is("h", Via::Bearer));
        assert_eq!(found(&[cookie], query, true), is("q", Via::Query));
        assert_eq!(found(&[cookie], query, false), is("c", Via::Cookie));
        assert_eq!(found(&[cookie], Some("token="), true), is("c", Via::Cookie));
        assert_eq!(found(&[("cookie", "a=b"), cookie], None, true), is("c", Via::Cookie));
        for nothing in
            [("cookie", "hubbub_session="), ("cookie", "xhubbub_session=c"), ("authorization", "Basic h")]
        {
            assert_eq!(found(&[nothing], Some("mytoken=q"), true), None, "{nothing:?}");
        }
        assert_eq!(found(&[header, cookie], None, false), is("h", Via::Bearer));
        assert_eq!(found(&[("authorization", "Bearer ")], None, false), is("", Via::Bearer));
    }
}
