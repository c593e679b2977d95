//! People under load: some who send until they are told that it was accepted, and some who listen and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use shared::id::Position;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::children::{PATIENCE, eventually};
use crate::person::{Node, Person};
use crate::socket::Socket;

/// Pause before somebody whose node failed turns to the next one.
const PAUSE: Duration = Duration::from_millis(25);

/// Between two messages of one person: a lively chat, in which an outage of seconds is not yet a thousand messages.
const PACE: Duration = Duration::from_millis(15);

/// A message as acks, sockets, pages and rows all know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// Its place in the room.
    pub position: Position,
    /// Its integer id.
    pub no: i64,
    /// What was said.
    pub text: String,
}

impl Said {
    /// From a message as frames and pages show it.
    pub fn of(message: &Value) -> Said {
        let number = |name: &str| message[name].as_u64().unwrap_or_else(|| panic!("{name} in {message}"));
        let epoch = u32::try_from(number("epoch")).expect("an epoch");
        Said {
            position: Position { epoch, seq: number("seq") },
            no: message["id"].as_i64().or(message["message_id"].as_i64()).expect("an id"),
            text: message["message"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

/// Somebody who sends one message after the other, each under one nonce until it is accepted.
pub struct Sender {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Said>>,
}

impl Sender {
    /// Starts; while a node fails, the next of `nodes` is tried.
    pub fn start(person: &Person, nodes: &[usize]) -> Sender {
        let stop = Arc::new(AtomicBool::new(false));
        let (person, nodes, told) = (person.clone(), nodes.to_vec(), stop.clone());
        let task = tokio::spawn(async move {
            let mut accepted = Vec::new();
            let mut turn = 0;
            while !told.load(Ordering::Relaxed) {
                let text = format!("{} {}", person.name, accepted.len());
                accepted.push(send_until_accepted(&person, &nodes, &mut turn, &text).await);
                tokio::time::sleep(PACE).await;
            }
            accepted
        });
        Sender { stop, task }
    }

    /// Stops once what is under way is accepted; answers everything that was.
    ///
    /// # Panics
    /// When a message was refused, or is not accepted in a long time.
    pub async fn stop(self) -> Vec<Said> {
        self.stop.store(true, Ordering::Relaxed);
        let done = tokio::time::timeout(PATIENCE, self.task).await;
        done.expect("the last message is accepted").expect("a sender does not fail")
    }
}

async fn send_until_accepted(person: &Person, nodes: &[usize], turn: &mut usize, text: &str) -> Said {
    let nonce = Uuid::now_v7().to_string();
    loop {
        let node = Node(nodes[*turn % nodes.len()]);
        match person.at(node).tries_to_say(text, Some(&nonce)).await {
            Some(answer) if answer.status == 200 => {
                return Said { text: text.to_owned(), ..Said::of(&answer.body) };
            }
            Some(answer) => assert!(matches!(answer.status, 429 | 503 | 404), "{answer:?}"),
            None => {}
        }
        *turn += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Somebody who listens, and when cut off goes on at the next node from the last place heard.
pub struct Listener {
    heard: Arc<std::sync::Mutex<Heard>>,
    task: JoinHandle<()>,
}

/// What a listener came to know.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The messages, in the order in which they came.
    pub messages: Vec<Said>,
    /// Codes of the closes; nothing where the line was just cut.
    pub closes: Vec<Option<u16>>,
    /// How often it was told to read the history anew.
    pub resyncs: usize,
}

impl Listener {
    /// Starts at the first of `nodes`, and is there when this returns.
    pub async fn start(person: &Person, nodes: &[usize]) -> Listener {
        let heard = Arc::new(std::sync::Mutex::new(Heard::default()));
        let socket = person.at(Node(nodes[0])).connect().await;
        let task = tokio::spawn(listen(person.clone(), nodes.to_vec(), socket, heard.clone()));
        Listener { heard, task }
    }

    /// What was heard so far.
    ///
    /// # Panics
    /// When the listener itself failed.
    pub fn heard(&self) -> Heard {
        assert!(!self.task.is_finished(), "the listener failed");
        self.heard.lock().expect("nothing panics while it holds this lock").clone()
    }

    /// Waits until something at or behind `position` was heard.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn reaches(&self, position: Position) {
        let there = eventually(PATIENCE, async || {
            self.heard().messages.last().is_some_and(|last| last.position >= position).then_some(())
        });
        let there = there.await;
        assert!(there.is_some(), "{position} was not heard; the last was {:?}", self.heard().messages.last());
    }

    /// Waits until `message` was heard; answers everything.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn until(self, message: &Said) -> Heard {
        let there = eventually(PATIENCE, async || {
            (self.task.is_finished() || self.heard().messages.contains(message)).then_some(())
        });
        let there = there.await;
        let heard = self.heard();
        assert!(there.is_some(), "{message:?} was not heard; the last was {:?}", heard.messages.last());
        self.task.abort();
        heard
    }
}

async fn listen(person: Person, nodes: Vec<usize>, mut socket: Socket, heard: Arc<std::sync::Mutex<Heard>>) {
    let mut turn = 0;
    let mut last = None;
    loop {
        while let Some(frame) = socket.any().await {
            if frame["type"] == "new_message" {
                let said = Said::of(&frame["message"]);
                last = Some(said.position);
                heard.lock().expect("nothing panics while it holds this lock").messages.push(said);
            } else if frame["type"] == "resync" {
                heard.lock().expect("nothing panics while it holds this lock").resyncs += 1;
            }
        }
        heard.lock().expect("nothing panics while it holds this lock").closes.push(socket.code());
        // Whoever heard nothing yet has no place to go on from, and would miss what came meanwhile.
        let after = last.map(|last: Position| last.to_string()).unwrap_or_else(|| "0:0".to_owned());
        socket = loop {
            turn += 1;
            tokio::time::sleep(PAUSE).await;
            let person = person.at(Node(nodes[turn % nodes.len()]));
            if let Some(socket) = person.tries_to_resume(&after).await {
                break socket;
            }
        };
    }
}
