//! Scenarios in rooms with members, on nodes of their own: the core without any dialect, real stores, and sockets that
//! tell what they heard.

mod amending;
mod friends;
mod members;
mod reading;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream::SplitStream};
use harness::children::{PATIENCE, eventually};
use harness::stack::Stack;
use serde_json::Value;
use shared::config::Vars;
use shared::event::{Became, Event};
use shared::id::{AccountId, MessageId, MessageNo, Nonce, Position, RoomId};
use shared::message::MessageText;
use shared::room::RoomKind;
use shared::shutdown::Shutdown;
use shared::store::membership::{self, Wish};
use shared::store::rooms::{self as rows, NewRoom};
use shared::telemetry::Health;
use shared::user::{Account, Roles};
use shared::{Code, Error};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message as Frame, protocol::Role};
use uuid::Uuid;

use crate::app::{App, Shared};
use crate::chat::send::{Draft, Receipt};
use crate::chat::{policy, seats, send};
use crate::config::Config;
use crate::dialect::Encoding;
use crate::hub::outbox::{CLOSE_WITHIN, CloseReason, Closing, Driver, Outbox, OutboxLimits};
use crate::hub::{self, Connection, Joined, Start};

/// The core of one api node, with its inbox read.
pub(crate) struct Node {
    pub(crate) app: Shared,
    stop: Shutdown,
    pump: JoinHandle<()>,
}

impl Node {
    pub(crate) async fn start(stack: &Stack) -> Node {
        Node::start_at(stack, &stack.servers.log_url).await
    }

    /// A node that reaches the log at another address.
    pub(super) async fn start_at(stack: &Stack, log_url: &str) -> Node {
        let mut variables = stack.variables().clone();
        variables.insert("REDIS_URL".to_owned(), log_url.to_owned());
        let vars: Vars = variables.into_iter().collect();
        let config = Config::parse(&vars).expect("the stack's settings are good");
        let app = App::build(config, Health::new(), Shutdown::new()).await.expect("the stores answer");
        let stop = Shutdown::new();
        let pump = tokio::spawn(hub::pump(app.clone(), stop.clone()));
        let node = Node { app, stop, pump };
        node.is_on_the_bus().await;
        node
    }

    async fn is_on_the_bus(&self) {
        let there = eventually(PATIENCE, async || {
            let nodes = self.app.bus.nodes().await.ok()?;
            nodes.contains(&self.app.hub.boot()).then_some(())
        });
        there.await.expect("the node is on the bus");
    }

    pub(super) async fn end(self) {
        self.stop.begin();
        self.pump.await.expect("the pump does not fail");
        self.app.pool.close().await;
    }

    /// A group with these people in it, the first of whom is its admin.
    pub(super) async fn group(&self, people: &[&Account]) -> RoomId {
        let id = RoomId(Uuid::new_v4());
        let name = Some("a group");
        let new =
            NewRoom { id, kind: RoomKind::Group, name, description: None, created_by: Some(people[0].id) };
        rows::insert(&self.app.pool, &new).await.expect("Postgres takes a room");
        for (person, became) in
            people.iter().zip([Became::Admin].into_iter().chain(std::iter::repeat(Became::Member)))
        {
            let wish = Wish { room: id, person: person.id, by: people[0].id, became, checked: 0 };
            membership::commit(&self.app.pool, &wish).await.expect("Postgres takes a member");
        }
        self.app.producer.log_changes(id).await.expect("the log takes the changes");
        id
    }

    /// Says something under a name of one's own.
    pub(super) async fn says(&self, author: &Account, room: RoomId, text: &str) -> Result<Receipt, Error> {
        let text = MessageText::parse(text.to_owned(), 1_000).expect("a good text");
        send::send_as_member(
            &self.app,
            author,
            Draft { room, text, nonce: Nonce::draw(), per_minute: None, origin: None },
        )
        .await
    }

    /// The id of an accepted message.
    pub(super) async fn id_of(&self, no: MessageNo) -> MessageId {
        let found = super::history::find(&self.app, no).await.expect("the stores answer");
        found.expect("the message is there").id
    }

    /// Comes into a room behind `after`, if that is allowed.
    pub(super) async fn listens(
        &self,
        person: &Account,
        room: RoomId,
        after: Position,
    ) -> Result<Ear, Error> {
        let seat = seats::allowed(&self.app, room, person.id, policy::may_read).await?;
        self.listens_since(person, room, after, seat.number).await
    }

