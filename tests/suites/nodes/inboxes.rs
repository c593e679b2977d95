//! A node whose inbox or life on the bus went wrong: it finds out by itself, and its readers hear everything once.

use std::time::{Duration, Instant};

use fanout_worker::Fanout;
use harness::children::{PATIENCE, eventually};
use harness::person::Node;
use harness::servers::PARTITIONS;
use harness::stack::{Role, Stack};
use redis::aio::MultiplexedConnection;
use shared::bus::Bus;
use shared::id::{BootId, Partition};
use shared::keys;
use shared::stream::{Progress, Work};

/// Within this time what is missing from an inbox is fetched. The beat is a second.
const REPAIRED_WITHIN: Duration = Duration::from_secs(2);
/// What a busy machine may add.
const GRACE: Duration = Duration::from_secs(8);

async fn bus(stack: &Stack) -> MultiplexedConnection {
    let client = redis::Client::open(stack.servers.bus_url.as_str()).expect("a good address");
    client.get_multiplexed_async_connection().await.expect("the bus answers")
}

/// The name on the bus that only the second of two nodes can have.
async fn name_of_the_other(stack: &Stack, known: &[String]) -> BootId {
    let names = stack.names_on_the_bus().await;
    let other = names.iter().find(|name| !known.contains(name)).expect("two nodes are on the bus");
    other.parse().expect("a node's name")
}

/// Whether a message is in the inbox of a node.
async fn holds(redis: &mut MultiplexedConnection, node: BootId, text: &str) -> bool {
    type Batches = Vec<(String, Vec<Vec<u8>>)>;
    let mut range = redis::cmd("XRANGE");
    range.arg(keys::inbox(node)).arg("-").arg("+");
    let batches: Batches = range.query_async(redis).await.expect("the bus answers");
    let mut fields = batches.iter().flat_map(|(_, fields)| fields);
    fields.any(|field| field.windows(text.len()).any(|part| part == text.as_bytes()))
}

#[tokio::test]
async fn entries_that_vanish_from_an_inbox_are_fetched_from_the_log() {
    // Heads are compared every five leases anyway: not within this test.
    let mut stack = Stack::builder().processes().var("LEASE_MS", "60000").start().await;
    let known = stack.names_on_the_bus().await;
    stack.add(Role::Api).await;
    stack.ready().await;
    let node = name_of_the_other(&stack, &known).await;
    let ana = stack.person("ana").await;
    let mut socket = ana.at(Node(2)).connect().await;
    ana.says("before").await;
    assert_eq!(socket.hears(1).await, ["before"]);

    let mut redis = bus(&stack).await;
    stack.node(Node(2)).process().pause();
    // The first may answer the read that was under way, so that the node has it whatever becomes of its inbox; the second it
    // lacks.
    for said in ["arrived", "vanished"] {
        ana.says(said).await;
        let arrived = eventually(PATIENCE, async || holds(&mut redis, node, said).await.then_some(())).await;
        arrived.expect("the entry is in the inbox of the paused node");
    }
    redis::cmd("XTRIM")
        .arg(keys::inbox(node))
        .arg("MAXLEN")
        .arg(0)
        .exec_async(&mut redis)
        .await
        .expect("the bus answers");
    stack.node(Node(2)).process().resume();
    let began = Instant::now();
    assert_eq!(socket.hears(2).await, ["arrived", "vanished"]);
    assert!(began.elapsed() < REPAIRED_WITHIN + GRACE, "{:?}", began.elapsed());
    drop((socket, redis));
    stack.finish().await;
}

#[tokio::test]
async fn a_node_that_was_frozen_past_its_lease_wakes_under_a_new_name_and_hears_everything() {
    a_node_freezes("3000", Duration::ZERO).await;
}

#[tokio::test]
#[ignore = "long: a node is frozen for fifteen seconds"]
async fn a_node_that_was_frozen_for_fifteen_seconds_hears_everything() {
    a_node_freezes("6000", Duration::from_secs(15)).await;
}

