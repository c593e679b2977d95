use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;

/// `at` local time every day, open for so many minutes before and after.
fn daily(at: &str, zone: &str, before: u64, after: u64) -> DrawSchedule {
    schedule(at, &[], zone, before, after)
}

/// At these instants only.
fn listed(times: &[&str], zone: &str, before: u64, after: u64) -> DrawSchedule {
    schedule("00:00", times, zone, before, after)
}

fn schedule(at: &str, times: &[&str], zone: &str, before: u64, after: u64) -> DrawSchedule {
    let (hour, minute) = at.split_once(':').expect("hour:minute");
    DrawSchedule::from(&LiveChatSettings {
        enabled: true,
        pre_draw: Duration::from_secs(before * 60),
        post_draw: Duration::from_secs(after * 60),
        max_messages_per_user_per_minute: 10,
        message_history_limit: 100,
        draw_hour: hour.parse().expect("an hour"),
        draw_minute: minute.parse().expect("a minute"),
        draw_timezone: zone.parse().expect("an IANA name"),
        draw_times: times.iter().map(|time| utc(time)).collect(),
    })
}

fn utc(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("RFC 3339").to_utc()
}

fn short(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Draw, start and end of the window that is open at `now`.
fn open_at(schedule: &DrawSchedule, now: &str) -> Option<[String; 3]> {
    schedule.current(utc(now)).map(|window| [window.draw, window.starts_at, window.ends_at].map(short))
}

fn next_after(schedule: &DrawSchedule, now: &str) -> Option<String> {
    schedule.next_start(utc(now)).map(short)
}

#[test]
fn a_daily_draw_opens_an_hour_before_and_closes_an_hour_after() {
    let schedule = daily("20:00", "UTC", 60, 60);
    let evening = ["2024-01-01T20:00:00Z", "2024-01-01T19:00:00Z", "2024-01-01T21:00:00Z"].map(str::to_owned);
    for (now, open, next) in [
        ("2024-01-01T00:00:00Z", None, "2024-01-01T19:00:00Z"),
        ("2024-01-01T18:59:59.999Z", None, "2024-01-01T19:00:00Z"),
        ("2024-01-01T19:00:00Z", Some(&evening), "2024-01-02T19:00:00Z"),
        ("2024-01-01T20:00:00Z", Some(&evening), "2024-01-02T19:00:00Z"),
        ("2024-01-01T20:59:59.999Z", Some(&evening), "2024-01-02T19:00:00Z"),
        ("2024-01-01T21:00:00Z", None, "2024-01-02T19:00:00Z"),
    ] {
        assert_eq!(open_at(&schedule, now).as_ref(), open, "{now}");
        assert_eq!(next_after(&schedule, now).as_deref(), Some(next), "{now}");
    }
}

#[test]
fn hours_may_be_fractions_and_one_side_may_be_nothing() {
    let schedule = daily("20:00", "UTC", 30, 0);
    assert_eq!(open_at(&schedule, "2024-01-01T19:29:59Z"), None);
    assert!(open_at(&schedule, "2024-01-01T19:30:00Z").is_some());
    assert_eq!(open_at(&schedule, "2024-01-01T20:00:00Z"), None, "the draw ends it");
    let schedule = daily("20:00", "UTC", 0, 30);
    assert_eq!(open_at(&schedule, "2024-01-01T19:59:59Z"), None);
    assert!(open_at(&schedule, "2024-01-01T20:00:00Z").is_some());
}

#[test]
fn the_name_is_of_the_draws_own_calendar() {
    for (zone, now, name) in [
        ("UTC", "2024-01-01T23:30:00Z", "Draw Chat - January 01, 2024"),
        ("America/New_York", "2024-01-02T04:30:00Z", "Draw Chat - January 01, 2024"),
        ("Asia/Tokyo", "2024-02-28T14:45:00Z", "Draw Chat - February 28, 2024"),
    ] {
        let window = daily("23:45", zone, 60, 60).current(utc(now)).expect("it is open");
        assert_eq!(window.name, name, "{zone}");
    }
    // The window starts the day before the draw.
    let window = daily("00:15", "UTC", 60, 60).current(utc("2023-12-31T23:30:00Z")).expect("it is open");
    assert_eq!(window.name, "Draw Chat - January 01, 2024");
}

#[test]
fn a_wall_clock_draw_follows_daylight_saving() {
    for (zone, day, draw) in [
        ("Europe/Berlin", "2024-03-30", "2024-03-30T19:00:00Z"),
        ("Europe/Berlin", "2024-03-31", "2024-03-31T18:00:00Z"),
        ("Europe/Berlin", "2024-10-26", "2024-10-26T18:00:00Z"),
        ("Europe/Berlin", "2024-10-27", "2024-10-27T19:00:00Z"),
        ("America/New_York", "2024-03-09", "2024-03-10T01:00:00Z"),
        ("America/New_York", "2024-03-10", "2024-03-11T00:00:00Z"),
        ("America/New_York", "2024-11-02", "2024-11-03T00:00:00Z"),
        ("America/New_York", "2024-11-03", "2024-11-04T01:00:00Z"),
    ] {
        let local = format!("{day}T20:00:00").parse().expect("a local time");
        let instant = first_instant(local, zone.parse().expect("an IANA name")).map(short);
        assert_eq!(instant.as_deref(), Some(draw), "{zone} {day}");
    }
}

#[test]
fn a_skipped_time_moves_on_and_a_doubled_one_is_its_first() {
    for (zone, local, instant) in [
        // 02:00 to 03:00 is left out.
        ("Europe/Berlin", "2024-03-31T01:59:00", "2024-03-31T00:59:00Z"),
        ("Europe/Berlin", "2024-03-31T02:00:00", "2024-03-31T01:00:00Z"),
        ("Europe/Berlin", "2024-03-31T02:30:00", "2024-03-31T01:00:00Z"),
        ("Europe/Berlin", "2024-03-31T03:00:00", "2024-03-31T01:00:00Z"),
        ("America/New_York", "2024-03-10T02:30:00", "2024-03-10T07:00:00Z"),
        // 02:00 to 03:00 in Berlin, 01:00 to 02:00 in New York come twice.
        ("Europe/Berlin", "2024-10-27T02:30:00", "2024-10-27T00:30:00Z"),
        ("Europe/Berlin", "2024-10-27T03:00:00", "2024-10-27T02:00:00Z"),
        ("America/New_York", "2024-11-03T01:30:00", "2024-11-03T05:30:00Z"),
        ("America/New_York", "2024-11-03T02:00:00", "2024-11-03T07:00:00Z"),
        // A whole day was left out.
        ("Pacific/Apia", "2011-12-30T20:00:00", "2011-12-30T10:00:00Z"),
        // Half an hour, and at midnight.
        ("Australia/Lord_Howe", "2024-10-06T02:15:00", "2024-10-05T15:30:00Z"),
        ("America/Havana", "2024-03-10T00:30:00", "2024-03-10T05:00:00Z"),
    ] {
        let found = first_instant(local.parse().expect("a local time"), zone.parse().expect("an IANA name"));
        assert_eq!(found.map(short).as_deref(), Some(instant), "{zone} {local}");
    }
}

#[test]
fn every_day_has_its_draw_when_clocks_change() {
    let spring = daily("02:30", "Europe/Berlin", 60, 60);
    let moved = ["2024-03-31T01:00:00Z", "2024-03-31T00:00:00Z", "2024-03-31T02:00:00Z"].map(str::to_owned);
    assert_eq!(open_at(&spring, "2024-03-31T01:30:00Z"), Some(moved));
    assert_eq!(next_after(&spring, "2024-03-31T00:00:00Z").as_deref(), Some("2024-03-31T23:30:00Z"));

    let autumn = daily("01:30", "America/New_York", 30, 30);
    let first = ["2024-11-03T05:30:00Z", "2024-11-03T05:00:00Z", "2024-11-03T06:00:00Z"].map(str::to_owned);
    assert_eq!(open_at(&autumn, "2024-11-03T05:45:00Z"), Some(first));
    assert_eq!(open_at(&autumn, "2024-11-03T06:30:00Z"), None, "the second 01:30 is no draw");
    assert_eq!(next_after(&autumn, "2024-11-03T06:30:00Z").as_deref(), Some("2024-11-04T06:00:00Z"));

    // The draw of the day that Samoa left out coincides with the next day's: one window, not two.
    let apia = daily("00:00", "Pacific/Apia", 60, 60);
    assert_eq!(next_after(&apia, "2011-12-30T08:59:59Z").as_deref(), Some("2011-12-30T09:00:00Z"));
    assert_eq!(next_after(&apia, "2011-12-30T09:00:00Z").as_deref(), Some("2011-12-31T09:00:00Z"));
}

#[test]
fn twelve_hours_either_side_is_one_session_a_day_without_a_gap() {
    let schedule = daily("12:00", "UTC", 12 * 60, 12 * 60);
    let mut now = utc("2024-02-27T00:00:00Z");
    for day in ["February 27", "February 28", "February 29", "March 01", "March 02"] {
        let window = schedule.current(now).expect("always open");
        assert_eq!(window.starts_at, now);
        assert_eq!(window.name, format!("Draw Chat - {day}, 2024"));
        let last = schedule.current(window.ends_at - TimeDelta::microseconds(1));
        assert_eq!(last.as_ref(), Some(&window));
        assert_eq!(schedule.next_start(now), Some(window.ends_at));
        now = window.ends_at;
    }
    // On the days when clocks change it has 23 or 25 hours, and still no gap.
    let berlin = daily("12:00", "Europe/Berlin", 12 * 60, 12 * 60);
    let short_day =
        ["2024-03-31T10:00:00Z", "2024-03-30T22:00:00Z", "2024-03-31T22:00:00Z"].map(str::to_owned);
    assert_eq!(open_at(&berlin, "2024-03-31T00:00:00Z"), Some(short_day));
    assert_eq!(next_after(&berlin, "2024-03-31T00:00:00Z").as_deref(), Some("2024-03-31T22:00:00Z"));
}

#[test]
fn the_earlier_window_ends_when_the_later_starts() {
    // Longer than a day: each window is cut to a day by the next one.
    let long = daily("12:00", "UTC", 30 * 60, 30 * 60);
    let cut = ["2024-01-03T12:00:00Z", "2024-01-02T06:00:00Z", "2024-01-03T06:00:00Z"].map(str::to_owned);
    assert_eq!(open_at(&long, "2024-01-02T12:00:00Z"), Some(cut));

    // Given in any order, and one of them twice.
    let times =
        ["2024-01-01T13:00:00Z", "2024-01-01T12:00:00Z", "2024-01-01T20:00:00Z", "2024-01-01T14:00:00+01:00"];
    let list = listed(&times, "UTC", 60, 60);
    let first = ["2024-01-01T12:00:00Z", "2024-01-01T11:00:00Z", "2024-01-01T12:00:00Z"].map(str::to_owned);
    let second = ["2024-01-01T13:00:00Z", "2024-01-01T12:00:00Z", "2024-01-01T14:00:00Z"].map(str::to_owned);
    assert_eq!(open_at(&list, "2024-01-01T11:59:59Z"), Some(first));
    assert_eq!(open_at(&list, "2024-01-01T12:00:00Z"), Some(second));
    assert_eq!(open_at(&list, "2024-01-01T14:00:00Z"), None);
    assert_eq!(next_after(&list, "2024-01-01T14:00:00Z").as_deref(), Some("2024-01-01T19:00:00Z"));
    assert_eq!(next_after(&list, "2024-01-01T19:00:00Z"), None, "the list has an end");
    assert_eq!(open_at(&list, "2024-01-01T21:00:00Z"), None);
}

fn any_schedule() -> impl Strategy<Value = DrawSchedule> {
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Pacific/Apia",
        "America/Havana",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "America/Sao_Paulo",
    ];
    let minutes =
        (0_u64..3_000, 0_u64..3_000).prop_filter("never open", |(before, after)| before + after > 0);
    let list = proptest::collection::btree_set(EARLIEST..LATEST, 0..20);
    (proptest::sample::select(zones.to_vec()), 0_u32..24, 0_u32..60, minutes, list).prop_map(
        |(zone, hour, minute, (before, after), list)| {
            let schedule = daily(&format!("{hour}:{minute}"), zone, before, after);
            if list.is_empty() || hour % 4 != 0 {
                return schedule;
            }
            DrawSchedule { draws: Draws::Listed(list.into_iter().map(instant).collect()), ..schedule }
        },
    )
}

