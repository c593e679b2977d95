//! Settings come in as text with names. A `Reader` turns them into values, notes every name it was asked for, and
//! collects all that is wrong, so that an operator mends a file in one go. What it complains of is the name and
//! what was expected; the value, which may be a secret, is never repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::Secret;

/// Longest duration that a setting in hours may name: a year.
const HOURS_MAX: f64 = 8_760.0;

/// Names and values, as given to the process or made by a test.
#[derive(Clone, Default)]
pub struct Vars(BTreeMap<String, String>);

impl Vars {
    /// The variables of this process. Nothing else in Hubbub reads the environment.
    pub fn from_process() -> Vars {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Vars(std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect())
    }

    /// Adds or replaces one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Vars {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Adds one unless it is there already: how a service states its own default.
    #[must_use]
    pub fn with_default(mut self, name: &str, value: &str) -> Vars {
        if self.get(name).is_none() {
            self.0.insert(name.to_owned(), value.to_owned());
        }
        self
    }

    /// The value, without surrounding blanks. An empty one counts as absent: compose files pass those.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Vars {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Vars {
        Vars(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// What is wrong with the settings: every variable at fault and what it should have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad settings: {}", .0.join("; "))]
pub struct ConfigError(pub Vec<String>);

/// Reads settings out of `Vars`.
pub struct Reader<'v> {
    vars: &'v Vars,
    asked: BTreeSet<String>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl<'v> Reader<'v> {
    /// A reader that was asked for nothing yet.
    pub fn new(vars: &'v Vars) -> Reader<'v> {
        Reader { vars, asked: BTreeSet::new(), problems: Vec::new(), warnings: Vec::new() }
    }

    /// Free text.
    pub fn text(&mut self, name: &str) -> Option<&'v str> {
        self.asked.insert(name.to_owned());
        self.vars.get(name)
    }

    /// Whatever `parse` makes of the text; `expected` says what it wants.
    pub fn parsed<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(text);
        if value.is_none() {
            self.refuse(name, &format!("must be {expected}"));
        }
        value
    }

    /// A whole number within a range.
    pub fn number<T>(&mut self, name: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let parse = |text: &str| text.parse().ok().filter(|value| range.contains(value));
        self.parsed(name, &expected, parse).unwrap_or(default)
    }

    /// Whole seconds within a range.
    pub fn seconds(&mut self, name: &str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(name, default, range))
    }