/// Freezes a node until its word on the bus has lapsed, and for at least so long, while people go on talking at another.
async fn a_node_freezes(lease_ms: &str, at_least: Duration) {
    let mut stack = Stack::builder().var("LEASE_MS", lease_ms).processes().start().await;
    let known = stack.names_on_the_bus().await;
    stack.add(Role::Api).await;
    stack.ready().await;
    let frozen = name_of_the_other(&stack, &known).await;
    let ana = stack.person("ana").await;
    let mut socket = ana.at(Node(2)).connect().await;
    ana.says("before").await;
    assert_eq!(socket.hears(1).await, ["before"]);

    stack.node(Node(2)).process().pause();
    let mut redis = bus(&stack).await;
    let (began, mut said) = (Instant::now(), Vec::new());
    let lapsed = eventually(PATIENCE, async || {
        said.push(format!("while it froze {}", said.len()));
        ana.says(said.last().expect("it was just pushed")).await;
        let alive: i64 = redis::cmd("EXISTS").arg(keys::alive(frozen)).query_async(&mut redis).await.ok()?;
        (alive == 0 && began.elapsed() >= at_least).then_some(())
    });
    lapsed.await.expect("the frozen node's word lapses");
    said.push("while it was gone".to_owned());
    ana.says("while it was gone").await;
    stack.node(Node(2)).process().resume();
    assert_eq!(socket.hears(said.len()).await, said);
    ana.says("after").await;
    assert_eq!(socket.hears(1).await, ["after"]);
    let names = stack.names_on_the_bus().await;
    let is_new = |name: &&String| !known.contains(name) && **name != frozen.to_string();
    assert!(names.iter().any(|name| is_new(&name)), "{frozen} has no other name among {names:?}");
    drop((socket, redis));
    stack.finish().await;
}

#[tokio::test]
async fn what_two_fan_out_owners_hand_on_twice_is_heard_once() {
    let mut stack = Stack::start().await;
    let ana = stack.person("ana").await;
    let mut socket = ana.connect().await;
    ana.says("before").await;
    assert_eq!(socket.hears(1).await, ["before"]);
    stack.stop(Role::FanoutWorker, 1).await;
    let partition = Partition::of(stack.live_room().await, PARTITIONS);
    let log = stack.log().await;
    let bus = Bus::connect(&stack.servers.bus_url).await.expect("the bus answers");
    let [mut owner, mut woken] = [(); 2].map(|()| Fanout::new(log.clone(), bus.clone(), partition));
    let mut said = Vec::new();
    for turn in 0..21 {
        let text = turn.to_string();
        ana.says(&text).await;
        said.push(text);
        assert_eq!(owner.step().await.expect("both answer"), Progress::Worked);
        // The other one comes with what the first has long handed on.
        if turn % 3 == 2 {
            assert_eq!(woken.step().await.expect("both answer"), Progress::Worked);
        }
    }
    // The inbox keeps its order, so whatever came twice came before this.
    ana.says("last").await;
    assert_eq!(owner.step().await.expect("both answer"), Progress::Worked);
    said.push("last".to_owned());
    assert_eq!(socket.hears(said.len()).await, said);
    drop((socket, owner, woken, log, bus));
    stack.finish().await;
}

#[tokio::test]
async fn a_bus_that_was_emptied_costs_nobody_anything() {
    let stack = Stack::builder().nodes(2).start().await;
    let ana = stack.person("ana").await;
    let mut socket = ana.at(Node(2)).connect().await;
    for round in 0..3 {
        let mut redis = bus(&stack).await;
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("the bus answers");
        drop(redis);
        let text = format!("after {round}");
        ana.says(&text).await;
        assert_eq!(socket.hears(1).await, [text]);
    }
    drop(socket);
    stack.finish().await;
}

#[tokio::test]
async fn a_route_that_was_lost_is_said_again() {
    let stack = Stack::builder().var("LEASE_MS", "600").start().await;
    let ana = stack.person("ana").await;
    let mut socket = ana.connect().await;
    ana.says("before").await;
    assert_eq!(socket.hears(1).await, ["before"]);
    let route = keys::room_route(stack.live_room().await);
    let mut redis = bus(&stack).await;
    redis::cmd("DEL").arg(route).exec_async(&mut redis).await.expect("the bus answers");
    // The fan-out worker sends to whom it knew while it asks, and then it knows.
    ana.says("in passing").await;
    assert_eq!(socket.hears(1).await, ["in passing"]);
    ana.says("unheard at first").await;
    assert_eq!(socket.hears(1).await, ["unheard at first"]);
    ana.says("after").await;
    assert_eq!(socket.hears(1).await, ["after"]);
    drop((socket, redis));
    stack.finish().await;
}
