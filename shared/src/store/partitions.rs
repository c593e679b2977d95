//! The persister's lease, fence, epoch and watermark: one row per partition, and only Postgres' clock.

use std::time::Duration;

use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::id::{BootId, EntryId, Partition};

/// What the owner of a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The partition.
    pub partition: Partition,
    /// The number that makes a former owner's writes miss.
    pub fence: i64,
    /// The last entry whose effects are stored.
    pub watermark: EntryId,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i16,
    fence: i64,
    epoch: i32,
    watermark: i64,
}

impl From<Row> for Hold {
    fn from(row: Row) -> Self {
        Self {
            partition: Partition::numbered(u16::try_from(row.id).unwrap_or(0)),
            fence: row.fence,
            watermark: entry(row.epoch, row.watermark),
        }
    }
}

fn entry(epoch: i32, watermark: i64) -> EntryId {
    EntryId { epoch: u32::try_from(epoch).unwrap_or(0), pseq: u32::try_from(watermark).unwrap_or(0) }
}

/// The partition's number as its row has it.
fn id(partition: Partition) -> i16 {
    i16::try_from(partition.number()).expect("there are at most 1,024 partitions")
}

fn ids(partitions: impl IntoIterator<Item = Partition>) -> Vec<i16> {
    partitions.into_iter().map(id).collect()
}

fn partitions(ids: Vec<i16>) -> Vec<Partition> {
    ids.into_iter().map(|id| Partition::numbered(u16::try_from(id).unwrap_or(0))).collect()
}

fn seconds(lease: Duration) -> f64 {
    lease.as_secs_f64()
}

/// Says that the persister `me` is alive; answers all that were seen within a lease.
pub async fn attend(pool: &PgPool, me: BootId, lease: Duration) -> Result<Vec<BootId>, sqlx::Error> {
    sqlx::query(
        "insert into hubbub.worker (boot, kind, seen_at) values ($1, 'persister', clock_timestamp())
         on conflict (boot) do update set seen_at = excluded.seen_at",
    )
    .bind(me.0)
    .execute(pool)
    .await?;
    sqlx::query("delete from hubbub.worker where kind = 'persister' and seen_at < clock_timestamp() - interval '1 day'")
        .execute(pool)
        .await?;
    let alive: Vec<uuid::Uuid> = sqlx::query_scalar(
        "select boot from hubbub.worker
         where kind = 'persister' and seen_at > clock_timestamp() - make_interval(secs => $1)",
    )
    .bind(seconds(lease))
    .fetch_all(pool)
    .await?;
    Ok(alive.into_iter().map(BootId).collect())
}

/// Forgets the persister `me`.
pub async fn leave(pool: &PgPool, me: BootId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from hubbub.worker where boot = $1").bind(me.0).execute(pool).await?;
    Ok(())
}

/// Takes the free ones of `wanted`, and any that has been free for two leases. The fence grows with every taking. A row
/// that a paused former owner still has locked is left for the next time, so it holds up no other partition.
pub async fn claim(
    pool: &PgPool,
    me: BootId,
    wanted: &[Partition],
    lease: Duration,
) -> Result<Vec<Hold>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "update hubbub.partition
         set fence = fence + 1, owner = $1, lease_until = clock_timestamp() + make_interval(secs => $3)
         where id in (
             select id from hubbub.partition
             where (id = any($2) and lease_until <= clock_timestamp())
                or (lease_until <> '-infinity' and lease_until <= clock_timestamp() - 2 * make_interval(secs => $3))
             for update skip locked
         )
         returning id, fence, epoch, watermark",
    )
    .bind(me.0)
    .bind(ids(wanted.iter().copied()))
    .bind(seconds(lease))
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(Hold::from).collect())
}

/// Prolongs leases; answers those that are still ours. Rows are locked as in [`advance_all`].
pub async fn renew(pool: &PgPool, held: &[Hold], lease: Duration) -> Result<Vec<Partition>, sqlx::Error> {
    let still: Vec<i16> = sqlx::query_scalar(
        "with locked as materialized (
             select p.id, p.fence from hubbub.partition p join unnest($1::smallint[], $2::bigint[]) as held (id, fence)
                    on p.id = held.id and p.fence = held.fence
             order by p.id for no key update of p
         )
         update hubbub.partition p
         set lease_until = clock_timestamp() + make_interval(secs => $3)
         from locked where p.id = locked.id and p.fence = locked.fence
         returning p.id",
    )
    .bind(ids(held.iter().map(|hold| hold.partition)))
    .bind(held.iter().map(|hold| hold.fence).collect::<Vec<_>>())
    .bind(seconds(lease))
    .fetch_all(pool)
    .await?;
    Ok(partitions(still))
}

/// Gives leases back.
pub async fn release(pool: &PgPool, held: &[Hold]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with locked as materialized (
             select p.id, p.fence from hubbub.partition p join unnest($1::smallint[], $2::bigint[]) as held (id, fence)
                    on p.id = held.id and p.fence = held.fence
             order by p.id for no key update of p
         )
         update hubbub.partition p
         set lease_until = clock_timestamp(), owner = null
         from locked where p.id = locked.id and p.fence = locked.fence",
    )
    .bind(ids(held.iter().map(|hold| hold.partition)))
    .bind(held.iter().map(|hold| hold.fence).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}

