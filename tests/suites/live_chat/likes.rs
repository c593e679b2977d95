//! Likes: one per person and target, whoever asks where and however often at once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::children::PATIENCE;
use harness::person::{Node, Person};
use harness::stack::Stack;
use serde_json::{Value, json};

async fn people(stack: &Stack, count: usize) -> Vec<Person> {
    let names: Vec<String> = (0..count).map(|number| format!("fan{number}")).collect();
    join_all(names.iter().map(|name| stack.person(name))).await
}

#[tokio::test]
async fn a_session_is_liked_once_by_each_person() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await.at(Node(2)));
    let like = async |person: &Person| person.post("/live-chat/like", &json!({})).await;
    assert_eq!(like(&ana).await.ok()["total_likes"], 1);
    assert_eq!(like(&ben).await.ok()["total_likes"], 2);
    let again = like(&ana.at(Node(2))).await.refused(400, "already_liked");
    assert_eq!((&again["detail"], &again["total_likes"]), (&json!("Already liked this session"), &json!(2)));
    assert_eq!(ana.get("/live-chat/likes").await.ok()["total_likes"], 2);

    assert_eq!(ana.delete("/live-chat/like").await.ok()["total_likes"], 1);
    let again = ana.delete("/live-chat/like").await.refused(400, "not_liked");
    assert_eq!(again["total_likes"], 1);
    assert_eq!(like(&ana).await.ok()["total_likes"], 2, "and may come back");
    stack.stored().await;
    assert_eq!(stack.count("select total_likes from hubbub.live_session").await, 2);
    assert_eq!(stack.count("select count(*) from hubbub.reaction").await, 2);
    assert_eq!(ben.get("/live-chat/status").await.ok()["session"]["total_likes"], 2);
    stack.finish().await;
}

#[tokio::test]
async fn a_message_can_be_liked_the_moment_it_is_accepted_and_long_after() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await.at(Node(2)));
    let id = ana.says("like me").await["message_id"].clone();
    let path = format!("/live-chat/like-message/{id}");
    assert_eq!(ben.post(&path, &json!({})).await.ok()["likes"], 1);
    stack.stored().await;
    assert_eq!(ana.post(&path, &json!({})).await.ok()["likes"], 2);
    assert_eq!(ben.post(&path, &json!({})).await.refused(400, "already_liked")["likes"], 2);
    assert_eq!(ben.delete(&path).await.ok()["likes"], 1);
    assert_eq!(ben.delete(&path).await.refused(400, "not_liked")["likes"], 1);
    let page = ben.get("/live-chat/messages").await.ok();
    assert_eq!(page["messages"][0]["likes"], 1, "a page shows it before Postgres has it");
    stack.stored().await;
    assert_eq!(stack.count("select likes from hubbub.message").await, 1);
    stack.finish().await;
}

#[tokio::test]
async fn what_is_not_there_cannot_be_liked() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    let id = ana.says("here").await["message_id"].as_i64().expect("an id");
    for absent in [0, id + 16, -1, i64::MAX] {
        let path = format!("/live-chat/like-message/{absent}");
        ana.post(&path, &json!({})).await.refused(404, "not_found");
        ana.delete(&path).await.refused(404, "not_found");
    }
    for malformed in ["x", "1.5", "9223372036854775808"] {
        let path = format!("/live-chat/like-message/{malformed}");
        ana.post(&path, &json!({})).await.refused(422, "invalid");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_person_liking_on_two_nodes_at_once_counts_once() {
    let stack = Stack::builder().nodes(2).start().await;
    let ana = stack.person("ana").await;
    for round in 0..5_u16 {
        let answers = join_all((0..8).map(|call| {
            let ana = ana.at(Node(1 + call % 2));
            async move { ana.post("/live-chat/like", &json!({})).await.status }
        }))
        .await;
        let count = |status| answers.iter().filter(|answer| **answer == status).count();
        assert_eq!((count(200), count(400)), (1, 7), "round {round}: {answers:?}");
        assert_eq!(ana.delete("/live-chat/like").await.ok()["total_likes"], 0);
    }
    stack.finish().await;
}

/// So soon after its acceptance all of this has happened to a message.
const SOON: Duration = Duration::from_millis(50);
/// So many messages must have been in time, however busy the machine is.
const IN_TIME: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn likes_of_a_new_message_from_two_nodes_count_once_and_can_be_taken_back() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await);
    let (near, far) = (ben.at(Node(1)), ben.at(Node(2)));
    let (mut in_time, mut messages, began) = (0, 0, Instant::now());
    while in_time < IN_TIME {
        assert!(began.elapsed() < PATIENCE, "only {in_time} of {messages} were done in time");
        let id = ana.says("like me").await["message_id"].clone();
        let accepted = Instant::now();
        let (path, nothing) = (format!("/live-chat/like-message/{id}"), json!({}));
        let (one, other) = tokio::join!(near.post(&path, &nothing), far.post(&path, &nothing));
        let (yes, no) = if one.status == 200 { (one, other) } else { (other, one) };
        assert_eq!(yes.ok()["likes"], 1);
        assert_eq!(no.refused(400, "already_liked")["likes"], 1);
        assert_eq!(far.delete(&path).await.ok()["likes"], 0);
        assert_eq!(near.delete(&path).await.refused(400, "not_liked")["likes"], 0);
        assert_eq!(near.post(&path, &nothing).await.ok()["likes"], 1);
        in_time += usize::from(accepted.elapsed() <= SOON);
        messages += 1;
    }
    stack.stored().await;
    assert_eq!(stack.count("select count(*) from hubbub.reaction").await, messages);
    assert_eq!(stack.count("select count(*) from hubbub.message where likes <> 1").await, 0);
    stack.finish().await;
}

#[tokio::test]
async fn a_storm_of_likes_reaches_a_socket_as_few_updates_the_last_value_always() {
    const FANS: usize = 60;
    let stack = Stack::builder().nodes(2).start().await;
    let mut socket = stack.person("ana").await.connect().await;
    let fans = people(&stack, FANS).await;
    let began = Instant::now();
    for (number, fan) in fans.iter().enumerate() {
        fan.at(Node(1 + number % 2)).post("/live-chat/like", &json!({})).await.ok();
    }
    socket.until("the last total", |frame| frame["total_likes"] == FANS).await;
    let quarters = usize::try_from(began.elapsed().as_millis() / 250).expect("a short time");
    let updates: Vec<&Value> =
        socket.passed.iter().filter(|frame| frame["type"] == "session_like_update").collect();
    assert!(updates.len() <= quarters + 2, "{} updates in {quarters} quarters of a second", updates.len());
    let totals: Vec<u64> = updates.iter().filter_map(|frame| frame["total_likes"].as_u64()).collect();
    assert!(totals.is_sorted(), "{totals:?}");
    drop(socket);
    stack.finish().await;
}
