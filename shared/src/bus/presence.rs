//! Presence is a lease too: a node says for how long its word on a viewer holds, and what it does not renew lapses.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Bus, millis, script};
use crate::error::Error;
use crate::id::{AccountId, BootId, RoomId};
use crate::keys;

/// How long a node's word for a socket holds; it is renewed every ten seconds.
pub const SOCKET_TTL: Duration = Duration::from_secs(30);
/// How long a call over REST counts as watching.
pub const SIGHTING_TTL: Duration = Duration::from_secs(300);

/// How many people are asked about at once.
const ASKED_AT_ONCE: usize = 64;

/// What a word on viewers came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watching {
    /// Distinct people who watch the room now.
    pub people: u64,
    /// Those of whom the word was and who watch nowhere any more.
    pub left: Vec<AccountId>,
}

impl Bus {
    /// `node` has live sockets of these people in `room`.
    pub async fn viewers_here(
        &self,
        room: RoomId,
        node: BootId,
        people: &[AccountId],
    ) -> Result<Watching, Error> {
        self.viewers(room, "touch", SOCKET_TTL, Some(node), people).await
    }

    /// The last sockets of these people on `node` closed.
    pub async fn viewers_left(
        &self,
        room: RoomId,
        node: BootId,
        people: &[AccountId],
    ) -> Result<Watching, Error> {
        self.viewers(room, "leave", SOCKET_TTL, Some(node), people).await
    }

    /// A person asked something of the room over REST.
    pub async fn viewer_seen(&self, room: RoomId, person: AccountId) -> Result<Watching, Error> {
        self.viewers(room, "see", SIGHTING_TTL, None, &[person]).await
    }

    /// How many people watch `room`.
    pub async fn viewer_count(&self, room: RoomId) -> Result<u64, Error> {
        Ok(self.viewers(room, "count", Duration::ZERO, None, &[]).await?.people)
    }

    /// `node` has a socket of `person`, who was online nowhere before: then true. Two devices, on one node or on two, are
    /// one person online.
    pub async fn online_here(&self, person: AccountId, node: BootId, ttl: Duration) -> Result<bool, Error> {
        self.online(person, "here", ttl, Some(node)).await
    }

    /// The last socket of `person` on `node` closed; true when that was the last anywhere.
    pub async fn online_left(&self, person: AccountId, node: BootId) -> Result<bool, Error> {
        self.online(person, "left", Duration::ZERO, Some(node)).await
    }

    /// Those of `people` who have a socket on any node.
    pub async fn who_is_online(&self, people: &[AccountId]) -> Result<HashSet<AccountId>, Error> {
        let answers: Vec<Option<AccountId>> = stream::iter(people.to_vec())
            .map(|person| async move {
                let is_online = self.online(person, "is", Duration::ZERO, None).await?;
                Ok::<_, Error>(is_online.then_some(person))
            })
            .buffer_unordered(ASKED_AT_ONCE)
            .try_collect()
            .await?;
        Ok(answers.into_iter().flatten().collect())
    }

    async fn online(
        &self,
        person: AccountId,
        what: &str,
        ttl: Duration,
        node: Option<BootId>,
    ) -> Result<bool, Error> {
        let answer: i64 = script::ONLINE
            .key(keys::online(person))
            .arg(what)
            .arg(millis(ttl))
            .arg(node.map(|node| node.to_string()).unwrap_or_default())
            .invoke_async(&mut self.redis())
            .await?;
        Ok(answer == 1)
    }

    async fn viewers(
        &self,
        room: RoomId,
        what: &str,
        ttl: Duration,
        node: Option<BootId>,
        people: &[AccountId],
    ) -> Result<Watching, Error> {
        let mut call = script::VIEWERS.prepare_invoke();
        call.key(keys::viewers(room)).key(keys::viewing_people(room)).key(keys::sightings(room));
        call.arg(what).arg(millis(ttl)).arg(node.map(|node| node.to_string()).unwrap_or_default());
        for person in people {
            call.arg(person.to_string());
        }
        let answer: Vec<String> = call.invoke_async(&mut self.redis()).await?;
        let mut words = answer.into_iter();
        Ok(Watching {
            people: words.next().and_then(|n| n.parse().ok()).unwrap_or(0),
            left: words.filter_map(|person| person.parse().ok()).collect(),
        })
    }
}