    /// Whole milliseconds within a range.
    pub fn millis(&mut self, name: &str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.number(name, default, range))
    }

    /// Hours, decimals allowed, to the nearest millisecond.
    pub fn hours(&mut self, name: &str, default: u64) -> Duration {
        let parse = |text: &str| {
            let hours: f64 = text.parse().ok()?;
            // NaN is in no range.
            let millis = (0.0..=HOURS_MAX).contains(&hours).then(|| (hours * 3_600_000.0).round())?;
            Some(Duration::from_secs_f64(millis / 1_000.0))
        };
        self.parsed(name, "a number of hours from 0 to 8760, decimals allowed", parse)
            .unwrap_or(Duration::from_secs(default * 3_600))
    }

    /// Yes or no.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        let parse = |text: &str| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Some(true),
            "false" | "0" | "no" => Some(false),
            _ => None,
        };
        self.parsed(name, "true or false (also 1, 0, yes, no)", parse).unwrap_or(default)
    }

    /// Items between commas, blanks around them ignored; absent means none.
    pub fn list<T>(&mut self, name: &str, expected: &str, item: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let parse = |text: &str| text.split(',').map(|part| item(part.trim())).collect::<Option<Vec<T>>>();
        self.parsed(name, &format!("a comma-separated list of {expected}"), parse).unwrap_or_default()
    }

    /// A secret, from the variable or from the file that `<name>_FILE` names. Reading that file is the only effect
    /// in here.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        let file_name = format!("{name}_FILE");
        match (self.text(name), self.text(&file_name)) {
            (Some(_), Some(_)) => {
                self.refuse(&file_name, &format!("must not be set together with {name}"));
                None
            }
            (value, None) => value.map(Secret::new),
            (None, Some(path)) => self.file(&file_name, path),
        }
    }

    /// A secret that must be there.
    pub fn required_secret(&mut self, name: &str, expected: &str) -> Option<Secret> {
        if self.vars.get(name).is_none() && self.vars.get(&format!("{name}_FILE")).is_none() {
            self.refuse(name, &format!("is missing; expected {expected}"));
        }
        self.secret(name)
    }

    /// The contents of a file that `name` points to, without surrounding blanks.
    pub fn file(&mut self, name: &str, path: &str) -> Option<Secret> {
        match std::fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() => return Some(Secret::new(text.trim())),
            Ok(_) => self.refuse(name, "names a file that is empty"),
            Err(error) => self.refuse(name, &format!("names a file that cannot be read ({})", error.kind())),
        }
        None
    }

    /// Notes that this variable is at fault. `why` continues the sentence that its name begins.
    pub fn refuse(&mut self, name: &str, why: &str) {
        self.problems.push(format!("{name} {why}"));
    }

    /// Refuses in production; in development it is only warned about.
    pub fn unsafe_setting(&mut self, app_env: super::AppEnv, name: &str, why: &str) {
        match app_env {
            super::AppEnv::Production => {
                self.refuse(name, &format!("{why}, which only APP_ENV=development allows"));
            }
            super::AppEnv::Development => self.warn(name, why),
        }
    }

    /// Notes something to be said at start.
    pub fn warn(&mut self, name: &str, what: &str) {
        self.warnings.push(format!("{name} {what}"));
    }

    /// Variables that are set, begin with `prefix` and were not asked for: misspelt, most likely.
    pub fn unknown(&self, prefix: &str) -> Vec<String> {
        let stray = |name: &&String| name.starts_with(prefix) && !self.asked.contains(*name);
        self.vars.0.keys().filter(stray).cloned().collect()
    }

    /// Every name asked for so far.
    pub fn asked(&self) -> &BTreeSet<String> {
        &self.asked
    }

    /// Hands over the warnings noted since the last call.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// The problems, if there are any.
    pub fn finish(self) -> Result<(), ConfigError> {
        if self.problems.is_empty() { Ok(()) } else { Err(ConfigError(self.problems)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(value: &str, read: impl FnOnce(&mut Reader<'_>) -> T) -> Result<T, String> {
        let vars = Vars::default().with("X", value);
        let mut reader = Reader::new(&vars);
        let value = read(&mut reader);
        reader.finish().map(|()| value).map_err(|error| error.to_string())
    }

    #[test]
    fn yes_and_no_have_six_spellings() {
        for (text, expected) in
            [("true", true), ("1", true), ("Yes", true), ("FALSE", false), ("0", false), (" no ", false)]
        {
            assert_eq!(read(text, |r| r.flag("X", !expected)), Ok(expected), "{text}");
        }
        assert!(read("on", |r| r.flag("X", true)).unwrap_err().contains("X must be true or false"));
        assert_eq!(read("", |r| r.flag("X", true)), Ok(true));
    }

    #[test]
    fn hours_take_decimals() {
        for (text, millis) in
            [("1", 3_600_000), ("0.5", 1_800_000), ("0", 0), ("0.0001", 360), ("12", 43_200_000)]
        {
            assert_eq!(read(text, |r| r.hours("X", 9)), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["-1", "NaN", "inf", "1h", "8760.1", "1,5"] {
            assert!(read(text, |r| r.hours("X", 9)).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_have_a_range() {
        assert_eq!(read("7", |r| r.number("X", 1_u32, 1..=9)), Ok(7));
        for text in ["0", "10", "-1", "1e3", "99999999999", "x"] {
            let error = read(text, |r| r.number("X", 1_u32, 1..=9)).unwrap_err();
            assert_eq!(error, "bad settings: X must be a whole number from 1 to 9");
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let vars: Vars = [("A", "x"), ("B", "y")].into_iter().collect();
        let mut reader = Reader::new(&vars);
        reader.flag("A", false);
        reader.number("B", 1_u8, 0..=1);
        reader.required_secret("C", "anything");
        assert_eq!(reader.finish().unwrap_err().0.len(), 3);
    }

    #[test]
    fn s38_a_secret_comes_from_the_variable_or_a_file() {
        let path = std::env::temp_dir().join(format!("hubbub-secret-{}", std::process::id()));
        std::fs::write(&path, "from the file\n").expect("a writable temporary directory");
        let file = path.to_str().expect("a UTF-8 path");

        type Case<'c> = (&'c [(&'c str, &'c str)], Result<Option<&'c str>, &'c str>);
        let cases: [Case<'_>; 5] = [
            (&[], Ok(None)),
            (&[("KEY", "direct")], Ok(Some("direct"))),
            (&[("KEY_FILE", file)], Ok(Some("from the file"))),
            (&[("KEY", "direct"), ("KEY_FILE", file)], Err("KEY_FILE must not be set together with KEY")),
            (&[("KEY_FILE", "/nowhere/at/all")], Err("KEY_FILE names a file that cannot be read")),
        ];
        for (given, expected) in cases {
            let vars: Vars = given.iter().copied().collect();
            let mut reader = Reader::new(&vars);
            let secret = reader.secret("KEY");
            match (reader.finish(), expected) {
                (Ok(()), Ok(value)) => assert_eq!(secret.as_ref().map(Secret::expose), value),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (outcome, _) => panic!("{outcome:?} for {given:?}"),
            }
        }
        std::fs::remove_file(&path).expect("it was just written");
    }

    #[test]
    fn s38_errors_never_repeat_the_value() {
        let secret = "hunter2hunter2";
        for error in [
            read(secret, |r| r.flag("X", false)).map(drop),
            read(secret, |r| r.number("X", 1_u16, 1..=2)).map(drop),
            read(secret, |r| r.hours("X", 1)).map(drop),
            read(secret, |r| r.list("X", "nothing", |_| None::<()>)).map(drop),
        ] {
            assert!(!error.unwrap_err().contains("hunter2"));
        }
    }

    #[test]
    fn names_that_nobody_asked_for_are_found() {
        let vars: Vars =
            [("LIVE_CHAT_ENABLED", "1"), ("LIVE_CHAT_ENABELD", "1"), ("OTHER", "1")].into_iter().collect();
        let mut reader = Reader::new(&vars);
        reader.flag("LIVE_CHAT_ENABLED", true);
        assert_eq!(reader.unknown("LIVE_CHAT_"), ["LIVE_CHAT_ENABELD"]);
    }
}
