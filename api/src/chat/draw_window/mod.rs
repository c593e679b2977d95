//! When the live chat is open: around each draw, by the server's clock alone. Every node computes the same windows
//! from the same settings, so whichever node needs a session first may create it.
//!
//! A draw is a moment on a wall clock. Where daylight saving skips that moment, the draw moves on to the first one
//! there is; where it comes twice, the first counts. Windows never overlap: the earlier one ends when the later one
//! starts.

use chrono::{DateTime, Days, NaiveDateTime, SubsecRound, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

use crate::config::LiveChatSettings;

/// The draws there are, and how long around each of them the chat is open.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DrawSchedule {
    draws: Draws,
    zone: Tz,
    before: TimeDelta,
    after: TimeDelta,
}

#[derive(Debug, Clone, PartialEq)]
enum Draws {
    Daily {
        hour: u32,
        minute: u32,
    },
    /// Ascending, each once.
    Listed(Vec<DateTime<Utc>>),
}

/// One opening of the chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// The draw it is about.
    pub(crate) draw: DateTime<Utc>,
    /// Open from here, which no other window shares,
    pub(crate) starts_at: DateTime<Utc>,
    /// until just before here.
    pub(crate) ends_at: DateTime<Utc>,
    /// For people: `Draw Chat - January 01, 2024`, after the draw's own calendar.
    pub(crate) name: String,
}

impl From<&LiveChatSettings> for DrawSchedule {
    fn from(settings: &LiveChatSettings) -> DrawSchedule {
        let delta = |duration| TimeDelta::from_std(duration).expect("settings bound the hours to a year");
        let draws = if settings.draw_times.is_empty() {
            Draws::Daily { hour: settings.draw_hour, minute: settings.draw_minute }
        } else {
            // Microseconds are what the database keeps of a start.
            let mut times: Vec<_> = settings.draw_times.iter().map(|time| time.trunc_subsecs(6)).collect();
            times.sort_unstable();
            times.dedup();
            Draws::Listed(times)
        };
        DrawSchedule {
            draws,
            zone: settings.draw_timezone,
            before: delta(settings.pre_draw),
            after: delta(settings.post_draw),
        }
    }
}

impl DrawSchedule {
    /// The window that is open now.
    pub(crate) fn current(&self, now: DateTime<Utc>) -> Option<Window> {
        let (last_begun, next) = self.draws_around(now.checked_add_signed(self.before)?);
        let draw = last_begun?;
        let by_itself = draw.checked_add_signed(self.after)?;
        let ends_at = next.map_or(by_itself, |next| by_itself.min(next - self.before));
        let window = Window { draw, starts_at: draw - self.before, ends_at, name: self.name(draw) };
        (now < window.ends_at).then_some(window)
    }

    /// When the next window starts, counted from now: not the one that is open.
    pub(crate) fn next_start(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (_, next) = self.draws_around(now.checked_add_signed(self.before)?);
        next?.checked_sub_signed(self.before)
    }

    /// The last draw at or before `instant`, and the first one after it.
    fn draws_around(&self, instant: DateTime<Utc>) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        match &self.draws {
            Draws::Listed(draws) => {
                let after = draws.partition_point(|draw| *draw <= instant);
                (after.checked_sub(1).map(|last| draws[last]), draws.get(after).copied())
            }
            Draws::Daily { hour, minute } => {
                let draws = self.draws_near(instant, *hour, *minute);
                let last = draws.iter().rev().find(|draw| **draw <= instant).copied();
                (last, draws.into_iter().find(|draw| *draw > instant))
            }
        }
    }

    /// The daily draws of the days around `instant`, ascending. Yesterday's is always past and that of the day after
    /// tomorrow always to come, even where a clock was set back over midnight or a whole day was left out.
    fn draws_near(&self, instant: DateTime<Utc>, hour: u32, minute: u32) -> Vec<DateTime<Utc>> {
        let today = instant.with_timezone(&self.zone).date_naive();
        let Some(yesterday) = today.checked_sub_days(Days::new(1)) else { return Vec::new() };
        let days = yesterday.iter_days().take(5);
        days.filter_map(|day| first_instant(day.and_hms_opt(hour, minute, 0)?, self.zone)).collect()
    }

    fn name(&self, draw: DateTime<Utc>) -> String {
        format!("Draw Chat - {}", draw.with_timezone(&self.zone).format("%B %d, %Y"))
    }
}

/// The first instant at which clocks in this zone show this time or a later one.
fn first_instant(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    let shown = zone.from_local_datetime(&local).earliest();
    shown.or_else(|| GapInfo::new(&local, &zone)?.end).map(|instant| instant.to_utc())
}

#[cfg(test)]
mod tests;