/// 2005 and 2040, in seconds.
const EARLIEST: i64 = 1_104_537_600;
const LATEST: i64 = 2_208_988_800;

fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("within the years of chrono")
}

proptest! {
    #![proptest_config(Config { cases: 2_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_window_contains_the_moment_it_is_asked_for(schedule in any_schedule(), now in EARLIEST..LATEST) {
        let now = instant(now);
        if let Some(window) = schedule.current(now) {
            prop_assert!(window.starts_at <= now && now < window.ends_at);
            prop_assert_eq!(schedule.current(window.starts_at), Some(window.clone()));
            prop_assert_eq!(schedule.current(window.ends_at - TimeDelta::microseconds(1)), Some(window));
        }
    }

    #[test]
    fn windows_never_overlap(schedule in any_schedule(), now in EARLIEST..LATEST) {
        let mut now = instant(now);
        for _ in 0..10 {
            let (current, next) = (schedule.current(now), schedule.next_start(now));
            let Some(next) = next else { break };
            prop_assert!(next > now);
            if let Some(window) = current {
                prop_assert!(window.ends_at <= next);
                let after = schedule.current(window.ends_at);
                prop_assert!(after.is_none_or(|after| after.starts_at == window.ends_at));
            }
            let opened = schedule.current(next);
            prop_assert_eq!(opened.map(|window| window.starts_at), Some(next));
            now = next;
        }
    }

    #[test]
    fn a_daily_draw_leaves_out_no_day(hour in 0_u32..24, minute in 0_u32..60, now in EARLIEST..LATEST) {
        let schedule = daily(&format!("{hour}:{minute}"), "America/New_York", 60, 60);
        let now = instant(now);
        let wait = schedule.next_start(now).expect("there is always a next day") - now;
        prop_assert!(wait <= TimeDelta::hours(25), "{wait}");
    }
}
