//! The numbers of `/metrics`: upstream's names where they mean something here, so that dashboards
//! go on, and our own under `switchboard_` (docs/metrics.md lists all; services.md, section 2).
//!
//! What the loop does is counted when it does it; what the maps and the loop know is asked for when
//! somebody scrapes (`sample`).

mod define;
mod process;
mod sample;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use prometheus::{
    Encoder, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder,
    proto::MetricFamily,
};

pub use self::sample::{LocalGaps, Sample, Samples};
use self::{
    define::{Define, FAMILY, exponential, programming},
    process::Process,
};
use super::Clock;
use crate::model::{Event, IpFamily, Kind, ObjectRef, Trigger};

/// The agent's loop writes it, the servers read it.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Shared>);

/// How much a pass looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything: the first pass, and after the zone changed.
    Full,
    /// The Services that changed.
    Partial,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    started: Timestamp,
    registry: Registry,
    /// Of `/metrics/slis`.
    checks: Registry,
    process: Process,
    passes: Passes,
    changes: Changes,
    programming: HistogramVec,
    healthz: IntCounterVec,
    livez: IntCounterVec,
    flows: Flows,
    check: IntCounterVec,
}

#[derive(Debug)]
struct Passes {
    duration: HistogramVec,
    full: HistogramVec,
    partial: HistogramVec,
    last: prometheus::GaugeVec,
    last_queued: prometheus::GaugeVec,
    failures: IntCounterVec,
}

#[derive(Debug)]
struct Changes {
    slices_pending: IntGauge,
    slices: IntCounter,
    services_pending: IntGauge,
    services: IntCounter,
}

/// Sockets whose backend is gone.
#[derive(Debug)]
struct Flows {
    duration: HistogramVec,
    deleted: IntCounterVec,
}

// === impl Metrics ===

impl Metrics {
    pub fn new(clock: Clock) -> Self {
        let registry = Registry::new();
        let define = Define(&registry);
        let checks = Registry::new();
        let check = Define(&checks).counters(
            "kubernetes_healthchecks_total",
            "Answers of /healthz of the metrics server.",
            &["name", "status", "type"],
        );
        define.build_info();
        Self(Arc::new(Shared {
            started: clock.now().wall,
            passes: Passes::new(&define),
            changes: Changes::new(&define),
            programming: define.histograms(
                "kubeproxy_network_programming_duration_seconds",
                "Time from a change of a Pod or Service until it is programmed.",
                programming(),
            ),
            healthz: define.counters(
                "kubeproxy_proxy_healthz_total",
                "Answers of /healthz by status.",
                &["code"],
            ),
            livez: define.counters(
                "kubeproxy_proxy_livez_total",
                "Answers of /livez by status.",
                &["code"],
            ),
            flows: Flows::new(&define),
            process: Process::new(),
            clock,
            registry,
            checks,
            check,
        }))
    }

    /// A change arrived that may have to be programmed.
    pub fn arrived(&self, event: &Event) {
        let changes = &self.0.changes;
        let kind = match event {
            Event::Apply { object, .. } => object.reference(),
            Event::Delete(object) | Event::Invalid { object, .. } => object.clone(),
            _ => return,
        };
        let ObjectRef::Object { kind, .. } = kind else {
            return;
        };
        let (total, pending) = match kind {
            Kind::Service => (&changes.services, &changes.services_pending),
            Kind::EndpointSlice => (&changes.slices, &changes.slices_pending),
            _ => return,
        };
        total.inc();
        pending.inc();
    }

    /// A pass takes up everything that has arrived.
    pub fn taken(&self) {
        self.0.changes.services_pending.set(0);
        self.0.changes.slices_pending.set(0);
    }

    /// Something of this family waits to be programmed.
    pub fn queued(&self, family: IpFamily) {
        let now = self.0.clock.now().wall;
        let queued = self
            .0
            .passes
            .last_queued
            .with_label_values(&[family.name()]);
        queued.set(seconds(now));
    }

    /// A pass programmed everything of this family.
    pub fn synced(&self, family: IpFamily, extent: Extent, took: Duration) {
        let (passes, labels) = (&self.0.passes, [family.name()]);
        let now = self.0.clock.now().wall;
        passes.last.with_label_values(&labels).set(seconds(now));
        self.passed(family, extent, took);
    }

    /// A pass could not write everything of this family.
    pub fn failed(&self, family: IpFamily, extent: Extent, took: Duration) {
        let failures = &self.0.passes.failures;
        failures.with_label_values(&[family.name()]).inc();
        self.passed(family, extent, took);
    }

    fn passed(&self, family: IpFamily, extent: Extent, took: Duration) {
        let (passes, labels) = (&self.0.passes, [family.name()]);
        let extent = match extent {
            Extent::Full => &passes.full,
            Extent::Partial => &passes.partial,
        };
        for histogram in [&passes.duration, extent] {
            let histogram = histogram.with_label_values(&labels);
            histogram.observe(took.as_secs_f64());
        }
    }

