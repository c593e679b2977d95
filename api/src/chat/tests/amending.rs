//! Edits and deletions: seen by every reader, once, and never undone by what comes late.

use harness::stack::Stack;
use shared::Code;
use shared::id::{MessageId, Position, RoomId};
use shared::message::MessageText;

use super::{Node, code, finish, person, stack};
use crate::chat::history::{self, Replay};
use crate::chat::{Happening, amend};

fn text(text: &str) -> MessageText {
    MessageText::parse(text.to_owned(), 1_000).expect("a good text")
}

/// How a message stands on a page: its text, nothing when it was deleted.
async fn stands(node: &Node, room: RoomId, id: MessageId) -> Option<String> {
    let page = history::page(&node.app, room, None, 50).await.expect("the stores answer");
    page.messages.into_iter().find(|message| message.id == id).expect("it keeps its place").text
}

/// Everything that a replay of the whole room says.
async fn told(node: &Node, room: RoomId) -> Vec<Happening> {
    match history::replay(&node.app, room, Position::default()).await.expect("the stores answer") {
        Replay::Events { events, .. } => events.into_iter().map(|event| event.what).collect(),
        Replay::Resync { .. } => panic!("all of it can be told"),
    }
}

async fn is_nowhere(stack: &Stack, node: &Node, room: RoomId, secret: &str) {
    for what in told(node, room).await {
        assert!(!format!("{what:?}").contains(secret), "{what:?}");
    }
    let rows = stack.rows().await;
    assert!(rows.iter().all(|row| !row.text.contains(secret)), "{rows:?}");
}

#[tokio::test]
async fn an_edit_is_seen_at_every_node_before_and_after_it_is_stored() {
    let stack = stack().await;
    let (near, far) = (Node::start(&stack).await, Node::start(&stack).await);
    let (ana, ben) = (person("ana"), person("ben"));
    let room = near.group(&[&ana, &ben]).await;
    let sent = near.says(&ana, room, "frist").await.expect("ana may write");
    let id = near.id_of(sent.no).await;
    amend::edit_message(&near.app, ana.id, room, id, &text("first")).await.expect("the author may edit");
    assert_eq!(stands(&far, room, id).await.as_deref(), Some("first"));
    stack.stored().await;
    assert_eq!(stands(&far, room, id).await.as_deref(), Some("first"));
    let before = history::head(&far.app, room).await.expect("the log answers");
    amend::edit_message(&far.app, ana.id, room, id, &text("first"))
        .await
        .expect("the same text is no change");
    assert_eq!(history::head(&far.app, room).await.expect("the log answers"), before);
    let refused = amend::edit_message(&far.app, ben.id, room, id, &text("mine")).await;
    assert_eq!(code(refused), Some(Code::Forbidden));
    finish(stack, vec![near, far]).await;
}

#[tokio::test]
async fn s50_a_deleted_text_is_in_no_later_answer() {
    let stack = stack().await;
    let (near, far) = (Node::start(&stack).await, Node::start(&stack).await);
    let (ana, ben) = (person("ana"), person("ben"));
    let room = near.group(&[&ana, &ben]).await;
    let sent = near.says(&ana, room, "the secret").await.expect("ana may write");
    let id = near.id_of(sent.no).await;
    amend::edit_message(&near.app, ana.id, room, id, &text("still the secret")).await.expect("an edit");
    let mut ear = near.listens(&ben, room, Position::default()).await.expect("ben is a member");
    assert_eq!(ear.hears().await, "the secret", "it was no secret then");
    assert_eq!(code(amend::delete_message(&far.app, ben.id, room, id).await), Some(Code::Forbidden));
    amend::delete_message(&far.app, ana.id, room, id).await.expect("the author may delete");
    amend::delete_message(&near.app, ana.id, room, id).await.expect("twice is once");
    let late = amend::edit_message(&near.app, ana.id, room, id, &text("the secret again")).await;
    assert_eq!(code(late), Some(Code::NotFound));
    assert_eq!(stands(&near, room, id).await, None, "from the tail");
    near.says(&ana, room, "over").await.expect("ana may write");
    assert_eq!(ear.hears().await, "over");
    let late = near.listens(&ben, room, Position::default()).await.expect("ben is a member");
    assert!(
        late.everything().await.iter().all(|frame| !frame.to_string().contains("secret")),
        "from the ring"
    );
    stack.stored().await;
    assert_eq!(stands(&far, room, id).await, None, "from Postgres");
    is_nowhere(&stack, &far, room, "secret").await;
    ear.everything().await;
    finish(stack, vec![near, far]).await;
}

#[tokio::test]
async fn an_admin_may_delete_what_others_said_and_everybody_else_only_their_own() {
    let stack = stack().await;
    let node = Node::start(&stack).await;
    let (ana, ben, eve) = (person("ana"), person("ben"), person("eve"));
    let room = node.group(&[&ana, &ben]).await;
    let sent = node.says(&ben, room, "rude").await.expect("ben may write");
    let id = node.id_of(sent.no).await;
    for stranger in [
        amend::delete_message(&node.app, eve.id, room, id).await,
        amend::edit_message(&node.app, eve.id, room, id, &text("x")).await,
    ] {
        assert_eq!(code(stranger), Some(Code::NotFound));
    }
    let elsewhere = node.group(&[&ana]).await;
    assert_eq!(code(amend::delete_message(&node.app, ana.id, elsewhere, id).await), Some(Code::NotFound));
    amend::delete_message(&node.app, ana.id, room, id).await.expect("an admin may");
    stack.stored().await;
    let by_another = "select count(*) from hubbub.message where deleted_by <> author and content is null";
    assert_eq!(stack.count(by_another).await, 1);
    finish(stack, vec![node]).await;
}
