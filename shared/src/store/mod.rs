//! Postgres: how we connect, which schema we expect, and the statements, each beside the row it reads.
//!
//! Every statement names the schema `hubbub`, takes its values as bound parameters only, and is prepared once per
//! connection. Nothing here needs DDL rights but [`migrate`].

pub mod accounts;
pub mod admin;
pub mod amendments;
pub mod direct;
pub mod effects;
pub mod friendships;
pub mod live;
pub mod membership;
pub mod messages;
pub mod partitions;
pub mod people;
pub mod receipts;
pub mod rooms;
pub mod seeds;

use std::time::Duration;

pub use sqlx::PgPool;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{Connection as _, PgExecutor, PgTransaction, Row as _};

use crate::error::Error;
use crate::id::{EntryId, Partition, Position};
use crate::planted::Bug;

/// How long a caller waits for a free connection: longer means that Postgres is away or overrun, and the client is better
/// told so than kept.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// Seconds of silence, then between probes, and probes, after which the server gives a vanished client up: its locks must
/// not outlive it by the hours that TCP would allow.
const KEEPALIVE: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "5"), ("tcp_keepalives_interval", "2"), ("tcp_keepalives_count", "3")];

/// A pool of at most `max` connections, none of which is opened before it is needed: a service starts while Postgres is
/// away, and says so in its readiness.
///
/// `deadline` bounds every statement, and every pause inside a transaction, on the server's side. It is what lets a
/// successor go on when the owner of a row lock is paused, so a worker gives less than its lease. `service` is the name
/// in `pg_stat_activity`.
///
/// # Errors
/// A malformed address; the text does not repeat it, since it holds a password.
pub fn connect(url: &str, max: u32, service: &'static str, deadline: Duration) -> Result<PgPool, Error> {
    let milliseconds = deadline.as_millis().to_string();
    // The parser takes any scheme; an address of another database is better refused than knocked at.
    let is_ours = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let options = url
        .parse::<PgConnectOptions>()
        .ok()
        .filter(|_| is_ours)
        .ok_or_else(|| Error::bug("DATABASE_URL is not a postgres:// address"))?
        .application_name(service)
        .options([
            ("statement_timeout", milliseconds.as_str()),
            ("idle_in_transaction_session_timeout", milliseconds.as_str()),
        ])
        .options(KEEPALIVE);
    Ok(PgPoolOptions::new().max_connections(max).acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(options))
}

/// Begins a transaction, also for a caller who may be dropped while waiting: a request whose client left, a turn that ran
/// into its deadline.
///
/// sqlx counts a transaction only once BEGIN was answered, so dropping its own `begin` before that gives a session back
/// to the pool which Postgres has inside a transaction: whatever is written through it next is reported as done and never
/// committed. Here a task of its own waits for the answer. If nobody wants the transaction any more, dropping it rolls back.
///
/// # Errors
/// What Postgres or the pool says.
pub async fn begin(pool: &PgPool) -> Result<PgTransaction<'static>, sqlx::Error> {
    begin_by(pool, "BEGIN").await
}

/// As [`begin`], for a transaction that rather fails than waits: any lock that it does not get within 200 ms ends it.
///
/// # Errors
/// What Postgres or the pool says.
pub async fn begin_impatient(pool: &PgPool) -> Result<PgTransaction<'static>, sqlx::Error> {
    begin_by(pool, "BEGIN; SET LOCAL lock_timeout = '200ms'").await
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that may: see `begin`")]
async fn begin_by(pool: &PgPool, statement: &'static str) -> Result<PgTransaction<'static>, sqlx::Error> {
    let pool = pool.clone();
    // The task ends early only with the runtime, and then nobody is left to be told.
    tokio::spawn(async move { pool.begin_with(statement).await })
        .await
        .unwrap_or(Err(sqlx::Error::PoolClosed))
}

/// Why the schema can't be used, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Nothing of ours is in this database.
    #[error("the database has no Hubbub schema yet: run `api migrate`")]
    Absent,
    /// An older release migrated last.
    #[error("the database schema is at version {found}, this release needs {needed}: run `api migrate`")]
    Older {
        /// The last migration that was applied.
        found: i64,
        /// The last migration that this release brings.
        needed: i64,
    },
    /// The number of partitions is part of every integer message id, so it is fixed at the first migration.
    #[error(
        "PARTITIONS is {wanted}, but this database was set up with {stored}, which can't be changed: set PARTITIONS={stored}"
    )]
    Partitions {
        /// As the database has it.
        stored: String,
        /// As the settings have it.
        wanted: u16,
    },
    /// A number of partitions that ids have no room for.
    #[error("PARTITIONS is {0}, but must be 1 to {most}", most = Partition::MOST)]
    PartitionsRange(u16),
    /// A migration failed; what it began was rolled back.
    #[error("migration failed: {0}")]
    Migration(MigrateError),
    /// Postgres did not do as asked.
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
}

