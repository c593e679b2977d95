//! Reading what Postgres does not have yet, or gets while it is read: the log and Postgres together always have all of it.

use futures_util::future::join_all;
use harness::children::{PATIENCE, eventually};
use harness::proxy::{Proxy, Weather};
use harness::stack::{Role, Stack};
use shared::id::Position;
use shared::message::MessageText;

use super::{Node, finish, person, stack};
use crate::chat::amend;
use crate::chat::history::{self, Replay};

#[tokio::test]
async fn a_message_that_is_stored_while_a_page_is_read_is_on_the_page() {
    let mut stack = Stack::builder().nodes(0).processes().start().await;
    let log = stack.servers.log_url.trim_start_matches("redis://").trim_end_matches('/').to_owned();
    let link = Proxy::start(log.parse().expect("an address")).await;
    let near = Node::start(&stack).await;
    let far = Node::start_at(&stack, &format!("redis://{}/", link.address)).await;
    let ana = person("ana");
    let room = near.group(&[&ana]).await;
    stack.stored().await;
    stack.service(Role::Persister, 1).process().pause();
    let said = near.says(&ana, room, "on its way").await.expect("ana may write");

    // The reader's question to the log is held back until Postgres has the message and the log says so.
    link.set(Weather::Silent);
    let storing = async {
        link.holds_something().await;
        stack.service(Role::Persister, 1).process().resume();
        let (partition, entry) = said.no.place(near.app.partitions()).expect("a message has a place");
        let published = eventually(PATIENCE, async || {
            (near.app.log.state(partition).await.ok()?.watermark >= entry).then_some(())
        });
        published.await.expect("the message is stored");
        link.set(Weather::Fair);
    };
    let (page, ()) = tokio::join!(history::page(&far.app, room, None, 50), storing);
    let page = page.expect("the stores answer");
    let texts: Vec<&str> = page.messages.iter().filter_map(|message| message.text.as_deref()).collect();
    assert_eq!(texts, ["on its way"]);
    drop(link);
    finish(stack, vec![near, far]).await;
}

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
