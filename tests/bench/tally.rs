//! What arrived, against what had to. A message carries its number; the schedule says when that number was to be sent, so
//! a server that stalls the sender is charged for the stall: there is no coordinated omission.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::crowd::Ledger;

/// What stands before the ten digits of a number in a message's text.
const MARK: &[u8] = b"bench ";
const DIGITS: usize = 10;
/// What stands before a message's place in its room, at the end of the frame.
const PLACE: &[u8] = b"\"seq\":";

/// The text of message `number`, padded to `length` bytes.
pub(crate) fn text_of(number: u64, length: usize) -> String {
    let mut text = format!("bench {number:010} ");
    while text.len() < length {
        text.push('x');
    }
    text
}

/// The number of a message with this text.
pub(crate) fn number_of(text: &[u8]) -> Option<u64> {
    number(text.strip_prefix(MARK)?.get(..DIGITS)?)
}

/// When each message of a phase is to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// The number of the first message: every phase goes on where the last one ended.
    pub(crate) base: u64,
    /// How many messages.
    pub(crate) count: usize,
    /// When the first is due.
    pub(crate) start: Instant,
    /// Messages a second.
    pub(crate) rate: u32,
}

impl Schedule {
    /// When message `index` of this phase is due.
    pub(crate) fn due(&self, index: usize) -> Instant {
        let nanos = index as u64 * 1_000_000_000 / u64::from(self.rate);
        self.start + Duration::from_nanos(nanos)
    }

    /// The index of a message's number in this phase, if it belongs to it.
    pub(crate) fn index(&self, number: u64) -> Option<usize> {
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        (index < self.count).then_some(index)
    }
}

/// A histogram of microseconds up to a minute.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are good")
}

/// Records a duration; what is past the bounds counts as the bound.
pub(crate) fn record(histogram: &mut Histogram<u64>, duration: Duration) {
    histogram.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
}

/// Everything that all viewers heard in one phase.
pub(crate) struct Tally {
    schedule: Schedule,
    /// Per viewer, which messages it has; one row after the other.
    seen: Vec<u64>,
    words: usize,
    /// Per viewer, the place of the last message it got.
    last_place: Vec<u64>,
    /// Per message, its place as the first viewer was told.
    place_of: Vec<u64>,
    /// Per message, how many viewers have it.
    heard_by: Vec<u32>,
    /// Where the mark was found last; it hardly moves.
    hint: usize,
    pub(crate) latency: Histogram<u64>,
    pub(crate) delivered: u64,
    pub(crate) doubles: u64,
    /// A later place before an earlier one on one socket, or two viewers who were told different places.
    pub(crate) inversions: u64,
    /// Messages of an earlier phase.
    pub(crate) strays: u64,
    /// Frames that are no message, such as viewer counts.
    pub(crate) other_frames: u64,
    pub(crate) message_bytes: u64,
}

impl Tally {
    /// A tally for viewers who heard nothing yet.
    pub(crate) fn new(viewers: usize, schedule: Schedule) -> Tally {
        let words = schedule.count.div_ceil(64);
        Tally {
            schedule,
            seen: vec![0; viewers * words],
            words,
            last_place: vec![0; viewers],
            place_of: vec![0; schedule.count],
            heard_by: vec![0; schedule.count],
            hint: 0,
            latency: histogram(),
            delivered: 0,
            doubles: 0,
            inversions: 0,
            strays: 0,
            other_frames: 0,
            message_bytes: 0,
        }
    }
}

impl Ledger for Tally {
    fn note(&mut self, viewer: usize, payload: &[u8], now: Instant) {
        let Some(number) = self.number(payload) else {
            self.other_frames += 1;
            return;
        };
        let Some(index) = self.schedule.index(number) else {
            self.strays += 1;
            return;
        };
        let (word, bit) = (&mut self.seen[viewer * self.words + index / 64], 1 << (index % 64));
        if *word & bit != 0 {
            self.doubles += 1;
            return;
        }
        *word |= bit;
        self.heard_by[index] += 1;
        self.delivered += 1;
        self.message_bytes += payload.len() as u64;
        record(&mut self.latency, now.saturating_duration_since(self.schedule.due(index)));
        if let Some(place) = place(payload) {
            self.note_place(viewer, index, place);
        }
    }
}

