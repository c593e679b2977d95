//! What is refused, how, and that it loses nothing.

use harness::person::{Node, Person};
use harness::socket::Socket;
use harness::stack::{Role, Stack};
use serde_json::{Value, json};
use shared::id::{AccountId, RoomId};

use super::{become_friends, friends};

#[tokio::test]
async fn s49_strangers_blocked_people_oneself_and_nobody_are_refused_alike() {
    let stack = Stack::start().await;
    let (ana, ben) = friends(&stack, 1).await;
    let (carl, dora) = (stack.person("carl").await, stack.person("dora").await);
    become_friends(&ana, &dora).await;
    dora.post(&format!("/api/v1/friends/{}/block", ana.id()), &json!({})).await;
    let nobody = "0192f0c0-0000-7000-8000-00000000dead";
    let mut bodies = Vec::new();
    for id in [carl.id(), dora.id(), ana.id(), nobody] {
        let answer = ana.post("/api/v1/chat/messages", &json!({ "receiver_id": id, "content": "hi" })).await;
        let mut body = answer.refused(403, "not_friends");
        body["request_id"] = Value::Null;
        bodies.push(body);
    }
    dora.tries_to_write(&ana, "hi", None).await.refused(403, "not_friends");
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    let mut socket = ana.comes_online().await;
    socket.send(&json!({ "type": "send_message", "receiver_id": carl.id(), "content": "hi", "client_msg_id": "n" })).await;
    let error = socket.next("error").await;
    assert_eq!((&error["code"], &error["client_msg_id"]), (&json!("not_friends"), &json!("n")));
    socket.writes(&ben, "still open").await;
    socket.next("message_sent").await;
    for id in [carl.id(), ana.id(), nobody] {
        ana.get(&format!("/api/v1/chat/messages/history/{id}")).await.refused(404, "not_found");
    }
    drop(socket);
    stack.finish().await;
}

/// What somebody sees of a person of whom they know the id: by history, and by a resume that names the room of the two.
async fn sees(me: &Person, other: &str) -> (Value, Vec<Value>) {
    let history = me.get(&format!("/api/v1/chat/messages/history/{other}")).await;
    let mut body = history.refused(404, "not_found");
    body["request_id"] = Value::Null;
    let (mut socket, _) = me.comes_online_with("&resume=1").await;
    resumes_with(&mut socket, me, other).await;
    let (mut unnamed, _) = me.comes_online_with("&resume=1").await;
    unnamed.send(&json!({ "type": "resume", "after": {} })).await;
    unnamed.send(&json!({ "type": "nothing" })).await;
    unnamed.next("error").await;
    socket.passed.append(&mut unnamed.passed);
    (body, socket.passed)
}

/// Resumes in the room of two people, and waits until that is done.
async fn resumes_with(socket: &mut Socket, me: &Person, other: &str) {
    let (one, two) = (me.id().parse().expect("a UUID"), other.parse().expect("a UUID"));
    let room = RoomId::of_pair(AccountId(one), AccountId(two)).to_string();
    socket.send(&json!({ "type": "resume", "after": { room: "9:9" } })).await;
    socket.send(&json!({ "type": "nothing" })).await;
    socket.next("error").await;
}