    /// The same for somebody who was found to be allowed at a membership number, perhaps long ago.
    pub(super) async fn listens_since(
        &self,
        person: &Account,
        room: RoomId,
        after: Position,
        checked: u64,
    ) -> Result<Ear, Error> {
        let (outbox, driver, heard) = socket().await;
        let connection = Arc::new(Connection {
            origin: self.app.hub.draw_origin(),
            account: Arc::new(person.clone()),
            outbox: outbox.clone(),
            encoding: Encoding::LiveChat,
            expires_at: chrono::Utc::now() + chrono::TimeDelta::hours(1),
            resumes: true,
            ends_at: None,
        });
        let start = Start::Resume(after);
        match self.app.hub.join(&self.app, room, connection, start, Some(checked)).await {
            Ok(joined) => Ok(Ear { joined: Some(joined), outbox, driver, heard }),
            Err(error) => {
                outbox.let_go(CloseReason::Forbidden);
                driver.await.expect("the outbox lets go");
                Err(error)
            }
        }
    }

    /// Where the room's entry is that `is_it` finds among those not stored yet, or retained.
    pub(super) async fn place_of(&self, room: RoomId, is_it: impl Fn(&Event) -> bool) -> Position {
        let mut cursor = self.app.log.cursor(self.app.partition(room), shared::id::EntryId::default());
        let entries = cursor.read(shared::stream::Reading::Now, 100_000).await.expect("the log answers");
        let found = entries
            .iter()
            .rfind(|entry| entry.room == Some(room) && entry.event().is_ok_and(|event| is_it(&event)));
        found.expect("the entry is in the log").position()
    }
}

/// Somebody's socket in a room.
pub(super) struct Ear {
    joined: Option<Joined>,
    outbox: Arc<Outbox>,
    driver: JoinHandle<()>,
    heard: SplitStream<WebSocketStream<TcpStream>>,
}

impl Ear {
    /// The next message.
    pub(super) async fn hears(&mut self) -> String {
        let next = tokio::time::timeout(PATIENCE, async {
            loop {
                let frame = frame(&mut self.heard).await.expect("the socket is open");
                if frame["type"] == "new_message" {
                    return frame["message"]["message"].as_str().unwrap_or_default().to_owned();
                }
            }
        });
        next.await.expect("a message is heard")
    }

    /// Everything that was written to the socket, once it is closed.
    pub(super) async fn everything(mut self) -> Vec<Value> {
        drop(self.joined.take());
        self.outbox.close(CloseReason::Drain);
        let mut all = Vec::new();
        while let Some(frame) = frame(&mut self.heard).await {
            all.push(frame);
        }
        self.outbox.let_go(CloseReason::Drain);
        self.driver.await.expect("the outbox lets go");
        all
    }
}

async fn frame(heard: &mut SplitStream<WebSocketStream<TcpStream>>) -> Option<Value> {
    loop {
        match heard.next().await {
            Some(Ok(Frame::Text(text))) => return serde_json::from_str(&text).ok(),
            Some(Ok(Frame::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

/// An outbox and, at the other end of its socket, what was heard.
pub(crate) async fn socket() -> (Arc<Outbox>, JoinHandle<()>, SplitStream<WebSocketStream<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (client, (server, _)) = (client.expect("a connection"), server.expect("a connection"));
    let limits =
        OutboxLimits { bytes_max: 1 << 24, age_max: Duration::from_secs(30), close_within: CLOSE_WITHIN };
    let outbox = Arc::new(Outbox::new(Arc::new(server), limits, Closing::WebSocket));
    let driver = tokio::spawn({
        let outbox = outbox.clone();
        let mut driver = Driver::default();
        poll_fn(move |context| outbox.poll_drive(&mut driver, context))
    });
    let heard = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    (outbox, driver, heard.split().1)
}

/// Somebody new.
pub(crate) fn person(name: &str) -> Account {
    Account {
        id: AccountId(Uuid::new_v4()),
        no: 1,
        username: name.to_owned(),
        full_name: None,
        avatar: None,
        roles: Roles::NONE,
        is_active: true,
        token_version: 0,
    }
}

pub(super) fn code<T>(outcome: Result<T, Error>) -> Option<Code> {
    outcome.err().map(|error| error.code())
}

/// Servers and workers, and no node but those of the scenario.
pub(crate) async fn stack() -> Stack {
    Stack::builder().nodes(0).start().await
}

/// The end of a scenario: all is stored, and no membership change was left in the outbox.
pub(crate) async fn finish(stack: Stack, nodes: Vec<Node>) {
    for node in nodes {
        node.end().await;
    }
    stack.stored().await;
    assert_eq!(stack.count("select count(*) from hubbub.outbox").await, 0, "changes in the outbox");
    stack.finish().await;
}
