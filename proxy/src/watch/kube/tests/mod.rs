//! The source against an API server in this process.

mod server;

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::{Value, json};
use server::{CIDRS, NODES, PODS, SERVICES, SLICES, Server};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::watch::text;

const PATIENCE: Duration = Duration::from_secs(30);

/// The source on some servers, and what it sends.
struct Source {
    events: mpsc::Receiver<Event>,
    task: JoinHandle<anyhow::Result<()>>,
    in_use: watch::Receiver<String>,
}

impl Source {
    fn start(servers: &[&str], run_dir: &TempDir) -> Self {
        let options = Options {
            kubeconfig: None,
            api_servers: servers.iter().map(|&url| url.to_owned()).collect(),
            run_dir: run_dir.path().to_owned(),
            in_use: watch::Sender::default(),
        };
        let (sender, events) = mpsc::channel(16);
        Self {
            events,
            in_use: options.in_use.subscribe(),
            task: tokio::spawn(run(options, "a", sender)),
        }
    }

    async fn next(&mut self) -> String {
        let event = timeout(PATIENCE, self.events.recv()).await;
        text::render(
            &event
                .expect("an event in time")
                .expect("a source that runs"),
        )
    }

    /// What is sent until every kind is complete, in the order of the lines.
    async fn first_lists(&mut self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        while lines
            .iter()
            .filter(|line: &&String| line.starts_with("synced"))
            .count()
            < 5
        {
            lines.insert(self.next().await);
        }
        lines
    }
}

fn service(name: &str, last: u8) -> Value {
    json!({"metadata": {"namespace": "n", "name": name, "resourceVersion": "8"},
        "spec": {"clusterIP": format!("10.96.0.{last}"), "ports": [{"port": 80}]}})
}

fn rendered(name: &str, last: u8) -> String {
    format!("apply Service n/{name} ClusterIp ips=[10.96.0.{last}] ports=[:80/tcp]")
}

