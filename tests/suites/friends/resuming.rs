//! Coming back: exactly what was missed, of as many conversations as one has, or word of what could not be had.

use harness::person::{Node, Person};
use harness::proxy::{Proxy, Weather};
use harness::socket::Socket;
use harness::stack::{Role, Stack};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::friends;

/// A frame that resumes behind what a socket has heard of, and names so many rooms that there are not besides.
fn resume(after: &Socket, others: usize) -> Value {
    let known = after.places.iter().map(|(room, place)| (room.clone(), json!(place.to_string())));
    let others = (0..others).map(|_| (Uuid::new_v4().to_string(), json!("1:1")));
    json!({ "type": "resume", "after": known.chain(others).collect::<Map<_, _>>() })
}

/// Hears a message, and goes.
async fn hears_once(ana: &Person, ben: &Person) -> Socket {
    let mut socket = ben.comes_online().await;
    ana.writes(ben, "heard").await;
    assert_eq!(socket.reads(1).await, ["heard"]);
    socket
}

#[tokio::test]
async fn a_resume_may_name_a_thousand_rooms_and_no_other_frame_is_as_wide() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = friends(&stack, 2).await;
    let before = hears_once(&ana, &ben).await;
    ana.writes(&ben, "missed").await;
    for others in [64, 1_200] {
        let (mut back, _) = ben.at(Node(1)).comes_online_with("&resume=1").await;
        back.send(&resume(&before, others)).await;
        assert_eq!(back.reads(1).await, ["missed"], "one of {}", others + 1);
        back.send(&resume(&before, others)).await;
        assert_eq!(back.next("error").await["code"], "invalid", "a second one");
        let mut wide: Map<String, Value> = (0..64).map(|n| (format!("x{n}"), json!(n))).collect();
        wide.insert("type".to_owned(), json!("mark_read"));
        back.send(&Value::Object(wide)).await;
        let error = back.next("error").await;
        assert!(error["message"].as_str().is_some_and(|why| why.contains("too many keys")), "{error}");
    }
    let mut plain = ben.comes_online().await;
    plain.send(&resume(&before, 64)).await;
    let error = plain.next("error").await;
    assert!(error["message"].as_str().is_some_and(|why| why.contains("too many keys")), "{error}");
    drop((before, plain));
    stack.finish().await;
}

#[tokio::test]
async fn more_than_a_node_remembers_of_two_people_is_fetched() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = friends(&stack, 2).await;
    let before = hears_once(&ana, &ben).await;
    // Stays, so that the node has the room in memory.
    let mut stays = ben.comes_online().await;
    let texts: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for text in &texts {
        ana.writes(&ben, text).await;
    }
    assert_eq!(stays.reads(100).await, texts);
    for node in [1, 2] {
        let mut back = ben.at(Node(node)).comes_back(&before).await;
        assert_eq!(back.reads(100).await, texts, "node {node}");
    }
    drop((before, stays));
    stack.finish().await;
}

#[tokio::test]
async fn a_resume_that_fails_leaves_no_socket_that_hears_half() {
    let mut stack = Stack::start().await;
    let (log, over) = Proxy::before(&stack.servers.log_url).await;
    stack.is_outlived_by(1);
    stack.set("REDIS_URL", &over);
    stack.add(Role::Api).await;
    stack.ready().await;
    let (ana, ben) = friends(&stack, 1).await;
    let before = hears_once(&ana, &ben).await;
    ana.writes(&ben, "missed").await;
    let (mut back, _) = ben.at(Node(2)).comes_online_with("&resume=1").await;
    log.set(Weather::Refusing);
    log.cut();
    back.send(&resume(&before, 0)).await;
    assert_eq!(back.next("error").await["code"], "unavailable");
    assert_eq!(back.closed().await, Some(1012), "come back");
    log.set(Weather::Fair);
    let mut back = ben.at(Node(2)).comes_back(&before).await;
    assert_eq!(back.reads(1).await, ["missed"]);
    drop((before, back));
    stack.finish().await;
    drop(log);
}

#[tokio::test]
async fn a_conversation_whose_first_message_is_not_stored_yet_is_to_be_read_anew() {
    let mut stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = friends(&stack, 2).await;
    stack.stored().await;
    stack.stop(Role::Persister, 1).await;
    let sent = ana.writes(&ben, "while ben was away").await;
    let (mut bens, _) = ben.comes_online_with("&resume=1").await;
    bens.send(&json!({ "type": "resume", "after": {} })).await;
    let resync = bens.next("resync").await;
    assert_eq!((&resync["room_id"], &resync["seq"]), (&sent["room_id"], &sent["seq"]));
    drop(bens);
    stack.finish().await;
}
