//! Friends talk: over REST and by socket, on any nodes and devices, and each is told what is theirs to know.

use futures_util::future::join_all;
use harness::children::{PATIENCE, eventually};
use harness::person::{Node, Person};
use harness::socket::Socket;
use harness::stack::{Role, Stack};
use serde_json::{Value, json};

use super::{become_friends, friends, statuses};

/// The fields of an object, sorted.
fn fields(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

async fn hears_read(socket: &mut Socket, message: &Value, by: &Person) {
    let read = socket.next("message_read").await;
    assert_eq!((&read["message_id"], read["read_by"].as_str()), (message, Some(by.id())));
}

async fn friends_talk_on(nodes: usize) {
    let stack = Stack::builder().nodes(nodes).workers(nodes.min(2)).start().await;
    let (ana, ben) = friends(&stack, nodes).await;
    let (mut anas, mut bens) = (ana.comes_online().await, ben.comes_online().await);
    anas.writes(&ben, "one").await;
    let sent = anas.next("message_sent").await;
    let heard = bens.next("new_message").await;
    assert_eq!(sent["status"], "sent");
    assert_eq!(heard["message"]["message_id"], sent["message_id"]);
    assert_eq!(
        (&heard["message"]["status"], &heard["message"]["content"]),
        (&json!("delivered"), &json!("one"))
    );
    assert_eq!(heard["message"]["sender"]["username"], "ana");
    bens.writes(&ana, "two").await;
    assert_eq!(anas.reads(1).await, ["two"]);
    let third = ben.writes(&ana, "three").await;
    assert_eq!((&third["status"], third["receiver"]["username"].as_str()), (&json!("sent"), Some("ana")));
    assert_eq!(anas.reads(1).await, ["three"]);
    assert_eq!(bens.reads(1).await, ["three"], "what is sent over REST all sockets of the sender hear");

    bens.send(&json!({ "type": "mark_read", "message_id": sent["message_id"] })).await;
    hears_read(&mut anas, &sent["message_id"], &ben).await;
    for node in 1..=nodes {
        let letters = ana.at(Node(node)).letters_with(&ben).await;
        let texts: Vec<&str> = letters.iter().filter_map(|letter| letter["content"].as_str()).collect();
        assert_eq!(texts, ["three", "two", "one"], "newest first, node {node}");
        assert_eq!(letters[2]["status"], "read");
    }
    drop((anas, bens));
    stack.finish().await;
}

#[tokio::test]
async fn friends_talk_on_one_node() {
    friends_talk_on(1).await;
}

#[tokio::test]
async fn friends_talk_on_three_nodes() {
    friends_talk_on(3).await;
}

#[tokio::test]
async fn every_answer_and_frame_has_exactly_its_fields() {
    let stack = Stack::start().await;
    let (ana, ben) = friends(&stack, 1).await;
    let mut bens = ben.comes_online().await;
    let sent = ana.writes(&ben, "hello").await;
    let person = ["account_id", "avatar", "full_name", "username"];
    let full = [
        "client_msg_id",
        "content",
        "created_at",
        "epoch",
        "is_deleted",
        "message_id",
        "read_at",
        "receiver",
        "receiver_id",
        "room_id",
        "sender",
        "sender_id",
        "seq",
        "status",
        "updated_at",
    ];
    assert_eq!(fields(&sent), full);
    assert_eq!((fields(&sent["sender"]), fields(&sent["receiver"])), (person.to_vec(), person.to_vec()));
    assert_eq!((&sent["is_deleted"], &sent["read_at"]), (&json!(false), &Value::Null));
    let created = sent["created_at"].as_str().expect("a time");
    assert!(created.ends_with('Z') && created.len() == 24, "{created}");
    let heard = bens.next("new_message").await;
    assert_eq!(fields(&heard), ["epoch", "message", "room_id", "seq", "type"]);
    let letter = [
        "client_msg_id",
        "content",
        "created_at",
        "epoch",
        "message_id",
        "receiver_id",
        "room_id",
        "sender",
        "sender_id",
        "seq",
        "status",
    ];
    assert_eq!(fields(&heard["message"]), letter);
    let path = format!("/api/v1/chat/messages/{}/read", sent["message_id"].as_str().expect("an id"));
    let read = ben.put(&path, &json!({})).await.ok();
    assert_eq!(fields(&read), full);
    assert!(read["status"] == "read" && read["read_at"].is_string(), "{read}");
    let history = ana.get(&format!("/api/v1/chat/messages/history/{}", ben.id())).await.ok();
    assert_eq!(
        fields(&history),
        ["limit", "messages", "next_cursor", "position", "room_id", "skip", "total"]
    );
    assert_eq!((&history["total"], &history["skip"], &history["limit"]), (&json!(1), &json!(0), &json!(50)));
    assert_eq!(fields(&history["messages"][0]), full);
    assert_eq!(ben.get("/api/v1/chat/messages/unread-count").await.ok(), json!({ "unread_count": 0 }));
    assert_eq!(ana.get("/api/v1/chat/friends/online").await.ok(), json!({ "online_friends": [ben.id()] }));
    drop(bens);
    stack.finish().await;
}

#[tokio::test]
async fn what_one_device_sends_the_other_shows_too() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = friends(&stack, 2).await;
    let (mut phone, mut tablet) = (ana.comes_online().await, ana.at(Node(2)).comes_online().await);
    let (mut bens, mut bens_other) = (ben.comes_online().await, ben.at(Node(1)).comes_online().await);
    phone.writes(&ben, "from the phone").await;
    let sent = phone.next("message_sent").await;
    let shown = tablet.next("new_message").await;
    assert_eq!((&shown["message"]["status"], &shown["seq"]), (&json!("sent"), &sent["seq"]));
    assert_eq!(bens.reads(1).await, ["from the phone"]);
    assert_eq!(bens_other.reads(1).await, ["from the phone"]);
    bens.send(&json!({ "type": "mark_read", "message_id": sent["message_id"] })).await;
    hears_read(&mut phone, &sent["message_id"], &ben).await;
    hears_read(&mut tablet, &sent["message_id"], &ben).await;
    // The phone is told what it sent once: as sent, never as new.
    tablet.writes(&ben, "from the tablet").await;
    assert_eq!(phone.reads(1).await, ["from the tablet"]);
    assert!(phone.passed.iter().all(|frame| frame["type"] != "new_message"), "{:?}", phone.passed);
    drop((phone, tablet, bens, bens_other));
    stack.finish().await;
}

