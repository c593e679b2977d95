//! Reading while nobody stores: the newest part of a room is whole, however long its tail has become.

use futures_util::future::join_all;
use harness::stack::Role;
use shared::id::Position;
use shared::message::MessageText;

use super::{Node, finish, person, stack};
use crate::chat::amend;
use crate::chat::history::{self, Replay};

/// More than a read walks over (`TAIL_MAX`), said by so many at once.
const SAID: usize = 5_200;
const AT_ONCE: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_page_is_whole_behind_a_tail_that_is_longer_than_a_read_walks() {
    let mut stack = stack().await;
    let (near, far) = (Node::start(&stack).await, Node::start(&stack).await);
    let (ana, ben) = (person("ana"), person("ben"));
    let room = near.group(&[&ana, &ben]).await;
    stack.stored().await;
    stack.stop(Role::Persister, 1).await;
    let said = join_all((0..AT_ONCE).map(async |lane| {
        for turn in 0..SAID / AT_ONCE {
            near.says(&ana, room, &format!("{lane} {turn}")).await.expect("ana may write");
        }
    }));
    said.await;
    let mut last = Position::default();
    for text in ["one", "two", "three"] {
        last = near.says(&ben, room, text).await.expect("ben may write").position;
    }
    let newest = history::page(&far.app, room, None, 50).await.expect("the stores answer");
    let two = newest.messages[48].id;
    let edited = MessageText::parse("second".to_owned(), 1_000).expect("a good text");
    amend::edit_message(&far.app, ben.id, room, two, &edited).await.expect("the author may edit");

    let page = history::page(&far.app, room, None, 50).await.expect("the stores answer");
    let texts: Vec<&str> = page.messages.iter().filter_map(|message| message.text.as_deref()).collect();
    assert_eq!((texts.len(), &texts[47..]), (50, &["one", "second", "three"][..]));
    assert!(page.more && !page.incomplete, "the page lacks nothing");
    assert_eq!(page.position.seq, last.seq + 1);
    let all = history::page(&far.app, room, None, u32::try_from(SAID).expect("thousands")).await;
    assert!(all.expect("the stores answer").incomplete, "who asks for more than is walked over is told");
    // Whoever comes back is told what the tail has, and no more of it is read than that.
    match history::replay(&far.app, room, last).await.expect("the stores answer") {
        Replay::Events { events, .. } => assert_eq!(events.len(), 1, "the edit"),
        Replay::Resync { .. } => panic!("one event can be told"),
    }
    stack.add(Role::Persister).await;
    stack.ready().await;
    finish(stack, vec![near, far]).await;
}