    /// What these were the triggers of is programmed. Those from before the start say nothing of
    /// us.
    pub fn programmed(&self, triggers: &[Trigger]) {
        let now = self.0.clock.now().wall.as_millisecond();
        let started = self.0.started.as_millisecond();
        for trigger in triggers.iter().filter(|trigger| trigger.at_ms > started) {
            // Below zero if the controller's clock is ahead.
            let waited_ms = (now - trigger.at_ms).max(0);
            let histogram = &self.0.programming;
            histogram
                .with_label_values(&[trigger.family.name()])
                .observe(waited_ms as f64 / 1000.0);
        }
    }

    /// Sockets that lead to backends that are gone were looked for and ended.
    pub fn flows_ended(&self, family: IpFamily, ended: u64, took: Duration) {
        let (flows, labels) = (&self.0.flows, [family.name()]);
        let duration = flows.duration.with_label_values(&labels);
        duration.observe(took.as_secs_f64());
        flows.deleted.with_label_values(&labels).inc_by(ended);
    }

    pub(super) fn healthz(&self, status: u16) {
        let code = status.to_string();
        self.0.healthz.with_label_values(&[&*code]).inc();
    }

    pub(super) fn livez(&self, status: u16) {
        let code = status.to_string();
        self.0.livez.with_label_values(&[&*code]).inc();
    }

    /// The metrics server answered on its own `/healthz`.
    pub(super) fn checked(&self) {
        let labels = ["ping", "success", "healthz"];
        self.0.check.with_label_values(&labels).inc();
    }

    /// The text of `/metrics`. Without a sample, what only the agent's loop knows is missing.
    pub(super) fn render(&self, sample: Option<&Sample>) -> String {
        text(&self.gather(sample))
    }

    fn gather(&self, sample: Option<&Sample>) -> Vec<MetricFamily> {
        let mut families = self.0.registry.gather();
        families.extend(self.0.process.gather());
        families.extend(sample::gather(sample));
        families.sort_by(|a, b| a.name().cmp(b.name()));
        families
    }

    /// The text of `/metrics/slis`.
    pub(super) fn render_checks(&self) -> String {
        let mut families = self.0.checks.gather();
        if !families.is_empty() {
            let registry = Registry::new();
            let check = Define(&registry).gauges(
                "kubernetes_healthcheck",
                "Whether the check succeeds.",
                &["name", "type"],
            );
            check.with_label_values(&["ping", "healthz"]).set(1.0);
            families.splice(0..0, registry.gather());
        }
        text(&families)
    }
}

/// The text format 0.0.4.
fn text(families: &[MetricFamily]) -> String {
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(families, &mut text)
        .expect("a family that was gathered has metrics and can be written to memory");
    String::from_utf8(text).expect("names, labels and numbers are text")
}

fn seconds(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}

// === impl Passes ===

impl Passes {
    fn new(define: &Define<'_>) -> Self {
        let histograms = |name, help| define.histograms(name, help, exponential());
        Self {
            duration: histograms(
                "kubeproxy_sync_proxy_rules_duration_seconds",
                "Time of a pass that programs what changed.",
            ),
            full: histograms(
                "kubeproxy_sync_full_proxy_rules_duration_seconds",
                "Time of a pass over everything.",
            ),
            partial: histograms(
                "kubeproxy_sync_partial_proxy_rules_duration_seconds",
                "Time of a pass over the Services that changed.",
            ),
            last: define.gauges(
                "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                "When everything was programmed last.",
                &[FAMILY],
            ),
            last_queued: define.gauges(
                "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                "When something had to be programmed last.",
                &[FAMILY],
            ),
            failures: define.counters(
                "switchboard_sync_failures_total",
                "Passes that could not write everything.",
                &[FAMILY],
            ),
        }
    }
}

// === impl Changes ===

impl Changes {
    fn new(define: &Define<'_>) -> Self {
        Self {
            slices_pending: define.gauge(
                "kubeproxy_sync_proxy_rules_endpoint_changes_pending",
                "Changes of EndpointSlices that no pass has taken up yet.",
            ),
            slices: define.counter(
                "kubeproxy_sync_proxy_rules_endpoint_changes_total",
                "Changes of EndpointSlices that arrived.",
            ),
            services_pending: define.gauge(
                "kubeproxy_sync_proxy_rules_service_changes_pending",
                "Changes of Services that no pass has taken up yet.",
            ),
            services: define.counter(
                "kubeproxy_sync_proxy_rules_service_changes_total",
                "Changes of Services that arrived.",
            ),
        }
    }
}

// === impl Flows ===

impl Flows {
    fn new(define: &Define<'_>) -> Self {
        Self {
            duration: define.histograms(
                "kubeproxy_conntrack_reconciler_sync_duration_seconds",
                "Time to end the UDP sockets of backends that are gone.",
                exponential(),
            ),
            deleted: define.counters(
                "kubeproxy_conntrack_reconciler_deleted_entries_total",
                "UDP sockets that were ended because their backend is gone.",
                &[FAMILY],
            ),
        }
    }
}

#[cfg(test)]
mod tests;
