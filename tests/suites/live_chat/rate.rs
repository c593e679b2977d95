//! How fast one may talk: one budget per person for all nodes and both transports, over any sixty seconds.

use harness::person::Node;
use harness::stack::Stack;

#[tokio::test]
async fn one_budget_holds_for_all_nodes_and_both_transports() {
    let stack =
        Stack::builder().nodes(2).var("LIVE_CHAT_MAX_MESSAGES_PER_USER_PER_MINUTE", "4").start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let mut socket = ana.at(Node(2)).connect().await;
    ana.says("1").await;
    socket.say("2").await;
    ana.at(Node(2)).says("3").await;
    socket.say("4").await;
    assert_eq!(socket.hears(4).await.len(), 4);

    let refused = ana.tries_to_say("5", Some("five")).await.expect("an answer");
    let seconds: u64 =
        refused.header("retry-after").and_then(|value| value.parse().ok()).expect("Retry-After");
    assert!((1..=60).contains(&seconds), "{seconds}");
    let body = refused.refused(429, "rate_limited");
    let wait = body["retry_after_ms"].as_u64().expect("milliseconds");
    assert!((1..=60_000).contains(&wait) && wait.div_ceil(1000) == seconds, "{body}");

    socket.say_as("6", "six").await;
    let error = socket.next("error").await;
    assert_eq!(
        (error["code"].as_str(), error["client_msg_id"].as_str()),
        (Some("rate_limited"), Some("six"))
    );
    assert!(error["retry_after_ms"].as_u64().is_some_and(|wait| (1..=60_000).contains(&wait)), "{error}");

    ben.says("ben has a budget of his own").await;
    assert_eq!(socket.hears(1).await, ["ben has a budget of his own"], "and the socket is still there");
    assert_eq!(
        ana.tries_to_say("2", None).await.expect("an answer").status,
        429,
        "what was refused cost nothing, and gave nothing"
    );
    drop(socket);
    stack.finish().await;
}

#[tokio::test]
async fn a_retry_of_an_accepted_message_costs_nothing() {
    let stack =
        Stack::builder().nodes(2).var("LIVE_CHAT_MAX_MESSAGES_PER_USER_PER_MINUTE", "1").start().await;
    let ana = stack.person("ana").await;
    let first = ana.tries_to_say("once", Some("n")).await.expect("an answer").ok();
    for node in [1, 2] {
        let again = ana.at(Node(node)).tries_to_say("once", Some("n")).await.expect("an answer").ok();
        assert_eq!(again["message_id"], first["message_id"]);
    }
    ana.tries_to_say("another", None).await.expect("an answer").refused(429, "rate_limited");
    stack.finish().await;
}
