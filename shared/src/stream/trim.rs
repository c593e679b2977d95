//! Trimming: the only thing that ever removes an entry, and only one that Postgres has and that is old enough.

use super::{Log, script};
use crate::error::Error;
use crate::id::Partition;
use crate::keys;

/// A script that ran longer would hold up every append.
const ENTRIES_PER_CALL: u32 = 500;

/// Drops what may go from the log of `partition`, at most 500 entries; answers how many went.
pub async fn trim(log: &Log, partition: Partition) -> Result<u32, Error> {
    let retain_ms = u64::try_from(log.retain.as_millis()).unwrap_or(u64::MAX);
    Ok(script::TRIM
        .key(keys::meta(partition))
        .key(keys::memo(partition))
        .key(keys::log(partition))
        .arg(retain_ms)
        .arg(ENTRIES_PER_CALL)
        .invoke_async(&mut log.redis.clone())
        .await?)
}
