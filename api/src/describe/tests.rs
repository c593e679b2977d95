//! The documents against what is really served: every route, every body, every frame.

mod schema;

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::IntoResponse;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use shared::error::{Code, Refusal};
use tower::ServiceExt as _;

use self::schema::{conforms, dangling_references};
use super::*;
use crate::dialect::{friends, live_chat};
use crate::json_check::JsonLimits;
use crate::respond::Failure;

fn openapi_of_routes() -> Value {
    let (_, api) = routes().merge(crate::dialect::routes()).merge(crate::admin::routes()).split_for_parts();
    serde_json::to_value(&api).expect("a document has string keys")
}

#[test]
fn openapi_has_every_call_and_no_other() {
    let document = openapi_of_routes();
    let paths = document["paths"].as_object().expect("paths");
    let calls: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("a path item").keys();
            methods.map(move |method| format!("{method} {path}"))
        })
        .collect();
    let expected = [
        "delete /api/v1/admin/friendships/{a}/{b}",
        "delete /api/v1/chat/messages/{message_id}",
        "delete /api/v1/friends/{account_id}",
        "delete /api/v1/friends/{account_id}/block",
        "delete /live-chat/like",
        "delete /live-chat/like-message/{message_id}",
        "get /api/v1/accounts",
        "get /api/v1/chat/friends/online",
        "get /api/v1/chat/messages/history/{friend_id}",
        "get /api/v1/chat/messages/unread-count",
        "get /api/v1/friends",
        "get /api/v1/friends/blocks",
        "get /api/v1/friends/requests",
        "get /live-chat/likes",
        "get /live-chat/messages",
        "get /live-chat/stats",
        "get /live-chat/status",
        "get /live-chat/viewers",
        "post /api/v1/admin/accounts/{id}/revoke",
        "post /api/v1/chat/messages",
        "post /api/v1/friends/requests",
        "post /api/v1/friends/requests/{id}/accept",
        "post /api/v1/friends/requests/{id}/decline",
        "post /api/v1/friends/{account_id}/block",
        "post /live-chat/like",
        "post /live-chat/like-message/{message_id}",
        "post /live-chat/send-message",
        "put /api/v1/admin/accounts/{id}",
        "put /api/v1/admin/friendships/{a}/{b}",
        "put /api/v1/chat/messages/{message_id}/read",
    ];
    assert_eq!(calls, expected.map(str::to_owned).into());
    for item in paths.values() {
        for (method, operation) in item.as_object().expect("a path item") {
            let unauthorized = &operation["responses"]["401"]["content"]["application/json"]["schema"];
            assert_eq!(
                unauthorized,
                &json!({"$ref": "#/components/schemas/Problem"}),
                "{method} {operation}"
            );
        }
    }
    let schemes: Vec<&String> =
        document["components"]["securitySchemes"].as_object().unwrap().keys().collect();
    assert_eq!(schemes, ["bearer", "session"]);
}

#[test]
fn no_document_points_nowhere() {
    assert_eq!(dangling_references(&openapi_of_routes()), Vec::<String>::new());
    assert_eq!(dangling_references(&asyncapi::document()), Vec::<String>::new());
}

/// The payloads of an operation's messages, by the name of the message.
fn payloads(document: &Value, operation: &str) -> Vec<(String, Value)> {
    let resolve = |reference: &Value| {
        let pointer = reference["$ref"].as_str().expect("a reference").trim_start_matches('#');
        document.pointer(pointer).expect("no dangling reference").clone()
    };
    let messages = document["operations"][operation]["messages"].as_array().expect("messages");
    let messages = messages.iter().map(|in_channel| resolve(&resolve(in_channel)));
    messages
        .map(|message| (message["name"].as_str().expect("a name").to_owned(), message["payload"].clone()))
        .collect()
}

/// Each described frame is one that is sent, and each that is sent is described, by its type alone.
fn told_as_described(operation: &str, frames: Vec<Vec<u8>>) {
    let document = asyncapi::document();
    let payloads = payloads(&document, operation);
    let mut seen = BTreeSet::new();
    for frame in frames {
        let frame: Value = serde_json::from_slice(&frame).expect("a frame is JSON");
        let kind = frame["type"].as_str().expect("a frame has a type");
        let (_, payload) = payloads.iter().find(|(name, _)| name == kind).expect("a described frame");
        conforms(&document, payload, &frame).unwrap_or_else(|why| panic!("{frame}: {why}"));
        for (other, payload) in payloads.iter().filter(|(name, _)| name != kind) {
            assert!(conforms(&document, payload, &frame).is_err(), "{kind} passes for {other}");
        }
        seen.insert(kind.to_owned());
    }
    let described: BTreeSet<String> = payloads.into_iter().map(|(name, _)| name).collect();
    assert_eq!(described, seen, "each described frame is one that we send");
}

