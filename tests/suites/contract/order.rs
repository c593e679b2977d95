//! One order per room, whoever looks and wherever.

use futures_util::future::join_all;
use harness::dialect::{Dialect, Line, Spoken, Talker};
use harness::stack::Stack;

use super::rows_are;

/// Half of them speak by socket, half by REST.
const LANES: usize = 12;
const EACH: usize = 15;
const ALL: usize = LANES * EACH;

/// Says its share by socket, and hears everything there.
async fn speaks(mut line: Line, lane: usize) -> (Line, Vec<Spoken>) {
    for number in 0..EACH {
        let text = format!("{lane}-{number}");
        line.says(&text, &text).await;
    }
    let heard = line.hears(ALL).await;
    (line, heard)
}

async fn sends(talker: Talker, lane: usize) -> Vec<Spoken> {
    let mut receipts = Vec::new();
    for number in 0..EACH {
        receipts.push(talker.sends(&format!("{lane}-{number}")).await);
    }
    receipts
}

pub(super) async fn many_senders_on_three_nodes_make_one_order(dialect: Dialect) {
    let stack = Stack::builder().nodes(3).workers(2).start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    let mut talkers = Vec::new();
    for lane in 0..LANES / 2 {
        let talker = if lane % 2 == 0 { &ana } else { &ben }.at(1 + lane % 3);
        talkers.push((talker.opens().await, talker));
    }
    let (mut speaking, mut sending) = (Vec::new(), Vec::new());
    for (lane, (line, talker)) in talkers.into_iter().enumerate() {
        speaking.push(tokio::spawn(speaks(line, lane)));
        sending.push(tokio::spawn(sends(talker, LANES / 2 + lane)));
    }
    let (mut lines, mut heard) = (Vec::new(), Vec::new());
    for spoken in join_all(speaking).await {
        let (line, all) = spoken.expect("somebody who speaks");
        lines.push(line);
        heard.push(all);
    }
    let order = &heard[0];
    assert!(order.is_sorted_by(|one, next| one.position < next.position), "places grow: {order:?}");
    assert!(heard.iter().all(|one| one == order), "all sockets agree");
    for receipts in join_all(sending).await {
        let receipts = receipts.expect("somebody who sends");
        assert!(receipts.iter().all(|receipt| order.contains(receipt)), "receipts agree: {receipts:?}");
    }
    for lane in 0..LANES {
        let name = format!("{lane}-");
        let mine = order.iter().map(|spoken| spoken.text.as_str()).filter(|text| text.starts_with(&name));
        let said: Vec<String> = (0..EACH).map(|number| format!("{name}{number}")).collect();
        assert!(mine.eq(said.iter()), "what one connection wrote keeps its order");
    }
    for node in 1..=3 {
        assert_eq!(ana.at(node).reads().await, *order, "pages agree");
    }
    rows_are(&stack, order).await;
    drop(lines);
    stack.finish().await;
}
