//! What is true of a stack, asked of its servers rather than of its services.

use shared::id::{EntryId, Partition, Position, RoomId};
use shared::stream::State;
use sqlx::Row as _;

use super::{PATIENCE, Stack};
use crate::children::eventually;
use crate::load::Said;
use crate::servers::PARTITIONS;

/// A stored message, as far as scenarios compare it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Epoch and number in the room.
    pub position: (i32, i64),
    /// Its integer id.
    pub no: i64,
    /// What was said.
    pub text: String,
}

impl Stack {
    /// All messages in Postgres, in their rooms' order.
    ///
    /// # Panics
    /// When Postgres does not answer.
    pub async fn rows(&self) -> Vec<Stored> {
        let rows =
            sqlx::query("select epoch, seq, no, content from hubbub.message order by room, epoch, seq")
                .fetch_all(&self.pool)
                .await
                .expect("Postgres answers");
        let stored = |row: &sqlx::postgres::PgRow| Stored {
            position: (row.get("epoch"), row.get("seq")),
            no: row.get("no"),
            text: row.get::<Option<String>, _>("content").unwrap_or_default(),
        };
        rows.iter().map(stored).collect()
    }

    /// All messages of the live room in Postgres, as acks and sockets show them.
    ///
    /// # Panics
    /// When a row holds what no message can.
    pub async fn said(&self) -> Vec<Said> {
        let said = |row: Stored| Said {
            position: Position {
                epoch: u32::try_from(row.position.0).expect("an epoch"),
                seq: u64::try_from(row.position.1).expect("a number in the room"),
            },
            no: row.no,
            text: row.text,
        };
        self.rows().await.into_iter().map(said).collect()
    }

    /// How many entries the groups `fanout` and `persister` are behind, over all partitions, as Redis tells it.
    ///
    /// # Panics
    /// When the log does not answer.
    pub async fn lag(&self) -> (i64, i64) {
        type Groups = Vec<std::collections::HashMap<String, redis::Value>>;
        let client = redis::Client::open(self.servers.log_url.as_str()).expect("a good address");
        let mut redis = client.get_multiplexed_async_connection().await.expect("the log answers");
        let mut lag = (0, 0);
        for partition in Partition::all(PARTITIONS) {
            let mut info = redis::cmd("XINFO");
            info.arg("GROUPS").arg(shared::keys::log(partition));
            // A partition in which nothing happened has no stream yet.
            let groups: Groups = info.query_async(&mut redis).await.unwrap_or_default();
            for group in groups {
                let text = |name: &str| group.get(name).cloned().map(redis::from_redis_value::<String>);
                let behind = group.get("lag").cloned().map(redis::from_redis_value::<i64>);
                let behind = behind.and_then(Result::ok).unwrap_or(i64::MIN / 64);
                match text("name") {
                    Some(Ok(name)) if name == shared::keys::FANOUT => lag.0 += behind,
                    _ => lag.1 += behind,
                }
            }
        }
        lag
    }

    /// In how many places the live room is watched: a person on two nodes takes two.
    ///
    /// # Panics
    /// When the bus does not answer.
    pub async fn seats(&self) -> usize {
        let client = redis::Client::open(self.servers.bus_url.as_str()).expect("a good address");
        let mut redis = client.get_multiplexed_async_connection().await.expect("the bus answers");
        let room = self.live_room().await;
        let seats = redis::cmd("ZCARD").arg(shared::keys::viewers(room)).query_async(&mut redis).await;
        seats.expect("the bus answers")
    }

    /// The api nodes as the bus knows them.
    ///
    /// # Panics
    /// When the bus does not answer.
    pub async fn names_on_the_bus(&self) -> Vec<String> {
        let client = redis::Client::open(self.servers.bus_url.as_str()).expect("a good address");
        let mut redis = client.get_multiplexed_async_connection().await.expect("the bus answers");
        let names =
            redis::cmd("ZRANGE").arg(shared::keys::NODES).arg(0).arg(-1).query_async(&mut redis).await;
        names.expect("the bus answers")
    }

