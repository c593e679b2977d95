//! Appending as an api node does: lines, likes, heartbeats, and any bytes at all.

use shared::Error;
use shared::event::{Event, LikeChanged, LikeTarget, MessageSent, ViewersSeen};
use shared::id::{AccountId, MessageId, MessageNo, Nonce, Partition, RoomId};
use shared::stream::{Append, Guard, Named, Placed, Producer, RateWindow, Wanted};
use shared::user::{Author, Roles};

use crate::servers::PARTITIONS;

/// Somebody through whom people append.
#[derive(Clone)]
pub struct Voice {
    /// The producer itself.
    pub producer: Producer,
    pub(super) partition: Partition,
}

/// A message to be said.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where.
    pub room: RoomId,
    /// By whom.
    pub author: AccountId,
    /// Under which name.
    pub nonce: Nonce,
    /// What.
    pub text: String,
}

impl Line {
    /// A line under a nonce that the server draws.
    pub fn new(room: RoomId, author: AccountId, text: impl Into<String>) -> Self {
        Self { room, author, nonce: Nonce::draw(), text: text.into() }
    }

    /// The same under the client's own name for it.
    #[must_use]
    pub fn named(self, nonce: &str) -> Self {
        Self { nonce: Nonce::parse(nonce).expect("tests name their lines well"), ..self }
    }

    /// The id of the message that it becomes.
    pub fn id(&self) -> MessageId {
        MessageId::named_by(self.room, self.author, &self.nonce, PARTITIONS)
    }

    /// The body of its entry.
    pub fn body(&self) -> Vec<u8> {
        let author = Author {
            id: self.author,
            no: 1,
            username: "somebody".into(),
            full_name: None,
            avatar: None,
            roles: Roles::NONE,
        };
        let nonce = self.nonce.as_str().to_owned();
        Event::MessageSent(MessageSent {
            id: self.id(),
            author,
            text: self.text.clone(),
            nonce,
            origin: None,
        })
        .to_body()
    }
}

impl Voice {
    /// Says a line.
    pub async fn say(&self, line: &Line) -> Result<Placed, Error> {
        self.say_within(line, None).await
    }

    /// Says a line that counts against a rate.
    pub async fn say_within(&self, line: &Line, rate: Option<RateWindow>) -> Result<Placed, Error> {
        let send = Named::by(line.room, line.author, &line.nonce, line.text.as_bytes(), PARTITIONS);
        let body = line.body();
        let append = Append { send: Some(send), rate, ..self.plain(Some(line.room), &body) };
        self.producer.append(&append).await
    }

    /// Says several lines, one after the other, all of which are accepted.
    pub async fn say_all(&self, room: RoomId, author: AccountId, texts: &[&str]) -> Vec<Placed> {
        let mut placed = Vec::new();
        for text in texts {
            let line = Line::new(room, author, *text);
            placed.push(self.say(&line).await.unwrap_or_else(|error| panic!("{text}: {error}")));
        }
        placed
    }

    /// Likes a message, the room's session (`None`), or takes that back.
    pub async fn like(
        &self,
        room: RoomId,
        message: Option<(MessageId, MessageNo)>,
        person: AccountId,
        wanted: Wanted,
    ) -> Result<Placed, Error> {
        let target = message.map_or(LikeTarget::Session, |(id, no)| LikeTarget::Message { id, no });
        let liked = wanted == Wanted::Liked;
        let body = Event::LikeChanged(LikeChanged { target, person, liked }).to_body();
        let guard = Some(Guard { target: target.id(room), person, wanted });
        self.producer.append(&Append { guard, ..self.plain(Some(room), &body) }).await
    }

    /// A heartbeat, which may fill `cap_share` of the backlog.
    pub async fn beat(&self, cap_share: f64) -> Result<Placed, Error> {
        let body = Event::ViewersSeen(ViewersSeen { seen: vec![] }).to_body();
        self.producer.append(&Append { cap_share, ..self.plain(None, &body) }).await
    }

    /// Any bytes at all, as an event of `room`.
    pub async fn append_raw(&self, room: Option<RoomId>, body: &[u8]) -> Placed {
        self.producer.append(&self.plain(room, body)).await.expect("the log takes any bytes")
    }

    /// An append without conditions, to the partition of `room`.
    pub fn plain<'a>(&self, room: Option<RoomId>, body: &'a [u8]) -> Append<'a> {
        Append {
            partition: room.map_or(self.partition, |room| Partition::of(room, PARTITIONS)),
            room,
            to: &[],
            checked: None,
            change: None,
            send: None,
            guard: None,
            rate: None,
            cap_share: 1.0,
            body,
        }
    }
}