fn last_good(run_dir: &TempDir) -> Option<String> {
    let text = std::fs::read(run_dir.path().join("apiservers.json")).ok()?;
    let memory: Value = serde_json::from_slice(&text).unwrap();
    memory["lastGood"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn lists_and_then_changes_are_sent() {
    let (server, run_dir) = (Server::start().await, TempDir::new().unwrap());
    let mut foreign = service("foreign", 9);
    foreign["metadata"]["labels"] = json!({"service.kubernetes.io/service-proxy-name": ""});
    server.set_list(SERVICES, &[service("web", 1), foreign]);
    server.set_list(
        SLICES,
        &[
            json!({"metadata": {"namespace": "n", "name": "web-1", "labels":
            {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
            "ports": [{"name": "", "port": 80}], "endpoints": [{"addresses": ["10.1.0.9"]}]}),
        ],
    );
    server.set_list(
        PODS,
        &[
            json!({"metadata": {"namespace": "n", "name": "p"}, "spec": {"nodeName": "a",
            "containers": []}, "status": {"podIPs": [{"ip": "10.1.0.9"}]}}),
        ],
    );
    server.set_list(NODES, &[json!({"metadata": {"name": "a"}})]);
    server.set_list(
        CIDRS,
        &[json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16"]}})],
    );
    let mut source = Source::start(&[&server.url()], &run_dir);
    let lines: Vec<String> = source.first_lists().await.into_iter().collect();
    expect_test::expect![[r#"
        apply EndpointSlice n/web-1 of=web ports=[:80/tcp]
          10.1.0.9
        apply Node a addrs=[]
        apply Pod n/p addrs=[10.1.0.9]
        apply Service n/web ClusterIp ips=[10.96.0.1] ports=[:80/tcp]
        apply ServiceCIDR kubernetes cidrs=[10.96.0.0/16]
        synced EndpointSlice
        synced Node
        synced Pod
        synced Service
        synced ServiceCIDR"#]]
    .assert_eq(&lines.join("\n"));

    server.feed(SERVICES, "ADDED", service("new", 2)).await;
    assert_eq!(source.next().await, rendered("new", 2));
    server.feed(SERVICES, "MODIFIED", service("web", 3)).await;
    assert_eq!(source.next().await, rendered("web", 3));
    server.feed(SERVICES, "DELETED", service("new", 2)).await;
    assert_eq!(source.next().await, "delete Service n/new");
}

#[tokio::test]
async fn server_selects_what_is_asked_for() {
    let (server, run_dir) = (Server::start().await, TempDir::new().unwrap());
    Source::start(&[&server.url()], &run_dir)
        .first_lists()
        .await;
    for (path, labels, fields) in [
        (
            SERVICES,
            "!service.kubernetes.io/service-proxy-name",
            "spec.clusterIP!=None",
        ),
        (SLICES, "!service.kubernetes.io/headless", ""),
        (PODS, "", "spec.nodeName=a"),
        (NODES, "", "metadata.name=a"),
        (CIDRS, "", ""),
    ] {
        let asked = server.asked(path).swap_remove(0);
        let own = |name| asked.get(name).map_or("", String::as_str);
        assert_eq!(
            (own("labelSelector"), own("fieldSelector")),
            (labels, fields),
            "{path}"
        );
        assert_eq!(
            (own("sendInitialEvents"), own("timeoutSeconds")),
            ("true", "90"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn server_that_does_not_stream_is_listed_in_pages() {
    let (server, run_dir) = (Server::start().await, TempDir::new().unwrap());
    server.stop_streaming();
    server.set_list(SERVICES, &[service("web", 1)]);
    let mut source = Source::start(&[&server.url()], &run_dir);
    let lines = source.first_lists().await;
    assert!(lines.contains(&rendered("web", 1)), "{lines:?}");
    assert!(
        server
            .asked(SERVICES)
            .iter()
            .any(|asked| asked.get("limit").is_some_and(|limit| limit == "500"))
    );
    server.feed(SERVICES, "ADDED", service("new", 2)).await;
    assert_eq!(source.next().await, rendered("new", 2));
}

#[tokio::test]
async fn watch_that_ends_is_resumed_without_a_list() {
    let (server, run_dir) = (Server::start().await, TempDir::new().unwrap());
    let mut source = Source::start(&[&server.url()], &run_dir);
    source.first_lists().await;
    server.feed(SERVICES, "ADDED", service("web", 1)).await;
    assert_eq!(source.next().await, rendered("web", 1));
    server.end_watch(SERVICES);
    server.feed(SERVICES, "ADDED", service("next", 2)).await;
    // A list, which is empty, would have deleted `web`.
    assert_eq!(source.next().await, rendered("next", 2));
}

#[tokio::test]
async fn gone_in_a_watch_lists_again() {
    let (server, run_dir) = (Server::start().await, TempDir::new().unwrap());
    server.set_list(SERVICES, &[service("old", 1), service("kept", 2)]);
    let mut source = Source::start(&[&server.url()], &run_dir);
    source.first_lists().await;
    server.set_list(SERVICES, &[service("kept", 2), service("new", 3)]);
    let status = json!({"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version"});
    server.feed(SERVICES, "ERROR", status).await;
    assert_eq!(source.next().await, rendered("kept", 2));
    assert_eq!(source.next().await, rendered("new", 3));
    assert_eq!(source.next().await, "delete Service n/old");
}

#[tokio::test]
async fn gone_at_the_start_of_a_watch_lists_again() {
    let (server, run_dir) = (Server::start().await, TempDir::new().unwrap());
    server.set_list(SERVICES, &[service("old", 1)]);
    let mut source = Source::start(&[&server.url()], &run_dir);
    source.first_lists().await;
    server.feed(SERVICES, "MODIFIED", service("old", 1)).await;
    assert_eq!(source.next().await, rendered("old", 1));
    server.set_list(SERVICES, &[service("new", 2)]);
    server.set_watch_fault(SERVICES, StatusCode::GONE);
    server.end_watch(SERVICES);
    assert_eq!(source.next().await, rendered("new", 2));
    assert_eq!(source.next().await, "delete Service n/old");
}

#[tokio::test]
async fn kind_that_the_server_lacks_is_complete() {
    let (server, run_dir) = (Server::start().await, TempDir::new().unwrap());
    server.remove_kind(CIDRS);
    let lines = Source::start(&[&server.url()], &run_dir)
        .first_lists()
        .await;
    assert!(lines.contains("synced ServiceCIDR"), "{lines:?}");
}

#[tokio::test]
async fn kind_that_fails_is_never_complete_until_it_works() {
    let (server, run_dir) = (Server::start().await, TempDir::new().unwrap());
    server.set_fault(SLICES, StatusCode::FORBIDDEN);
    let mut source = Source::start(&[&server.url()], &run_dir);
    let mut synced = BTreeSet::new();
    while synced.len() < 4 {
        synced.insert(source.next().await);
    }
    assert!(!synced.contains("synced EndpointSlice"), "{synced:?}");
    server.set_list(SLICES, &[]);
    server.clear_fault(SLICES);
    assert_eq!(source.next().await, "synced EndpointSlice");
}

#[tokio::test]
async fn servers_are_tried_in_turn_and_the_good_one_is_remembered() {
    let closed = Server::start().await;
    let closed_url = closed.url();
    drop(closed);
    let (good, run_dir) = (Server::start().await, TempDir::new().unwrap());
    good.set_list(SERVICES, &[service("web", 1)]);
    let urls = [closed_url.as_str(), &good.url()];
    let mut source = Source::start(&urls, &run_dir);
    let lines = source.first_lists().await;
    assert!(lines.contains(&rendered("web", 1)), "{lines:?}");
    assert_eq!(last_good(&run_dir), Some(good.url()));
    assert_eq!(*source.in_use.borrow(), good.url());
    // It is the first to be tried, so the other's address does not matter.
    let options = Options {
        api_servers: vec![closed_url, good.url()],
        run_dir: run_dir.path().to_owned(),
        ..Options::default()
    };
    assert_eq!(Servers::new(&options).await.unwrap().url(0), good.url());
}

#[tokio::test]
async fn server_that_is_ready_is_preferred_to_one_that_only_answers() {
    let (unready, ready) = (Server::start().await, Server::start().await);
    let run_dir = TempDir::new().unwrap();
    unready.set_fault("/readyz", StatusCode::INTERNAL_SERVER_ERROR);
    ready.set_list(SERVICES, &[service("web", 1)]);
    let lines = Source::start(&[&unready.url(), &ready.url()], &run_dir)
        .first_lists()
        .await;
    assert!(lines.contains(&rendered("web", 1)), "{lines:?}");
    // Alone it has to do.
    Source::start(&[&unready.url()], &run_dir)
        .first_lists()
        .await;
}

#[tokio::test]
async fn source_moves_on_when_its_server_fails() {
    let (first, second) = (Server::start().await, Server::start().await);
    let run_dir = TempDir::new().unwrap();
    first.set_list(SERVICES, &[service("both", 1), service("first-only", 2)]);
    second.set_list(SERVICES, &[service("both", 1), service("second-only", 3)]);
    let mut source = Source::start(&[&first.url(), &second.url()], &run_dir);
    source.first_lists().await;
    assert_eq!(last_good(&run_dir), Some(first.url()));
    drop(first);
    assert_eq!(source.next().await, rendered("both", 1));
    assert_eq!(source.next().await, rendered("second-only", 3));
    // Only the second server's complete list says so.
    assert_eq!(source.next().await, "delete Service n/first-only");
    assert_eq!(last_good(&run_dir), Some(second.url()));
    second.feed(SERVICES, "MODIFIED", service("both", 4)).await;
    assert_eq!(source.next().await, rendered("both", 4));
}

#[tokio::test]
async fn outage_of_the_only_server_changes_nothing() {
    let (server, run_dir) = (Server::start().await, TempDir::new().unwrap());
    server.set_list(SERVICES, &[service("web", 1)]);
    let mut source = Source::start(&[&server.url()], &run_dir);
    source.first_lists().await;
    let server = Server::start_at(server.stop().await).await;
    server.set_list(SERVICES, &[service("web", 1)]);
    server.feed(SERVICES, "ADDED", service("next", 2)).await;
    assert_eq!(source.next().await, rendered("next", 2));
}

#[tokio::test]
async fn source_waits_for_the_first_server() {
    let server = Server::start().await;
    let (url, run_dir) = (server.url(), TempDir::new().unwrap());
    let addr = server.stop().await;
    let mut source = Source::start(&[&url], &run_dir);
    let _server = Server::start_at(addr).await;
    source.first_lists().await;
}

#[tokio::test]
async fn source_ends_when_nobody_listens() {
    let (server, run_dir) = (Server::start().await, TempDir::new().unwrap());
    let mut source = Source::start(&[&server.url()], &run_dir);
    source.first_lists().await;
    let Source { events, task, .. } = source;
    drop(events);
    timeout(PATIENCE, task)
        .await
        .expect("the source ends")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn options_that_cannot_be_used_are_an_error() {
    let run_dir = TempDir::new().unwrap();
    for (url, expect) in [
        ("10.0.0.1:6443", "is not an http or https URL"),
        ("ftp://10.0.0.1", "is not an http or https URL"),
        ("https://", "is not a URL"),
        (
            "https://10.0.0.1:6443",
            "no credentials for https://10.0.0.1:6443/",
        ),
    ] {
        let options = Options {
            api_servers: vec![url.to_owned()],
            run_dir: run_dir.path().to_owned(),
            ..Options::default()
        };
        let (sender, _events) = mpsc::channel(1);
        let error = run(options, "a", sender).await.unwrap_err().to_string();
        assert!(error.contains(expect), "{url}: {error}");
    }
}
