//! A deploy of workers is not an incident. That of nodes is in the contract of all dialects.

use harness::load::{Listener, Sender};
use harness::stack::{Role, Stack};

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
