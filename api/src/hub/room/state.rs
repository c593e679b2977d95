//! What a room has in memory, and the one lock's worth of work on it: taking in, remembering, giving out. Nothing here waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use chrono::Utc;
use shared::event::{Envelope, MembershipChanged, Origin};
use shared::id::{AccountId, Position, RoomId};
use shared::telemetry::names;

use super::super::marks::Marks;
use super::super::outbox::CloseReason;
use super::super::{Connection, Start};
use super::Reach;
use super::likes::LikeFrames;
use super::ring::Ring;
use crate::app::Shared;
use crate::chat::history::{Head, REPLAY_MAX};
use crate::chat::{Happened, Happening};
use crate::dialect::{self, Ear};

#[cfg(test)]
mod tests;

/// Envelopes kept behind a hole while it is filled; what does not fit is fetched with the rest.
const HELD_MAX: usize = 1_000;

/// Events that a room of two people keeps in memory. There are many such rooms, with one or two who may come back to each; the log
/// has the rest.
const REMEMBERED_OF_PEOPLE: usize = 64;

pub(super) struct State {
    /// Everything up to here was given to the members that are live; none before the head was read.
    pub(super) last: Option<Position>,
    pub(super) members: Vec<Member>,
    /// The last change that took something away, as far as it was heard of.
    pub(super) restricting: u64,
    pub(super) ring: Ring,
    /// Arrived ahead of something that is missing.
    pub(super) held: BTreeMap<Position, Envelope>,
    pub(super) filling: bool,
    pub(super) likes: LikeFrames,
    /// What is told to a member once it was given everything up to a place.
    answers: Vec<Answer>,
    /// Where it is noted what has arrived, in a room that is heard of by its people.
    marks: Option<Arc<Marks>>,
    /// Since when nobody has been here.
    pub(super) empty_since: Option<Instant>,
    /// Given up: whoever finds it must look for the room again.
    pub(super) retired: bool,
}

pub(super) struct Member {
    pub(super) connection: Arc<Connection>,
    /// Whether it was given everything up to `last`.
    pub(super) live: bool,
    /// The membership number at which it was let in; none in a room without members.
    pub(super) checked: Option<u64>,
}

impl Member {
    /// Whether something was taken away in the room after it was let in.
    fn is_stale(&self, restricting: u64) -> bool {
        self.checked.is_some_and(|checked| checked < restricting)
    }
}

/// A frame for the member that sent something again, which has to wait for its turn.
pub(crate) struct Answer {
    /// What it answers.
    pub(crate) by: Origin,
    /// The place that the message has had all along.
    pub(crate) behind: Position,
    pub(crate) frame: Bytes,
}

/// What to do after envelopes were taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Nothing,
    Fill,
}

/// Whether a member can be made live from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GoLive {
    /// It is live.
    Done,
    /// Memory does not hold all that it lacks.
    Replay,
    /// Something was taken away in the room since it was let in: whether it may be here must be looked up first.
    Check,
    /// It is no member any more.
    Ended,
}

impl State {
    pub(super) fn new(reach: Reach, marks: &Arc<Marks>) -> Self {
        let (remembered, marks) = match reach {
            Reach::Room => (REPLAY_MAX, None),
            Reach::People => (REMEMBERED_OF_PEOPLE, Some(marks.clone())),
        };
        Self {
            last: None,
            members: Vec::new(),
            restricting: 0,
            ring: Ring::of_at_most(remembered),
            held: BTreeMap::new(),
            filling: false,
            likes: LikeFrames::default(),
            answers: Vec::new(),
            marks,
            empty_since: Some(Instant::now()),
            retired: false,
        }
    }

    /// Makes a member live if memory holds everything behind `start`; sends that first.
    pub(super) fn go_live(&mut self, connection: &Connection, start: Start) -> GoLive {
        let restricting = self.restricting;
        let Some(member) = self.members.iter_mut().find(|member| member.connection.id() == connection.id())
        else {
            return GoLive::Ended;
        };
        if member.is_stale(restricting) {
            return GoLive::Check;
        }
        let Some(missed) = self.last.and_then(|last| self.ring.behind(start, last)) else {
            return GoLive::Replay;
        };
        member.live = true;
        self.hand(connection, &missed);
        self.give_answers();
        GoLive::Done
    }

    /// Tells a member something once it was given everything up to `behind`, which may be so already.
    /// Of several answers about one place, as a client gets that asks again and again, the last one counts.
    pub(super) fn answer(&mut self, answer: Answer) {
        self.answers.retain(|other| !(other.by.is_beside(answer.by) && other.behind == answer.behind));
        self.answers.push(answer);
        self.give_answers();
    }

