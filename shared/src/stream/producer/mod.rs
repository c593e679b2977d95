//! Appending: one script call in the usual case, and what to do about every answer that is not OK.

mod call;

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

use super::Log;
use crate::error::{Code, Error};
use crate::id::{AccountId, MessageId, MessageNo, Nonce, Partition, Position, RoomId, digest};
use crate::planted::Bug;
use crate::store::membership::{self, Pending};
use crate::store::seeds::{self, Seeds};
use crate::telemetry::names;

use call::Answer;

/// How long all tries of one append may take together. What is not known by then is answered `unavailable`.
const DEADLINE: Duration = Duration::from_secs(2);
/// Pause before a try after an answer that will change by itself.
const PAUSE: Duration = Duration::from_millis(25);

/// What is to be appended, and under which conditions.
#[derive(Clone, Debug)]
pub struct Append<'a> {
    /// The partition, which follows from the room where there is one.
    pub partition: Partition,
    /// The room that gives the entry a number; heartbeats have none.
    pub room: Option<RoomId>,
    /// Whom it concerns beyond those who watch the room.
    pub to: &'a [AccountId],
    /// The membership number that permission was checked at.
    pub checked: Option<u64>,
    /// The membership change that the entry is. Such an entry is never refused for load.
    pub change: Option<Change>,
    /// By what a second try is known.
    pub send: Option<Named<'a>>,
    /// A state that must change by this entry, or it is not appended.
    pub guard: Option<Guard>,
    /// How often this person may do this here.
    pub rate: Option<RateWindow>,
    /// The share of the backlog's cap that this entry may fill: heartbeats are shed first.
    pub cap_share: f64,
    /// The event.
    pub body: &'a [u8],
}

/// The identity of what somebody sends: the same for every try.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Follows from room, author and nonce.
    pub id: MessageId,
    /// Who sends it; nil for what the server itself names.
    pub author: AccountId,
    /// The author's own name for it.
    pub nonce: &'a Nonce,
    /// SHA-256 of what was sent, by which another message under the same nonce is told from a second try.
    pub digest: [u8; 32],
}

impl<'a> Named<'a> {
    /// What `author` sends into `room` under `nonce`.
    #[must_use]
    pub fn by(room: RoomId, author: AccountId, nonce: &'a Nonce, sent: &[u8], partitions: u16) -> Self {
        Self { id: MessageId::named_by(room, author, nonce, partitions), author, nonce, digest: digest(sent) }
    }
}

/// Which membership change of its room an entry is.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The log takes them in the order of their numbers, each once.
    pub number: u64,
    /// Whether it takes a right away.
    pub restricting: bool,
}

/// The condition of an entry that is about another one.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// What it is about: a message's id, or the room's for its session.
    pub target: Uuid,
    /// Whose like it is, or who edits or deletes.
    pub person: AccountId,
    /// What it should become.
    pub wanted: Wanted,
}

/// The state that a guarded entry brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The person likes the target.
    Liked,
    /// The person does not.
    NotLiked,
    /// The target is there and stays, with another text.
    Edited,
    /// The target is there and goes.
    Deleted,
}

/// At most `most` entries of `person` in the room within any `window`.
#[derive(Clone, Copy, Debug)]
pub struct RateWindow {
    /// Who is counted.
    pub person: AccountId,
    /// How many may pass.
    pub most: u32,
    /// Within which time.
    pub window: Duration,
}

/// Where an accepted entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its place in the room.
    pub position: Position,
    /// The integer id of the message that it is, if it is one.
    pub no: MessageNo,
    /// When it was accepted, in milliseconds since 1970.
    pub at_ms: i64,
    /// The total that a like left behind.
    pub total: Option<i64>,
    /// Whether it had been accepted before.
    pub again: bool,
}

/// Appends to the log, reading from Postgres what the log does not know.
#[derive(Clone)]
pub struct Producer {
    log: Log,
    pool: PgPool,
}

/// What came of an append whose author's permission had been looked up before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is in the log.
    Placed(Placed),
    /// Something was taken away from somebody in the room after that: look again, and decide again.
    Stale,
}

/// What was read from Postgres for the next try, and when.
struct Told {
    epoch: u32,
    now_ms: i64,
    nonce_absent: bool,
    seeds: Seeds,
}

impl Producer {
    /// Appends to `log` and looks up in `pool`.
    #[must_use]
    pub fn new(log: Log, pool: PgPool) -> Self {
        Self { log, pool }
    }

