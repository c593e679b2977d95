//! The start-up check of Redis: what is accepted must be in a file that a crash can't take back.

use super::Log;
use crate::error::Error;

/// A setting that breaks a promise: its name, what it must be, what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// As `CONFIG GET` names it.
    pub name: &'static str,
    /// The value the promises rest on.
    pub wanted: &'static str,
    /// The value found.
    pub found: String,
}

/// What the check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsReport {
    /// Settings that break a promise; none when all is well.
    pub findings: Vec<Finding>,
    /// Whether the server would not say (a managed service without CONFIG).
    pub unknown: bool,
}

/// Name, value the promises rest on.
const WANTED: [(&str, &str); 4] = [
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("no-appendfsync-on-rewrite", "no"),
    ("maxmemory-policy", "noeviction"),
];

impl std::fmt::Display for SettingsReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.unknown {
            return f.write_str("the log Redis does not let its settings be read (grant +config|get)");
        }
        f.write_str("the log Redis may lose what was accepted:")?;
        for Finding { name, wanted, found } in &self.findings {
            write!(f, " {name} is {found}, must be {wanted};")?;
        }
        Ok(())
    }
}

impl SettingsReport {
    /// Whether every promise holds.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.unknown && self.findings.is_empty()
    }
}

impl Log {
    /// Compares the server's settings with what the promises rest on.
    pub async fn check_settings(&self) -> Result<SettingsReport, Error> {
        let mut report = SettingsReport::default();
        for (name, wanted) in WANTED {
            let answer: Result<Vec<String>, redis::RedisError> =
                redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut self.redis.clone()).await;
            match answer {
                Ok(pair) => {
                    let found = pair.into_iter().nth(1).unwrap_or_default();
                    if found != wanted {
                        report.findings.push(Finding { name, wanted, found });
                    }
                }
                Err(error) if crate::error::is_redis_away(&error) => return Err(error.into()),
                Err(_) => report.unknown = true,
            }
        }
        Ok(report)
    }
}