impl Tally {
    fn note_place(&mut self, viewer: usize, index: usize, place: u64) {
        let known = &mut self.place_of[index];
        if *known == 0 {
            *known = place;
        }
        if *known != place || place <= self.last_place[viewer] {
            self.inversions += 1;
        }
        self.last_place[viewer] = place;
    }

    /// How many of the `accepted` messages have not reached each of `viewers` viewers, summed up.
    pub(crate) fn missing(&self, accepted: &[usize], viewers: usize) -> u64 {
        accepted.iter().map(|index| viewers as u64 - u64::from(self.heard_by[*index])).sum()
    }

    fn number(&mut self, payload: &[u8]) -> Option<u64> {
        let at_hint = payload.get(self.hint..).is_some_and(|from| from.starts_with(MARK));
        if !at_hint {
            self.hint = payload.windows(MARK.len()).position(|window| window == MARK)?;
        }
        number_of(payload.get(self.hint..)?)
    }
}

/// The number behind the last `"seq":`, which ends the frame.
fn place(payload: &[u8]) -> Option<u64> {
    let digits = payload.strip_suffix(b"}")?;
    let from = digits.iter().rposition(|byte| !byte.is_ascii_digit())? + 1;
    if digits[..from].ends_with(PLACE) { number(&digits[from..]) } else { None }
}

/// The position that ends a frame, as a client names it when it resumes: `epoch:seq`.
pub(crate) fn position(payload: &[u8]) -> Option<String> {
    const EPOCH: &[u8] = b"\"epoch\":";
    let seq = place(payload)?;
    let from = payload.windows(EPOCH.len()).rposition(|window| window == EPOCH)? + EPOCH.len();
    let length = payload[from..].iter().position(|byte| !byte.is_ascii_digit())?;
    Some(format!("{}:{seq}", number(&payload[from..from + length])?))
}

pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u64, place: u64) -> Vec<u8> {
        let text = text_of(number, 40);
        format!(r#"{{"message":{{"message":"{text}","seq":{place}}},"epoch":1,"seq":{place}}}"#).into_bytes()
    }

    fn tally(count: usize) -> Tally {
        Tally::new(2, Schedule { base: 100, count, start: Instant::now(), rate: 10 })
    }

    #[test]
    fn losses_doubles_and_strays_are_told_apart() {
        let mut tally = tally(70);
        let now = Instant::now();
        for viewer in [0, 1] {
            tally.note(viewer, &frame(100, 1), now);
            tally.note(viewer, br#"{"type":"viewer_count_update","viewer_count":3}"#, now);
        }
        tally.note(0, &frame(169, 2), now);
        tally.note(0, &frame(169, 2), now);
        tally.note(1, &frame(99, 9), now);
        tally.note(1, &frame(170, 9), now);
        assert_eq!((tally.delivered, tally.doubles, tally.strays, tally.other_frames), (3, 1, 2, 2));
        assert_eq!(tally.inversions, 0);
        assert_eq!(tally.missing(&[0], 2), 0);
        assert_eq!(tally.missing(&[0, 69], 2), 1, "the second viewer lacks the last message");
        assert_eq!(tally.missing(&[0, 1, 69], 2), 3);
    }

    #[test]
    fn a_wrong_order_is_seen_on_one_socket_and_between_two() {
        let mut tally = tally(10);
        let now = Instant::now();
        tally.note(0, &frame(101, 2), now);
        tally.note(0, &frame(100, 1), now);
        assert_eq!(tally.inversions, 1, "a later one came first");
        tally.note(1, &frame(100, 1), now);
        tally.note(1, &frame(101, 3), now);
        assert_eq!(tally.inversions, 2, "the first viewer was told another place");
    }

    #[test]
    fn a_frame_says_where_to_resume() {
        assert_eq!(position(&frame(100, 12)).as_deref(), Some("1:12"));
        assert_eq!(position(br#"{"type":"viewer_count_update","viewer_count":3}"#), None);
    }

    #[test]
    fn latency_counts_from_the_schedule() {
        let schedule = Schedule { base: 0, count: 20, start: Instant::now(), rate: 10 };
        let mut tally = Tally::new(1, schedule);
        tally.note(0, &frame(10, 1), schedule.start + Duration::from_millis(1_250));
        let latency = tally.latency.max();
        assert!((249_000..=251_000).contains(&latency), "due after 1 s, heard after 1.25 s: {latency} us");
    }
}
