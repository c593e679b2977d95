//! Handing on: each node hears what it wants, once and in the order of the log, or is told to look for itself.

use std::time::Duration;

use fanout_worker::Fanout;
use harness::children::{PATIENCE, eventually};
use harness::logs::{Line, Stage, now_ms, place, somebody};
use harness::servers::Database;
use redis::aio::MultiplexedConnection;
use shared::bus::{Delivery, Inbox, Notice, Topic};
use shared::event::Event;
use shared::id::{AccountId, BootId, EntryId, RoomId};
use shared::keys;
use shared::stream::{Append, Progress, Work};

const TTL: Duration = Duration::from_secs(20);

/// An api node, as far as the bus sees it.
struct Node {
    boot: BootId,
    inbox: Inbox,
}

impl Node {
    async fn wants(stage: &Stage, topics: &[Topic]) -> Self {
        let boot = BootId::draw();
        let inbox = stage.bus.open_inbox(boot, TTL).await.expect("the bus answers");
        for topic in topics {
            stage.bus.register(*topic, boot).await.expect("the bus answers");
        }
        Self { boot, inbox }
    }

    /// What is in the inbox now: the places of envelopes, and `None` for a word to compare heads. Other tests share the
    /// bus, and their partitions are their business.
    async fn hears(&mut self, stage: &Stage) -> Vec<Option<u32>> {
        let mut heard = Vec::new();
        loop {
            let arrived = self.inbox.take(Duration::from_millis(1)).await.expect("the bus answers");
            assert!(!arrived.missed, "the inbox has no hole");
            if arrived.notices.is_empty() {
                return heard;
            }
            heard.extend(arrived.notices.into_iter().filter_map(|notice| match notice {
                Notice::Envelope(envelope) => Some(Some(envelope.entry.pseq)),
                Notice::CompareHeads(partition) if partition == stage.partition => Some(None),
                _ => None,
            }));
        }
    }
}

fn fanout(stage: &Stage) -> Fanout {
    Fanout::new(stage.log.clone(), stage.bus.clone(), stage.partition)
}

/// A worker that has handed on everything up to `at`.
async fn fanout_behind(stage: &Stage, at: EntryId) -> Fanout {
    stage.bus.save_fanout_cursor(stage.partition, at).await.expect("the bus answers");
    fanout(stage)
}

async fn hand_on(fanout: &mut Fanout) {
    assert_eq!(fanout.step().await.expect("both answer"), Progress::Worked);
}

/// An event of `room` that concerns `to` as well.
async fn tell(stage: &Stage, room: RoomId, to: &[AccountId]) -> u32 {
    let voice = stage.producer();
    let body = Event::ViewersSeen(shared::event::ViewersSeen { seen: vec![] }).to_body();
    let placed = voice.producer.append(&Append { to, ..voice.plain(Some(room), &body) }).await;
    place(&placed.expect("it is accepted")).pseq
}

async fn bus_redis(stage: &Stage) -> MultiplexedConnection {
    let client = redis::Client::open(stage.bus_url.as_str()).expect("the harness gives redis:// URLs");
    client.get_multiplexed_async_connection().await.expect("the bus answers")
}

#[tokio::test]
async fn each_node_hears_what_it_wants_once_and_in_order() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let (here, there, ben) = (stage.room().await, stage.room().await, somebody());
    let mut fanout = fanout_behind(&stage, EntryId::default()).await;
    let mut one = Node::wants(&stage, &[Topic::Room(here)]).await;
    let mut other = Node::wants(&stage, &[Topic::Room(here), Topic::Person(ben)]).await;
    let mut bored = Node::wants(&stage, &[Topic::Person(somebody())]).await;
    let told =
        [(here, vec![]), (there, vec![ben, somebody()]), (there, vec![]), (here, vec![ben]), (here, vec![])];
    for (room, to) in told {
        tell(&stage, room, &to).await;
    }
    hand_on(&mut fanout).await;
    assert_eq!(one.hears(&stage).await, [1, 4, 5].map(Some));
    assert_eq!(other.hears(&stage).await, [1, 2, 4, 5].map(Some));
    assert_eq!(bored.hears(&stage).await, []);

    // A node that comes later hears what comes later; one that goes may be sent what was on its way while it was asked.
    let mut late = Node::wants(&stage, &[Topic::Room(here)]).await;
    stage.bus.unregister(Topic::Room(here), one.boot).await.expect("the bus answers");
    for _ in 0..2 {
        tell(&stage, here, &[]).await;
        hand_on(&mut fanout).await;
    }
    assert_eq!((late.hears(&stage).await, one.hears(&stage).await), (vec![Some(6), Some(7)], vec![Some(6)]));
}