#[tokio::test]
async fn s49_a_stranger_who_is_blocked_sees_what_there_is_to_see_of_nobody() {
    let mut stack = Stack::builder().nodes(2).start().await;
    let (ana, eve) = (stack.person("ana").await, stack.person("eve").await);
    let nothing = sees(&eve, "0192f0c0-0000-7000-8000-00000000dead").await;
    assert_eq!(sees(&eve, ana.id()).await, nothing);
    stack.stop(Role::Persister, 1).await;
    // Eve waits with a socket that has yet to say where she was.
    let (mut waiting, _) = eve.comes_online_with("&resume=1").await;
    super::blocks(&ana, &eve).await;
    resumes_with(&mut waiting, &eve, ana.id()).await;
    assert!(waiting.passed.is_empty(), "{:?}", waiting.passed);
    for stored in [false, true] {
        if stored {
            stack.add(Role::Persister).await;
            stack.ready().await;
            stack.stored().await;
        }
        for node in [1, 2] {
            assert_eq!(sees(&eve.at(Node(node)), ana.id()).await, nothing, "stored: {stored}");
        }
    }
    // What was said is another matter.
    let ben = stack.person("ben").await;
    become_friends(&ana, &ben).await;
    ana.writes(&ben, "before").await;
    super::blocks(&ana, &ben).await;
    assert_eq!(ben.letters_with(&ana).await.len(), 1);
    drop(waiting);
    stack.finish().await;
}

#[tokio::test]
async fn what_was_written_stays_readable_when_a_friendship_ends() {
    let stack = Stack::start().await;
    let (ana, ben) = friends(&stack, 1).await;
    let mut bens = ben.comes_online().await;
    let sent = ana.writes(&ben, "before").await;
    assert_eq!(bens.reads(1).await, ["before"]);
    assert_eq!(ana.delete(&format!("/api/v1/friends/{}", ben.id())).await.status, 204);
    ben.tries_to_write(&ana, "after", None).await.refused(403, "not_friends");
    bens.writes(&ana, "after").await;
    assert_eq!(bens.next("error").await["code"], "not_friends");
    assert_eq!(ben.letters_with(&ana).await.len(), 1);
    let path = format!("/api/v1/chat/messages/{}", sent["message_id"].as_str().expect("an id"));
    assert_eq!(
        ben.put(&format!("{path}/read"), &json!({})).await.ok()["status"],
        "read",
        "and can still be read"
    );
    drop(bens);
    stack.finish().await;
}

#[tokio::test]
async fn s11_somebody_elses_messages_are_not_there() {
    let stack = Stack::start().await;
    let (ana, ben) = friends(&stack, 1).await;
    let carl = stack.person("carl").await;
    let sent = ana.writes(&ben, "between us").await;
    let path = format!("/api/v1/chat/messages/{}", sent["message_id"].as_str().expect("an id"));
    let absent = "/api/v1/chat/messages/8192f0c0-0000-8000-8000-00000000dead";
    let without_id = |mut body: Value| {
        body["request_id"] = Value::Null;
        body
    };
    for (person, path) in [(&carl, &path), (&ana, &path), (&ben, &absent.to_owned())] {
        let refused = person.put(&format!("{path}/read"), &json!({})).await.refused(404, "not_found");
        let expected = carl.put(&format!("{absent}/read"), &json!({})).await.refused(404, "not_found");
        assert_eq!(without_id(refused), without_id(expected), "{}", person.name);
    }
    for person in [&carl, &ben] {
        person.delete(&path).await.refused(404, "not_found");
    }
    carl.get(&format!("/api/v1/chat/messages/history/{}", ana.id())).await.refused(404, "not_found");
    assert_eq!(ana.letters_with(&ben).await[0]["content"], "between us");
    let live = ana.says("in the live chat").await;
    assert!(live["message_id"].is_i64());
    stack.finish().await;
}

