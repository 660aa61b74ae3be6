//! Health check ports over real sockets on loopback.

use std::time::Duration;

use rstest::rstest;
use tokio::net::TcpStream;

use super::*;
use crate::{
    model::testing::key,
    serve::testing::{Got, TestClock, ask, free_port, get},
};

const TIMEOUT: Duration = Duration::from_secs(60);

struct Fixture {
    ports: HealthPorts,
    health: Health,
    notices: Notices,
    clock: TestClock,
}

fn fixture() -> Fixture {
    let clock = TestClock::default();
    let health = Health::new(TIMEOUT, clock.clock());
    let notices = Notices::default();
    let ports = HealthPorts::new(Handle::current(), health.clone(), notices.clone(), "here");
    Fixture {
        ports,
        health,
        notices,
        clock,
    }
}

fn wanted(name: &str, port: u16, local4: Option<usize>, local6: Option<usize>) -> HealthPort {
    HealthPort {
        service: key(name),
        port,
        local4,
        local6,
    }
}

fn loopback(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

impl Fixture {
    async fn reconcile(&mut self, wanted: &[HealthPort]) {
        self.ports
            .reconcile(wanted, &loopback(&["127.0.0.1"]))
            .await;
    }

    async fn get(&self, name: &str) -> Got {
        get(self.ports.bound(&key(name))[0], "/").await
    }
}

#[rstest]
#[case::endpoints_here(2, false, 200)]
#[case::none_here(0, false, 503)]
#[case::proxy_behind(2, true, 503)]
#[tokio::test]
async fn the_status_is_of_endpoints_and_proxy_98_99(
    #[case] local: usize,
    #[case] late: bool,
    #[case] status: u16,
) {
    let mut fixture = fixture();
    fixture.health.synced(IpFamily::V4);
    if late {
        fixture.health.queued(IpFamily::V4);
        fixture.clock.pass(TIMEOUT);
    }
    fixture
        .reconcile(&[wanted("web", 0, Some(local), None)])
        .await;
    let got = fixture.get("web").await;
    assert_eq!(got.status, status);
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    assert_eq!(
        got.header("x-load-balancing-endpoint-weight"),
        local.to_string()
    );
    let body = json!({
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": local,
        "serviceProxyHealthy": !late,
    });
    assert_eq!(got.json(), body);
}

#[tokio::test]
async fn any_path_and_method_is_answered_98() {
    let mut fixture = fixture();
    fixture.reconcile(&[wanted("web", 0, Some(1), None)]).await;
    let addr = fixture.ports.bound(&key("web"))[0];
    for (method, path) in [("GET", "/"), ("POST", "/healthz"), ("PUT", "/a/b?c=d")] {
        assert_eq!(ask(addr, method, path).await.status, 200, "{method} {path}");
    }
}

/// No Node is known, so `/healthz` would refuse.
#[tokio::test]
async fn the_node_has_no_say_106() {
    let mut fixture = fixture();
    fixture.reconcile(&[wanted("web", 0, Some(1), None)]).await;
    assert!(!fixture.health.report().node_eligible);
    assert_eq!(fixture.get("web").await.status, 200);
}

/// Upstream needs its health server for it; nothing here does.
#[tokio::test]
async fn the_health_server_need_not_run_107() {
    let mut fixture = fixture();
    fixture.reconcile(&[wanted("web", 0, Some(1), None)]).await;
    let body = fixture.get("web").await.json();
    assert_eq!(body["serviceProxyHealthy"], true);
}

#[tokio::test]
async fn a_change_of_endpoints_shows_on_the_same_listener_100() {
    let mut fixture = fixture();
    fixture.reconcile(&[wanted("web", 0, Some(1), None)]).await;
    let before = fixture.ports.bound(&key("web"));
    fixture.reconcile(&[wanted("web", 0, Some(0), None)]).await;
    assert_eq!(fixture.ports.bound(&key("web")), before);
    assert_eq!(fixture.get("web").await.status, 503);
}

#[tokio::test]
async fn each_family_counts_its_own_and_the_other_is_not_listened_for_97() {
    let mut fixture = fixture();
    let (dual, single) = (
        wanted("dual", 0, Some(1), Some(2)),
        wanted("single", 0, Some(3), None),
    );
    let addrs = loopback(&["127.0.0.1", "::1"]);
    fixture.ports.reconcile(&[dual, single], &addrs).await;
    let mut weights = Vec::new();
    for addr in fixture.ports.bound(&key("dual")) {
        weights.push(
            get(addr, "/")
                .await
                .header("x-load-balancing-endpoint-weight")
                .to_owned(),
        );
    }
    assert_eq!(weights, ["1", "2"]);
    assert_eq!(fixture.ports.bound(&key("single")).len(), 1);
}

#[tokio::test]
async fn all_addresses_of_both_families_share_a_port_97() {
    let mut fixture = fixture();
    let port = free_port();
    let addrs = loopback(&["0.0.0.0", "::"]);
    let both = wanted("web", port, Some(1), Some(1));
    fixture.ports.reconcile(&[both], &addrs).await;
    assert_eq!(fixture.ports.diagnostics().count(), 0);
    for addr in loopback(&["127.0.0.1", "::1"]) {
        assert_eq!(
            get(SocketAddr::new(addr, port), "/").await.status,
            200,
            "{addr}"
        );
    }
}

#[tokio::test]
async fn a_port_that_changes_closes_the_old_and_opens_the_new_101() {
    let mut fixture = fixture();
    let (old, new) = (free_port(), free_port());
    fixture
        .reconcile(&[wanted("web", old, Some(1), None)])
        .await;
    fixture
        .reconcile(&[wanted("web", new, Some(1), None)])
        .await;
    assert!(TcpStream::connect(("127.0.0.1", old)).await.is_err());
    assert_eq!(fixture.get("web").await.status, 200);
    assert_eq!(
        fixture.ports.bound(&key("web")),
        [SocketAddr::from(([127, 0, 0, 1], new))]
    );
}

#[tokio::test]
async fn a_service_without_the_port_is_not_listened_for_101() {
    let mut fixture = fixture();
    let port = free_port();
    fixture
        .reconcile(&[wanted("web", port, Some(1), None)])
        .await;
    fixture.reconcile(&[]).await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn a_port_goes_from_one_service_to_another_at_once_101() {
    let mut fixture = fixture();
    let port = free_port();
    fixture.reconcile(&[wanted("a", port, Some(1), None)]).await;
    fixture.reconcile(&[wanted("b", port, Some(1), None)]).await;
    assert_eq!(fixture.ports.diagnostics().count(), 0);
    assert_eq!(fixture.get("b").await.json()["service"]["name"], "b");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_once_and_tried_again_101() {
    let mut fixture = fixture();
    let port = free_port();
    let other = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let wanted = [
        wanted("web", port, Some(1), None),
        wanted("well", 0, Some(1), None),
    ];
    for _ in 0..2 {
        fixture.reconcile(&wanted).await;
        assert!(fixture.ports.has_failed());
    }
    let diagnostics: Vec<String> = fixture
        .ports
        .diagnostics()
        .map(|one| format!("{}: {}", one.object, one.reason))
        .collect();
    let expected = format!(
        "Service default/web: cannot listen on 127.0.0.1:{port} for health checks: \
         Address already in use (os error 98)"
    );
    assert_eq!(diagnostics, [expected]);
    assert_eq!(fixture.get("well").await.status, 200);

    let notice = fixture.notices.fetch().await;
    assert_eq!(
        (notice.reason, notice.action),
        ("FailedToStartServiceHealthcheck", "Listen")
    );
    assert_eq!(notice.object, ObjectRef::new(Kind::Service, key("web")));
    let again = tokio::time::timeout(Duration::ZERO, fixture.notices.fetch()).await;
    assert!(again.is_err(), "{again:?}");

    drop(other);
    fixture.reconcile(&wanted).await;
    assert!(!fixture.ports.has_failed());
    assert_eq!(fixture.get("web").await.status, 200);
}
