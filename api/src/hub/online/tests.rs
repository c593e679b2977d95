//! What this node says of a person is true when it says it, in whichever order it hears of their sockets.

use std::sync::Arc;

use shared::user::Account;
use tokio::task::JoinHandle;

use super::*;
use crate::chat::tests::{Node, finish, person, socket, stack};
use crate::dialect::{Caps, Encoding};
use crate::hub::Connection;
use crate::hub::outbox::{CloseReason, Outbox};
use crate::hub::people::Arrival;

/// Somebody's socket that has come, and what has to end with it.
struct Device {
    arrival: Arrival,
    outbox: Arc<Outbox>,
    driver: JoinHandle<()>,
}

async fn comes(node: &Node, person: &Account) -> Device {
    let (outbox, driver, _) = socket().await;
    let connection = Connection {
        origin: node.app.hub.draw_origin(),
        account: Arc::new(person.clone()),
        outbox: outbox.clone(),
        encoding: Encoding::Friends(Caps::default()),
        expires_at: chrono::Utc::now() + chrono::TimeDelta::hours(1),
        resumes: false,
        ends_at: None,
    };
    let arrival = people::arrive(&node.app, Arc::new(connection)).await.expect("the stores answer");
    say(&node.app, person.id).await.expect("the bus answers");
    Device { arrival, outbox, driver }
}

impl Device {
    async fn goes(self) {
        drop(self.arrival);
        self.outbox.let_go(CloseReason::Gone);
        self.driver.await.expect("the outbox lets go");
    }
}

async fn is_online(node: &Node, person: &Account) -> bool {
    !node.app.bus.who_is_online(&[person.id]).await.expect("the bus answers").is_empty()
}

#[tokio::test]
async fn who_is_here_again_is_not_said_to_be_gone_and_who_is_gone_is_not_said_to_be_here() {
    let stack = stack().await;
    let node = Node::start(&stack).await;
    let ana = person("ana");
    let first = comes(&node, &ana).await;
    assert!(is_online(&node, &ana).await);
    // As when the word on an earlier socket, the last one then, comes after that of this one.
    left(&node.app, ana.id).await.expect("it is said");
    assert!(is_online(&node, &ana).await, "another socket is here");
    first.goes().await;
    say(&node.app, ana.id).await.expect("the bus answers");
    assert!(!is_online(&node, &ana).await);
    // As when everybody who was here is said again, and somebody of them has gone meanwhile.
    renew(&node.app, ana.id).await.expect("the bus answers");
    assert!(!is_online(&node, &ana).await, "nobody is brought back");
    finish(stack, vec![node]).await;
}
