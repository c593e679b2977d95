//! Whatever a Hubbub process may be told, it is told once, at start, and checked there: a bad value stops the
//! process with the variable's name, and what is unsafe needs APP_ENV=development, which is not the default.

mod secret;
mod vars;

use std::net::SocketAddr;
use std::time::Duration;

use crate::planted;
pub use secret::{DEVELOPMENT_KEY, SECRET_BYTES_MIN, Secret};
pub use vars::{ConfigError, Reader, Vars};

/// Where a process serves its metrics and readiness; each service states a default port of its own.
pub const INTERNAL_LISTEN: &str = "INTERNAL_LISTEN";

const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];
const REDIS: [&str; 2] = ["redis://", "rediss://"];

#[derive(Clone, Copy)]
enum Need {
    Required,
    Optional,
}

/// Whether this process serves strangers or its own developer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppEnv {
    /// The default: whatever is unsafe is refused at start.
    Production,
    /// Development login exists and unsafe settings are only warned about.
    Development,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}

/// What to do at start when the log Redis runs with settings that can lose acked messages, `everysec` among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsafeRedis {
    /// Do not start.
    Refuse,
    /// Start and say so.
    Warn,
}

/// The settings that all services have in common. No `Debug`: some of them are secret.
#[derive(Clone)]
pub struct Common {
    /// `APP_ENV`.
    pub app_env: AppEnv,
    /// `REDIS_URL`: the log.
    pub redis_url: Secret,
    /// `BUS_REDIS_URL`: inboxes, routes, presence. The log's Redis unless given.
    pub bus_redis_url: Secret,
    /// `UNSAFE_REDIS`: refuse in production, warn in development.
    pub unsafe_redis: UnsafeRedis,
    /// `PARTITIONS`. Part of every integer id, so it is fixed by the first migration.
    pub partitions: u16,
    /// `LEASE_MS`: how long a silent owner keeps a partition.
    pub lease: Duration,
    /// `LOG_RETAIN_SECS`: how long entries stay in the log after Postgres has them.
    pub log_retain: Duration,
    /// `LOG_MAX_ENTRIES`: backlog of one partition at which new sends are refused.
    pub log_max_entries: u64,
    /// `LOG_MAX_BYTES`: bytes of one partition's retained entries at which new sends are refused.
    pub log_max_bytes: u64,
    /// `DRAIN_SECS`: over how long a stopping api node spreads the closing of its sockets.
    pub drain: Duration,
    /// `LOG_FORMAT`: JSON in production, human in development.
    pub log_format: LogFormat,
    /// `RUST_LOG`: which log lines are written, in the usual directives.
    pub log_filter: String,
    /// `INTERNAL_LISTEN`: /livez, /readyz, /metrics. Any free loopback port unless the service has a default.
    pub internal_listen: SocketAddr,
    /// `INTERNAL_URL`: under which address other nodes reach that listener. Nothing asks for it yet.
    pub internal_url: Option<String>,
    /// `INTERNAL_SECRET`: what the callers of that listener show.
    pub internal_secret: Option<Secret>,
    /// What is allowed here but should be said at start.
    pub warnings: Vec<String>,
}

/// Postgres, for the services that use it; fan-out workers don't. No `Debug`: the address holds a password.
#[derive(Clone)]
pub struct Database {
    /// `DATABASE_URL`.
    pub url: Secret,
    /// `DATABASE_POOL_MAX`: connections at most.
    pub connections: u32,
}

impl Database {
    /// With a reader that other settings are read by too. `None` only if the reader noted why.
    pub fn read(read: &mut Reader<'_>) -> Option<Database> {
        let url = address(read, "DATABASE_URL", Need::Required, &POSTGRES);
        let connections = read.number("DATABASE_POOL_MAX", 8, 1..=1_000);
        Some(Database { url: url?, connections })
    }
}

impl Common {
    /// Reads and checks what a service that uses Postgres is told.
    pub fn parse_with_database(vars: &Vars) -> Result<(Common, Database), ConfigError> {
        let mut read = Reader::new(vars);
        let settings = (Common::read(&mut read), Database::read(&mut read));
        read.finish()?;
        let (common, database) = settings;
        Ok(common.zip(database).expect("a reader without problems found everything that is required"))
    }

    /// Reads and checks.
    pub fn parse(vars: &Vars) -> Result<Common, ConfigError> {
        let mut read = Reader::new(vars);
        let common = Common::read(&mut read);
        read.finish()?;
        Ok(common.expect("a reader without problems found everything that is required"))
    }

