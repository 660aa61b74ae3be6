//! The metrics server: what operators and their tools ask on the loopback address (services.md,
//! section 2). There are no profiles: `/debug/pprof` speaks of a Go runtime, and is not found.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{
    Monitor,
    http::{Answer, JSON, Site, TEXT, answer},
    metrics::Samples,
};

const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Debug)]
pub(super) struct Operator {
    pub(super) monitor: Monitor,
    pub(super) samples: Samples,
    /// What `/proxyMode` says.
    pub(super) mode: String,
    /// The effective `KubeProxyConfiguration`.
    pub(super) configz: Value,
}

// === impl Operator ===

impl Site for Operator {
    async fn answer(&self, path: &str) -> Answer {
        let metrics = &self.monitor.metrics;
        let (kind, body) = match path {
            "/metrics" => {
                let sample = self.samples.take().await;
                (METRICS, metrics.render(sample.as_ref()))
            }
            "/metrics/slis" => (METRICS, metrics.render_checks()),
            "/healthz" | "/healthz/ping" => {
                metrics.checked();
                (TEXT, "ok".to_owned())
            }
            "/proxyMode" => (TEXT, self.mode.clone()),
            "/configz" => {
                let config = json!({"kubeproxy.config.k8s.io": self.configz});
                (JSON, config.to_string())
            }
            _ => {
                let body = "404 page not found\n";
                return answer(StatusCode::NOT_FOUND, TEXT, body);
            }
        };
        answer(StatusCode::OK, kind, body)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::serve::{
        Sample,
        testing::{TestClock, get, monitor, serve},
    };

    fn operator() -> (
        Operator,
        tokio::sync::mpsc::Receiver<tokio::sync::oneshot::Sender<Sample>>,
    ) {
        let (samples, asked) = Samples::channel();
        let operator = Operator {
            monitor: monitor(&TestClock::default()),
            samples,
            mode: "nftables".to_owned(),
            configz: json!({"mode": "nftables"}),
        };
        (operator, asked)
    }

    #[rstest]
    #[case::healthz("/healthz", 200, TEXT, "ok")]
    #[case::mode("/proxyMode", 200, TEXT, "nftables")]
    #[case::config(
        "/configz",
        200,
        JSON,
        r#"{"kubeproxy.config.k8s.io":{"mode":"nftables"}}"#
    )]
    #[case::no_slis_yet("/metrics/slis", 200, METRICS, "")]
    #[case::no_profiles("/debug/pprof/", 404, TEXT, "404 page not found\n")]
    #[case::nothing_else("/", 404, TEXT, "404 page not found\n")]
    #[tokio::test]
    async fn operators_are_answered(
        #[case] path: &str,
        #[case] status: u16,
        #[case] kind: &str,
        #[case] body: &str,
    ) {
        let (operator, _asked) = operator();
        let got = get(serve(operator).await, path).await;
        assert_eq!((got.status, &*got.body), (status, body));
        assert_eq!(got.header("content-type"), kind);
    }

    #[tokio::test]
    async fn a_scrape_asks_the_loop() {
        let (operator, mut asked) = operator();
        let addr = serve(operator).await;
        let scrape = tokio::spawn(async move { get(addr, "/metrics").await });
        let reply = asked.recv().await.unwrap();
        let sample = Sample {
            writes_total: 7,
            ..Sample::default()
        };
        reply.send(sample).unwrap();
        let got = scrape.await.unwrap();
        assert_eq!(got.header("content-type"), METRICS);
        assert!(
            got.body.contains("\nswitchboard_map_writes_total 7\n"),
            "{}",
            got.body
        );
        assert!(
            got.body.contains("\nswitchboard_agent_answers 1\n"),
            "{}",
            got.body
        );
    }

    #[tokio::test]
    async fn a_scrape_is_answered_when_the_loop_is_not_there() {
        let (operator, asked) = operator();
        drop(asked);
        let got = get(serve(operator).await, "/metrics").await;
        assert_eq!(got.status, 200);
        assert!(
            got.body.contains("\nswitchboard_agent_answers 0\n"),
            "{}",
            got.body
        );
    }

    #[tokio::test]
    async fn answers_of_healthz_are_indicators() {
        let (operator, _asked) = operator();
        let addr = serve(operator).await;
        get(addr, "/healthz").await;
        let got = get(addr, "/metrics/slis").await;
        for line in [
            "kubernetes_healthcheck{name=\"ping\",type=\"healthz\"} 1",
            "kubernetes_healthchecks_total{name=\"ping\",status=\"success\",type=\"healthz\"} 1",
        ] {
            assert!(got.body.lines().any(|one| one == line), "{}", got.body);
        }
    }
}