impl From<SchemaError> for Error {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Postgres(source) => source.into(),
            other => Self::bug(other),
        }
    }
}

/// The migrations of this release. Their record is kept inside our schema, so `public` holds nothing but views.
fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("../migrations");
    migrator.create_schema("hubbub");
    migrator.dangerous_set_table_name("hubbub.migration");
    // A newer release may have been here: what it added is compatible with us, see migrations/README.md.
    migrator.set_ignore_missing(true);
    migrator
}

/// Brings the schema to what this release needs, and sets up an empty database. Safe to run again and from several
/// places at once: an advisory lock lets one of them work.
///
/// # Errors
/// A failed migration, or another number of partitions than the database was set up with.
pub async fn migrate(pool: &PgPool, partitions: u16) -> Result<(), SchemaError> {
    // A connection of its own, closed afterwards: a migration may take longer than any statement of a service may.
    let mut connection = pool.acquire().await?.detach();
    sqlx::query("set statement_timeout = 0").execute(&mut connection).await?;
    migrator().run(&mut connection).await.map_err(SchemaError::Migration)?;
    connection.close().await?;
    initialise(pool, partitions).await
}

/// Stores the number of partitions and their rows, unless they are there.
///
/// # Errors
/// [`SchemaError::Partitions`] when another number is stored.
pub async fn initialise(pool: &PgPool, partitions: u16) -> Result<(), SchemaError> {
    if !(1..=Partition::MOST).contains(&partitions) {
        return Err(SchemaError::PartitionsRange(partitions));
    }
    let mut transaction = begin(pool).await?;
    keep_partitions(&mut *transaction, partitions).await?;
    agree_on_partitions(&mut *transaction, partitions).await?;
    create_partitions(&mut *transaction, partitions).await?;
    transaction.commit().await?;
    Ok(())
}

/// Whether this release can work with the database as it is; for the start of a service. A newer schema is fine.
///
/// # Errors
/// What is missing, and that `api migrate` brings it.
pub async fn check(pool: &PgPool, partitions: u16) -> Result<(), SchemaError> {
    let found = schema_version(pool).await?.ok_or(SchemaError::Absent)?;
    let needed = migrator().iter().map(|migration| migration.version).max().unwrap_or(0);
    if found < needed {
        return Err(SchemaError::Older { found, needed });
    }
    agree_on_partitions(pool, partitions).await
}