    /// The same with a reader that other settings are read by too. `None` only if the reader noted why.
    pub fn read(read: &mut Reader<'_>) -> Option<Common> {
        let app_env = read_app_env(read);
        let development = app_env == AppEnv::Development;
        let redis_url = address(read, "REDIS_URL", Need::Required, &REDIS);
        let bus_redis_url = address(read, "BUS_REDIS_URL", Need::Optional, &REDIS);
        let (internal_listen, internal_url, internal_secret) = read_internal(read, app_env);
        let default_format = if development { LogFormat::Human } else { LogFormat::Json };
        Some(Common {
            app_env,
            unsafe_redis: read_unsafe_redis(read, app_env),
            partitions: read.number("PARTITIONS", 16, 1..=1_024),
            lease: read.millis("LEASE_MS", 6_000, 200..=600_000),
            log_retain: read.seconds("LOG_RETAIN_SECS", 600, 1..=604_800),
            log_max_entries: read.number("LOG_MAX_ENTRIES", 1_000_000, 1..=u64::from(u32::MAX)),
            log_max_bytes: read.number("LOG_MAX_BYTES", 1 << 26, 1 << 20..=1 << 50),
            drain: read.seconds("DRAIN_SECS", 20, 0..=3_600),
            log_format: read
                .parsed("LOG_FORMAT", "json or human", |text| match text {
                    "json" => Some(LogFormat::Json),
                    "human" => Some(LogFormat::Human),
                    _ => None,
                })
                .unwrap_or(default_format),
            log_filter: read
                .parsed("RUST_LOG", "log directives such as info,hubbub=debug", log_filter)
                .unwrap_or_else(|| "info".to_owned()),
            internal_listen,
            internal_url,
            internal_secret,
            warnings: read.take_warnings(),
            bus_redis_url: bus_redis_url.or_else(|| redis_url.clone())?,
            redis_url: redis_url?,
        })
    }
}

fn read_app_env(read: &mut Reader<'_>) -> AppEnv {
    let parse = |text: &str| match text {
        "production" => Some(AppEnv::Production),
        "development" => Some(AppEnv::Development),
        _ => None,
    };
    let app_env = read.parsed("APP_ENV", "production or development", parse).unwrap_or(AppEnv::Production);
    if planted::POSSIBLE {
        read.unsafe_setting(
            app_env,
            planted::VARIABLE,
            "is obeyed by this build: it can have bugs on purpose",
        );
    }
    app_env
}

fn read_unsafe_redis(read: &mut Reader<'_>, app_env: AppEnv) -> UnsafeRedis {
    let parse = |text: &str| match text {
        "refuse" => Some(UnsafeRedis::Refuse),
        "warn" => Some(UnsafeRedis::Warn),
        _ => None,
    };
    match (read.parsed("UNSAFE_REDIS", "refuse or warn", parse), app_env) {
        (Some(UnsafeRedis::Warn), AppEnv::Production) => {
            read.unsafe_setting(app_env, "UNSAFE_REDIS", "accepts a log that can lose acked messages");
            UnsafeRedis::Refuse
        }
        (Some(chosen), _) => chosen,
        (None, AppEnv::Production) => UnsafeRedis::Refuse,
        (None, AppEnv::Development) => UnsafeRedis::Warn,
    }
}

fn read_internal(read: &mut Reader<'_>, app_env: AppEnv) -> (SocketAddr, Option<String>, Option<Secret>) {
    let listen = read
        .parsed(INTERNAL_LISTEN, "an address with port such as 127.0.0.1:9000", |text| text.parse().ok())
        .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let url = read.parsed("INTERNAL_URL", "an http:// or https:// address", |text| {
        (text.starts_with("http://") || text.starts_with("https://"))
            .then(|| text.trim_end_matches('/').to_owned())
    });
    let secret = read.secret("INTERNAL_SECRET");
    if let Some(weakness) = secret.as_ref().and_then(Secret::weakness) {
        read.unsafe_setting(app_env, "INTERNAL_SECRET", &format!("should be {weakness}"));
    }
    if secret.is_none() && !listen.ip().is_loopback() {
        read.unsafe_setting(app_env, INTERNAL_LISTEN, "is open to others while INTERNAL_SECRET is not set");
    }
    (listen, url, secret)
}

/// An address, which may hold a password: only its beginning is checked.
fn address(read: &mut Reader<'_>, name: &str, need: Need, schemes: &[&str]) -> Option<Secret> {
    let address = match need {
        Need::Required => {
            read.required_secret(name, &format!("an address that begins with {}", schemes.join(" or ")))
        }
        Need::Optional => read.secret(name),
    }?;
    if schemes.iter().any(|scheme| address.expose().starts_with(scheme)) {
        return Some(address);
    }
    read.refuse(name, &format!("must begin with {}", schemes.join(" or ")));
    None
}

