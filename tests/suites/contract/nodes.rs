//! It does not matter which node anybody talks to, nor whether anybody stores what was said yet.

use harness::dialect::{Dialect, Line, Spoken, Talker};
use harness::stack::{Role, Stack};

use super::rows_are;

const NODES: usize = 3;

/// Both people on all nodes.
struct Everywhere {
    people: [Talker; 2],
    /// A socket of each on each node.
    lines: Vec<Line>,
    said: Vec<Spoken>,
}

impl Everywhere {
    /// What was said last is in every page that is asked for after its ack, and all sockets hear it.
    async fn know(&mut self, spoken: Spoken) {
        self.said.push(spoken);
        for person in &self.people {
            for node in 1..=NODES {
                let name = &person.person.name;
                assert_eq!(person.at(node).reads().await, self.said, "what {name} reads at node {node}");
            }
        }
    }

    async fn hear(&mut self, spoken: &Spoken) {
        for line in &mut self.lines {
            assert_eq!(line.hears_one().await, *spoken);
        }
    }

    /// Says one thing by REST and one by socket, at that node.
    async fn talk(&mut self, node: usize, name: &str) {
        let sent = self.people[0].at(node).sends(&format!("{name} by REST")).await;
        self.know(sent.clone()).await;
        self.hear(&sent).await;
        let text = format!("{name} by socket");
        // Ben's socket at that node: the second half of all.
        let at = NODES + node - 1;
        self.lines[at].says(&text, &text).await;
        let said = self.lines[at].hears_one().await;
        self.know(said.clone()).await;
        for (place, line) in self.lines.iter_mut().enumerate() {
            if place != at {
                assert_eq!(line.hears_one().await, said);
            }
        }
    }
}

pub(super) async fn what_is_said_is_heard_and_read_on_every_node(dialect: Dialect) {
    let mut stack = Stack::builder().nodes(NODES).start().await;
    let (ana, ben) = dialect.pair(&stack).await;
    let mut lines = Vec::new();
    for talker in [&ana, &ben] {
        for node in 1..=NODES {
            lines.push(talker.at(node).opens().await);
        }
    }
    let mut everywhere = Everywhere { people: [ana, ben], lines, said: Vec::new() };
    for node in 1..=NODES {
        everywhere.talk(node, &format!("at node {node}")).await;
    }
    let stored = everywhere.said.len();
    rows_are(&stack, &everywhere.said).await;
    stack.stop(Role::Persister, 1).await;
    for node in 1..=NODES {
        everywhere.talk(node, &format!("unstored at node {node}")).await;
    }
    assert_eq!(stack.rows().await.len(), stored, "nobody stores");
    stack.add(Role::Persister).await;
    stack.ready().await;
    rows_are(&stack, &everywhere.said).await;
    drop(everywhere);
    stack.finish().await;
}