#[tokio::test]
async fn what_a_node_is_handed_is_the_entry_as_it_was_accepted() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let room = stage.room().await;
    let mut fanout = fanout_behind(&stage, EntryId::default()).await;
    let mut node = Node::wants(&stage, &[Topic::Room(room)]).await;
    let line = Line::new(room, somebody(), "hello \u{1f600}");
    let said = stage.producer().say(&line).await.expect("it is accepted");
    hand_on(&mut fanout).await;
    let mut arrived = node.inbox.take(Duration::from_millis(1)).await.expect("the bus answers");
    arrived.notices.retain(|notice| matches!(notice, Notice::Envelope(_)));
    let [Notice::Envelope(envelope)] = arrived.notices.as_slice() else {
        panic!("one entry, not {arrived:?}")
    };
    assert_eq!((envelope.position(), envelope.at_ms, envelope.room), (said.position, said.at_ms, Some(room)));
    let Ok(Event::MessageSent(message)) = envelope.event() else { panic!("a message, not {envelope:?}") };
    assert_eq!((message.id, message.text), (line.id(), line.text));
}

#[tokio::test]
async fn a_node_that_is_gone_is_looked_up_no_more_and_leaves_nothing_behind() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let room = stage.room().await;
    let mut fanout = fanout_behind(&stage, EntryId::default()).await;
    let mut here = Node::wants(&stage, &[Topic::Room(room)]).await;
    let gone = Node::wants(&stage, &[Topic::Room(room)]).await;
    stage.bus.expel(gone.boot).await.expect("the bus answers");
    tell(&stage, room, &[]).await;
    hand_on(&mut fanout).await;
    assert_eq!(here.hears(&stage).await, [Some(1)]);
    let routes = stage.bus.routes(&[Topic::Room(room)]).await.expect("the bus answers");
    assert_eq!(routes, [vec![here.boot]]);

    assert_eq!(stage.bus.stay_alive(gone.boot, TTL, 0).await.ok(), Some(None), "a woken node finds out");
    let delivered = stage.bus.deliver(gone.boot, &[Notice::CompareHeads(stage.partition)]).await;
    assert_eq!(delivered.ok(), Some(Delivery::Gone), "its word counts no more");
    let left: u32 = redis::cmd("EXISTS")
        .arg(keys::inbox(gone.boot))
        .arg(keys::inbox_number(gone.boot))
        .query_async(&mut bus_redis(&stage).await)
        .await
        .expect("the bus answers");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_belongs_to_a_node_lapses_with_it() {
    let stage = Stage::start().await;
    let (room, mut redis) = (stage.room().await, bus_redis(&stage).await);
    let node = Node::wants(&stage, &[Topic::Room(room)]).await;
    // The node dies before it says a second time that it is alive.
    stage.bus.deliver(node.boot, &[Notice::CompareHeads(stage.partition)]).await.expect("the bus answers");
    let most = i64::try_from(TTL.as_millis()).expect("seconds");
    for (key, most) in [
        (keys::alive(node.boot), most),
        (keys::inbox(node.boot), most),
        (keys::inbox_number(node.boot), most),
        (keys::room_route(room), 300_000),
    ] {
        let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut redis).await.expect("the bus answers");
        assert!((1..=most).contains(&left), "{key} lapses in {left} ms");
    }
    stage.bus.close_inbox(node.boot).await.expect("the bus answers");
    assert!(!stage.bus.nodes().await.expect("the bus answers").contains(&node.boot));
}

#[tokio::test]
async fn a_successor_goes_on_where_the_last_owner_was() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let room = stage.room().await;
    let mut node = Node::wants(&stage, &[Topic::Room(room)]).await;
    let mut first = fanout_behind(&stage, EntryId::default()).await;
    let mut told = 0;
    let saved = eventually(PATIENCE, async || {
        told = tell(&stage, room, &[]).await;
        hand_on(&mut first).await;
        let saved = stage.bus.fanout_cursor(stage.partition).await.expect("the bus answers");
        (saved == Some(EntryId { epoch: 1, pseq: told })).then_some(())
    });
    saved.await.expect("the place is saved five times a second");
    drop(first);
    tell(&stage, room, &[]).await;
    hand_on(&mut fanout(&stage)).await;
    assert_eq!(node.hears(&stage).await, (1..=told + 1).map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_a_saved_place_every_node_compares_heads_before_anything_is_handed_on() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let room = stage.room().await;
    let mut node = Node::wants(&stage, &[Topic::Room(room)]).await;
    let mut elsewhere = Node::wants(&stage, &[]).await;
    for _ in 0..3 {
        tell(&stage, room, &[]).await;
    }
    let mut fanout = fanout(&stage);
    assert_eq!(fanout.step().await.expect("both answer"), Progress::Idle);
    tell(&stage, room, &[]).await;
    hand_on(&mut fanout).await;
    assert_eq!(node.hears(&stage).await, [None, Some(4)]);
    assert_eq!(elsewhere.hears(&stage).await, [None]);
}