    fn give_answers(&mut self) {
        let Some(last) = self.last.filter(|_| !self.answers.is_empty()) else { return };
        let (members, ring) = (&self.members, &self.ring);
        self.answers.retain(|answer| {
            let its = |member: &&Member| member.connection.origin.is_beside(answer.by);
            let Some(member) = members.iter().find(its) else { return false };
            let has_turn = member.live && answer.behind <= last;
            // A send whose first try was accepted without anybody knowing is its own retry, and was told by what happened.
            let was_told = || ring.at(answer.behind).is_some_and(|event| event.origin == Some(answer.by));
            if has_turn && !was_told() {
                member.connection.outbox.send(answer.frame.clone());
            }
            !has_turn
        });
    }

    /// A member was found to be allowed here at `number`.
    pub(super) fn let_in(&mut self, connection: u64, number: u64) {
        if let Some(member) = self.members.iter_mut().find(|member| member.connection.id() == connection) {
            member.checked = Some(number);
        }
    }

    /// Whether a member may be told what was read when `restricting` was the last change that took something away.
    pub(super) fn may_tell(&self, connection: u64, restricting: u64) -> bool {
        let member = self.members.iter().find(|member| member.connection.id() == connection);
        member.is_some_and(|member| !member.is_stale(restricting))
    }

    /// Something may have been taken away from somebody: who comes in from here on must have been looked at after it.
    pub(super) fn hear_of(&mut self, restricting: u64) {
        self.restricting = self.restricting.max(restricting);
    }

    /// Something was fetched when `restricting` was the last change that took something away. Members who were let in
    /// before that hear nothing more until they have been looked at again; they are answered.
    pub(super) fn hold_back_stale(&mut self, restricting: u64) -> Vec<Arc<Connection>> {
        self.hear_of(restricting);
        let stale = self.members.iter_mut().filter(|member| member.live && member.is_stale(restricting));
        stale
            .map(|member| {
                member.live = false;
                member.connection.clone()
            })
            .collect()
    }

    /// Ends what a person hears of the room, replays under way included.
    fn shut_out(&mut self, person: AccountId) {
        self.members.retain(|member| member.checked.is_none() || member.connection.account.id != person);
    }

    pub(super) fn take_in(&mut self, app: &Shared, envelopes: Vec<Envelope>) -> After {
        let mut accepted = Vec::new();
        for envelope in envelopes {
            let position = envelope.position();
            match self.last {
                Some(last) if position <= last => {}
                Some(last) if !self.filling && follows(last, position) => {
                    self.accept(app, &envelope, position, &mut accepted);
                }
                _ if self.held.len() < HELD_MAX => {
                    self.held.insert(position, envelope);
                }
                _ => {}
            }
        }
        self.give_out(accepted);
        self.give_answers();
        if self.last.is_some() && !self.held.is_empty() && !self.filling {
            self.filling = true;
            return After::Fill;
        }
        After::Nothing
    }

    /// The head was read: what came in meanwhile follows upon it.
    pub(super) fn begin(&mut self, app: &Shared, head: Head) -> After {
        if self.last.is_none() {
            self.ring.begin(head.position);
            self.last = Some(head.position);
            self.hear_of(head.restricting);
            if !self.filled(app, Vec::new(), head.position) {
                return After::Fill;
            }
        }
        After::Nothing
    }

    fn accept(
        &mut self,
        app: &Shared,
        envelope: &Envelope,
        position: Position,
        accepted: &mut Vec<Arc<Happened>>,
    ) {
        if let Some(happened) = Happened::read(app.partitions(), envelope) {
            if let Happening::MembershipChanged(change) = happened.what {
                // What came before it is still for everybody who was here.
                self.give_out(std::mem::take(accepted));
                self.heed(change);
            }
            accepted.push(Arc::new(happened));
        }
        self.last = Some(position);
    }

    fn heed(&mut self, change: MembershipChanged) {
        if change.became.takes_away() {
            self.hear_of(change.number);
        }
        if change.became.shuts_out() {
            self.shut_out(change.person);
        }
        // Whoever is live heard of the change in its turn and is still here: it was not about them.
        for checked in
            self.members.iter_mut().filter(|member| member.live).filter_map(|member| member.checked.as_mut())
        {
            *checked = (*checked).max(change.number);
        }
    }