#[tokio::test]
async fn bad_input_is_told_by_a_code_and_loses_nothing() {
    let stack = Stack::start().await;
    let (ana, ben) = friends(&stack, 1).await;
    let long = "x".repeat(4_001);
    for (body, status, code) in [
        (json!({ "receiver_id": ben.id(), "content": long }), 422, "too_long"),
        (json!({ "receiver_id": ben.id(), "content": " \n" }), 400, "empty"),
        (json!({ "receiver_id": ben.id(), "content": "a\0b" }), 422, "invalid"),
        (json!({ "receiver_id": ben.id() }), 422, "invalid"),
        (json!({ "receiver_id": "ben", "content": "x" }), 422, "invalid"),
        (json!({ "receiver_id": ben.id(), "content": "x", "client_msg_id": "" }), 422, "invalid"),
    ] {
        ana.post("/api/v1/chat/messages", &body).await.refused(status, code);
    }
    assert_eq!(ana.tries_to_write(&ben, &"x".repeat(4_000), Some("n")).await.status, 201);
    assert_eq!(ana.tries_to_write(&ben, &"x".repeat(4_000), Some("n")).await.status, 201, "a retry");
    ana.tries_to_write(&ben, "another", Some("n")).await.refused(409, "nonce_reused");
    let history = format!("/api/v1/chat/messages/history/{}", ben.id());
    for query in ["limit=0", "limit=-1", "limit=x", "skip=-1", "skip=x", "cursor=x"] {
        ana.get(&format!("{history}?{query}")).await.refused(422, "invalid");
    }
    assert_eq!(ana.get(&format!("{history}?limit=1000")).await.ok()["limit"], 100, "cut");
    for path in ["history/ben", "ben/read"] {
        let path = format!("/api/v1/chat/messages/{path}");
        let answer =
            if path.ends_with("read") { ana.put(&path, &json!({})).await } else { ana.get(&path).await };
        answer.refused(422, "invalid");
    }
    ana.delete("/api/v1/chat/messages/7").await.refused(422, "invalid");
    ana.with_token("rubbish").get("/api/v1/chat/messages/unread-count").await.refused(401, "unauthorized");
    let mut socket = ana.comes_online().await;
    for frame in [
        json!({ "type": "send_message", "receiver_id": ben.id(), "content": "" }),
        json!({ "type": "mark_read", "message_id": "0192f0c0-0000-8000-8000-00000000dead" }),
        json!({ "type": "mark_read" }),
        json!({ "type": "resume", "after": {} }),
        json!({ "type": "new_message", "message": {} }),
        json!(7),
    ] {
        socket.send(&frame).await;
        assert!(socket.next("error").await["code"].is_string(), "{frame}");
    }
    assert_eq!(ana.letters_with(&ben).await.len(), 1);
    drop(socket);
    stack.finish().await;
}

#[tokio::test]
async fn nobody_is_let_in_without_a_token_that_holds() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    let opened = Socket::open("nobody", &ana.with_token("rubbish").friends_url(""), &[]).await;
    opened.err().expect("kept out").refused(401, "unauthorized");
    let mut told =
        Socket::open("nobody", &ana.with_token("rubbish").friends_url("&close_codes=1"), &[]).await;
    let told = told.as_mut().unwrap_or_else(|refusal| panic!("{refusal:?}"));
    assert_eq!(told.closed().await, Some(4401));
    stack.run("update hubbub.account set is_active = false").await;
    let opened = Socket::open("ana", &ana.at(Node(1)).friends_url(""), &[]).await;
    opened.err().expect("kept out").refused(403, "forbidden");
    stack.finish().await;
}

#[tokio::test]
async fn who_does_not_say_where_they_were_is_told_what_came_since() {
    let stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = friends(&stack, 2).await;
    ana.writes(&ben, "missed").await;
    let (mut bens, _) = ben.comes_online_with("&resume=1").await;
    ana.writes(&ben, "held").await;
    // Nothing is told for five seconds; then what came since the socket did, and no more.
    assert_eq!(bens.reads(1).await, ["held"]);
    bens.send(&json!({ "type": "resume", "after": {} })).await;
    assert_eq!(bens.next("error").await["code"], "invalid", "too late");
    // A conversation with something unread that is not named must be read anew.
    let (mut bens, _) = ben.comes_online_with("&resume=1").await;
    bens.send(&json!({ "type": "resume", "after": {} })).await;
    let resync = bens.next("resync").await;
    assert!(resync["room_id"].is_string() && resync["seq"].is_u64(), "{resync}");
    drop(bens);
    stack.finish().await;
}
