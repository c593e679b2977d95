//! One conversation through every process, from the client to Postgres and back. Run on local servers with everything else,
//! and by itself on servers in containers.

use harness::person::Node;
use harness::stack::Stack;

#[tokio::test]
async fn two_people_talk_through_every_process_and_it_is_kept() {
    let stack = Stack::builder().nodes(2).processes().start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await.at(Node(2)));
    let mut anas = ana.connect().await;
    let mut bens = ben.connect().await;
    ana.says("one").await;
    bens.say("two").await;
    assert_eq!(bens.hears(2).await, ["one", "two"]);
    assert_eq!(anas.hears(2).await, ["one", "two"]);
    stack.stored().await;
    let rows = stack.rows().await;
    assert_eq!(rows.iter().map(|row| row.text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(ana.reads().await, ["one", "two"]);
    drop((anas, bens));
    stack.finish().await;
}
