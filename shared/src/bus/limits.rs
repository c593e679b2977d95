//! Counts over all nodes: sockets of a person or an address, handshakes of an address in the running second.

use std::time::Duration;

use super::{Bus, millis, script};
use crate::error::Error;
use crate::id::BootId;
use crate::keys;

/// How long a node's count holds unless it is said again.
pub const SOCKETS_TTL: Duration = Duration::from_secs(120);

impl Bus {
    /// Says that `node` holds `count` sockets of `of` (a person or an address); false when that makes more than `most`
    /// over all nodes, and then nothing is counted.
    pub async fn count_sockets(
        &self,
        of: &str,
        node: BootId,
        count: u32,
        most: Option<u32>,
    ) -> Result<bool, Error> {
        let counted: i64 = script::SOCKETS
            .key(keys::sockets(of))
            .arg(node.to_string())
            .arg(count)
            .arg(millis(SOCKETS_TTL))
            .arg(most.map(|most| most.to_string()).unwrap_or_default())
            .invoke_async(&mut self.redis())
            .await?;
        Ok(counted == 1)
    }

    /// Counts a handshake of `address` in this `second`; answers how many there were, this one included.
    pub async fn count_handshake(&self, address: &str, second: i64) -> Result<u32, Error> {
        let key = keys::handshakes(address, second);
        // Both commands concern one key, hence one slot.
        let (count,): (u32,) =
            redis::pipe().incr(&key, 1).expire(&key, 2).ignore().query_async(&mut self.redis()).await?;
        Ok(count)
    }
}
