//! Leases on the bus: who fans a partition out, who announces a room's viewers. Two owners at once do no harm, since the
//! hub drops what it has seen; a lease only saves the work.

use std::time::Duration;

use futures_util::future::try_join_all;

use super::{Bus, millis, script};
use crate::error::Error;
use crate::id::{BootId, EntryId, Partition, RoomId};
use crate::keys;

impl Bus {
    /// Says that the fan-out worker `me` is alive; answers all that are.
    pub async fn attend_fanout(&self, me: BootId, ttl: Duration) -> Result<Vec<BootId>, Error> {
        self.attend(keys::FANOUT_WORKERS, me, ttl).await
    }

    /// Forgets the fan-out worker `me`.
    pub async fn leave_fanout(&self, me: BootId) -> Result<(), Error> {
        Ok(redis::cmd("ZREM")
            .arg(keys::FANOUT_WORKERS)
            .arg(me.to_string())
            .exec_async(&mut self.redis())
            .await?)
    }

    /// Takes the free ones among the fan-out leases of `wanted`.
    pub async fn claim_fanout(
        &self,
        me: BootId,
        wanted: &[Partition],
        ttl: Duration,
    ) -> Result<Vec<Partition>, Error> {
        self.hold_fanout(me, wanted, ttl, true).await
    }

    /// Prolongs fan-out leases; answers those that are still ours.
    pub async fn renew_fanout(
        &self,
        me: BootId,
        held: &[Partition],
        ttl: Duration,
    ) -> Result<Vec<Partition>, Error> {
        self.hold_fanout(me, held, ttl, false).await
    }

    async fn hold_fanout(
        &self,
        me: BootId,
        all: &[Partition],
        ttl: Duration,
        take: bool,
    ) -> Result<Vec<Partition>, Error> {
        let held = try_join_all(all.iter().map(|p| self.hold(keys::fanout_lease(*p), me, ttl, take))).await?;
        Ok(all.iter().zip(held).filter_map(|(partition, held)| held.then_some(*partition)).collect())
    }

    /// Gives fan-out leases back.
    pub async fn release_fanout(&self, me: BootId, held: &[Partition]) -> Result<(), Error> {
        for partition in held {
            let mut redis = self.redis();
            let _: i64 = script::LET_GO
                .key(keys::fanout_lease(*partition))
                .arg(me.to_string())
                .invoke_async(&mut redis)
                .await?;
        }
        Ok(())
    }

    /// Whether `me` is the one that announces the viewers of `room` for the next `ttl`.
    pub async fn announces(&self, room: RoomId, me: BootId, ttl: Duration) -> Result<bool, Error> {
        self.hold(keys::announcer(room), me, ttl, true).await
    }

    async fn hold(&self, key: String, me: BootId, ttl: Duration, take: bool) -> Result<bool, Error> {
        let held: i64 = script::HOLD
            .key(key)
            .arg(me.to_string())
            .arg(millis(ttl))
            .arg(if take { "1" } else { "0" })
            .invoke_async(&mut self.redis())
            .await?;
        Ok(held == 1)
    }

    /// The last entry that fan-out has handed on.
    pub async fn fanout_cursor(&self, partition: Partition) -> Result<Option<EntryId>, Error> {
        let cursor: Option<String> =
            redis::cmd("GET").arg(keys::fanout_cursor(partition)).query_async(&mut self.redis()).await?;
        Ok(cursor.and_then(|id| id.parse().ok()))
    }

    /// Notes the last entry that fan-out has handed on.
    pub async fn save_fanout_cursor(&self, partition: Partition, at: EntryId) -> Result<(), Error> {
        let key = keys::fanout_cursor(partition);
        Ok(redis::cmd("SET").arg(key).arg(at.to_string()).exec_async(&mut self.redis()).await?)
    }
}
