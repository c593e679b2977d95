//! Each process killed with -9 under load, and each server restarted: nothing that was acked is missing or there twice,
//! and acks, sockets, pages and rows agree on one order.

use harness::load::{Listener, Said, Sender};
use harness::person::{Node, Person, texts};
use harness::socket::Socket;
use harness::stack::{Role, Stack};

/// How many more messages a witness hears before the next fault: at the pace of three senders over a second of load. In its
/// first second an epoch of the log looks every nonce up in Postgres, so those sends would have to wait for Postgres.
const BETWEEN: usize = 200;

/// A stack under load: people at both nodes who send and listen, and a witness who tells that it goes on.
struct Load {
    senders: Vec<Sender>,
    listeners: Vec<Listener>,
    ana: Person,
}

impl Load {
    async fn start(stack: &Stack) -> Load {
        let (mut people, mut listeners) = (Vec::new(), Vec::new());
        for (name, nodes) in [("ana", [1, 2]), ("ben", [2, 1]), ("carl", [1, 2])] {
            let person = stack.person(name).await;
            // Known at both nodes, as somebody who has been there before.
            person.at(Node(2)).get("/auth/me").await.ok();
            listeners.push(Listener::start(&person, &nodes).await);
            people.push((person, nodes));
        }
        // Everybody listens before anybody speaks, so that all hear all.
        let senders = people.iter().map(|(person, nodes)| Sender::start(person, nodes)).collect();
        Load { senders, listeners, ana: stack.person("ana").await }
    }

    /// Waits until the room goes on, as seen by somebody who comes in now and by all who were there before: the next fault
    /// must not meet what is still mending the last one.
    async fn goes_on(&self, node: usize) {
        let ana = self.ana.at(Node(node));
        let come = harness::children::eventually(harness::children::PATIENCE, async || {
            Socket::try_open("a witness", &ana.socket_url(1, ""), &[]).await.ok()?.ok()
        });
        let mut witness = come.await.expect("the node lets people in again");
        witness.hears(BETWEEN).await;
        let position = witness.position.expect("messages were heard");
        for listener in &self.listeners {
            listener.reaches(position).await;
        }
    }

    /// Stops, and compares what everybody knows.
    async fn agrees(self, stack: &Stack) {
        let mut accepted: Vec<Said> = Vec::new();
        for sender in self.senders {
            let said = sender.stop().await;
            assert!(said.is_sorted(), "what one person sends in turn stays in turn");
            accepted.extend(said);
        }
        accepted.sort();
        let last = accepted.last().expect("messages").clone();
        for listener in self.listeners {
            let heard = listener.until(&last).await;
            assert_eq!(heard.resyncs, 0, "everything could be replayed");
            assert_same(&heard.messages, &accepted, "a socket, over all its lives");
        }
        stack.stored().await;
        assert_same(&stack.said().await, &accepted, "rows");
        for node in [1, 2] {
            let page = self.ana.at(Node(node)).get("/live-chat/messages?limit=100").await.ok();
            let newest: Vec<&String> =
                accepted[accepted.len().saturating_sub(100)..].iter().map(|said| &said.text).collect();
            assert_eq!(texts(&page).iter().collect::<Vec<_>>(), newest, "pages");
        }
    }
}

fn assert_same(found: &[Said], expected: &[Said], what: &str) {
    let missing: Vec<&Said> = expected.iter().filter(|said| !found.contains(said)).collect();
    let strange: Vec<&Said> = found.iter().filter(|said| !expected.contains(said)).collect();
    assert!(missing.is_empty() && strange.is_empty(), "{what}: missing {missing:?}, not acked {strange:?}");
    assert_eq!(found, expected, "{what}: the order, and each once");
}

fn processes() -> harness::stack::Builder {
    Stack::builder().nodes(2).workers(2).processes().own_postgres()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_our_processes_may_be_killed_under_load() {
    let mut stack = processes().start().await;
    let load = Load::start(&stack).await;
    load.goes_on(1).await;
    for role in [Role::Api, Role::FanoutWorker, Role::Persister] {
        stack.service(role, 1).process().kill9();
        load.goes_on(2).await;
        stack.service(role, 1).process().restart();
        stack.ready().await;
        load.goes_on(1).await;
    }
    load.agrees(&stack).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_redis_and_postgres_may_be_killed_under_load() {
    // PostgreSQL takes seconds to recover, and a hole that meets that moment is to be waited for.
    let mut stack = processes().var("GAP_WAIT_MS", "60000").start().await;
    let load = Load::start(&stack).await;
    load.goes_on(1).await;
    stack.servers.postgres.kill9();
    load.goes_on(2).await;
    stack.servers.postgres.start().await;
    load.goes_on(1).await;
    stack.servers.log.kill9();
    stack.servers.log.start().await;
    load.goes_on(2).await;
    // Last, because what was missed meanwhile is fetched from the two others.
    stack.servers.bus.kill9();
    stack.servers.bus.start().await;
    load.goes_on(1).await;
    load.agrees(&stack).await;
    stack.finish().await;
}
