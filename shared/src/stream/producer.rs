//! Appending: one script call in the usual case, and what to do about every answer that is not OK.

use std::time::Duration;

use redis::Value;
use sqlx::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Log, script};
use crate::error::{Code, Error, Refusal};
use crate::event::to_field;
use crate::id::{AccountId, EntryId, MessageId, MessageNo, Nonce, Partition, Position, RoomId};
use crate::keys;
use crate::store::seeds::{self, Seeds, StoredSend};
use crate::telemetry::names;

/// How long all tries of one append may take together. What is not known by then is answered `unavailable`.
const DEADLINE: Duration = Duration::from_secs(2);
/// Pause before a try after an answer that will change by itself.
const PAUSE: Duration = Duration::from_millis(25);
/// What a caller is told to wait when the backlog is full.
const OVERLOADED_RETRY: Duration = Duration::from_secs(5);

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
    /// The message's own identity: id, nonce, digest of the body as sent.
    pub send: Option<(MessageId, &'a Nonce, [u8; 32])>,
    /// A state that must change by this entry, or it is not appended.
    pub guard: Option<Guard>,
    /// How often this person may do this here.
    pub rate: Option<RateWindow>,
    /// The share of the backlog's cap that this entry may fill: heartbeats are shed first.
    pub cap_share: f64,
    /// The event.
    pub body: &'a [u8],
}

/// A like's condition.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// What is liked: a message's id, or the room's for its session.
    pub target: Uuid,
    /// Whose like it is.
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

