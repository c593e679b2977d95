//! Routes: which nodes want what happens in a room or to a person. Read anew for every batch, whatever is remembered of
//! them, so a node that has registered hears everything from then on.

use futures_util::future::try_join_all;

use super::Bus;
use crate::error::Error;
use crate::id::{AccountId, BootId, RoomId};
use crate::keys;

/// A route lapses unless some node says again that it wants the topic, which every node does each half minute.
const ROUTE_TTL_SECS: u32 = 300;

/// What a node can want to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// A room.
    Room(RoomId),
    /// A person.
    Person(AccountId),
}

impl Topic {
    fn key(self) -> String {
        match self {
            Self::Room(room) => keys::room_route(room),
            Self::Person(person) => keys::person_route(person),
        }
    }
}

impl Bus {
    /// From the answer on, batches that concern `topic` go to `node` too.
    pub async fn register(&self, topic: Topic, node: BootId) -> Result<(), Error> {
        let key = topic.key();
        // Both commands concern one key, hence one slot.
        Ok(redis::pipe()
            .sadd(&key, node.to_string())
            .ignore()
            .expire(&key, i64::from(ROUTE_TTL_SECS))
            .ignore()
            .exec_async(&mut self.redis())
            .await?)
    }

    /// `node` no longer wants `topic`.
    pub async fn unregister(&self, topic: Topic, node: BootId) -> Result<(), Error> {
        Ok(redis::cmd("SREM").arg(topic.key()).arg(node.to_string()).exec_async(&mut self.redis()).await?)
    }

    /// The nodes that want each of `topics`, asked side by side over one connection.
    pub async fn routes(&self, topics: &[Topic]) -> Result<Vec<Vec<BootId>>, Error> {
        try_join_all(topics.iter().map(|topic| self.route(*topic))).await
    }

    async fn route(&self, topic: Topic) -> Result<Vec<BootId>, Error> {
        let nodes: Vec<String> =
            redis::cmd("SMEMBERS").arg(topic.key()).query_async(&mut self.redis()).await?;
        Ok(nodes.iter().filter_map(|node| node.parse().ok()).collect())
    }
}