#[tokio::test]
async fn two_owners_at_once_double_but_lose_nothing_and_keep_each_its_order() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let room = stage.room().await;
    let mut node = Node::wants(&stage, &[Topic::Room(room)]).await;
    let mut owners = [fanout_behind(&stage, EntryId::default()).await, fanout(&stage)];
    for _ in 0..10 {
        tell(&stage, room, &[]).await;
        let [one, other] = &mut owners;
        tokio::join!(hand_on(one), hand_on(other));
    }
    let heard: Vec<u32> = node.hears(&stage).await.into_iter().flatten().collect();
    assert_eq!(heard.len(), 20);
    let mut next = 1;
    for pseq in heard {
        assert!(pseq <= next, "{pseq} came before {next}");
        next = next.max(pseq + 1);
    }
    assert_eq!(next, 11, "dropping what was seen leaves each once, in order");
}

#[tokio::test]
async fn a_hole_in_the_log_makes_every_node_compare_heads() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let room = stage.room().await;
    let mut node = Node::wants(&stage, &[Topic::Room(room)]).await;
    let mut fanout = fanout_behind(&stage, EntryId::default()).await;
    let mut redis = stage.redis().await;
    for (told, lost, heard) in [(2, 1, vec![None, Some(2)]), (3, 4, vec![None, Some(3), Some(5)])] {
        for _ in 0..told {
            tell(&stage, room, &[]).await;
        }
        let mut delete = redis::cmd("XDEL");
        delete.arg(keys::log(stage.partition)).arg(EntryId { epoch: 1, pseq: lost }.to_string());
        delete.exec_async(&mut redis).await.expect("the log's Redis answers");
        hand_on(&mut fanout).await;
        assert_eq!(node.hears(&stage).await, heard);
    }
}

#[tokio::test]
async fn a_node_knows_when_its_inbox_lost_something() {
    // On a bus of its own: a fan-out worker of another test may tell every node to compare heads.
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    let (room, mut redis) = (stage.room().await, bus_redis(&stage).await);
    let mut node = Node::wants(&stage, &[Topic::Room(room)]).await;
    let count = |count| [Notice::ViewerCount { room, count }];
    for n in 1..=3 {
        stage.bus.deliver(node.boot, &count(n)).await.expect("the bus answers");
    }
    let mut delete = redis::cmd("XDEL");
    delete.arg(keys::inbox(node.boot)).arg("2-0").exec_async(&mut redis).await.expect("the bus answers");
    let arrived = node.inbox.take(Duration::from_millis(1)).await.expect("the bus answers");
    assert!(arrived.missed && arrived.notices.len() == 2);

    // The last one is lost: nothing arrives, but the node's next word is answered with its number.
    stage.bus.deliver(node.boot, &count(4)).await.expect("the bus answers");
    let mut delete = redis::cmd("XDEL");
    delete.arg(keys::inbox(node.boot)).arg("4-0").exec_async(&mut redis).await.expect("the bus answers");
    assert!(node.inbox.take(Duration::from_millis(1)).await.expect("the bus answers").notices.is_empty());
    assert_eq!(node.inbox.read, 3);
    assert_eq!(stage.bus.stay_alive(node.boot, TTL, node.inbox.read).await.ok(), Some(Some(4)));

    // What was read is dropped with that word, and nothing else.
    stage.bus.deliver(node.boot, &count(5)).await.expect("the bus answers");
    stage.bus.stay_alive(node.boot, TTL, 4).await.expect("the bus answers");
    let mut length = redis::cmd("XLEN");
    let left: u32 =
        length.arg(keys::inbox(node.boot)).query_async(&mut redis).await.expect("the bus answers");
    assert_eq!(left, 1);
}

#[tokio::test]
async fn an_inbox_is_bounded_and_says_so() {
    let stage = Stage::start().await;
    let room = stage.room().await;
    let mut node = Node::wants(&stage, &[]).await;
    let began = now_ms();
    let batch = [Notice::ViewerCount { room, count: 1 }];
    for _ in 0..24 {
        let hundred = (0..100).map(|_| stage.bus.deliver(node.boot, &batch));
        for delivered in futures_util::future::join_all(hundred).await {
            assert_eq!(delivered.ok(), Some(Delivery::Taken));
        }
        stage.bus.deliver(node.boot, &batch).await.expect("the bus answers");
    }
    let mut length = redis::cmd("XLEN");
    let left: u32 = length
        .arg(keys::inbox(node.boot))
        .query_async(&mut bus_redis(&stage).await)
        .await
        .expect("the bus answers");
    assert!((2_000..=2_200).contains(&left), "{left} batches after {} ms", now_ms() - began);
    assert!(node.inbox.take(Duration::from_millis(1)).await.expect("the bus answers").missed);
}
