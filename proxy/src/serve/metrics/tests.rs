//! That the numbers are counted under upstream's names, and that the document has them all.

use std::collections::BTreeSet;

use proxy_datapath::verdict::{Direction, DropReason, Verdict};

use super::*;
use crate::{
    model::{Object, testing},
    serve::testing::TestClock,
    tables::{Counter, Usage},
};

const DOCUMENT: &str = include_str!("../../../../docs/metrics.md");

fn sample() -> Sample {
    Sample {
        counters: vec![
            Counter {
                direction: Direction::FromPod,
                verdict: Verdict::Translate,
                packets: 7,
            },
            Counter {
                direction: Direction::ToPod,
                verdict: Verdict::Drop(DropReason::Unparsable),
                packets: 2,
            },
        ],
        usage: vec![Usage {
            table: "frontends4",
            used: 3,
            capacity: 10,
        }],
        diagnostics: 4,
        writes_total: 11,
        local_gaps: LocalGaps {
            internal: [1, 0],
            external: [0, 2],
        },
    }
}

fn trigger(at: &str, seconds: i64) -> Trigger {
    let at: Timestamp = at.parse().unwrap();
    Trigger {
        family: IpFamily::V4,
        at_ms: at.as_millisecond() + seconds * 1000,
    }
}

/// Everything happened once.
fn busy(clock: &TestClock) -> Metrics {
    let metrics = Metrics::new(clock.clock());
    let service = testing::service(&["10.96.0.1"], Vec::new());
    metrics.arrived(&Event::Apply {
        object: Object::Service(testing::key("web"), service),
        problems: Vec::new(),
    });
    let slice = ObjectRef::new(Kind::EndpointSlice, testing::key("web-1"));
    metrics.arrived(&Event::Delete(slice));
    metrics.arrived(&Event::Synced(Kind::Service));
    metrics.queued(IpFamily::V4);
    clock.pass(Duration::from_secs(10));
    metrics.synced(IpFamily::V4, Extent::Full, Duration::from_millis(3));
    metrics.synced(IpFamily::V4, Extent::Partial, Duration::from_millis(5));
    metrics.failed(IpFamily::V6, Extent::Partial, Duration::from_millis(5));
    metrics.programmed(&[
        trigger("2026-01-01T00:00:00Z", 7),
        trigger("2026-01-01T00:00:00Z", 100),
        // From before the start.
        trigger("2026-01-01T00:00:00Z", -1),
    ]);
    metrics.flows_ended(IpFamily::V6, 3, Duration::from_millis(1));
    metrics.healthz(200);
    metrics.healthz(503);
    metrics.livez(200);
    metrics.checked();
    metrics
}

#[track_caller]
fn check(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|one| one == *line), "no {line} in\n{text}");
    }
}

#[test]
fn what_the_loop_does_is_counted_under_upstreams_names() {
    let metrics = busy(&TestClock::default());
    check(
        &metrics.render(None),
        &[
            "# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.004\"} 1",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family=\"IPv4\",le=\"16.384\"} 2",
            "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv6\"} 1",
            "kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 1",
            "kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 1",
            "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv4\"} 1767225600",
            "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 1767225610",
            "switchboard_sync_failures_total{ip_family=\"IPv6\"} 1",
            "kubeproxy_sync_proxy_rules_service_changes_total 1",
            "kubeproxy_sync_proxy_rules_service_changes_pending 1",
            "kubeproxy_sync_proxy_rules_endpoint_changes_total 1",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 1",
            "# TYPE kubeproxy_proxy_healthz_total counter",
            "kubeproxy_proxy_healthz_total{code=\"200\"} 1",
            "kubeproxy_proxy_healthz_total{code=\"503\"} 1",
            "kubeproxy_proxy_livez_total{code=\"200\"} 1",
            "kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv6\"} 3",
            "kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family=\"IPv6\"} 1",
        ],
    );
    // Nobody could say when IPv6 was programmed: it never was.
    let text = metrics.render(None);
    assert!(!text.contains("last_timestamp_seconds{ip_family=\"IPv6\"}"));
}

#[test]
fn a_pass_takes_up_what_is_pending() {
    let metrics = busy(&TestClock::default());
    metrics.taken();
    check(
        &metrics.render(None),
        &[
            "kubeproxy_sync_proxy_rules_service_changes_total 1",
            "kubeproxy_sync_proxy_rules_service_changes_pending 0",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
        ],
    );
}

#[test]
fn programming_time_is_from_the_trigger_to_now_and_never_below_zero() {
    let metrics = busy(&TestClock::default());
    let name = "kubeproxy_network_programming_duration_seconds";
    let line = |le, count| format!("{name}_bucket{{ip_family=\"IPv4\",le=\"{le}\"}} {count}");
    let lines = [
        line("0.25", 1),
        line("2", 1),
        line("3", 2),
        line("59", 2),
        line("60", 2),
        line("115", 2),
        line("120", 2),
        line("300", 2),
        line("+Inf", 2),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    check(&metrics.render(None), &lines);
    let text = metrics.render(None);
    let buckets = text.matches(&format!("{name}_bucket")).count();
    assert_eq!(buckets, 2 + 59 + 12 + 7 + 1);
}

#[test]
fn what_the_maps_hold_is_told_on_a_scrape() {
    let metrics = Metrics::new(TestClock::default().clock());
    let gaps = "kubeproxy_sync_proxy_rules_no_local_endpoints_total";
    check(
        &metrics.render(Some(&sample())),
        &[
            "switchboard_agent_answers 1",
            "switchboard_verdicts_total{direction=\"from_pod\",reason=\"\",verdict=\"translate\"} 7",
            "switchboard_verdicts_total{direction=\"to_pod\",reason=\"unparsable\",verdict=\"drop\"} 2",
            "switchboard_map_entries{map=\"frontends4\"} 3",
            "switchboard_map_capacity{map=\"frontends4\"} 10",
            "switchboard_diagnostics 4",
            "switchboard_map_writes_total 11",
            &format!("# TYPE {gaps} gauge"),
            &format!("{gaps}{{ip_family=\"IPv4\",traffic_policy=\"internal\"}} 1"),
            &format!("{gaps}{{ip_family=\"IPv6\",traffic_policy=\"external\"}} 2"),
        ],
    );
}

#[test]
fn the_process_is_described() {
    let text = Metrics::new(Clock::default()).render(None);
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.expect(name).trim().parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes ") > 1e6);
    assert!(value("process_open_fds ") >= 3.0);
    assert!(value("process_cpu_seconds_total ") >= 0.0);
    let age = Timestamp::now().as_second() as f64 - value("process_start_time_seconds ");
    assert!((-2.0..3600.0).contains(&age), "{age} s old");
}

/// Every family is gathered once something happened, and every row of the document names one.
#[test]
fn the_document_lists_every_metric_and_no_other() {
    let metrics = busy(&TestClock::default());
    let families = metrics.gather(Some(&sample()));
    let mut text = metrics.render_checks();
    text += &metrics.render(Some(&sample()));
    let names: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.replace(' ', "` | "))
        .collect();
    assert!(names.len() > families.len());
    let rows: BTreeSet<String> = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once(" |"))
        .map(|(name, rest)| {
            let kind = rest.split('|').next().unwrap_or_default().trim();
            format!("{name} | {kind}")
        })
        .collect();
    let undocumented: Vec<_> = names.difference(&rows).collect();
    let unknown: Vec<_> = rows.difference(&names).collect();
    assert!(
        undocumented.is_empty() && unknown.is_empty(),
        "not in docs/metrics.md: {undocumented:?}; only there: {unknown:?}"
    );
}
