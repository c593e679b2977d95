//! What the people of the pairs were told, against what had to be. A message carries its number in its `client_msg_id`, which
//! everything that is told of it repeats: an arrival to its receiver, an acknowledgement to its sender, a refusal.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use uuid::Uuid;

use crate::crowd::Ledger;
use crate::tally::{Schedule, histogram, number, record};

const NONCE: &[u8] = b"\"client_msg_id\":\"";
/// Characters of a UUID, and those of them that hold the number.
const NONCE_CHARS: usize = 36;
const NUMBER_CHARS: usize = 12;
const PLACE: &[u8] = b"\"seq\":";
const ERROR: &[u8] = br#"{"type":"error""#;

/// A name for message `number` as clients draw it: a UUID of version 7 of this moment.
pub(super) fn nonce_of(number: u64) -> Uuid {
    let now = u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0);
    let mut rest = [0; 10];
    rest[4..].copy_from_slice(&number.to_be_bytes()[2..]);
    uuid::Builder::from_unix_timestamp_millis(now, &rest).into_uuid()
}

/// Who writes message `index` of a phase, and to whom: all pairs in turn, and in each of them one after the other.
pub(super) fn writer_and_reader(index: usize, pairs: usize) -> (usize, usize) {
    let (round, pair) = (index / pairs, index % pairs);
    let writer = 2 * pair + (round + pair) % 2;
    (writer, writer ^ 1)
}

/// What became of one message.
#[derive(Clone, Copy, Default)]
struct Letter {
    sent: bool,
    heard: bool,
    acked: bool,
    refused: bool,
    /// Its place in its room, as the first of the two was told.
    place: u64,
}

/// Everything that happened in one phase.
pub(super) struct Letters {
    schedule: Schedule,
    pairs: usize,
    letters: Vec<Letter>,
    /// Per person, the place of the last thing told; 0 before the first.
    last_place: Vec<u64>,
    pub(super) arrival: Histogram<u64>,
    pub(super) ack: Histogram<u64>,
    /// When the last one was acknowledged, counted from the first intended send.
    pub(super) acked_until: Duration,
    pub(super) delivered: u64,
    pub(super) delivered_bytes: u64,
    /// Arrivals and acknowledgements that came again.
    pub(super) doubles: u64,
    /// Places that did not follow upon the last one of that socket, or that the two of a pair were told differently.
    pub(super) inversions: u64,
    /// Messages of an earlier phase, or of somebody else.
    pub(super) strays: u64,
    pub(super) other_frames: u64,
    pub(super) refusals: BTreeMap<String, u64>,
}

impl Letters {
    pub(super) fn new(pairs: usize, schedule: Schedule) -> Letters {
        Letters {
            schedule,
            pairs,
            letters: vec![Letter::default(); schedule.count],
            last_place: vec![0; 2 * pairs],
            arrival: histogram(),
            ack: histogram(),
            acked_until: Duration::ZERO,
            delivered: 0,
            delivered_bytes: 0,
            doubles: 0,
            inversions: 0,
            strays: 0,
            other_frames: 0,
            refusals: BTreeMap::new(),
        }
    }

    /// Message `index` is on its way.
    pub(super) fn sent(&mut self, index: usize) {
        self.letters[index].sent = true;
    }

    /// How many messages are not yet both acknowledged and heard, or refused.
    pub(super) fn open(&self) -> usize {
        self.count(|letter| !(letter.refused || letter.acked && letter.heard))
    }

    /// How many acknowledged messages were not heard.
    pub(super) fn lost(&self) -> usize {
        self.count(|letter| letter.acked && !letter.heard)
    }

    /// How many got neither an acknowledgement nor a refusal.
    pub(super) fn unanswered(&self) -> usize {
        self.count(|letter| !letter.acked && !letter.refused)
    }

    /// The numbers of the messages that were acknowledged.
    pub(super) fn accepted(&self) -> Vec<u64> {
        self.numbers(|letter| letter.acked)
    }

    /// The numbers of those of which nobody knows.
    pub(super) fn unknown(&self) -> Vec<u64> {
        self.numbers(|letter| letter.sent && !letter.acked && !letter.refused)
    }

    fn count(&self, of: impl Fn(&Letter) -> bool) -> usize {
        self.letters.iter().filter(|letter| of(letter)).count()
    }

    fn numbers(&self, of: impl Fn(&Letter) -> bool) -> Vec<u64> {
        let all = self.letters.iter().enumerate().filter(|(_, letter)| of(letter));
        all.map(|(index, _)| self.schedule.base + index as u64).collect()
    }

    fn note_arrival(&mut self, index: usize, payload: &[u8], now: Instant) {
        if std::mem::replace(&mut self.letters[index].heard, true) {
            self.doubles += 1;
            return;
        }
        self.delivered += 1;
        self.delivered_bytes += payload.len() as u64;
        record(&mut self.arrival, now.saturating_duration_since(self.schedule.due(index)));
    }