#[tokio::test]
async fn two_people_who_write_for_the_first_time_at_once_have_one_conversation() {
    let stack = Stack::builder().nodes(2).start().await;
    for round in 0..5 {
        let (ana, ben) =
            (stack.person(&format!("ana{round}")).await, stack.person(&format!("ben{round}")).await);
        become_friends(&ana, &ben).await;
        let (mut anas, mut bens) = (ana.comes_online().await, ben.at(Node(2)).comes_online().await);
        let far = ben.at(Node(2));
        let (one, two) = tokio::join!(ana.writes(&ben, "from ana"), far.writes(&ana, "from ben"));
        assert_eq!(one["room_id"], two["room_id"]);
        let (heard, also) = (anas.reads(2).await, bens.reads(2).await);
        assert_eq!(heard, also, "and one order");
        drop((anas, bens));
    }
    stack.finish().await;
}

#[tokio::test]
async fn a_conversation_that_begins_while_people_are_online_is_heard_from_its_beginning() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await.at(Node(2)));
    let (mut anas, mut bens) = (ana.comes_online().await, ben.comes_online().await);
    become_friends(&ana, &ben).await;
    anas.writes(&ben, "at last").await;
    assert_eq!(anas.next("message_sent").await["status"], "sent");
    assert_eq!(bens.reads(1).await, ["at last"]);
    drop((anas, bens));
    stack.finish().await;
}

#[tokio::test]
async fn a_message_has_arrived_when_a_device_has_it_and_the_author_may_ask_to_know() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = friends(&stack, 2).await;
    let (mut anas, _) = ana.comes_online_with("&caps=delivered").await;
    anas.writes(&ben, "while ben is away").await;
    let first = anas.next("message_sent").await;
    assert_eq!(statuses(&ana, &ben).await, ["sent"]);
    let mut bens = ben.comes_online().await;
    anas.writes(&ben, "while ben is here").await;
    assert_eq!(bens.reads(1).await, ["while ben is here"]);
    let delivered = anas.next("message_delivered").await;
    assert_eq!(delivered["delivered_to"].as_str(), Some(ben.id()));
    let arrived = eventually(PATIENCE, async || {
        (statuses(&ana, &ben).await == ["delivered", "delivered"]).then_some(())
    });
    arrived.await.expect("one mark says it of everything before it");
    let path = format!("/api/v1/chat/messages/{}/read", first["message_id"].as_str().expect("an id"));
    for _ in 0..2 {
        assert_eq!(ben.put(&path, &json!({})).await.ok()["status"], "read", "twice is once");
    }
    assert_eq!(statuses(&ana, &ben).await, ["delivered", "read"], "reading one reads one");
    anas.next("message_read").await;
    anas.writes(&ben, "last").await;
    anas.next("message_sent").await;
    assert!(anas.passed.iter().all(|frame| frame["type"] != "message_read"), "told once: {:?}", anas.passed);
    drop((anas, bens));
    stack.finish().await;
}

