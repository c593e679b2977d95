//! Reading what is on its way from the log into Postgres: one of the two always has it.

use harness::children::{PATIENCE, eventually};
use harness::proxy::{Proxy, Weather};
use harness::stack::{Role, Stack};

use super::{Node, finish, person};
use crate::chat::history;

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