    fn note_ack(&mut self, index: usize, now: Instant) {
        if std::mem::replace(&mut self.letters[index].acked, true) {
            self.doubles += 1;
            return;
        }
        record(&mut self.ack, now.saturating_duration_since(self.schedule.due(index)));
        self.acked_until = self.acked_until.max(now.saturating_duration_since(self.schedule.start));
    }

    fn note_refusal(&mut self, index: usize, payload: &[u8]) {
        self.letters[index].refused = true;
        let body: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
        *self.refusals.entry(body["code"].as_str().unwrap_or("none").to_owned()).or_default() += 1;
    }

    fn note_place(&mut self, person: usize, index: usize, place: u64) {
        let known = std::mem::replace(&mut self.letters[index].place, place);
        let differs = known != 0 && known != place;
        let last = std::mem::replace(&mut self.last_place[person], place);
        let follows = last == 0 || place == last + 1;
        self.inversions += u64::from(differs || !follows);
    }
}

impl Ledger for Letters {
    fn note(&mut self, person: usize, payload: &[u8], now: Instant) {
        let Some(number) = number_of(payload) else {
            self.other_frames += 1;
            return;
        };
        let Some(index) = self.schedule.index(number) else {
            self.strays += 1;
            return;
        };
        let (writer, reader) = writer_and_reader(index, self.pairs);
        if payload.starts_with(ERROR) {
            self.note_refusal(index, payload);
            return;
        }
        match person {
            _ if person == writer => self.note_ack(index, now),
            _ if person == reader => self.note_arrival(index, payload, now),
            _ => {
                self.strays += 1;
                return;
            }
        }
        if let Some(place) = place(payload) {
            self.note_place(person, index, place);
        }
    }
}

fn number_of(payload: &[u8]) -> Option<u64> {
    let nonce = behind(payload, NONCE)?.get(NONCE_CHARS - NUMBER_CHARS..NONCE_CHARS)?;
    u64::from_str_radix(std::str::from_utf8(nonce).ok()?, 16).ok()
}

fn place(payload: &[u8]) -> Option<u64> {
    let from = behind(payload, PLACE)?;
    let digits = from.iter().take_while(|byte| byte.is_ascii_digit()).count();
    number(&from[..digits])
}

fn behind<'a>(payload: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    let at = payload.windows(mark.len()).position(|window| window == mark)?;
    payload.get(at + mark.len()..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters() -> Letters {
        Letters::new(2, Schedule { base: 100, count: 8, start: Instant::now(), rate: 10 })
    }

    fn told(number: u64, place: u64) -> Vec<u8> {
        format!(r#"{{"type":"x","message":{{"seq":{place}}},"client_msg_id":"{}"}}"#, nonce_of(number))
            .into_bytes()
    }

    #[test]
    fn both_of_each_pair_write_half_of_the_messages() {
        let pairs = 3;
        let turns: Vec<_> = (0..12).map(|index| writer_and_reader(index, pairs)).collect();
        assert_eq!(&turns[..3], [(0, 1), (3, 2), (4, 5)]);
        assert_eq!(&turns[3..6], [(1, 0), (2, 3), (5, 4)]);
        for person in 0..2 * pairs {
            assert_eq!(turns.iter().filter(|(writer, _)| *writer == person).count(), 2);
        }
    }

    #[test]
    fn a_message_is_over_when_it_was_heard_and_acknowledged_or_refused() {
        let (mut letters, now) = (letters(), Instant::now());
        (0..8).for_each(|index| letters.sent(index));
        letters.note(0, &told(100, 1), now);
        assert_eq!((letters.open(), letters.lost(), letters.unanswered()), (8, 1, 7), "only acknowledged");
        letters.note(1, &told(100, 1), now);
        assert_eq!((letters.open(), letters.lost(), letters.delivered), (7, 0, 1));
        letters.note(1, &told(100, 1), now);
        assert_eq!(letters.doubles, 1);
        let refusal =
            format!(r#"{{"type":"error","code":"not_friends","client_msg_id":"{}"}}"#, nonce_of(101));
        letters.note(3, refusal.as_bytes(), now);
        assert_eq!((letters.open(), letters.refusals["not_friends"]), (6, 1));
        letters.note(2, &told(100, 1), now);
        letters.note(2, &told(99, 1), now);
        letters.note(2, br#"{"type":"online_friends","friends":[]}"#, now);
        assert_eq!((letters.strays, letters.other_frames), (2, 1));
        assert_eq!((letters.accepted(), letters.unknown().len()), (vec![100], 6));
    }

    #[test]
    fn a_hole_a_wrong_order_and_another_place_are_seen() {
        let (mut letters, now) = (letters(), Instant::now());
        letters.note(0, &told(100, 4), now);
        letters.note(1, &told(100, 4), now);
        letters.note(1, &told(102, 5), now);
        assert_eq!(letters.inversions, 0);
        letters.note(0, &told(102, 6), now);
        assert_eq!(letters.inversions, 1, "another place than the writer was told, and 5 left out");
        letters.note(0, &told(104, 5), now);
        assert_eq!(letters.inversions, 2, "backwards");
    }
}