/// The directives as given, if they are any.
fn log_filter(text: &str) -> Option<String> {
    tracing_subscriber::EnvFilter::try_new(text).ok().map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(more: &[(&str, &str)]) -> Vars {
        let base = [("DATABASE_URL", "postgres://db/hubbub"), ("REDIS_URL", "redis://log:6379")];
        base.iter().chain(more).copied().collect()
    }

    fn problems(more: &[(&str, &str)]) -> Vec<String> {
        Common::parse_with_database(&vars(more)).err().map(|error| error.0).unwrap_or_default()
    }

    #[test]
    fn two_addresses_suffice() {
        let (common, database) = Common::parse_with_database(&vars(&[])).expect("all else has a default");
        assert_eq!((database.url.expose(), database.connections), ("postgres://db/hubbub", 8));
        assert_eq!(common.app_env, AppEnv::Production);
        assert_eq!(common.partitions, 16);
        assert_eq!(common.lease, Duration::from_secs(6));
        assert_eq!(common.bus_redis_url.expose(), "redis://log:6379");
        assert_eq!(common.internal_listen.to_string(), "127.0.0.1:0");
        assert_eq!(common.log_format, LogFormat::Json);
        assert_eq!(common.unsafe_redis, UnsafeRedis::Refuse);
        assert!(common.warnings.is_empty());
    }

    #[test]
    fn missing_addresses_are_named_together() {
        let error =
            Common::parse_with_database(&Vars::default()).err().expect("nothing was given").to_string();
        assert!(
            error.contains("DATABASE_URL is missing") && error.contains("REDIS_URL is missing"),
            "{error}"
        );
    }

    #[test]
    fn who_needs_no_postgres_is_not_asked_for_one() {
        let vars = Vars::default().with("REDIS_URL", "redis://log:6379");
        assert_eq!(
            Common::parse(&vars).expect("one address suffices").redis_url.expose(),
            "redis://log:6379"
        );
    }

    #[test]
    fn bad_values_name_the_variable() {
        let cases = [
            ("APP_ENV", "staging", "APP_ENV must be production or development"),
            ("DATABASE_URL", "mysql://db:hunter2@h", "DATABASE_URL must begin with postgres://"),
            ("BUS_REDIS_URL", "bus:6379", "BUS_REDIS_URL must begin with redis://"),
            ("PARTITIONS", "0", "PARTITIONS must be a whole number from 1 to 1024"),
            ("LEASE_MS", "6s", "LEASE_MS must be a whole number"),
            ("LOG_FORMAT", "xml", "LOG_FORMAT must be json or human"),
            ("RUST_LOG", "a=b=c", "RUST_LOG must be log directives"),
            ("INTERNAL_LISTEN", "9000", "INTERNAL_LISTEN must be an address with port"),
            ("INTERNAL_URL", "node-1:9000", "INTERNAL_URL must be an http:// or https:// address"),
        ];
        for (name, value, expected) in cases {
            let problems = problems(&[(name, value)]);
            assert_eq!(problems.len(), 1, "{name}: {problems:?}");
            assert!(problems[0].starts_with(expected), "{problems:?}");
            assert!(!problems[0].contains("hunter2"));
        }
    }

    #[test]
    fn s39_unsafe_settings_need_development() {
        let cases: [&[(&str, &str)]; 3] = [
            &[("UNSAFE_REDIS", "warn")],
            &[("INTERNAL_LISTEN", "0.0.0.0:9000")],
            &[("INTERNAL_SECRET", "short")],
        ];
        for case in cases {
            let refused = problems(case);
            assert_eq!(refused.len(), 1, "{case:?}");
            assert!(refused[0].contains("only APP_ENV=development allows"), "{refused:?}");
            let relaxed: Vec<_> = case.iter().copied().chain([("APP_ENV", "development")]).collect();
            assert!(problems(&relaxed).is_empty(), "{case:?}");
        }
    }

    #[test]
    fn s41_an_open_internal_listener_wants_a_secret() {
        let secret = ("INTERNAL_SECRET", "7f3c9be1a5d2480c96e1f0b8d4a37c52");
        assert!(problems(&[("INTERNAL_LISTEN", "0.0.0.0:9000"), secret]).is_empty());
        assert!(problems(&[("INTERNAL_LISTEN", "[::1]:9000")]).is_empty());
        assert_eq!(problems(&[("INTERNAL_LISTEN", "[::]:9000")]).len(), 1);
    }
}
