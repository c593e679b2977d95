//! Bugs on purpose: each takes one guard of the delivery path away, so that it can be shown that a test notices.
//!
//! Only a build with the cargo feature `planted-bugs` can have one, and such a build refuses to start in production. Which
//! bug it has is said by [`VARIABLE`], so that one build serves for all. Without the feature [`Bug::is_planted`] is a constant
//! and nothing of this is left in the program. What catches each bug stands in `docs/decisions/planted-bugs.md`.

/// The environment variable that names the bug to plant.
pub const VARIABLE: &str = "HUBBUB_PLANTED_BUG";

/// A guard that can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The tests' log is synced every second, as Redis' default has it.
    SyncedEverySecond,
    /// The watermark moves in a transaction of its own, before the rows.
    WatermarkApart,
    /// The log drops old entries by their number, stored or not.
    CappedLog,
    /// The log does not remember which sends it has accepted.
    NoncesForgotten,
    /// A persister works under whatever fence the row has.
    FenceUnchecked,
    /// A node that was forgotten lives on under its old name.
    LivenessUnchecked,
    /// Histories read Postgres before the tail of the log.
    PostgresFirst,
    /// A node does not look whether the batches of its inbox are numbered without holes.
    InboxNumbersUnchecked,
    /// What was read from Postgres for the log counts in any epoch.
    SeedsOfAnyEpoch,
    /// A membership change leaves the outbox when it was logged, not when it was stored.
    OutboxClearedEarly,
    /// Heads, tails and histories do not tell the last change that took a right away.
    RestrictionsUntold,
    /// A partition is opened by anybody at any time in any epoch.
    OpeningUnguarded,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::SyncedEverySecond,
        Self::WatermarkApart,
        Self::CappedLog,
        Self::NoncesForgotten,
        Self::FenceUnchecked,
        Self::LivenessUnchecked,
        Self::PostgresFirst,
        Self::InboxNumbersUnchecked,
        Self::SeedsOfAnyEpoch,
        Self::OutboxClearedEarly,
        Self::RestrictionsUntold,
        Self::OpeningUnguarded,
    ];

    /// As [`VARIABLE`] names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SyncedEverySecond => "synced-every-second",
            Self::WatermarkApart => "watermark-apart",
            Self::CappedLog => "capped-log",
            Self::NoncesForgotten => "nonces-forgotten",
            Self::FenceUnchecked => "fence-unchecked",
            Self::LivenessUnchecked => "liveness-unchecked",
            Self::PostgresFirst => "postgres-first",
            Self::InboxNumbersUnchecked => "inbox-numbers-unchecked",
            Self::SeedsOfAnyEpoch => "seeds-of-any-epoch",
            Self::OutboxClearedEarly => "outbox-cleared-early",
            Self::RestrictionsUntold => "restrictions-untold",
            Self::OpeningUnguarded => "opening-unguarded",
        }
    }
}

#[cfg(not(feature = "planted-bugs"))]
mod chosen {
    use std::borrow::Cow;

    use super::Bug;

    /// Whether this build can have a bug on purpose.
    pub const POSSIBLE: bool = false;

    impl Bug {
        /// Whether the guard is missing: never, in this build.
        #[must_use]
        pub const fn is_planted(self) -> bool {
            false
        }
    }

    /// A script as it was written.
    #[must_use]
    pub fn script(source: &'static str) -> Cow<'static, str> {
        Cow::Borrowed(source)
    }
}

#[cfg(feature = "planted-bugs")]
mod chosen {
    use std::borrow::Cow;
    use std::sync::LazyLock;

    use super::{Bug, VARIABLE, without};

    /// Whether this build can have a bug on purpose.
    pub const POSSIBLE: bool = true;

    static CHOSEN: LazyLock<Option<Bug>> = LazyLock::new(|| {
        let name = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
        let bug = Bug::ALL.into_iter().find(|bug| bug.name() == name);
        Some(bug.unwrap_or_else(|| panic!("{VARIABLE}: there is no bug called {name}")))
    });

    impl Bug {
        /// Whether the guard is missing.
        #[must_use]
        pub fn is_planted(self) -> bool {
            *CHOSEN == Some(self)
        }
    }

    /// A script, without the guard that the planted bug takes away.
    #[must_use]
    pub fn script(source: &'static str) -> Cow<'static, str> {
        CHOSEN.map_or(Cow::Borrowed(source), |bug| without(bug, source))
    }
}

pub use chosen::{POSSIBLE, script};

/// The guards that are lines of a script, and what stands there without them.
#[cfg(any(test, feature = "planted-bugs"))]
const IN_SCRIPTS: [(Bug, &str, &str); 6] = [
    (Bug::CappedLog, "redis.call('XADD', KEYS[4], id,", "redis.call('XADD', KEYS[4], 'MAXLEN', '50', id,"),
    (Bug::NoncesForgotten, "if nonce then remember(nonce_key,", "if false then remember(nonce_key,"),
    (
        Bug::LivenessUnchecked,
        "if redis.call('PEXPIRE', KEYS[1], ARGV[1]) == 0 then return -1 end",
        "redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])",
    ),
    (
        Bug::SeedsOfAnyEpoch,
        "local seeded = num('seed_epoch') == meta.epoch
  and now - num('seed_time') < SEED_FRESH_MS
  and num('seed_wepoch') == meta.epoch
  and num('seed_wpseq') >= meta.trimmed",
        "local seeded = num('seed_epoch')",
    ),
    (
        Bug::RestrictionsUntold,
        "counter or '', at, entries }",
        "(counter and string.gsub(counter, '%d+$', '0')) or '', at, entries }",
    ),
    (
        Bug::OpeningUnguarded,
        "if run ~= ARGV[1] or closing ~= ARGV[3] or epoch <= recorded then return 'REFUSED' end",
        "",
    ),
];

#[cfg(any(test, feature = "planted-bugs"))]
fn without(bug: Bug, source: &'static str) -> std::borrow::Cow<'static, str> {
    let guard = IN_SCRIPTS.iter().find(|(of, guard, _)| *of == bug && source.contains(guard));
    guard.map_or(source.into(), |(_, guard, instead)| source.replace(guard, instead).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guard_stands_once_in_one_script() {
        let scripts = [
            include_str!("stream/lua/append.lua"),
            include_str!("stream/lua/open.lua"),
            include_str!("stream/lua/tail.lua"),
            include_str!("bus/lua/alive.lua"),
        ];
        for (bug, guard, _) in IN_SCRIPTS {
            let found: usize = scripts.iter().map(|script| script.matches(guard).count()).sum();
            assert_eq!(found, 1, "{bug:?}");
            assert!(scripts.iter().any(|script| without(bug, script) != *script), "{bug:?}");
        }
    }

    #[cfg(not(feature = "planted-bugs"))]
    #[test]
    fn a_usual_build_has_none() {
        const { assert!(!POSSIBLE) };
        assert!(Bug::ALL.iter().all(|bug| !bug.is_planted()));
    }
}
