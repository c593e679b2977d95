//! Which pages may talk to us. A browser attaches the session cookie to whatever any page asks of us, WebSockets
//! included, and the `Origin` header is the one thing that page can't choose: so an Origin that is present must be one
//! of ours, and where a cookie could do harm it must be present.
//!
//! Browsers send no Origin with a plain GET or HEAD to their own origin, hence the exception for those.

use std::collections::HashSet;

use axum::http::{HeaderMap, Method, header};
use reqwest::Url;
use shared::config::{AppEnv, ConfigError};
use shared::error::{Code, Error};

/// The origins that may talk to us.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    /// As browsers write them: scheme, host, and the port unless it is the scheme's own.
    allowed: HashSet<String>,
    /// In development a page that this very address served is ours, whatever the address is called.
    host_is_ours: bool,
    /// `*`, in development only. Never lets a cookie through.
    any_without_cookie: bool,
}

/// What the rule looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'r> {
    pub(crate) method: &'r Method,
    pub(crate) headers: &'r HeaderMap,
    /// Whether the request asks for a WebSocket.
    pub(crate) is_upgrade: bool,
    /// Whether the caller is known by the cookie alone.
    pub(crate) has_cookie_credential: bool,
}

impl Origins {
    /// From ALLOWED_ORIGINS and PUBLIC_URL.
    pub(crate) fn new(
        allowed: &[String],
        public_url: Option<&str>,
        app_env: AppEnv,
    ) -> Result<Self, ConfigError> {
        let development = app_env == AppEnv::Development;
        let mut origins = Self { host_is_ours: development, ..Self::default() };
        let mut problems = Vec::new();
        for origin in allowed {
            match (origin.as_str(), origin_of(origin)) {
                ("*", _) if development => origins.any_without_cookie = true,
                (_, Some((origin, true))) => drop(origins.allowed.insert(origin)),
                _ => {
                    problems
                        .push("ALLOWED_ORIGINS must list origins such as https://chat.example".to_owned());
                }
            }
        }
        match public_url.map(origin_of) {
            Some(Some((origin, _))) => drop(origins.allowed.insert(origin)),
            Some(None) => problems.push("PUBLIC_URL must be an http:// or https:// address".to_owned()),
            None => {}
        }
        if problems.is_empty() { Ok(origins) } else { Err(ConfigError(problems)) }
    }

    /// Refuses what a foreign page may have sent.
    pub(crate) fn check(&self, asked: Asked<'_>) -> Result<(), Error> {
        let mut origins = asked.headers.get_all(header::ORIGIN).iter();
        let allowed = match (origins.next(), origins.next()) {
            (None, _) => !asked.has_cookie_credential || asked.is_harmless(),
            (Some(origin), None) => origin.to_str().is_ok_and(|origin| self.allows(origin, asked)),
            (Some(_), Some(_)) => false,
        };
        if allowed { Ok(()) } else { Err(Error::refused(Code::Forbidden, "Origin is not allowed")) }
    }

    /// Byte for byte: a browser writes an origin in one way only, so whoever writes it otherwise is none.
    fn allows(&self, origin: &str, asked: Asked<'_>) -> bool {
        self.allowed.contains(origin)
            || (self.host_is_ours && asked.names_host(origin))
            || (self.any_without_cookie && !asked.has_cookie_credential && origin_of(origin).is_some())
    }
}

impl Asked<'_> {
    fn is_harmless(self) -> bool {
        !self.is_upgrade && (self.method == Method::GET || self.method == Method::HEAD)
    }

    /// Whether `origin` is the address that the request itself went to. The scheme can't be known behind a balancer.
    fn names_host(self, origin: &str) -> bool {
        let host = self.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let named = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        named.is_some() && named == host
    }
}

/// Whether a request asks for a WebSocket.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE) || headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