    /// Takes in what was fetched; true when nothing is missing any more.
    pub(super) fn filled(&mut self, app: &Shared, events: Vec<Happened>, complete_to: Position) -> bool {
        let Some(last) = self.last else { return true };
        for event in &events {
            if let Happening::MembershipChanged(change) = event.what {
                self.heed(change);
            }
        }
        let mut accepted: Vec<Arc<Happened>> =
            events.into_iter().filter(|event| event.position > last).map(Arc::new).collect();
        let mut last = last.max(complete_to);
        self.last = Some(last);
        while let Some((position, envelope)) = self.held.pop_first() {
            if position <= last {
                continue;
            }
            if !follows(last, position) {
                self.held.insert(position, envelope);
                break;
            }
            self.accept(app, &envelope, position, &mut accepted);
            last = position;
        }
        self.give_out(accepted);
        self.give_answers();
        self.filling = !self.held.is_empty();
        !self.filling
    }

    /// Goes on from `head`; what lies between is not shown, and nobody is left to believe that it was.
    pub(super) fn skip_to(&mut self, app: &Shared, room: RoomId, head: Position) {
        for member in self.members.iter().filter(|member| member.live) {
            tell_of_gap(&member.connection, room, head);
        }
        self.ring.begin(head);
        self.last = Some(head);
        self.filled(app, Vec::new(), head);
        self.filling = false;
        self.held.clear();
    }

    /// Remembers events and sends them to everybody who is live; like totals wait for their turn.
    fn give_out(&mut self, events: Vec<Arc<Happened>>) {
        if events.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut frames = Vec::with_capacity(events.len());
        for event in events {
            self.ring.push(event.clone());
            match event.what {
                Happening::LikesChanged { target, total } => self.likes.note(target, total),
                _ => frames.push(event),
            }
        }
        if let (Some(newest), Some(last)) = (self.ring.newest(), self.last) {
            frames.extend(self.likes.take_due(newest.room, last, now));
        }
        self.send(&frames);
    }

    /// Encodes once for all who are told alike, and writes the same bytes to each of them who is live.
    pub(super) fn send(&self, events: &[Arc<Happened>]) {
        if events.is_empty() {
            return;
        }
        let mut told: Vec<(Ear, Bytes, u64)> = Vec::new();
        for member in self.members.iter().filter(|member| member.live) {
            let ear = member.connection.ear(events);
            let at = told.iter().position(|(known, ..)| *known == ear).unwrap_or_else(|| {
                told.push((ear, encode_all(&ear, events), 0));
                told.len() - 1
            });
            let (_, frames, count) = &mut told[at];
            let place = member.connection.outbox.send(frames.clone());
            *count += 1;
            self.mark(&member.connection, events, place);
        }
        for (ear, _, count) in told {
            metrics::counter!(names::DELIVERIES, "dialect" => ear.encoding.dialect())
                .increment(count * events.len() as u64);
        }
        let now = Utc::now();
        for event in events {
            let latency = (now - event.at).to_std().unwrap_or_default();
            metrics::histogram!(names::DELIVERY_LATENCY).record(latency.as_secs_f64());
        }
    }

    /// Gives one connection what it lacks.
    pub(super) fn hand(&self, connection: &Connection, events: &[Arc<Happened>]) {
        let place = connection.outbox.send(encode_all(&connection.ear(events), events));
        self.mark(connection, events, place);
    }

    /// Notes the last message that is on its way to somebody else's socket, which takes it up to `place`, if at all.
    fn mark(&self, connection: &Connection, events: &[Arc<Happened>], place: Option<u64>) {
        if let (Some(marks), Some(place)) = (&self.marks, place) {
            marks.note(connection, events, place);
        }
    }
}

fn follows(last: Position, next: Position) -> bool {
    next.epoch == last.epoch && next.seq == last.seq + 1
}

/// Something between what `connection` has and `head` can't be shown to it. A client that asked to resume understands
/// `resync`; any other is cut off, because it starts anew when it comes back and would otherwise never know.
pub(in crate::hub) fn tell_of_gap(connection: &Connection, room: RoomId, head: Position) {
    if connection.resumes {
        let notice = Happened { room, position: head, at: Utc::now(), origin: None, what: Happening::Resync };
        let notice = [Arc::new(notice)];
        connection.outbox.send(encode_all(&connection.ear(&notice), &notice));
    } else {
        connection.outbox.close(CloseReason::Gap);
    }
}

fn encode_all(ear: &Ear, events: &[Arc<Happened>]) -> Bytes {
    let mut frames = BytesMut::new();
    for frame in events.iter().filter_map(|event| dialect::encode(ear, event)) {
        frames.extend_from_slice(&frame);
    }
    frames.freeze()
}
