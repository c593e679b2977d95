//! Who is online: a word that lapses, one for each node, whatever the number of devices.

use std::time::Duration;

use harness::children::{PATIENCE, eventually};
use harness::stack::Stack;
use shared::bus::Bus;
use shared::id::{AccountId, BootId};

use super::become_friends;

/// Longer than any of these scenarios.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn friends_are_shown_online_as_long_as_a_node_says_so() {
    let stack = Stack::start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    become_friends(&ana, &ben).await;
    let shown = async || ana.get("/api/v1/friends").await.ok()["friends"][0]["online"] == true;
    let bus = Bus::connect(&stack.servers.bus_url).await.expect("the bus answers");
    let person: AccountId = ben.id().parse().expect("a UUID");
    let (one, other) = (BootId::draw(), BootId::draw());
    assert!(!shown().await);
    assert!(bus.online_here(person, one, LONG).await.expect("the bus answers"), "nowhere before");
    assert!(!bus.online_here(person, other, LONG).await.expect("the bus answers"), "a second device");
    assert!(!bus.online_here(person, one, LONG).await.expect("the bus answers"), "said again");
    assert!(shown().await);
    assert!(!bus.online_left(person, one).await.expect("the bus answers"), "the other device is there");
    assert!(shown().await);
    assert!(bus.online_left(person, other).await.expect("the bus answers"), "the last");
    assert!(!shown().await);
    drop(bus);
    stack.finish().await;
}

#[tokio::test]
async fn the_word_of_a_node_that_died_lapses_while_others_are_renewed() {
    let stack = Stack::start().await;
    let bus = Bus::connect(&stack.servers.bus_url).await.expect("the bus answers");
    let people: Vec<AccountId> = (0..200).map(|n| AccountId(uuid::Uuid::from_u128(n))).collect();
    let (dead, alive) = (BootId::draw(), BootId::draw());
    let soon = Duration::from_millis(300);
    for person in &people {
        bus.online_here(*person, dead, soon).await.expect("the bus answers");
    }
    for person in &people[..2] {
        bus.online_here(*person, alive, LONG).await.expect("the bus answers");
    }
    let lapsed = eventually(PATIENCE, async || {
        let online = bus.who_is_online(&people).await.expect("the bus answers");
        (online == people[..2].iter().copied().collect()).then_some(())
    });
    lapsed.await.expect("only the living node's people are online");
    assert!(
        bus.online_left(people[0], alive).await.expect("the bus answers"),
        "a dead node's word counts no more"
    );
    drop(bus);
    stack.finish().await;
}
