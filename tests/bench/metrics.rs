//! What the services say about themselves, as far as the benchmark wants it: histograms, as differences.

use std::collections::BTreeMap;

/// Sums up a counter of several services' texts, over all its labels that contain `label`.
pub(crate) fn counted(texts: &[String], name: &str, label: &str) -> u64 {
    let lines = texts.iter().flat_map(|text| text.lines());
    let values = lines.filter_map(|line| {
        let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        labels.contains(label).then(|| value.trim().parse::<u64>().ok()).flatten()
    });
    values.sum()
}

/// A Prometheus histogram: how many were at most so large, over all label sets and processes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Buckets {
    /// Upper bounds in seconds, in order, with running totals; the last is infinite.
    bounds: Vec<(f64, f64)>,
}

impl Buckets {
    /// Sums up histogram `name` of several services' texts.
    pub(crate) fn read(texts: &[String], name: &str) -> Buckets {
        // Positive floats sort like their bits.
        let mut sums: BTreeMap<u64, f64> = BTreeMap::new();
        let prefix = format!("{name}_bucket{{");
        for line in texts.iter().flat_map(|text| text.lines()) {
            let Some((bound, count)) = line.strip_prefix(&prefix).and_then(bucket) else { continue };
            *sums.entry(bound.to_bits()).or_default() += count;
        }
        Buckets { bounds: sums.into_iter().map(|(bound, count)| (f64::from_bits(bound), count)).collect() }
    }

    /// What was added since `earlier`.
    pub(crate) fn since(&self, earlier: &Buckets) -> Buckets {
        let before = |bound: f64| {
            earlier
                .bounds
                .iter()
                .find(|(at, _)| at.to_bits() == bound.to_bits())
                .map_or(0.0, |(_, count)| *count)
        };
        let bounds = self.bounds.iter().map(|(bound, count)| (*bound, (count - before(*bound)).max(0.0)));
        Buckets { bounds: bounds.collect() }
    }

    /// The bucket in which quantile `share` lies: its upper bound in seconds. None when nothing was counted.
    pub(crate) fn quantile_bound(&self, share: f64) -> Option<f64> {
        let total = self.bounds.last().filter(|(_, count)| *count > 0.0)?.1;
        self.bounds.iter().find(|(_, count)| *count >= share * total).map(|(bound, _)| *bound)
    }
}

/// `le="0.5"} 12`, perhaps behind other labels.
fn bucket(rest: &str) -> Option<(f64, f64)> {
    let (labels, count) = rest.rsplit_once("} ")?;
    let bound = labels.rsplit_once("le=\"")?.1.trim_end_matches('"');
    let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
    Some((bound, count.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_up_over_services_and_labels() {
        let texts = [
            "# TYPE c counter\nc{r=\"slow\"} 3\nc{r=\"gone\"} 5\n".to_owned(),
            "c{r=\"slow\"} 4\n".to_owned(),
        ];
        assert_eq!((counted(&texts, "c", "slow"), counted(&texts, "c", "")), (7, 12));
    }

    #[test]
    fn a_quantile_comes_from_what_was_added_everywhere() {
        let text = |low: u32, high: u32, all: u32| {
            format!(
                "# TYPE d histogram\nd_bucket{{x=\"1\",le=\"0.1\"}} {low}\nd_bucket{{x=\"1\",le=\"0.2\"}} {high}\n\
                 d_bucket{{x=\"1\",le=\"+Inf\"}} {all}\nd_sum 3\nd_count {all}\nother_bucket{{le=\"9\"}} 7\n"
            )
        };
        let before = Buckets::read(&[text(5, 5, 5), text(0, 0, 0)], "d");
        let after = Buckets::read(&[text(100, 104, 105), text(0, 0, 0)], "d");
        let added = after.since(&before);
        assert_eq!(added.quantile_bound(0.5), Some(0.1));
        assert_eq!(added.quantile_bound(0.96), Some(0.2));
        assert_eq!(added.quantile_bound(0.999), Some(f64::INFINITY));
        assert_eq!(before.since(&before).quantile_bound(0.5), None);
        assert_eq!(Buckets::default().quantile_bound(0.5), None);
    }
}
