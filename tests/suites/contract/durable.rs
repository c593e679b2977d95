//! Accepted means durable: whoever dies right after the ack takes nothing along.

use harness::children::{PATIENCE, eventually};
use harness::dialect::Dialect;
use harness::person::Node;
use harness::stack::{Role, Stack};

use super::rows_are;

/// With no persister to store them, the messages are in the log alone when it is killed, together with the node that took them.
pub(super) async fn accepted_is_durable(dialect: Dialect) {
    let mut stack = Stack::builder().nodes(2).processes().start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    let mut accepted = vec![ana.sends("stored before").await];
    stack.stored().await;
    stack.stop(Role::Persister, 1).await;
    let mut line = ben.at(2).opens().await;
    for number in 0..10 {
        accepted.push(ana.at(2).sends(&format!("by REST {number}")).await);
        let text = format!("by socket {number}");
        line.says(&text, &text).await;
        assert_eq!(line.hears_one().await, accepted[accepted.len() - 1]);
        accepted.push(line.hears_one().await);
    }
    stack.node(Node(2)).process().kill9();
    stack.servers.log.kill9();
    assert_eq!(stack.rows().await.len(), 1, "Postgres has none of it yet");

    stack.servers.log.start().await;
    stack.node(Node(2)).process().restart();
    stack.add(Role::Persister).await;
    stack.ready().await;
    for node in [1, 2] {
        for talker in [&ana, &ben] {
            assert_eq!(talker.at(node).reads().await, accepted, "{} at node {node}", talker.person.name);
        }
    }
    rows_are(&stack, &accepted).await;
    let after = ana.sends("after").await;
    assert!(after.position > accepted[accepted.len() - 1].position, "{after:?}");
    let back = eventually(PATIENCE, async || ben.at(2).tries_to_resume(accepted[0].position).await);
    let mut back = back.await.expect("the node lets people in again");
    accepted.push(after);
    assert_eq!(back.hears(accepted.len() - 1).await, accepted[1..], "nothing is missing and nothing doubled");
    drop((line, back));
    stack.finish().await;
}
