//! Metrics by name: made and registered in one step, with upstream's buckets.

use prometheus::{
    Counter, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    Opts, Registry, core::Collector, exponential_buckets, linear_buckets,
};

pub(super) const FAMILY: &str = "ip_family";

const VALID: &str = "names, labels and buckets are constants, and each name is given once";

/// Where they are registered.
pub(super) struct Define<'a>(pub(super) &'a Registry);

/// 1 ms to 16 s, each twice the one before.
pub(super) fn exponential() -> Vec<f64> {
    exponential_buckets(0.001, 2.0, 15).expect(VALID)
}

/// 0.25 s to 5 min, ever wider.
pub(super) fn programming() -> Vec<f64> {
    [
        (0.25, 0.25, 2),
        (1.0, 1.0, 59),
        (60.0, 5.0, 12),
        (120.0, 30.0, 7),
    ]
    .into_iter()
    .flat_map(|(start, width, count)| linear_buckets(start, width, count).expect(VALID))
    .collect()
}

// === impl Define ===

impl Define<'_> {
    pub(super) fn histograms(&self, name: &str, help: &str, buckets: Vec<f64>) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets);
        self.register(HistogramVec::new(options, &[FAMILY]).expect(VALID))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register(GaugeVec::new(Opts::new(name, help), labels).expect(VALID))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels).expect(VALID))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help).expect(VALID))
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help).expect(VALID))
    }

    /// One that may be a fraction.
    pub(super) fn value(&self, name: &str, help: &str, value: f64) {
        self.register(Gauge::new(name, help).expect(VALID))
            .set(value);
    }

    /// A counter of seconds.
    pub(super) fn seconds(&self, name: &str, help: &str) -> Counter {
        self.register(Counter::new(name, help).expect(VALID))
    }

    /// The labels that every Kubernetes component has; those that only a Go build has are empty.
    pub(super) fn build_info(&self) {
        let version = concat!("v", env!("CARGO_PKG_VERSION"));
        let platform = format!("linux/{}", architecture());
        let labels = [
            ("build_date", ""),
            ("compiler", "rustc"),
            ("git_commit", ""),
            ("git_tree_state", ""),
            ("git_version", version),
            ("go_version", ""),
            ("major", env!("CARGO_PKG_VERSION_MAJOR")),
            ("minor", env!("CARGO_PKG_VERSION_MINOR")),
            ("platform", &platform),
        ];
        let info = self.gauges(
            "kubernetes_build_info",
            "Always 1; the labels say what runs.",
            &labels.map(|(name, _)| name),
        );
        info.with_label_values(&labels.map(|(_, value)| value))
            .set(1.0);
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.0.register(Box::new(collector.clone())).expect(VALID);
        collector
    }
}

/// As Go names it.
const fn architecture() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}