/// The last migration that was applied in full.
async fn schema_version(pool: &PgPool) -> Result<Option<i64>, sqlx::Error> {
    let row = sqlx::query("select max(version) from hubbub.migration where success").fetch_one(pool).await;
    match row {
        Ok(row) => row.try_get(0),
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| NOT_THERE.contains(&&*code)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// SQLSTATE of an undefined table and of an undefined schema.
const NOT_THERE: [&str; 2] = ["42P01", "3F000"];

async fn keep_partitions(executor: impl PgExecutor<'_>, partitions: u16) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into hubbub.setting (name, value) values ('partitions', $1) on conflict (name) do nothing",
    )
    .bind(partitions.to_string())
    .execute(executor)
    .await?;
    Ok(())
}

async fn agree_on_partitions(executor: impl PgExecutor<'_>, partitions: u16) -> Result<(), SchemaError> {
    let stored: Option<String> =
        sqlx::query_scalar("select value from hubbub.setting where name = 'partitions'")
            .fetch_optional(executor)
            .await?;
    match stored {
        Some(stored) if stored == partitions.to_string() => Ok(()),
        Some(stored) => Err(SchemaError::Partitions { stored, wanted: partitions }),
        None => Err(SchemaError::Absent),
    }
}

async fn create_partitions(executor: impl PgExecutor<'_>, partitions: u16) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into hubbub.partition (id) select generate_series(0, $1::integer - 1)::smallint \
         on conflict (id) do nothing",
    )
    .bind(i32::from(partitions))
    .execute(executor)
    .await?;
    Ok(())
}

/// What was read, and as of when: rows and marks come from one statement, hence from one state of the database.
///
/// A reader who took the tail of the log first uses the marks to tell whether the two meet: everything up to
/// (`epoch`, `watermark`) is in the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<T> {
    /// The answer.
    pub rows: T,
    /// The epoch of the partition.
    pub epoch: u32,
    /// The last entry of that epoch whose effects are in the rows.
    pub watermark: u32,
    /// The room's last stored position; 0:0 for a room without any.
    pub last: Position,
    /// The room's last membership change.
    pub number: u64,
    /// The room's last membership change that took something away.
    pub restricting: u64,
    /// The last membership change that the log is known to have had.
    pub stored_number: u64,
}

impl<T> Stored<T> {
    /// The last entry of the log whose effects are in the rows.
    #[must_use]
    pub fn entry(&self) -> EntryId {
        EntryId { epoch: self.epoch, pseq: self.watermark }
    }

    /// The same marks around something made of the rows.
    pub(crate) fn map<U>(self, make: impl FnOnce(T) -> U) -> Stored<U> {
        let Self { rows, epoch, watermark, last, number, restricting, stored_number } = self;
        Stored { rows: make(rows), epoch, watermark, last, number, restricting, stored_number }
    }

    /// The marks in a row that was selected with [`marks!`], around `rows`.
    fn around(rows: T, row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            rows,
            epoch: number(row, "mark_epoch")?,
            watermark: number(row, "mark_watermark")?,
            last: Position { epoch: number(row, "mark_last_epoch")?, seq: number(row, "mark_last_seq")? },
            number: number(row, "mark_number")?,
            restricting: if Bug::RestrictionsUntold.is_planted() {
                0
            } else {
                number(row, "mark_restricting")?
            },
            stored_number: number(row, "mark_stored_number")?,
        })
    }
}

/// The columns that [`Stored::around`] reads, of `p` (a partition) and `r` (a room, perhaps none).
macro_rules! marks {
    () => {
        "p.epoch::bigint as mark_epoch, p.watermark as mark_watermark, \
         coalesce(r.last_epoch, 0)::bigint as mark_last_epoch, coalesce(r.last_seq, 0) as mark_last_seq, \
         coalesce(r.number, 0) as mark_number, coalesce(r.restricting, 0) as mark_restricting, \
         coalesce(r.stored_number, 0) as mark_stored_number"
    };
}
pub(crate) use marks;

/// A bigint column as the unsigned number that it is.
fn number<N: TryFrom<i64>>(row: &PgRow, column: &'static str) -> Result<N, sqlx::Error>
where
    N::Error: std::error::Error + Send + Sync + 'static,
{
    let value: i64 = row.try_get(column)?;
    N::try_from(value)
        .map_err(|source| sqlx::Error::ColumnDecode { index: column.into(), source: source.into() })
}

/// An epoch as the column type has it.
fn epoch_column(epoch: u32) -> i32 {
    i32::try_from(epoch).unwrap_or(i32::MAX)
}

/// A seq as the column type has it.
fn seq_column(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// A partition as the column type has it.
fn partition_column(partition: Partition) -> i16 {
    i16::try_from(partition.number()).expect("there are at most 1,024 partitions")
}