    /// Appends, or says why not. An `Ok` means that the entry is in the fsynced log; `Error::Unavailable` means that
    /// nobody knows, and that the same nonce may be tried again.
    pub async fn append(&self, what: &Append<'_>) -> Result<Placed, Error> {
        match self.append_if_current(what).await? {
            Appended::Placed(placed) => Ok(placed),
            Appended::Stale => Err(Error::refused(Code::Forbidden, "Membership changed meanwhile")),
        }
    }

    /// As [`Self::append`], for a caller who can look again whether the author is still allowed.
    pub async fn append_if_current(&self, what: &Append<'_>) -> Result<Appended, Error> {
        let deadline = Instant::now() + DEADLINE;
        let outcome = tokio::time::timeout_at(deadline, self.append_until_known(what)).await;
        let outcome = outcome.unwrap_or_else(|elapsed| Err(Error::unavailable(elapsed)));
        let label = match &outcome {
            Ok(Appended::Placed(placed)) if placed.again => "again",
            Ok(Appended::Placed(_)) => "ok",
            Ok(Appended::Stale) => "stale",
            Err(error) => error.code().as_str(),
        };
        metrics::counter!(names::APPENDS, "outcome" => label).increment(1);
        outcome
    }

    /// Brings every committed membership change of `room` into the log, in the order of their numbers; what is there
    /// already stays as it is. Once this returns, nothing that they forbid can be appended.
    pub async fn log_changes(&self, room: RoomId) -> Result<(), Error> {
        for pending in membership::pending(&self.pool, room).await? {
            self.log_change(&pending).await?;
        }
        Ok(())
    }

    async fn log_change(&self, pending: &Pending) -> Result<(), Error> {
        let Pending { room, number, restricting, to, body } = pending;
        let nonce = Nonce::of_change(*number);
        let server = AccountId(Uuid::nil());
        let append = Append {
            partition: Partition::of(*room, self.log.partitions),
            room: Some(*room),
            to,
            checked: None,
            change: Some(Change { number: *number, restricting: *restricting }),
            send: Some(Named::by(*room, server, &nonce, body.as_bytes(), self.log.partitions)),
            guard: None,
            rate: None,
            cap_share: 1.0,
            body: body.as_bytes(),
        };
        self.append(&append).await?;
        if Bug::OutboxClearedEarly.is_planted() {
            membership::forget(&self.pool, *room, *number).await?;
        }
        Ok(())
    }

    async fn append_until_known(&self, what: &Append<'_>) -> Result<Appended, Error> {
        let mut told: Option<Told> = None;
        loop {
            match self.call(what, told.as_ref()).await {
                Ok(Answer::Placed(placed)) => return Ok(Appended::Placed(placed)),
                Ok(Answer::StaleAuth) => return Ok(Appended::Stale),
                Ok(Answer::NeedSeed { room, nonce, target, epoch, now_ms }) => {
                    let seeds = seeds::read(&self.pool, &what.wanted(room, nonce, target)).await?;
                    if let Some(stored) = &seeds.message {
                        return what.known_before(stored).map(Appended::Placed);
                    }
                    if room && seeds.room.is_none() {
                        return Err(Error::refused(Code::NotFound, "No such room"));
                    }
                    if told.is_some() {
                        // Postgres is behind what is published: it must catch up first.
                        tokio::time::sleep(PAUSE).await;
                    }
                    told = Some(Told { epoch, now_ms, nonce_absent: nonce, seeds });
                }
                // The author was found to be allowed at a change that the log has not had yet: it comes first, or the
                // order would say that somebody wrote before having been let in.
                Ok(Answer::Ahead) => self.log_changes_before(what).await?,
                Ok(Answer::NotOpen | Answer::Wait) => tokio::time::sleep(PAUSE).await,
                Ok(answer) => return Err(what.refusal(&answer)),
                // Only a named send can be tried again without knowing what became of the first try.
                Err(error @ Error::Unavailable(_)) if what.send.is_none() => return Err(error),
                Err(Error::Unavailable(_)) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Boxed, because logging a change is an append too.
    async fn log_changes_before(&self, what: &Append<'_>) -> Result<(), Error> {
        let Some(room) = what.room else { return Err(Error::bug("an entry of no room is ahead of its log")) };
        Box::pin(self.log_changes(room)).await
    }
}
