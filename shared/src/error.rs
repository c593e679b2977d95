//! What can go wrong, sorted by what the caller does next: tell the client why, let it retry, or log a bug and say
//! nothing. One stable code for all dialects; how it looks in HTTP is no business of this module.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// The stable name of a refusal, the same in every dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// No token, or one that does not hold.
    Unauthorized,
    /// Visible, but not allowed.
    Forbidden,
    /// Absent, or not visible to the caller.
    NotFound,
    /// The live chat is closed now.
    NotActive,
    /// Not a friend, blocked, or unknown: one answer for all three.
    NotFriends,
    /// Liked before.
    AlreadyLiked,
    /// A like that is not there can't be taken back.
    NotLiked,
    /// A value that is not of its form.
    Invalid,
    /// A text without anything in it.
    Empty,
    /// A text above its limit.
    TooLong,
    /// Bytes above their limit.
    TooLarge,
    /// A kind of content that is not taken here.
    UnsupportedMedia,
    /// Too many of this, from this caller, for now.
    RateLimited,
    /// The nonce names another message already.
    NonceReused,
    /// It is so already, or what was named could mean several.
    Conflict,
    /// The backlog is full; nothing was accepted.
    Overloaded,
    /// The outcome is unknown: retry with the same nonce.
    Unavailable,
    /// A bug of ours.
    Internal,
}

impl Code {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::NotActive => "not_active",
            Self::NotFriends => "not_friends",
            Self::AlreadyLiked => "already_liked",
            Self::NotLiked => "not_liked",
            Self::Invalid => "invalid",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::TooLarge => "too_large",
            Self::UnsupportedMedia => "unsupported_media",
            Self::RateLimited => "rate_limited",
            Self::NonceReused => "nonce_reused",
            Self::Conflict => "conflict",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the client did can't be done, and why. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable name.
    pub code: Code,
    /// A sentence for people; holds nothing that the caller may not know.
    pub message: Cow<'static, str>,
    /// When it is worth trying again.
    pub retry_after: Option<Duration>,
    /// The count that stands, where the refusal is about one.
    pub total: Option<i64>,
}

impl Refusal {
    /// A refusal without hints.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after: None, total: None }
    }

    /// The same, worth trying again after `wait`.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same, telling the count that stands.
    #[must_use]
    pub fn total(mut self, total: i64) -> Self {
        self.total = Some(total);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Everything that a verb can answer instead of its result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Tell the client why.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// A store did not answer, so the outcome is unknown: the client may retry the same nonce.
    #[error("unavailable: {0}")]
    Unavailable(Source),
    /// Ours to mend: log it, and tell the client nothing.
    #[error("bug: {0}")]
    Bug(Source),
}

impl Error {
    /// Shorthand for a refusal without hints.
    pub fn refused(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused(Refusal::new(code, message))
    }

    /// A store that did not answer.
    pub fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable(source.into())
    }

    /// Something that can't be, and is.
    pub fn bug(source: impl Into<Source>) -> Self {
        Self::Bug(source.into())
    }

    /// The stable code that the client sees.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::Unavailable(_) => Code::Unavailable,
            Self::Bug(_) => Code::Internal,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_postgres_away(&error) { Self::unavailable(error) } else { Self::bug(error) }
    }
}

impl From<redis::RedisError> for Error {
    fn from(error: redis::RedisError) -> Self {
        if is_redis_away(&error) { Self::unavailable(error) } else { Self::bug(error) }
    }
}

/// Whether Postgres is away, overloaded or restarting, rather than refusing what it was asked.
#[must_use]
pub fn is_postgres_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(database) => database.code().is_some_and(|state| {
            // Connection, rollback, resources, operator intervention, system and idle-transaction errors.
            ["08", "40", "53", "57", "58", "25P03", "55P03", "XX"]
                .iter()
                .any(|class| state.starts_with(class))
        }),
        _ => false,
    }
}

/// Whether Redis is away, loading or out of memory, rather than refusing what it was asked.
#[must_use]
pub fn is_redis_away(error: &redis::RedisError) -> bool {
    use redis::ErrorKind;
    let is_lost = error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || matches!(
            error.kind(),
            ErrorKind::Io | ErrorKind::AuthenticationFailed | ErrorKind::ClusterConnectionNotFound
        );
    // Of several commands, each that was refused has its own reason.
    is_lost
        || error
            .clone()
            .into_server_errors()
            .is_some_and(|errors| errors.iter().any(|(_, error)| is_server_away(error)))
}

fn is_server_away(error: &redis::ServerError) -> bool {
    use redis::ServerErrorKind;
    matches!(
        error.kind(),
        Some(
            ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
        )
    ) || matches!(error.code(), "OOM" | "MISCONF" | "NOREPLICAS")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// What a client gets from a Redis that refuses every command with `refusal`, alone and within a transaction.
    async fn from_a_redis_that_refuses(refusal: &'static str) -> [Error; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let (reader, mut writer) = socket.into_split();
            let mut lines = BufReader::new(reader).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = match line.as_str() {
                    "MULTI" | "CLIENT" => "+OK".to_owned(),
                    "GET" => format!("-{refusal}"),
                    "EXEC" => "-EXECABORT Transaction discarded because of previous errors.".to_owned(),
                    _ => continue,
                };
                writer.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
            }
        });
        let client = redis::Client::open(url).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        let alone = redis::cmd("GET").arg("key").exec_async(&mut redis).await.unwrap_err();
        let mut transaction = redis::pipe();
        transaction.atomic().get("key");
        let within = transaction.exec_async(&mut redis).await.unwrap_err();
        server.abort();
        [alone.into(), within.into()]
    }

    #[tokio::test]
    async fn a_redis_that_can_not_work_now_is_away_also_within_a_transaction() {
        for refusal in
            ["CLUSTERDOWN The cluster is down", "LOADING Redis is loading", "OOM command not allowed"]
        {
            for error in from_a_redis_that_refuses(refusal).await {
                assert!(matches!(error, Error::Unavailable(_)), "{refusal}: {error:?}");
            }
        }
        for error in from_a_redis_that_refuses("WRONGTYPE not a string").await {
            assert!(matches!(error, Error::Bug(_)), "{error:?}");
        }
    }
}