/// The origin of an address as a browser writes it, and whether the address was nothing but that.
fn origin_of(address: &str) -> Option<(String, bool)> {
    let url = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let bare =
        url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    Some((url.origin().ascii_serialization(), bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(app_env: AppEnv, allowed: &[&str]) -> Origins {
        let allowed: Vec<String> = allowed.iter().map(|&origin| origin.to_owned()).collect();
        Origins::new(&allowed, Some("https://chat.example/base"), app_env).expect("good settings")
    }

    fn allowed(
        origins: &Origins,
        origin: Option<&str>,
        method: &Method,
        is_upgrade: bool,
        cookie: bool,
    ) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "127.0.0.1:8000".parse().expect("a header value"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().expect("a header value"));
        }
        origins.check(Asked { method, headers: &headers, is_upgrade, has_cookie_credential: cookie }).is_ok()
    }

    #[test]
    fn s01_an_origin_that_is_present_must_be_ours_with_token_or_cookie() {
        let ours = origins(
            AppEnv::Production,
            &["https://app.example", "http://localhost:3000", "https://b.example:443/"],
        );
        let good =
            ["https://app.example", "http://localhost:3000", "https://chat.example", "https://b.example"];
        let bad = [
            "https://evil.example",
            "null",
            "",
            "https://app.example.evil.example",
            "https://evil-app.example",
            "https://sub.app.example",
            "https://APP.example",
            "HTTPS://app.example",
            "http://app.example",
            "https://app.example:8443",
            "https://app.example:443",
            "https://app.example/",
            "https://app.example.",
            "http://localhost",
            "http://localhost:30000",
            "http://127.0.0.1:3000",
            "http://127.0.0.1:8000",
            "app.example",
            "https://app.example https://evil.example",
            "https://app.example,https://evil.example",
            "*",
            "file://",
            "https://app.example@evil.example",
            "https://аpp.example",
            "chrome-extension://app.example",
        ];
        for cookie in [false, true] {
            for (method, upgrade) in [(Method::GET, true), (Method::GET, false), (Method::POST, false)] {
                for origin in good {
                    assert!(
                        allowed(&ours, Some(origin), &method, upgrade, cookie),
                        "{origin} {method} {cookie}"
                    );
                }
                for origin in bad.iter().filter(|origin| origin.is_ascii()) {
                    assert!(
                        !allowed(&ours, Some(origin), &method, upgrade, cookie),
                        "{origin} {method} {cookie}"
                    );
                }
            }
        }
    }

    #[test]
    fn s47_a_cookie_needs_an_origin_wherever_it_could_do_harm() {
        let ours = origins(AppEnv::Production, &[]);
        for (method, is_upgrade, with_cookie) in [
            (Method::GET, false, true),
            (Method::HEAD, false, true),
            (Method::GET, true, false),
            (Method::POST, false, false),
            (Method::PUT, false, false),
            (Method::PATCH, false, false),
            (Method::DELETE, false, false),
            (Method::OPTIONS, false, false),
        ] {
            assert_eq!(allowed(&ours, None, &method, is_upgrade, true), with_cookie, "{method} {is_upgrade}");
            assert!(allowed(&ours, None, &method, is_upgrade, false), "{method}: programs send no Origin");
        }
    }

    #[test]
    fn s01_two_origins_are_none() {
        let ours = origins(AppEnv::Production, &[]);
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(header::ORIGIN, "https://chat.example".parse().expect("a header value"));
        }
        let asked =
            Asked { method: &Method::GET, headers: &headers, is_upgrade: true, has_cookie_credential: false };
        assert!(ours.check(asked).is_err());
    }

    #[test]
    fn s01_only_in_development_is_the_own_address_ours_and_a_star_without_cookie_taken() {
        let here = Some("http://127.0.0.1:8000");
        let dev = origins(AppEnv::Development, &["*"]);
        assert!(allowed(&origins(AppEnv::Development, &[]), here, &Method::GET, true, true));
        assert!(!allowed(
            &origins(AppEnv::Development, &[]),
            Some("http://127.0.0.1:8001"),
            &Method::GET,
            true,
            true
        ));
        assert!(!allowed(&origins(AppEnv::Production, &[]), here, &Method::GET, true, true));
        assert!(allowed(&dev, Some("https://any.example"), &Method::POST, false, false));
        assert!(!allowed(&dev, Some("https://any.example"), &Method::POST, false, true));
        assert!(!allowed(&dev, Some("null"), &Method::POST, false, false));
        for wrong in ["*", "app.example", "https://app.example/path", "ws://app.example", ""] {
            let given = [wrong.to_owned()];
            assert!(Origins::new(&given, None, AppEnv::Production).is_err(), "{wrong} was taken");
        }
    }
}