#[tokio::test]
async fn s50_what_was_taken_back_is_gone_everywhere() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = friends(&stack, 2).await;
    let (mut plain, mut knowing) = (ben.comes_online().await, ben.comes_online_with("&caps=deleted").await.0);
    let gone = ana.writes(&ben, "a secret").await;
    let kept = ana.writes(&ben, "no secret").await;
    assert_eq!(
        (plain.reads(2).await, knowing.reads(2).await),
        (vec!["a secret".to_owned(), "no secret".into()], vec!["a secret".to_owned(), "no secret".into()],)
    );
    let path = format!("/api/v1/chat/messages/{}", gone["message_id"].as_str().expect("an id"));
    ben.delete(&path).await.refused(404, "not_found");
    for _ in 0..2 {
        assert_eq!(ana.delete(&path).await.status, 204, "twice is once");
    }
    let told = knowing.next("message_deleted").await;
    assert_eq!((&told["message_id"], told["deleted_by"].as_str()), (&gone["message_id"], Some(ana.id())));
    ben.put(&format!("{path}/read"), &json!({})).await.refused(404, "not_found");
    for person in [&ana, &ben] {
        let other = if person.id() == ana.id() { &ben } else { &ana };
        let page = person.get(&format!("/api/v1/chat/messages/history/{}", other.id())).await.ok();
        assert_eq!((&page["total"], page["messages"].as_array().map(Vec::len)), (&json!(1), Some(1)));
        assert_eq!(page["messages"][0]["message_id"], kept["message_id"]);
        assert!(!page.to_string().contains("a secret"));
    }
    // Neither from memory, nor from the log, nor from rows.
    for round in ["in memory and in the log", "stored"] {
        let mut back = ben.at(Node(1)).comes_online_with("&resume=1&caps=deleted").await.0;
        let room = gone["room_id"].as_str().expect("a room");
        back.send(&json!({ "type": "resume", "after": { room: "1:0" } })).await;
        back.until("no secret", |frame| frame["message"]["content"] == "no secret").await;
        assert!(back.passed.iter().all(|frame| !frame.to_string().contains("a secret")), "{round}");
        drop(back);
        stack.stored().await;
    }
    plain.writes(&ana, "and I?").await;
    plain.next("message_sent").await;
    assert!(
        plain.passed.iter().all(|frame| frame["type"] != "message_deleted"),
        "who did not ask is not told"
    );
    drop((plain, knowing));
    stack.finish().await;
}

/// Messages of each of the two.
const EACH: usize = 30;

/// Writes until accepted, under one name each.
async fn write_all(from: Person, to: &Person, name: &str) {
    for number in 0..EACH {
        let (text, nonce) = (format!("{name} {number}"), uuid::Uuid::now_v7().to_string());
        let accepted = eventually(PATIENCE, async || {
            let request =
                from.request(reqwest::Method::POST, "/api/v1/chat/messages").bearer_auth(&from.token);
            let body = json!({ "receiver_id": to.id(), "content": text, "client_msg_id": nonce });
            let answer = request.json(&body).send().await.ok()?;
            (answer.status().as_u16() == 201).then_some(())
        });
        accepted.await.expect("accepted in the end");
    }
}

/// Hears everything with a device that breaks off again and again, and comes back at the next node that lives.
async fn hear_all(person: &Person, mut node: usize, mut socket: Socket) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < 2 * EACH {
        let next = tokio::time::timeout(PATIENCE, socket.any()).await.expect("more is to be heard");
        let is_open = next.is_some();
        if let Some(frame) = next.filter(|frame| frame["type"] == "new_message") {
            texts.push(frame["message"]["content"].as_str().expect("a text").to_owned());
        }
        if !is_open || texts.len() % 13 == 12 {
            node = 1 + node % 2;
            socket = person.at(Node(node)).comes_back(&socket).await;
        }
    }
    texts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_with_two_devices_each_miss_and_double_nothing_through_breaks_and_a_kill() {
    let mut stack = Stack::builder().nodes(3).processes().workers(2).start().await;
    let (ana, ben) = friends(&stack, 1).await;
    let devices = [(&ana, 3), (&ana, 1), (&ben, 3), (&ben, 2)];
    let mut listening = Vec::new();
    for (person, node) in devices {
        let socket = person.at(Node(node)).comes_online().await;
        listening.push(hear_all(person, node, socket));
    }
    let mut third = stack.take(Role::Api, 3);
    let killing = async {
        let talking = eventually(PATIENCE, async || (stack.rows().await.len() >= EACH / 2).then_some(()));
        talking.await.expect("people talk");
        third.process().kill9();
    };
    let (heard, (), (), ()) = tokio::join!(
        join_all(listening),
        write_all(ana.at(Node(1)), &ben, "a"),
        write_all(ben.at(Node(2)), &ana, "b"),
        killing
    );
    drop(third);
    stack.stored().await;
    let rows: Vec<String> = stack.rows().await.into_iter().map(|row| row.text).collect();
    assert_eq!(rows.len(), 2 * EACH);
    for (texts, (person, node)) in heard.iter().zip(devices) {
        assert_eq!(*texts, rows, "{} at node {node}", person.name);
    }
    stack.finish().await;
}
