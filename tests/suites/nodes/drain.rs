//! A deploy is not an incident.

use futures_util::future::join_all;
use harness::children::{PATIENCE, eventually};
use harness::load::{Listener, Said, Sender};
use harness::person::Node;
use harness::stack::{Role, Stack};
use reqwest::Method;

/// Fifty people on the second node, and senders on both, while the second node is told to stop.
async fn a_node_goes(mut stack: Stack) {
    const SOCKETS: usize = 50;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(ana.at(Node(2)).connect().await);
    }
    let listener = Listener::start(&ana, &[2, 1]).await;
    let senders = [Sender::start(&ana, &[2, 1]), Sender::start(&ben, &[1])];
    for socket in &mut sockets {
        socket.hears(3).await;
    }
    let node = stack.take(Role::Api, 2);
    let internal = node.internal;
    node.stop();
    let draining = eventually(PATIENCE, async || {
        let ready = reqwest::get(format!("http://{internal}/readyz")).await.ok()?;
        (ready.status().as_u16() == 404).then_some(())
    });
    // People read all the time, so they answer the close in time to be let go in peace.
    let closes = join_all(sockets.iter_mut().map(|socket| socket.closed()));
    let (draining, closes) = tokio::join!(draining, closes);
    assert_eq!(closes, [Some(1012); SOCKETS]);
    assert!(draining.is_some(), "readiness says that the node is going");
    node.ended().await;
    assert!(ana.at(Node(2)).request(Method::GET, "/readyz").send().await.is_err(), "and then nobody listens");

    let mut accepted: Vec<Said> = Vec::new();
    for sender in senders {
        accepted.extend(sender.stop().await);
    }
    accepted.sort();
    let heard = listener.until(accepted.last().expect("messages")).await;
    assert_eq!(heard.closes, [Some(1012)]);
    assert_eq!(heard.resyncs, 0);
    let since = heard.messages[0].position;
    let expected: Vec<&Said> = accepted.iter().filter(|said| said.position >= since).collect();
    assert_eq!(heard.messages.iter().collect::<Vec<_>>(), expected, "nothing lost, nothing twice");
    stack.stored().await;
    assert_eq!(stack.said().await, accepted);
    drop(sockets);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_told_to_stop_sends_its_people_elsewhere_and_loses_nothing() {
    a_node_goes(Stack::builder().nodes(2).start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_does_the_same_to_the_real_process() {
    a_node_goes(Stack::builder().nodes(2).processes().start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_hand_over_when_they_are_told_to_stop() {
    let mut stack = Stack::builder().workers(2).start().await;
    let ana = stack.person("ana").await;
    let listener = Listener::start(&ana, &[1]).await;
    let mut witness = ana.connect().await;
    let sender = Sender::start(&ana, &[1]);
    witness.hears(3).await;
    stack.stop(Role::FanoutWorker, 1).await;
    witness.hears(20).await;
    stack.stop(Role::Persister, 1).await;
    witness.hears(20).await;
    stack.add(Role::FanoutWorker).await;
    stack.add(Role::Persister).await;
    stack.ready().await;
    witness.hears(20).await;
    stack.stop(Role::FanoutWorker, 2).await;
    stack.stop(Role::Persister, 2).await;
    let accepted = sender.stop().await;
    let heard = listener.until(accepted.last().expect("messages")).await;
    assert_eq!(heard.messages, accepted, "in order, each once");
    stack.stored().await;
    assert_eq!(stack.said().await, accepted);
    drop(witness);
    stack.finish().await;
}
