//! Who comes to a run, signed in, and each in the room in which they talk.

use std::sync::Arc;
use std::time::Duration;

use harness::children::eventually;
use harness::dialect::Dialect;
use harness::person::{Node, Person};
use harness::stack::Stack;
use serde_json::{Value, json};
use shared::id::Position;

use crate::room::Room;
use crate::site::Site;

/// People of the live chat: who sends over REST, who over sockets, who only watches, and who likes.
const SENDERS: usize = 12;
const TALKERS: usize = 4;
const WATCHERS: usize = 4;
const LIKERS: usize = 8;
/// Friends, two to a room.
const PAIRS: usize = 4;
/// How long a stack that was just made may take to open a room.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// Somebody, and where they talk.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) person: Person,
    pub(crate) room: Arc<Room>,
    /// The id of the one they talk to; of nobody where all talk to all.
    pub(crate) to: String,
}

/// Everybody.
pub(crate) struct Guests {
    pub(crate) live: Arc<Room>,
    pub(crate) senders: Vec<Guest>,
    pub(crate) talkers: Vec<Guest>,
    pub(crate) watchers: Vec<Guest>,
    pub(crate) likers: Vec<Guest>,
    pub(crate) reader: Guest,
    pub(crate) pairs: Vec<[Guest; 2]>,
}

impl Guests {
    /// Signs everybody in, makes friends of the pairs, and waits until all rooms are open.
    pub(crate) async fn sign_in(site: &Site) -> Guests {
        let stack = site.stack.lock().await;
        let nodes = site.shape.api;
        let reader = signed_in(&stack, nodes, "reader").await;
        let live = live_room(&reader).await;
        let in_live = |person| Guest { person, room: live.clone(), to: String::new() };
        let all = async |kind: &str, number: usize| {
            let mut guests = Vec::new();
            for index in 1..=number {
                guests.push(in_live(signed_in(&stack, nodes, &format!("{kind}{index}")).await));
            }
            guests
        };
        let mut pairs = Vec::new();
        let admin = stack.person_with("admin", &["admin"]).await;
        for number in 1..=PAIRS {
            let one = signed_in(&stack, nodes, &format!("friend{number}a")).await;
            let other = signed_in(&stack, nodes, &format!("friend{number}b")).await;
            pairs.push(befriended(&admin, one, other).await);
        }
        Guests {
            senders: all("sender", SENDERS).await,
            talkers: all("talker", TALKERS).await,
            watchers: all("watcher", WATCHERS).await,
            likers: all("liker", LIKERS).await,
            reader: in_live(reader),
            pairs,
            live,
        }
    }
}

/// Known at every node, as somebody who has been there before.
async fn signed_in(stack: &Stack, nodes: usize, name: &str) -> Person {
    let person = stack.person(name).await;
    for node in 1..=nodes {
        person.at(Node(node)).get("/auth/me").await.ok();
    }
    person
}

async fn live_room(asker: &Person) -> Arc<Room> {
    let open = eventually(OPEN_WITHIN, async || {
        let status = asker.get("/live-chat/status").await.body;
        room(Dialect::LiveChat, &status["session"]["room_id"], &status)
    });
    open.await.expect("the live chat opens")
}

async fn befriended(admin: &Person, one: Person, other: Person) -> [Guest; 2] {
    let friendship = format!("/api/v1/admin/friendships/{}/{}", one.id(), other.id());
    let open = eventually(OPEN_WITHIN, async || {
        let made = admin.put(&friendship, &json!({})).await;
        let page = one.get(&Dialect::Friends.adapter().page(other.id(), None)).await.body;
        room(Dialect::Friends, &page["room_id"], &page).filter(|_| made.status == 204)
    });
    let room = open.await.expect("two people become friends");
    let guest = |person: &Person, to: &Person| Guest {
        person: person.clone(),
        room: room.clone(),
        to: to.id().to_owned(),
    };
    [guest(&one, &other), guest(&other, &one)]
}

/// A room whose head an answer tells.
fn room(dialect: Dialect, id: &Value, answer: &Value) -> Option<Arc<Room>> {
    let start: Position = answer["position"].as_str()?.parse().ok()?;
    Some(Arc::new(Room::new(dialect, id.as_str()?.parse().ok()?, start)))
}