    /// What an api node's metrics say now.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn metrics(&self, node: usize) -> String {
        let url = format!("http://{}/metrics", self.internal(node));
        let answer = reqwest::get(url).await.expect("the node answers");
        answer.text().await.expect("text")
    }

    /// The answer of a query that counts.
    ///
    /// # Panics
    /// When Postgres refuses it.
    pub async fn count(&self, query: &'static str) -> i64 {
        let counted = sqlx::query_scalar(query).fetch_one(&self.pool).await;
        counted.unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// Runs a statement, for what no service does by itself.
    ///
    /// # Panics
    /// When Postgres refuses it.
    pub async fn run(&self, statement: &'static str) {
        let done = sqlx::query(statement).execute(&self.pool).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    /// The room of the first live session.
    ///
    /// # Panics
    /// When there is none yet.
    pub async fn live_room(&self) -> RoomId {
        let room = sqlx::query_scalar("select room from hubbub.live_session order by id limit 1");
        RoomId(room.fetch_one(&self.pool).await.expect("there is a session"))
    }

    async fn states(&self) -> Vec<(Partition, State)> {
        let log = self.log().await;
        let mut states = Vec::new();
        for partition in Partition::all(PARTITIONS) {
            if let Ok(state) = log.state(partition).await {
                states.push((partition, state));
            }
        }
        states
    }

    /// Waits until every partition takes appends.
    pub(super) async fn partitions_open(&self) {
        let open = eventually(PATIENCE, async || {
            let states = self.states().await;
            let all = states.len() == usize::from(PARTITIONS) && states.iter().all(|(_, state)| state.open);
            all.then_some(())
        });
        assert!(open.await.is_some(), "partitions are still closed: {:?}", self.states().await);
    }

    /// Waits until Postgres has everything that the log accepted.
    ///
    /// # Panics
    /// When it does not get there.
    pub async fn stored(&self) {
        let stored = eventually(PATIENCE, async || self.is_stored().await.then_some(())).await;
        assert!(stored.is_some(), "the log is not stored to its head: {:?}", self.states().await);
    }

    /// Waits until the log of a room holds nothing any more, neither entries nor what was remembered of them.
    ///
    /// # Panics
    /// When it does not get there.
    pub async fn trimmed(&self, room: RoomId) {
        let client = redis::Client::open(self.servers.log_url.as_str()).expect("a good address");
        let mut redis = client.get_multiplexed_async_connection().await.expect("the log answers");
        let partition = Partition::of(room, PARTITIONS);
        let trimmed = eventually(PATIENCE, async || {
            let mut left = redis::pipe();
            left.cmd("XLEN").arg(shared::keys::log(partition));
            left.cmd("HLEN").arg(shared::keys::memo(partition));
            let left: (u64, u64) = left.query_async(&mut redis).await.ok()?;
            (left == (0, 0)).then_some(())
        });
        assert!(trimmed.await.is_some(), "the log of {room} is not trimmed");
    }

    /// Whether Postgres has everything that the log accepted, and all partitions can be asked.
    pub async fn is_stored(&self) -> bool {
        let watermarks: Vec<(i16, i32, i64)> =
            sqlx::query_as("select id, epoch, watermark from hubbub.partition order by id")
                .fetch_all(&self.pool)
                .await
                .unwrap_or_default();
        let states = self.states().await;
        let is_stored = |(partition, state): &(Partition, State)| {
            let head = EntryId { epoch: state.epoch.unwrap_or(0), pseq: state.head };
            watermarks.iter().any(|(id, epoch, watermark)| {
                u16::try_from(*id) == Ok(partition.number())
                    && (u32::try_from(*epoch), u32::try_from(*watermark)) == (Ok(head.epoch), Ok(head.pseq))
            })
        };
        states.len() == usize::from(PARTITIONS) && states.iter().all(is_stored)
    }

    pub(super) async fn nothing_was_parked(&self) {
        let parked = self.count("select count(*) from hubbub.dead_letter").await;
        assert_eq!(parked, 0, "dead letters");
    }
}
