//! What only the agent's loop can tell, asked for at each scrape: the loop alone owns the state.

use std::time::Duration;

use prometheus::{Registry, proto::MetricFamily};
use proxy_datapath::verdict::Verdict;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::define::{Define, FAMILY};
use crate::{
    model::IpFamily,
    tables::{Counter, Usage},
};

/// How long a scrape waits for the loop; Prometheus gives up after ten seconds.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The loop's answer to a scrape.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub counters: Vec<Counter>,
    pub usage: Vec<Usage>,
    /// Objects' faults that `status` shows.
    pub diagnostics: usize,
    /// Single map writes since the start.
    pub writes_total: u64,
    pub local_gaps: LocalGaps,
}

/// Service ports whose traffic has to stay on the node, where nothing answers, while something does
/// elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalGaps {
    /// By `internalTrafficPolicy`, IPv4 and IPv6.
    pub internal: [usize; 2],
    /// By `externalTrafficPolicy`, IPv4 and IPv6.
    pub external: [usize; 2],
}

/// The way to the loop.
#[derive(Clone, Debug)]
pub struct Samples(mpsc::Sender<oneshot::Sender<Sample>>);

// === impl Samples ===

impl Samples {
    /// The loop receives; a dropped reply is no answer.
    pub fn channel() -> (Self, mpsc::Receiver<oneshot::Sender<Sample>>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), receiver)
    }

    /// `None` if the loop is too busy, or is ending.
    pub(in crate::serve) async fn take(&self) -> Option<Sample> {
        let answered = async {
            let (reply, answer) = oneshot::channel();
            self.0.send(reply).await.ok()?;
            answer.await.ok()
        };
        timeout(SAMPLE_TIMEOUT, answered).await.ok()?
    }
}

pub(super) fn gather(sample: Option<&Sample>) -> Vec<MetricFamily> {
    let registry = Registry::new();
    let define = Define(&registry);
    let answered = define.gauge(
        "switchboard_agent_answers",
        "1 if the agent's loop answered this scrape in time.",
    );
    answered.set(i64::from(sample.is_some()));
    if let Some(sample) = sample {
        counters(&define, &sample.counters);
        usage(&define, &sample.usage);
        local_gaps(&define, sample.local_gaps);
        let diagnostics = define.gauge(
            "switchboard_diagnostics",
            "Faults of objects, as the agent's status lists them.",
        );
        diagnostics.set(i64::try_from(sample.diagnostics).unwrap_or(i64::MAX));
        let writes = define.counter(
            "switchboard_map_writes_total",
            "Entries of maps that were written or removed.",
        );
        writes.inc_by(sample.writes_total);
    }
    registry.gather()
}

fn counters(define: &Define<'_>, counters: &[Counter]) {
    let verdicts = define.counters(
        "switchboard_verdicts_total",
        "Packets, or calls of sockets, by where and how they were decided over.",
        &["direction", "verdict", "reason"],
    );
    for counter in counters {
        let (verdict, reason) = match counter.verdict {
            Verdict::Drop(reason) => ("drop", reason.name()),
            verdict => (verdict.name(), ""),
        };
        let labels = [counter.direction.name(), verdict, reason];
        verdicts.with_label_values(&labels).inc_by(counter.packets);
    }
}

fn usage(define: &Define<'_>, usage: &[Usage]) {
    let entries = define.gauges(
        "switchboard_map_entries",
        "Entries that a map holds.",
        &["map"],
    );
    let capacity = define.gauges(
        "switchboard_map_capacity",
        "Entries that a map can hold.",
        &["map"],
    );
    for one in usage {
        entries.with_label_values(&[one.table]).set(one.used.into());
        capacity
            .with_label_values(&[one.table])
            .set(one.capacity.into());
    }
}

fn local_gaps(define: &Define<'_>, gaps: LocalGaps) {
    let gauges = define.gauges(
        "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
        "Service ports with a local policy and endpoints on other nodes only.",
        &[FAMILY, "traffic_policy"],
    );
    for (policy, counts) in [("internal", gaps.internal), ("external", gaps.external)] {
        for (family, count) in IpFamily::ALL.into_iter().zip(counts) {
            let gauge = gauges.with_label_values(&[family.name(), policy]);
            gauge.set(count as f64);
        }
    }
}
