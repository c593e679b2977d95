//! Something that a node never heard and can't fetch: it may be missed, but never silently.

use harness::children::{PATIENCE, eventually};
use harness::person::{Node, texts};
use harness::stack::Stack;
use shared::id::RoomId;
use shared::keys;

/// The nodes that get what happens in a room.
struct Routes {
    redis: redis::aio::MultiplexedConnection,
    key: String,
}

impl Routes {
    async fn of(stack: &Stack, room: RoomId) -> Routes {
        let client = redis::Client::open(stack.servers.bus_url.as_str()).expect("a good address");
        let redis = client.get_multiplexed_async_connection().await.expect("the bus answers");
        Routes { redis, key: keys::room_route(room) }
    }

    async fn cut(&mut self) -> Vec<String> {
        let nodes = redis::cmd("SMEMBERS").arg(&self.key).query_async(&mut self.redis).await;
        let nodes: Vec<String> = nodes.expect("the bus answers");
        assert!(!nodes.is_empty(), "somebody listens");
        redis::cmd("SREM")
            .arg(&self.key)
            .arg(&nodes)
            .exec_async(&mut self.redis)
            .await
            .expect("the bus answers");
        nodes
    }

    async fn mend(&mut self, nodes: &[String]) {
        redis::cmd("SADD")
            .arg(&self.key)
            .arg(nodes)
            .exec_async(&mut self.redis)
            .await
            .expect("the bus answers");
    }
}

/// Waits until the log knows that Postgres has everything, so that the tail holds none of it.
async fn tail_is_empty(stack: &Stack, room: RoomId) {
    let log = stack.log().await;
    let empty = eventually(PATIENCE, async || {
        log.tail(room, 10).await.is_ok_and(|tail| tail.entries.is_empty()).then_some(())
    });
    assert!(empty.await.is_some(), "the tail of the room is not stored");
}

#[tokio::test]
async fn what_no_store_can_give_is_missed_by_nobody_who_is_not_told() {
    let stack = Stack::builder().own_postgres().var("GAP_WAIT_MS", "300").start().await;
    let (ana, ben, carl) = (stack.person("ana").await, stack.person("ben").await, stack.person("carl").await);
    let mut plain = ben.connect().await;
    let first = ana.says("heard").await;
    let place = format!("{}:{}", first["epoch"], first["seq"]);
    assert_eq!(plain.hears(1).await, ["heard"]);
    let mut resuming = carl.resume(&place).await;
    resuming.catches_up().await;

    let room = stack.live_room().await;
    let mut routes = Routes::of(&stack, room).await;
    let nodes = routes.cut().await;
    // What the fan-out worker sends while it asks who wants it still comes, and then it knows.
    ana.says("in passing").await;
    assert_eq!(plain.hears(1).await, ["in passing"]);
    assert_eq!(resuming.hears(1).await, ["in passing"]);
    ana.says("missed").await;
    stack.stored().await;
    tail_is_empty(&stack, room).await;
    routes.mend(&nodes).await;
    stack.servers.postgres.stop().await;
    ana.says("behind the gap").await;

    let resync = resuming.next("resync").await;
    assert!(resync["seq"].as_u64() > first["seq"].as_u64(), "{resync}");
    assert_eq!(plain.closed().await, Some(1012), "who does not know `resync` is sent to come back");
    assert!(plain.passed.iter().all(|frame| frame["type"] != "new_message"), "{:?}", plain.passed);

    stack.servers.postgres.start().await;
    stack.stored().await;
    let mut again = ben.at(Node(1)).resume(&place).await;
    assert_eq!(again.hears(3).await, ["in passing", "missed", "behind the gap"]);
    let all = ["heard", "in passing", "missed", "behind the gap"];
    assert_eq!(texts(&carl.get("/live-chat/messages").await.ok()), all);
    drop((resuming, again, routes));
    stack.finish().await;
}

#[tokio::test]
async fn what_a_store_can_give_later_is_waited_for() {
    let stack = Stack::builder().own_postgres().var("GAP_WAIT_MS", "60000").start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let mut socket = ben.connect().await;
    ana.says("heard").await;
    assert_eq!(socket.hears(1).await, ["heard"]);
    let room = stack.live_room().await;
    let mut routes = Routes::of(&stack, room).await;
    let nodes = routes.cut().await;
    ana.says("in passing").await;
    assert_eq!(socket.hears(1).await, ["in passing"]);
    ana.says("late").await;
    stack.stored().await;
    tail_is_empty(&stack, room).await;
    routes.mend(&nodes).await;
    stack.servers.postgres.stop().await;
    ana.says("later").await;
    stack.servers.postgres.start().await;
    assert_eq!(socket.hears(2).await, ["late", "later"]);
    drop((socket, routes));
    stack.finish().await;
}
