//! The settings of an api node: who may sign in, from which pages, under which address, when the live chat is open,
//! and how much of anything one may have. Read and checked once, at start.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::http::Uri;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use ipnet::IpNet;
use shared::config::{AppEnv, Common, ConfigError, DEVELOPMENT_KEY, Database, Reader, Secret, Vars};

use crate::limits::Limits;

/// In `ALLOWED_ORIGINS`: any page. Development only.
pub const ANY_ORIGIN: &str = "*";

/// Everything that an api node is told. No `Debug`: some of it is secret.
#[derive(Clone)]
pub struct Config {
    /// What all services are told.
    pub common: Common,
    /// Where the rows are.
    pub database: Database,
    /// `LISTEN`: where clients connect.
    pub listen: Vec<SocketAddr>,
    /// `SECRET_KEY`: signs the tokens, cookies and links of the built-in issuer.
    pub secret_key: Secret,
    /// `SECRET_KEY_PREVIOUS`: still believed, no longer signed with, while a key is being rotated.
    pub secret_key_previous: Option<Secret>,
    /// `AUTH_ISSUERS`: JSON, from the variable or from the file that it names. It may hold keys.
    pub auth_issuers: Option<Secret>,
    /// `DEV_LOGIN`: sign-in by name alone.
    pub dev_login: bool,
    /// `ALLOWED_ORIGINS`: pages of other origins that may call us with credentials, as browsers write origins.
    pub allowed_origins: Vec<String>,
    /// `PUBLIC_URL`: the origin under which clients see us.
    pub public_url: Option<String>,
    /// `TRUSTED_PROXIES`: whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `OUTBOX_BYTES_MAX`: bytes that may wait for one connection.
    pub outbox_bytes_max: usize,
    /// `OUTBOX_AGE_MS`: how long the oldest of them may wait.
    pub outbox_age: Duration,
    /// `GAP_WAIT_MS`: how long a room stands still for an event that it lacks and no store can give it now.
    pub gap_wait: Duration,
    /// `LIVE_CHAT_*` and `DRAW_*`.
    pub live_chat: LiveChatSettings,
    /// `LIMIT_*`.
    pub limits: Limits,
    /// Variables named `LIVE_CHAT_*` that mean nothing to us: misspelt, most likely.
    pub unknown_live_chat: Vec<String>,
    /// What else should be said at start.
    pub warnings: Vec<String>,
}

/// When the live chat is open and what one may do there.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveChatSettings {
    /// `LIVE_CHAT_ENABLED`.
    pub enabled: bool,
    /// `LIVE_CHAT_PRE_DRAW_HOURS`: open so long before the draw.
    pub pre_draw: Duration,
    /// `LIVE_CHAT_POST_DRAW_HOURS`: and so long after it.
    pub post_draw: Duration,
    /// `LIVE_CHAT_MAX_MESSAGES_PER_USER_PER_MINUTE`: in any 60 seconds.
    pub max_messages_per_user_per_minute: u32,
    /// `LIVE_CHAT_MESSAGE_HISTORY_LIMIT`: most messages of one history answer.
    pub message_history_limit: u32,
    /// `DRAW_TIME_HOUR`: of every day, in the draw's time zone.
    pub draw_hour: u32,
    /// `DRAW_TIME_MINUTE`.
    pub draw_minute: u32,
    /// `DRAW_TIMEZONE`: an IANA name.
    pub draw_timezone: Tz,
    /// `DRAW_TIMES`: the draws one by one, as given; when there are any, there is no daily draw.
    pub draw_times: Vec<DateTime<Utc>>,
}

impl Config {
    /// Reads and checks.
    pub fn parse(vars: &Vars) -> Result<Config, ConfigError> {
        let mut read = Reader::new(vars);
        let config = Config::read(&mut read);
        read.finish()?;
        Ok(config.expect("a reader without problems found everything that is required"))
    }

