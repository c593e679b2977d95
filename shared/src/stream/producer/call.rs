//! One call of `append.lua`: its arguments in their order, and its answers.

use std::time::Duration;

use redis::Value;
use uuid::Uuid;

use super::{Append, Guard, Named, Placed, Producer, Told, Wanted};
use crate::error::{Code, Error, Refusal};
use crate::event::to_field;
use crate::id::{AccountId, EntryId, MessageNo, Partition, Position, RoomId};
use crate::keys;
use crate::store::seeds::{self, StoredSend};
use crate::stream::{Log, script};

/// What a caller is told to wait when the backlog is full.
const OVERLOADED_RETRY: Duration = Duration::from_secs(5);

/// An answer of `append.lua`.
pub(super) enum Answer {
    Placed(Placed),
    NotOpen,
    Reused,
    NeedSeed { room: bool, nonce: bool, target: bool, epoch: u32, now_ms: i64 },
    Wait,
    StaleAuth,
    Ahead,
    Gone,
    Same(i64),
    Rate(Duration),
    Overloaded,
}

impl Producer {
    pub(super) async fn call(&self, what: &Append<'_>, told: Option<&Told>) -> Result<Answer, Error> {
        let partition = what.partition;
        let person = what.rate.map_or(AccountId(Uuid::nil()), |rate| rate.person);
        let mut call = script::APPEND.prepare_invoke();
        call.key(keys::meta(partition))
            .key(keys::rooms(partition))
            .key(keys::memo(partition))
            .key(keys::log(partition))
            .key(keys::rate(partition, what.room.unwrap_or(RoomId(Uuid::nil())), person))
            .key(keys::ahead(partition, what.send.map_or(AccountId(Uuid::nil()), |send| send.author)));
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
            Some(Named { id, nonce, digest, .. }) => {
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
        call.arg(optional(self.checked.map(|n| n.to_string())))
            .arg(optional(self.change.map(|change| change.number.to_string())))
            .arg(optional(self.change.filter(|change| change.restricting).map(|_| "1".to_owned())));
        match self.guard {
            Some(Guard { target, person, wanted }) => {
                let wanted = match wanted {
                    Wanted::Liked => "1",
                    Wanted::NotLiked => "0",
                    Wanted::Edited => "-",
                    Wanted::Deleted => "x",
                };
                call.arg(target.to_string()).arg(person.to_string()).arg(wanted);
            }
            None => {
                call.arg("").arg("").arg("");
            }
        }
        // A change of members is nothing that could be liked, edited or deleted.
        let own_target = self.send.filter(|_| self.change.is_none()).map(|send| send.id.to_string());
        call.arg(optional(own_target))
            .arg(optional(self.rate.map(|rate| rate.most.to_string())))
            .arg(optional(self.rate.map(|rate| rate.window.as_millis().to_string())))
            .arg(share(log.caps.entries, self.cap_share))
            .arg(share(log.caps.bytes, self.cap_share))
            .arg(log.retain.as_millis().to_string());
    }

    pub(super) fn wanted(&self, room: bool, nonce: bool, target: bool) -> seeds::Wanted {
        seeds::Wanted {
            partition: self.partition,
            room: self.room.filter(|_| room),
            message: self.send.as_ref().filter(|_| nonce).map(|send| send.id),
            target: self.guard.filter(|_| target).map(|guard| (guard.target, guard.person)),
        }
    }

    /// The answer to a retry of a send that is in Postgres already.
    pub(super) fn known_before(&self, stored: &StoredSend) -> Result<Placed, Error> {
        let same = self.send.as_ref().is_some_and(|send| stored.digest == send.digest);
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

    pub(super) fn refusal(&self, answer: &Answer) -> Error {
        let refusal = match answer {
            Answer::Reused if self.change.is_some() => {
                return Error::bug("a membership number was given to two changes");
            }
            Answer::Reused => {
                Refusal::new(Code::NonceReused, "This client_msg_id was used for another message")
            }
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
            Answer::Placed(_)
            | Answer::NotOpen
            | Answer::Ahead
            | Answer::Wait
            | Answer::StaleAuth
            | Answer::NeedSeed { .. } => {
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
            ["WAIT", _] => Some(Self::Wait),
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
