//! `/healthz` and `/livez` of the health server, as cloud load balancers and kubelets ask for them
//! (services.md 102–106).

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde::Serialize;

use super::{
    Monitor,
    health::Report,
    http::{Answer, JSON, Site, TEXT, answer},
};

/// What upstream shows for a family that was never programmed.
const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Debug)]
pub(super) struct Healthz(pub(super) Monitor);

// === impl Healthz ===

impl Site for Healthz {
    async fn answer(&self, path: &str) -> Answer {
        let report = self.0.health.report();
        match path {
            "/healthz" => {
                let eligible = report.node_eligible;
                let answer = render(&report, report.healthy && eligible, Some(eligible));
                self.0.metrics.healthz(answer.status().as_u16());
                answer
            }
            "/livez" => {
                let answer = render(&report, report.healthy, None);
                self.0.metrics.livez(answer.status().as_u16());
                answer
            }
            _ => answer(StatusCode::NOT_FOUND, TEXT, "404 page not found\n"),
        }
    }
}

/// The body; its fields in upstream's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    last_updated: String,
    current_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_eligible: Option<bool>,
    healthy: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    status: BTreeMap<&'static str, FamilyBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FamilyBody {
    last_updated: String,
    healthy: bool,
}

fn render(report: &Report, good: bool, node_eligible: Option<bool>) -> Answer {
    // In a good answer it is now, as old clients take an old time for a fault (105).
    let last_updated = if good {
        Some(report.now)
    } else {
        report.synced_at
    };
    let status = report.families.iter().map(|family| {
        let body = FamilyBody {
            last_updated: family.synced_at.to_string(),
            healthy: family.healthy,
        };
        (family.family.name(), body)
    });
    let body = Body {
        last_updated: last_updated.map_or_else(|| NEVER.to_owned(), |at| at.to_string()),
        current_time: report.now.to_string(),
        node_eligible,
        healthy: report.healthy,
        status: status.collect(),
    };
    let body = serde_json::to_vec(&body).expect("names and values are plain");
    let status = if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    answer(status, JSON, body)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};
    use rstest::rstest;

    use super::*;
    use crate::{
        model::IpFamily,
        serve::testing::{TestClock, ask, eligible, monitor, serve},
    };

    /// Both families programmed after a second; then `late`: a change of IPv4 that waits for two
    /// minutes; `gone`: no Node.
    async fn got(words: &str, path: &str) -> (u16, String) {
        let clock = TestClock::default();
        let monitor = monitor(&clock);
        if !words.contains("gone") {
            monitor.health.node(&eligible());
        }
        if !words.contains("starting") {
            clock.pass(Duration::from_millis(1500));
            for family in IpFamily::ALL {
                monitor.health.synced(family);
            }
        }
        if words.contains("late") {
            monitor.health.queued(IpFamily::V4);
        }
        clock.pass(Duration::from_secs(120));
        let addr = serve(Healthz(monitor)).await;
        let got = ask(addr, "GET", path).await;
        if got.status != 404 {
            assert_eq!(got.header("content-type"), "application/json");
        }
        assert_eq!(got.header("x-content-type-options"), "nosniff");
        // The day and the hour are the same everywhere.
        (got.status, got.body.replace("2026-01-01T00:", ""))
    }

    #[rstest]
    #[case::well("", "/healthz", expect![[r#"200 {"lastUpdated":"02:01.5Z","currentTime":"02:01.5Z","nodeEligible":true,"healthy":true,"status":{"IPv4":{"lastUpdated":"00:01.5Z","healthy":true},"IPv6":{"lastUpdated":"00:01.5Z","healthy":true}}}"#]])]
    #[case::late("late", "/healthz", expect![[r#"503 {"lastUpdated":"00:01.5Z","currentTime":"02:01.5Z","nodeEligible":true,"healthy":false,"status":{"IPv4":{"lastUpdated":"00:01.5Z","healthy":false},"IPv6":{"lastUpdated":"00:01.5Z","healthy":true}}}"#]])]
    #[case::starting("starting", "/healthz", expect![[r#"200 {"lastUpdated":"02:00Z","currentTime":"02:00Z","nodeEligible":true,"healthy":true}"#]])]
    #[case::node_is_unknown_or_leaving("gone", "/healthz", expect![[r#"503 {"lastUpdated":"00:01.5Z","currentTime":"02:01.5Z","nodeEligible":false,"healthy":true,"status":{"IPv4":{"lastUpdated":"00:01.5Z","healthy":true},"IPv6":{"lastUpdated":"00:01.5Z","healthy":true}}}"#]])]
    #[case::starting_without_a_node("starting gone", "/healthz", expect![[r#"503 {"lastUpdated":"0001-01-01T00:00:00Z","currentTime":"02:00Z","nodeEligible":false,"healthy":true}"#]])]
    #[case::live("", "/livez", expect![[r#"200 {"lastUpdated":"02:01.5Z","currentTime":"02:01.5Z","healthy":true,"status":{"IPv4":{"lastUpdated":"00:01.5Z","healthy":true},"IPv6":{"lastUpdated":"00:01.5Z","healthy":true}}}"#]])]
    #[case::live_without_a_node_104("gone", "/livez", expect![[r#"200 {"lastUpdated":"02:01.5Z","currentTime":"02:01.5Z","healthy":true,"status":{"IPv4":{"lastUpdated":"00:01.5Z","healthy":true},"IPv6":{"lastUpdated":"00:01.5Z","healthy":true}}}"#]])]
    #[case::late_is_not_live("late", "/livez", expect![[r#"503 {"lastUpdated":"00:01.5Z","currentTime":"02:01.5Z","healthy":false,"status":{"IPv4":{"lastUpdated":"00:01.5Z","healthy":false},"IPv6":{"lastUpdated":"00:01.5Z","healthy":true}}}"#]])]
    #[case::other_paths("", "/metrics", expect![[r#"
        404 404 page not found
    "#]])]
    #[tokio::test]
    async fn health_is_told_as_upstream_tells_it_102_103_104_105(
        #[case] words: &str,
        #[case] path: &str,
        #[case] expect: Expect,
    ) {
        let (status, body) = got(words, path).await;
        expect.assert_eq(&format!("{status} {body}"));
    }

    #[tokio::test]
    async fn any_method_is_answered_and_head_has_no_body() {
        let monitor = monitor(&TestClock::default());
        monitor.health.node(&eligible());
        let addr = serve(Healthz(monitor)).await;
        for method in ["GET", "POST", "HEAD", "OPTIONS"] {
            let got = ask(addr, method, "/healthz").await;
            assert_eq!((got.status, got.body.is_empty()), (200, method == "HEAD"));
        }
    }
}