/// What the row says now.
pub async fn read(executor: impl PgExecutor<'_>, partition: Partition) -> Result<Hold, sqlx::Error> {
    let row: Row = sqlx::query_as("select id, fence, epoch, watermark from hubbub.partition where id = $1")
        .bind(id(partition))
        .fetch_one(executor)
        .await?;
    Ok(row.into())
}

/// Moves the watermark from where `hold` has it to `new`; false when the fence or the watermark is no longer the
/// holder's. First statement of every batch, so that the row is locked before anything else is written.
pub async fn advance(executor: impl PgExecutor<'_>, hold: &Hold, new: EntryId) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query(
        "update hubbub.partition set epoch = $5, watermark = $6
         where id = $1 and fence = $2 and epoch = $3 and watermark = $4",
    )
    .bind(id(hold.partition))
    .bind(hold.fence)
    .bind(i32::try_from(hold.watermark.epoch).unwrap_or(i32::MAX))
    .bind(i64::from(hold.watermark.pseq))
    .bind(i32::try_from(new.epoch).unwrap_or(i32::MAX))
    .bind(i64::from(new.pseq))
    .execute(executor)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// As [`advance`], for several holds of one owner; answers for each whether it was moved. Rows are locked in the order of
/// their ids, as leases are renewed, so that neither waits for the other in a circle; and only under their fence, so that
/// whoever lost one does not hold up its successor.
pub async fn advance_all(tx: &mut PgConnection, moves: &[(Hold, EntryId)]) -> Result<Vec<bool>, sqlx::Error> {
    let fences: Vec<i64> = moves.iter().map(|(hold, _)| hold.fence).collect();
    sqlx::query(
        "select from hubbub.partition p join unnest($1::smallint[], $2::bigint[]) as held (id, fence)
                on p.id = held.id and p.fence = held.fence
         order by p.id for no key update of p",
    )
    .bind(ids(moves.iter().map(|(hold, _)| hold.partition)))
    .bind(&fences)
    .execute(&mut *tx)
    .await?;
    let epochs = |epoch: &dyn Fn(&(Hold, EntryId)) -> u32| -> Vec<i32> {
        moves.iter().map(|one| i32::try_from(epoch(one)).unwrap_or(i32::MAX)).collect()
    };
    let moved: Vec<(i16, i64)> = sqlx::query_as(
        "update hubbub.partition p set epoch = new.epoch, watermark = new.watermark
         from unnest($1::smallint[], $2::bigint[], $3::int[], $4::bigint[], $5::int[], $6::bigint[])
              as new (id, fence, from_epoch, from_watermark, epoch, watermark)
         where p.id = new.id and p.fence = new.fence and p.epoch = new.from_epoch
           and p.watermark = new.from_watermark
         returning p.id, p.fence",
    )
    .bind(ids(moves.iter().map(|(hold, _)| hold.partition)))
    .bind(&fences)
    .bind(epochs(&|(hold, _)| hold.watermark.epoch))
    .bind(moves.iter().map(|(hold, _)| i64::from(hold.watermark.pseq)).collect::<Vec<_>>())
    .bind(epochs(&|(_, new)| new.epoch))
    .bind(moves.iter().map(|(_, new)| i64::from(new.pseq)).collect::<Vec<_>>())
    .fetch_all(tx)
    .await?;
    Ok(moves.iter().map(|(hold, _)| moved.contains(&(id(hold.partition), hold.fence))).collect())
}

/// As [`advance`], and puts on record that the entries in between were lost.
pub async fn record_loss(
    executor: impl PgExecutor<'_>,
    hold: &Hold,
    new: EntryId,
) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query(
        "update hubbub.partition
         set epoch = $5, watermark = $6,
             lost_range = coalesce(lost_range, '[]'::jsonb)
                 || jsonb_build_array(jsonb_build_object('after', $7::text, 'before', $8::text, 'at', now()))
         where id = $1 and fence = $2 and epoch = $3 and watermark = $4",
    )
    .bind(id(hold.partition))
    .bind(hold.fence)
    .bind(i32::try_from(hold.watermark.epoch).unwrap_or(i32::MAX))
    .bind(i64::from(hold.watermark.pseq))
    .bind(i32::try_from(new.epoch).unwrap_or(i32::MAX))
    .bind(i64::from(new.pseq))
    .bind(hold.watermark.to_string())
    .bind(new.next().to_string())
    .execute(executor)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Every partition's row, for operators.
pub async fn all(pool: &PgPool) -> Result<Vec<Hold>, sqlx::Error> {
    let rows: Vec<Row> =
        sqlx::query_as("select id, fence, epoch, watermark from hubbub.partition order by id")
            .fetch_all(pool)
            .await?;
    Ok(rows.into_iter().map(Hold::from).collect())
}