/// An answer of `append.lua`.
enum Answer {
    Placed(Placed),
    NotOpen,
    Reused,
    NeedSeed { room: bool, nonce: bool, target: bool, epoch: u32, now_ms: i64 },
    StaleAuth,
    Ahead,
    Gone,
    Same(i64),
    Rate(Duration),
    Overloaded,
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
        let deadline = Instant::now() + DEADLINE;
        let outcome = tokio::time::timeout_at(deadline, self.append_until_known(what)).await;
        let outcome = outcome.unwrap_or_else(|elapsed| Err(Error::unavailable(elapsed)));
        let label = match &outcome {
            Ok(placed) if placed.again => "again",
            Ok(_) => "ok",
            Err(error) => error.code().as_str(),
        };
        metrics::counter!(names::APPENDS, "outcome" => label).increment(1);
        outcome
    }

    async fn append_until_known(&self, what: &Append<'_>) -> Result<Placed, Error> {
        let mut told: Option<Told> = None;
        loop {
            match self.call(what, told.as_ref()).await {
                Ok(Answer::Placed(placed)) => return Ok(placed),
                Ok(Answer::NeedSeed { room, nonce, target, epoch, now_ms }) => {
                    let seeds = seeds::read(&self.pool, &what.wanted(room, nonce, target)).await?;
                    if let Some(stored) = &seeds.message {
                        return what.known_before(stored);
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
                Ok(Answer::NotOpen | Answer::Ahead) => tokio::time::sleep(PAUSE).await,
                Ok(answer) => return Err(what.refusal(&answer)),
                // Only a named send can be tried again without knowing what became of the first try.
                Err(error @ Error::Unavailable(_)) if what.send.is_none() => return Err(error),
                Err(Error::Unavailable(_)) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn call(&self, what: &Append<'_>, told: Option<&Told>) -> Result<Answer, Error> {
        let partition = what.partition;
        let person = what.rate.map_or(AccountId(Uuid::nil()), |rate| rate.person);
        let mut call = script::APPEND.prepare_invoke();
        call.key(keys::meta(partition))
            .key(keys::rooms(partition))
            .key(keys::memo(partition))
            .key(keys::log(partition))
            .key(keys::rate(partition, what.room.unwrap_or(RoomId(Uuid::nil())), person));
        what.push_event(&mut call);
        what.push_conditions(&mut call, &self.log);
        push_told(&mut call, told);
        let answer: Vec<Value> = call.invoke_async(&mut self.log.redis.clone()).await?;
        let answer: Vec<String> = answer
            .into_iter()
            .map(redis::from_redis_value)
            .collect::<Result<_, _>>()
            .map_err(redis::RedisError::from)?;
        let words: Vec<&str> = answer.iter().map(String::as_str).collect();
        Answer::read(&words, partition, self.log.partitions)
            .ok_or_else(|| Error::bug(format!("append.lua answered {words:?}")))
    }
}

fn push_told(call: &mut redis::ScriptInvocation<'_>, told: Option<&Told>) {
    let Some(Told { epoch, now_ms, nonce_absent, seeds }) = told else { return };
    let room = seeds.room.map(|(seq, number, restricting)| format!("{seq} {number} {restricting}"));
    let likes = seeds.target;
    let total = if likes.deleted { "x".to_owned() } else { likes.total.to_string() };
    call.arg(*epoch)
        .arg(*now_ms)
        .arg(seeds.watermark.epoch)
        .arg(seeds.watermark.pseq)
        .arg(room.unwrap_or_default())
        .arg(if *nonce_absent { "1" } else { "" })
        .arg(format!("{total} {}", u8::from(likes.liked)));
}

impl Append<'_> {
    /// ARGV 1 to 6: the entry itself and its identity.
    fn push_event(&self, call: &mut redis::ScriptInvocation<'_>) {
        call.arg(self.room.map(|room| room.to_string()).unwrap_or_default())
            .arg(to_field(self.to))
            .arg(self.body);
        match &self.send {
            Some((id, nonce, digest)) => {
                let made_at = if nonce.is_drawn_here() {
                    "-1".to_owned()
                } else {
                    nonce.made_at_ms().unwrap_or(0).to_string()
                };
                call.arg(id.to_string()).arg(short_digest(digest)).arg(made_at);
            }
            None => {
                call.arg("").arg("").arg("");
            }
        }
    }

    /// ARGV 7 to 18: under which conditions it may be appended.
    fn push_conditions(&self, call: &mut redis::ScriptInvocation<'_>, log: &Log) {
        let optional = |value: Option<String>| value.unwrap_or_default();
        call.arg(optional(self.checked.map(|n| n.to_string()))).arg("").arg("");
        match self.guard {
            Some(Guard { target, person, wanted }) => {
                let wanted = match wanted {
                    Wanted::Liked => "1",
                    Wanted::NotLiked => "0",
                };
                call.arg(target.to_string()).arg(person.to_string()).arg(wanted);
            }
            None => {
                call.arg("").arg("").arg("");
            }
        }
        call.arg(optional(self.send.map(|(id, ..)| id.to_string())))
            .arg(optional(self.rate.map(|rate| rate.most.to_string())))
            .arg(optional(self.rate.map(|rate| rate.window.as_millis().to_string())))
            .arg(share(log.caps.entries, self.cap_share))
            .arg(share(log.caps.bytes, self.cap_share))
            .arg(log.retain.as_millis().to_string());
    }

    fn wanted(&self, room: bool, nonce: bool, target: bool) -> seeds::Wanted {
        seeds::Wanted {
            partition: self.partition,
            room: self.room.filter(|_| room),
            message: self.send.as_ref().filter(|_| nonce).map(|(id, ..)| *id),
            target: self.guard.filter(|_| target).map(|guard| (guard.target, guard.person)),
        }
    }

    /// The answer to a retry of a send that is in Postgres already.
    fn known_before(&self, stored: &StoredSend) -> Result<Placed, Error> {
        let same = self.send.as_ref().is_some_and(|(.., digest)| stored.digest == digest);
        if !same {
            return Err(self.refusal(&Answer::Reused));
        }
        Ok(Placed {
            position: stored.position,
            no: MessageNo(stored.no),
            at_ms: stored.at.timestamp_millis(),
            total: None,
            again: true,
        })
    }

    fn refusal(&self, answer: &Answer) -> Error {
        let refusal = match answer {
            Answer::Reused => {
                Refusal::new(Code::NonceReused, "This client_msg_id was used for another message")
            }
            Answer::StaleAuth => Refusal::new(Code::Forbidden, "Membership changed meanwhile"),
            Answer::Gone => Refusal::new(Code::NotFound, "No such message"),
            Answer::Same(total) => {
                let code = match self.guard.map(|guard| guard.wanted) {
                    Some(Wanted::NotLiked) => Code::NotLiked,
                    _ => Code::AlreadyLiked,
                };
                let message = if code == Code::NotLiked { "Not liked" } else { "Already liked" };
                Refusal::new(code, message).total(*total)
            }
            Answer::Rate(wait) => {
                Refusal::new(Code::RateLimited, "Too many messages, please slow down").retry_after(*wait)
            }
            Answer::Overloaded => {
                Refusal::new(Code::Overloaded, "Too much is waiting to be stored, try again soon")
                    .retry_after(OVERLOADED_RETRY)
            }
            Answer::Placed(_) | Answer::NotOpen | Answer::Ahead | Answer::NeedSeed { .. } => {
                return Error::bug("an answer that is not a refusal was taken for one");
            }
        };
        Error::Refused(refusal)
    }
}

/// Half of a SHA-256 in hexadecimal digits: enough to tell a retry from another body.
fn short_digest(digest: &[u8; 32]) -> String {
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "caps are far below 2^52"
)]
fn share(cap: u64, share: f64) -> u64 {
    (cap as f64 * share) as u64
}

impl Answer {
    fn read(words: &[&str], partition: Partition, partitions: u16) -> Option<Self> {
        let placed = |epoch: &str, pseq: &str, seq: &str, at: &str, total: Option<i64>, again| {
            let entry = EntryId { epoch: epoch.parse().ok()?, pseq: pseq.parse().ok()? };
            Some(Self::Placed(Placed {
                position: Position { epoch: entry.epoch, seq: seq.parse().ok()? },
                no: MessageNo::of(entry, partition, partitions),
                at_ms: at.parse().ok()?,
                total,
                again,
            }))
        };
        match *words {
            ["OK", epoch, pseq, seq, at, total] => placed(epoch, pseq, seq, at, total.parse().ok(), false),
            ["DUP", epoch, pseq, seq, at] => placed(epoch, pseq, seq, at, None, true),
            ["NOTOPEN"] => Some(Self::NotOpen),
            ["REUSED"] => Some(Self::Reused),
            ["NEEDSEED", what, epoch, now, _, _] => Some(Self::NeedSeed {
                room: what.contains("room"),
                nonce: what.contains("nonce"),
                target: what.contains("target"),
                epoch: epoch.parse().ok()?,
                now_ms: now.parse().ok()?,
            }),
            ["STALEAUTH", _] => Some(Self::StaleAuth),
            ["AHEAD", _] => Some(Self::Ahead),
            ["GONE"] => Some(Self::Gone),
            ["SAME", total] => Some(Self::Same(total.parse().ok()?)),
            ["RATE", ms] => Some(Self::Rate(Duration::from_millis(ms.parse().ok()?))),
            ["OVERLOADED"] => Some(Self::Overloaded),
            _ => None,
        }
    }
}