#[test]
fn every_frame_that_is_told_is_as_asyncapi_says_and_the_other_way_round() {
    told_as_described("liveChatClientIsTold", live_chat::samples::frames_told());
    told_as_described("friendsClientIsTold", friends::samples::frames_told());
}

/// Each frame that a client is said to say is read.
fn read_as_described(operation: &str, frames: &[Value], is_read: impl Fn(&str) -> bool) {
    let document = asyncapi::document();
    let mut seen = BTreeSet::new();
    let payloads = payloads(&document, operation);
    for frame in frames {
        let kind = frame["type"].as_str().expect("a type").to_owned();
        let (_, payload) = payloads.iter().find(|(name, _)| *name == kind).expect("a described frame");
        conforms(&document, payload, frame).unwrap_or_else(|why| panic!("{frame}: {why}"));
        assert!(is_read(&frame.to_string()), "{frame}");
        seen.insert(kind);
    }
    assert_eq!(payloads.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(), seen);
}

#[test]
fn every_frame_that_asyncapi_lets_a_client_say_is_read() {
    let limits = JsonLimits { depth: 16, keys: 64 };
    let said = [
        json!({"type": "message", "message": "hi"}),
        json!({"type": "message", "message": "hi", "client_msg_id": "n-1"}),
        json!({"type": "ping"}),
    ];
    read_as_described("liveChatClientSays", &said, |text| live_chat::FrameIn::read(text, limits).is_ok());
    let id = "0192f0c0-0000-7000-8000-000000000001";
    let said = [
        json!({"type": "send_message", "receiver_id": id, "content": "hi"}),
        json!({"type": "send_message", "receiver_id": id, "content": "hi", "client_msg_id": "n-1"}),
        json!({"type": "mark_read", "message_id": id}),
        json!({"type": "typing", "receiver_id": id, "is_typing": true}),
        json!({"type": "resume", "after": {id: "1:42"}}),
    ];
    read_as_described("friendsClientSays", &said, |text| friends::FrameIn::read(text, limits).is_ok());
}

async fn body(response: axum::response::Response) -> Vec<u8> {
    response.into_body().collect().await.expect("a whole body").to_bytes().to_vec()
}

#[tokio::test]
async fn refusals_look_as_documented_but_for_the_id_that_the_router_gives() {
    let document = openapi_of_routes();
    let slow = Refusal::new(Code::RateLimited, "Slow down").retry_after(std::time::Duration::from_secs(1));
    let cases = [
        ("Problem", Failure::from(slow)),
        ("Problem", Failure::from(Refusal::new(Code::NotActive, "Chat is not active"))),
        ("Invalid", Failure::invalid("limit", "must be a whole number of at least 1")),
        ("Invalid", Failure::from(Refusal::new(Code::TooLong, "Too long")).at("message")),
    ];
    for (name, failure) in cases {
        let mut answer: Value = serde_json::from_slice(&body(failure.into_response()).await).expect("JSON");
        answer["request_id"] = json!("abc");
        let schema = &document["components"]["schemas"][name];
        conforms(&document, schema, &answer).unwrap_or_else(|why| panic!("{answer}: {why}"));
    }
}

async fn get(pages: &Router, path: &str) -> axum::response::Response {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    pages.clone().oneshot(request).await.expect("a router does not fail")
}

#[tokio::test]
async fn the_page_and_all_that_it_loads_are_ours() {
    let pages: Router = pages(&openapi());
    let answer = get(&pages, "/docs").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/html"));
    let page = String::from_utf8(body(answer).await).expect("UTF-8");
    let loaded: Vec<&str> =
        page.split(['"', '\'']).filter(|part| part.starts_with('/') || part.contains("://")).collect();
    assert_eq!(loaded.len(), 4, "{loaded:?}");
    for path in loaded {
        let answer = get(&pages, path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let kind = answer.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let fits = path.ends_with(".css") && kind.starts_with("text/css")
            || path.ends_with(".js") && kind.starts_with("text/javascript")
            || path.ends_with(".png") && kind == "image/png";
        assert!(fits, "{path} is {kind}: a browser that is told not to guess would not take it");
        assert!(!body(answer).await.is_empty(), "{path}");
    }
    assert!(!page.contains("<script>"), "the policy forbids scripts in the page");
    for absent in ["/docs/index.html", "/docs/..%2Fopenapi.json", "/docs/swagger-initializer.js"] {
        assert_eq!(get(&pages, absent).await.status(), StatusCode::NOT_FOUND, "{absent}");
    }
    for document in ["/openapi.json", "/asyncapi.json"] {
        let answer = get(&pages, document).await;
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
        assert!(serde_json::from_slice::<Value>(&body(answer).await).is_ok(), "{document}");
    }
}
