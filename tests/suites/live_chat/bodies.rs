//! Every body and frame, field by field.

use harness::golden::assert_like;
use harness::stack::Stack;
use serde_json::json;

#[tokio::test]
async fn every_rest_answer_has_exactly_its_fields() {
    let stack = Stack::start().await;
    let ana = stack.person_with("ana", &["host"]).await;
    let session = json!({
        "id": 1, "name": "<text>", "viewer_count": 1, "total_likes": 0,
        "start_time": "<naive>", "end_time": "<naive>", "start_time_utc": "<utc>", "end_time_utc": "<utc>",
        "room_id": "<uuid>",
    });
    let status = ana.get("/live-chat/status").await.ok();
    assert_like(
        &status,
        &json!({ "enabled": true, "is_active": true, "session": session, "position": "<position>" }),
    );
    let name = status["session"]["name"].as_str().expect("a name");
    assert!(name.starts_with("Draw Chat - "), "{name}");

    let sent =
        ana.post("/live-chat/send-message", &json!({ "message": "hi", "client_msg_id": "n1" })).await.ok();
    let receipt = json!({
        "message": "Message sent successfully", "message_id": "<int>", "created_at": "<naive>",
        "created_at_utc": "<utc>", "room_id": status["session"]["room_id"], "client_msg_id": "n1",
        "epoch": "<int>", "seq": 1,
    });
    assert_like(&sent, &receipt);

    let message = json!({
        "id": sent["message_id"], "user_id": ana.account["id"], "username": "ana", "profile_pic": null,
        "message": "hi", "message_type": "text", "likes": 0, "created_at": sent["created_at"],
        "created_at_utc": sent["created_at_utc"], "is_winner": false, "is_host": true,
        "room_id": sent["room_id"], "client_msg_id": "n1", "epoch": sent["epoch"], "seq": 1,
    });
    let position = format!("{}:1", sent["epoch"]);
    let page = json!({ "messages": [message], "position": position, "next_cursor": null });
    assert_like(&ana.get("/live-chat/messages").await.ok(), &page);
    assert_like(&ana.get("/live-chat/messages/?limit=50").await.ok(), &page);

    assert_like(
        &ana.get("/live-chat/viewers").await.ok(),
        &json!({ "viewer_count": 1, "session_id": 1, "session_name": name }),
    );
    assert_like(
        &ana.get("/live-chat/likes").await.ok(),
        &json!({ "total_likes": 0, "session_id": 1, "session_name": name }),
    );
    assert_like(
        &ana.get("/live-chat/stats").await.ok(),
        &json!({
            "session_id": 1, "session_name": name, "viewer_count": 1, "total_likes": 0, "total_messages": 1,
            "recent_messages": 1, "is_active": true, "start_time": "<naive>", "end_time": "<naive>",
            "start_time_utc": "<utc>", "end_time_utc": "<utc>",
        }),
    );
    let like = format!("/live-chat/like-message/{}", sent["message_id"]);
    assert_like(
        &ana.post("/live-chat/like", &json!({})).await.ok(),
        &json!({ "message": "Session liked successfully", "total_likes": 1 }),
    );
    assert_like(
        &ana.post(&like, &json!({})).await.ok(),
        &json!({ "message": "Message liked successfully", "likes": 1 }),
    );
    assert_like(&ana.delete("/live-chat/like").await.ok(), &json!({ "message": "<text>", "total_likes": 0 }));
    assert_like(&ana.delete(&like).await.ok(), &json!({ "message": "<text>", "likes": 0 }));
    stack.finish().await;
}

#[tokio::test]
async fn every_frame_has_exactly_its_fields() {
    let stack = Stack::start().await;
    let ana = stack.person_with("ana", &["winner"]).await;
    let mut socket = ana.connect().await;
    let room = json!(stack.live_room().await.0);

    socket.say_as("hi", "n1").await;
    let heard = socket.next("new_message").await;
    let message = json!({
        "id": "<int>", "user_id": ana.account["id"], "username": "ana", "profile_pic": null,
        "message": "hi", "message_type": "text", "likes": 0, "created_at": "<naive>", "created_at_utc": "<utc>",
        "is_winner": true, "is_host": false, "room_id": room, "client_msg_id": "n1", "epoch": "<int>", "seq": 1,
    });
    assert_like(
        &heard,
        &json!({ "type": "new_message", "message": message, "room_id": room, "epoch": "<int>", "seq": 1 }),
    );
    ana.post("/live-chat/like", &json!({})).await.ok();
    let update = json!({
        "type": "session_like_update", "total_likes": 1, "room_id": room, "epoch": "<int>", "seq": 2,
    });
    assert_like(&socket.next("session_like_update").await, &update);
    let id = &heard["message"]["id"];
    ana.post(&format!("/live-chat/like-message/{id}"), &json!({})).await.ok();
    let update = json!({
        "type": "message_like_update", "message_id": id, "likes": 1, "room_id": room, "epoch": "<int>", "seq": 3,
    });
    assert_like(&socket.next("message_like_update").await, &update);
    let counts: Vec<_> =
        socket.passed.iter().filter(|frame| frame["type"] == "viewer_count_update").collect();
    let count = match counts.first() {
        Some(count) => (*count).clone(),
        None => socket.next("viewer_count_update").await,
    };
    let update = json!({
        "type": "viewer_count_update", "viewer_count": 1, "room_id": room, "epoch": "<int>", "seq": "<int>",
    });
    assert_like(&count, &update);

    socket.send(&json!({ "type": "ping" })).await;
    assert_like(&socket.next("pong").await, &json!({ "type": "pong" }));
    socket.say_as(" ", "n2").await;
    assert_like(
        &socket.next("error").await,
        &json!({
            "type": "error", "message": "Message cannot be empty", "code": "empty", "client_msg_id": "n2",
        }),
    );
    drop(socket);
    stack.finish().await;
}

#[tokio::test]
async fn refusals_have_one_shape() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    let plain = |detail: &str, code: &str| json!({ "detail": detail, "code": code, "request_id": "<text>" });
    let nobody = ana.with_token("");
    assert_like(
        &nobody.get("/live-chat/status").await.refused(401, "unauthorized"),
        &plain("Not authenticated", "unauthorized"),
    );
    assert_like(
        &ana.post("/live-chat/like-message/12345", &json!({})).await.refused(404, "not_found"),
        &plain("Message not found", "not_found"),
    );
    assert_like(
        &ana.post("/live-chat/send-message", &json!({ "message": "" })).await.refused(400, "empty"),
        &plain("Message cannot be empty", "empty"),
    );
    ana.post("/live-chat/like", &json!({})).await.ok();
    assert_like(
        &ana.post("/live-chat/like", &json!({})).await.refused(400, "already_liked"),
        &json!({
            "detail": "Already liked this session", "code": "already_liked", "request_id": "<text>",
            "total_likes": 1,
        }),
    );
    assert_like(
        &ana.get("/live-chat/messages?limit=0").await.refused(422, "invalid"),
        &json!({
            "detail": [{ "loc": ["limit"], "msg": "<text>", "type": "invalid" }],
            "code": "invalid", "request_id": "<text>",
        }),
    );
    assert_like(&ana.get("/nowhere").await.refused(404, "not_found"), &plain("Not Found", "not_found"));
    stack.finish().await;
}