    /// `None` only if the reader noted why.
    fn read(read: &mut Reader<'_>) -> Option<Config> {
        let (common, database) = (Common::read(read), Database::read(read));
        // Without the common settings the others are still read, so that their problems are told too.
        let app_env = common.as_ref().map_or(AppEnv::Production, |common| common.app_env);
        let secret_key = read_signing_key(read, app_env);
        let secret_key_previous = read.secret("SECRET_KEY_PREVIOUS");
        check_signing_key(read, app_env, "SECRET_KEY_PREVIOUS", secret_key_previous.as_ref());
        let live_chat = read_live_chat(read);
        let limits = Limits::read(read);
        let (auth_issuers, dev_login) = (read_issuers(read), read_dev_login(read, app_env));
        let allowed_origins = read_allowed_origins(read, app_env);
        let public_url = read_public_url(read, app_env);
        let listen = read.list("LISTEN", "ports or addresses with port", listen_address);
        let trusted_proxies = read.list("TRUSTED_PROXIES", "IP networks such as 10.0.0.0/8", network);
        let outbox_bytes_max = read.number("OUTBOX_BYTES_MAX", 1 << 20, 1 << 16..=1 << 30);
        let outbox_age = read.millis("OUTBOX_AGE_MS", 10_000, 100..=600_000);
        let gap_wait = read.millis("GAP_WAIT_MS", 5_000, 0..=600_000);
        for name in [read.unknown("LIMIT_"), read.unknown("DRAW_")].concat() {
            read.warn(&name, "is not a setting of ours");
        }
        Some(Config {
            common: common?,
            database: database?,
            listen: if listen.is_empty() { vec![SocketAddr::from(([0, 0, 0, 0], 8_000))] } else { listen },
            secret_key: secret_key?,
            secret_key_previous,
            auth_issuers,
            dev_login,
            allowed_origins,
            public_url,
            trusted_proxies,
            outbox_bytes_max,
            outbox_age,
            gap_wait,
            live_chat,
            limits,
            unknown_live_chat: read.unknown("LIVE_CHAT_"),
            warnings: read.take_warnings(),
        })
    }
}

/// A node in development that was given no key takes one that everybody knows, so that several nodes agree.
fn read_signing_key(read: &mut Reader<'_>, app_env: AppEnv) -> Option<Secret> {
    let key = match app_env {
        AppEnv::Production => {
            read.required_secret("SECRET_KEY", "at least 32 random bytes (try `openssl rand -hex 32`)")
        }
        AppEnv::Development => read.secret("SECRET_KEY").or_else(|| Some(Secret::new(DEVELOPMENT_KEY))),
    };
    check_signing_key(read, app_env, "SECRET_KEY", key.as_ref());
    key
}

fn check_signing_key(read: &mut Reader<'_>, app_env: AppEnv, name: &str, key: Option<&Secret>) {
    if let Some(weakness) = key.and_then(Secret::weakness) {
        read.unsafe_setting(app_env, name, &format!("should be {weakness}"));
    }
}

/// JSON, or the path of a file with it.
fn read_issuers(read: &mut Reader<'_>) -> Option<Secret> {
    let given = read.secret("AUTH_ISSUERS")?;
    if given.expose().starts_with(['[', '{']) {
        Some(given)
    } else {
        read.file("AUTH_ISSUERS", given.expose())
    }
}

fn read_dev_login(read: &mut Reader<'_>, app_env: AppEnv) -> bool {
    let built_in = cfg!(feature = "dev-login");
    let wanted = read.flag("DEV_LOGIN", built_in && app_env == AppEnv::Development);
    if wanted && !built_in {
        read.refuse("DEV_LOGIN", "cannot be had: this build was made without the feature dev-login");
    }
    if wanted && app_env == AppEnv::Production {
        read.unsafe_setting(app_env, "DEV_LOGIN", "lets anybody sign in as anybody");
    }
    wanted
}

