//! Where the name of a send may also stand. That a retry is the same message is in the contract of all dialects.

use harness::stack::Stack;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn the_idempotency_key_header_is_a_nonce() {
    let stack = Stack::start().await;
    let ana = stack.person("ana").await;
    let send = async |key: &str, body: serde_json::Value| {
        let request = ana.request(Method::POST, "/live-chat/send-message").bearer_auth(&ana.token);
        let response = request.header("Idempotency-Key", key).json(&body).send().await.expect("an answer");
        harness::http::Answer::of(response).await
    };
    let first = send("key-1", json!({ "message": "once" })).await.ok();
    assert_eq!(first["client_msg_id"], "key-1");
    let again = send("key-1", json!({ "message": "once" })).await.ok();
    assert_eq!(again["message_id"], first["message_id"]);
    send("key-1", json!({ "message": "other" })).await.refused(409, "nonce_reused");
    let named = send("key-1", json!({ "message": "other", "client_msg_id": "n" })).await.ok();
    assert_eq!(named["client_msg_id"], "n", "the body's own name wins");
    for bad in ["", &"x".repeat(65)] {
        assert_eq!(send(bad, json!({ "message": "m" })).await.status, 422, "{bad}");
    }
    stack.finish().await;
}
