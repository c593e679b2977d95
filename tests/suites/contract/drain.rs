//! A deploy is not an incident.

use futures_util::future::join_all;
use harness::children::{PATIENCE, eventually};
use harness::dialect::{Dialect, Spoken, Why};
use harness::stack::{Role, Stack};
use reqwest::Method;

const SOCKETS: usize = 20;

/// Many sockets on the second node, and people who talk on both, while the process gets its SIGTERM.
pub(super) async fn a_node_that_is_told_to_stop_sends_its_people_elsewhere_and_loses_nothing(
    dialect: Dialect,
) {
    let mut stack = Stack::builder().nodes(2).processes().start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    let mut lines = Vec::new();
    for number in 0..SOCKETS {
        lines.push(if number % 2 == 0 { &ana } else { &ben }.at(2).opens().await);
    }
    let chatters = [ana.goes_on(&[2, 1]), ben.goes_on(&[1])];
    for line in &mut lines {
        line.waits_for(3).await;
    }
    let node = stack.take(Role::Api, 2);
    let internal = node.internal;
    node.stop();
    let draining = eventually(PATIENCE, async || {
        let ready = reqwest::get(format!("http://{internal}/readyz")).await.ok()?;
        (ready.status().as_u16() == 404).then_some(())
    });
    // People read all the time, so they answer the close in time to be let go in peace.
    let (draining, ends) = tokio::join!(draining, join_all(lines.iter_mut().map(|line| line.ends())));
    assert_eq!(ends, vec![dialect.ending(Why::Drain); SOCKETS]);
    assert!(draining.is_some(), "readiness says that the node is going");
    node.ended().await;
    let gone = ana.at(2).person.request(Method::GET, "/readyz").send().await;
    assert!(gone.is_err(), "and then nobody listens");

    let mut back = Vec::new();
    for (number, line) in lines.iter_mut().enumerate() {
        let talker = if number % 2 == 0 { &ana } else { &ben };
        let resumed = talker.resumes(line.last).await;
        back.push((line.leftovers(), resumed));
    }
    let mut accepted: Vec<Spoken> = Vec::new();
    for chatter in chatters {
        accepted.extend(chatter.stops().await);
    }
    accepted.sort();
    let last = &accepted[accepted.len() - 1];
    for (mut heard, mut line) in back {
        assert!(heard.len() < accepted.len(), "people talked on");
        heard.extend(line.hears_until(&last.text).await);
        assert_eq!(heard, accepted, "nothing lost, nothing twice");
    }
    super::rows_are(&stack, &accepted).await;
    drop(lines);
    stack.finish().await;
}