fn read_allowed_origins(read: &mut Reader<'_>, app_env: AppEnv) -> Vec<String> {
    let expected = "origins such as https://chat.example.org, without path";
    let parse = |text: &str| match serde_json::from_str::<Vec<String>>(text) {
        Ok(items) => items.iter().map(|item| allowed_origin(item)).collect(),
        Err(_) => text.split(',').map(|item| allowed_origin(item.trim())).collect::<Option<Vec<_>>>(),
    };
    let origins = read
        .parsed("ALLOWED_ORIGINS", &format!("a comma-separated list of {expected}"), parse)
        .unwrap_or_default();
    if origins.iter().any(|origin| origin == ANY_ORIGIN) {
        read.unsafe_setting(app_env, "ALLOWED_ORIGINS", "allows any page to act for whoever opens it");
    }
    origins
}

fn allowed_origin(text: &str) -> Option<String> {
    if text == ANY_ORIGIN { Some(text.to_owned()) } else { origin(text) }
}

/// Cookies travel to this address, so outside development it is encrypted.
fn read_public_url(read: &mut Reader<'_>, app_env: AppEnv) -> Option<String> {
    let parse = |text: &str| match text.split_once("://") {
        Some(("ws", rest)) => origin(&format!("http://{rest}")),
        Some(("wss", rest)) => origin(&format!("https://{rest}")),
        _ => origin(text),
    };
    let url = read.parsed("PUBLIC_URL", "an origin such as https://chat.example.org, without path", parse)?;
    if url.starts_with("http://") && app_env == AppEnv::Production {
        read.unsafe_setting(
            app_env,
            "PUBLIC_URL",
            "is not https, so tokens and cookies would travel in the clear",
        );
    }
    Some(url)
}

/// An origin as browsers write it: scheme and host in lower case, no default port, no path.
fn origin(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let default_port = match uri.scheme_str()? {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !text.contains(['@', '#']);
    let (scheme, host) = (uri.scheme_str()?, uri.host()?.to_ascii_lowercase());
    if !bare || host.is_empty() || host.contains('*') {
        return None;
    }
    let port = match uri.authority()?.as_str().strip_prefix(uri.host()?)? {
        "" => default_port,
        rest => rest.strip_prefix(':')?.parse::<u16>().ok()?,
    };
    if port == default_port {
        Some(format!("{scheme}://{host}"))
    } else {
        Some(format!("{scheme}://{host}:{port}"))
    }
}

/// `8000`, `:8000` or `10.0.0.1:8000`.
fn listen_address(text: &str) -> Option<SocketAddr> {
    match text.trim_start_matches(':').parse::<u16>() {
        Ok(port) => Some(SocketAddr::from(([0, 0, 0, 0], port))),
        Err(_) => text.parse().ok(),
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn read_live_chat(read: &mut Reader<'_>) -> LiveChatSettings {
    let draw_times = read.list("DRAW_TIMES", "RFC 3339 times such as 2024-01-01T20:00:00Z", |text| {
        DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
    });
    let settings = LiveChatSettings {
        enabled: read.flag("LIVE_CHAT_ENABLED", true),
        pre_draw: read.hours("LIVE_CHAT_PRE_DRAW_HOURS", 1),
        post_draw: read.hours("LIVE_CHAT_POST_DRAW_HOURS", 1),
        max_messages_per_user_per_minute: read.number(
            "LIVE_CHAT_MAX_MESSAGES_PER_USER_PER_MINUTE",
            10,
            1..=100_000,
        ),
        message_history_limit: read.number("LIVE_CHAT_MESSAGE_HISTORY_LIMIT", 100, 1..=1_000),
        draw_hour: read.number("DRAW_TIME_HOUR", 20, 0..=23),
        draw_minute: read.number("DRAW_TIME_MINUTE", 0, 0..=59),
        draw_timezone: read
            .parsed("DRAW_TIMEZONE", "an IANA time zone such as Europe/Berlin", |text| text.parse().ok())
            .unwrap_or(Tz::UTC),
        draw_times,
    };
    if settings.pre_draw + settings.post_draw == Duration::ZERO {
        read.refuse("LIVE_CHAT_PRE_DRAW_HOURS", "and LIVE_CHAT_POST_DRAW_HOURS must not both be 0");
    }
    settings
}

#[cfg(test)]
mod tests;
