//! A figure, what it has to be, and whether it is: for scenarios that can fail.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::report::{Millis, Phase};

/// What one scenario found out.
#[derive(Serialize)]
pub(crate) struct Verdict {
    pub(crate) scenario: &'static str,
    pub(crate) passed: bool,
    pub(crate) processors: usize,
    pub(crate) nodes: usize,
    pub(crate) viewers: usize,
    pub(crate) fdatasync: Millis,
    pub(crate) figures: Vec<Figure>,
    /// How often something happened, by name: refusals by code, closes by code.
    pub(crate) counts: BTreeMap<String, u64>,
    /// The phases that the figures were taken from.
    pub(crate) phases: Vec<Phase>,
}

/// One measured figure.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) measured: f64,
    pub(crate) unit: &'static str,
    pub(crate) wanted: Wanted,
    pub(crate) passed: bool,
}

/// What a figure has to be.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    AtMost(f64),
    AtLeast(f64),
    /// Told beside the others; anything will do.
    Anything,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, measured: f64, unit: &'static str, wanted: Wanted) -> Figure {
        let passed = match wanted {
            Wanted::AtMost(most) => measured <= most,
            Wanted::AtLeast(least) => measured >= least,
            Wanted::Anything => true,
        };
        Figure { name: name.into(), measured, unit, wanted, passed }
    }

    /// Of something that must not happen.
    pub(crate) fn never(name: &'static str, count: u64) -> Figure {
        Figure::new(name, count as f64, "", Wanted::AtMost(0.0))
    }
}

impl Verdict {
    /// Passes when every figure does.
    pub(crate) fn judged(mut self) -> Verdict {
        self.passed = self.figures.iter().all(|figure| figure.passed);
        self
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "PASS" } else { "FAIL" };
        writeln!(out, "{} processors, shared with the generator", self.processors)?;
        writeln!(out, "\n{}: {verdict}, nodes: {}, viewers: {}", self.scenario, self.nodes, self.viewers)?;
        let Millis { p50, p99, max } = self.fdatasync;
        writeln!(out, "  fdatasync p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms")?;
        for figure in &self.figures {
            let (mark, wanted) = match (figure.wanted, figure.passed) {
                (Wanted::Anything, _) => ("    ", String::new()),
                (Wanted::AtMost(most), passed) => (mark(passed), format!("at most {most:.2}")),
                (Wanted::AtLeast(least), passed) => (mark(passed), format!("at least {least:.2}")),
            };
            let Figure { name, measured, unit, .. } = figure;
            writeln!(out, "  {mark} {name:<52} {measured:>10.2} {unit:<4} {wanted}")?;
        }
        for (name, count) in &self.counts {
            writeln!(out, "       {name:<52} {count:>7}")?;
        }
        self.phases.iter().try_for_each(|phase| write!(out, "{phase}"))
    }
}

fn mark(passed: bool) -> &'static str {
    if passed { "pass" } else { "FAIL" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_passes_up_to_its_bound() {
        let passes = |measured, wanted| Figure::new("it", measured, "s", wanted).passed;
        assert!(passes(15.0, Wanted::AtMost(15.0)) && !passes(15.1, Wanted::AtMost(15.0)));
        assert!(passes(0.8, Wanted::AtLeast(0.8)) && !passes(0.7, Wanted::AtLeast(0.8)));
        assert!(passes(1e9, Wanted::Anything) && !passes(f64::NAN, Wanted::AtMost(1.0)));
        assert!(Figure::never("it", 0).passed && !Figure::never("it", 1).passed);
    }
}
