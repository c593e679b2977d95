//! One recorder per process, whoever asks first: services that share a process, as in tests, share the numbers.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::names;

/// The `metrics` facade knows one recorder per process, so the handle to it is the one static of this crate.
static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// What the macros of the `metrics` crate recorded in this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Installs the recorder, or finds the one installed before.
    pub fn install() -> Metrics {
        let install = || {
            let handle = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &names::LATENCY_BUCKETS)
                .expect("the list of buckets is not empty")
                .install_recorder()
                .expect("no other recorder is installed anywhere in Hubbub");
            names::describe();
            handle
        };
        Metrics(HANDLE.get_or_init(install).clone())
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds what histograms have gathered into their buckets. Without it their memory grows until the next scrape.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installing_twice_shares_the_numbers() {
        let (first, second) = (Metrics::install(), Metrics::install());
        metrics::counter!(names::LIKES, "target" => "session").increment(2);
        metrics::histogram!(names::PERSIST_DELAY).record(0.003);
        first.upkeep();
        let text = second.render();
        assert!(text.contains(r#"hubbub_likes_total{target="session"} 2"#), "{text}");
        assert!(text.contains(r#"hubbub_persist_delay_seconds_bucket{le="0.002"} 0"#), "{text}");
        assert!(text.contains(r#"hubbub_persist_delay_seconds_bucket{le="0.005"} 1"#), "{text}");
        assert!(text.contains("# HELP hubbub_likes_total Likes given"), "{text}");
    }
}
