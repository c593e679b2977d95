//! A deploy: three nodes are restarted one after the other while people talk. Everybody is sent elsewhere, and nobody
//! misses a message or hears one twice.

use futures_util::future::join_all;
use harness::load::{Listener, Said, Sender};
use harness::person::Node;
use harness::stack::Stack;

const NODES: usize = 3;

/// The nodes in the order in which somebody tries them.
fn from(first: usize) -> Vec<usize> {
    (0..NODES).map(|turn| 1 + (first + turn) % NODES).collect()
}

async fn the_nodes_are_restarted(viewers: usize, senders: usize, drain_secs: &str) {
    let builder = Stack::builder().nodes(NODES).processes().var("DRAIN_SECS", drain_secs);
    let mut stack = builder.start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let places: Vec<Vec<usize>> = (0..viewers).map(from).collect();
    let listeners = join_all(places.iter().map(|nodes| Listener::start(&ana, nodes))).await;
    let senders: Vec<Sender> = (0..senders).map(|sender| Sender::start(&ben, &from(sender))).collect();
    let mut witness = ana.at(Node(NODES)).connect().await;
    witness.hears(3).await;
    for node in 1..=NODES {
        let process = stack.node(Node(node)).process();
        process.terminate();
        let status = process.ended().await;
        assert!(status.success(), "node {node} ended with {status}");
        process.restart();
        stack.ready().await;
    }
    let mut accepted: Vec<Said> = join_all(senders.into_iter().map(Sender::stop)).await.concat();
    accepted.sort();
    let last = accepted.last().expect("messages").clone();
    for listener in listeners {
        let heard = listener.until(&last).await;
        let since = heard.messages[0].position;
        let expected = accepted.iter().filter(|said| said.position >= since);
        assert!(heard.messages.iter().eq(expected), "in order, each once");
        assert_eq!(heard.messages.len(), accepted.len(), "who was there from the beginning heard everything");
        assert!(!heard.closes.is_empty(), "everybody was sent away");
        assert!(
            heard.closes.iter().all(|code| *code == Some(1012)),
            "and told to come back: {:?}",
            heard.closes
        );
        assert_eq!(heard.resyncs, 0);
    }
    stack.stored().await;
    assert_eq!(stack.said().await, accepted);
    drop(witness);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_viewers_miss_nothing_while_three_nodes_are_restarted() {
    the_nodes_are_restarted(60, 3, "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute"]
async fn six_hundred_viewers_miss_nothing_while_three_nodes_are_restarted() {
    the_nodes_are_restarted(600, 1, "12").await;
}
