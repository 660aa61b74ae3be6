//! The contract of `trace`: each case asks about `cluster.yaml` and states the whole answer.

use std::{fs, path::Path};

use expect_test::expect;
use rstest::rstest;
use tempfile::TempDir;

use super::*;
use crate::{
    cli::testing::{FakeAgent, Ran, run},
    observe::{Names, Query, testing},
};

const CLUSTER: &str = include_str!("cluster.yaml");

const ECHO: &str = "default/echo:http (ClusterIP)";
const ECHO_BACKENDS: &str = "10.1.1.9:8080 10.1.2.9:8080";

fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[track_caller]
fn trace(dir: &Path, words: &[&str]) -> Ran {
    let dir = dir.to_str().unwrap();
    let base = [
        "trace",
        "--manifests",
        dir,
        "--node",
        "node-1",
        "-o",
        "json",
    ];
    run(&base.iter().chain(words).copied().collect::<Vec<_>>())
}

/// `question` is FROM TO [AT], `answer` the outcome, frontend, backends, source and reason.
#[track_caller]
fn check(question: &str, answer: [&str; 5]) {
    let dir = directory(&[("cluster.yaml", CLUSTER)]);
    let mut words = vec!["--from"];
    for (word, flag) in question.split(' ').zip(["--to", "--at", ""]) {
        words.extend([word, flag]);
    }
    words.pop();
    let ran = trace(dir.path(), &words);
    assert_eq!(ran.ending.unwrap(), Ending::Done);
    assert_eq!(ran.err, "");
    let found: Answer = serde_json::from_str(&ran.out).unwrap();
    let frontend = found
        .frontend
        .map_or("-".to_owned(), |frontend| frontend.to_string());
    let backends = if found.backends.is_empty() {
        "-".into()
    } else {
        found.backends.join(" ")
    };
    let found = [
        found.outcome.name(),
        &frontend,
        &backends,
        found.source.map_or("-", |source| source.name()),
        found.reason.as_deref().unwrap_or("-"),
    ];
    assert_eq!(found, answer);
}

#[rstest]
#[case::of_a_pod("10.1.1.5 10.96.0.10:80/tcp")]
#[case::with_a_source_port("10.1.1.5:4000 10.96.0.10:80/tcp")]
#[case::of_the_host("10.0.0.1 10.96.0.10:80/tcp")]
#[case::of_the_host_as_told("10.1.1.5 10.96.0.10:80/tcp host")]
#[case::of_a_pod_as_told("192.0.2.7 10.96.0.10:80/tcp pod")]
fn a_client_of_this_node_keeps_its_source(#[case] question: &str) {
    check(question, ["translate", ECHO, ECHO_BACKENDS, "kept", "-"]);
}

#[rstest]
#[case::udp(
    "10.1.1.5 10.96.0.10:53/udp",
    "default/echo:dns (ClusterIP)",
    "10.1.1.9:5353 10.1.2.9:5353"
)]
#[case::sctp(
    "10.1.1.5 10.96.0.10:2905/sctp",
    "default/echo:sigtran (ClusterIP)",
    "10.1.1.9:12905 10.1.2.9:12905"
)]
#[case::ipv6(
    "fd00:10:1::5 [fd00:96::a]:80/tcp",
    ECHO,
    "[fd00:10:1::9]:8080 [fd00:10:2::9]:8080"
)]
#[case::ipv6_with_a_source_port(
    "[fd00:10:1::5]:4000 [fd00:96::a]:80/tcp",
    ECHO,
    "[fd00:10:1::9]:8080 [fd00:10:2::9]:8080"
)]
#[case::of_the_host_over_ipv6(
    "fd00::1 [fd00:96::a]:80/tcp",
    ECHO,
    "[fd00:10:1::9]:8080 [fd00:10:2::9]:8080"
)]
#[case::local_policy_with_a_local_backend(
    "10.1.1.5 10.96.0.21:81/tcp",
    "default/local:here (ClusterIP)",
    "10.1.1.9:8081"
)]
#[case::the_hosts_backends(
    "10.0.0.1 10.96.0.13:443/tcp",
    "default/on-hosts:api (ClusterIP)",
    "10.0.0.1:6443 10.0.0.2:6443"
)]
fn every_protocol_and_family_is_translated(
    #[case] question: &str,
    #[case] frontend: &str,
    #[case] backends: &str,
) {
    check(question, ["translate", frontend, backends, "kept", "-"]);
}

#[test]
fn a_pod_that_reaches_itself_has_the_frontend_as_its_source() {
    let alone = "default/alone (ClusterIP)";
    check(
        "10.1.1.9 10.96.0.11:80/tcp",
        ["translate", alone, "10.1.1.9:8080", "frontend", "-"],
    );
}

#[rstest]
#[case::ipv4("10.1.1.9 10.96.0.10:80/tcp", ECHO_BACKENDS)]
#[case::ipv6(
    "fd00:10:1::9 [fd00:96::a]:80/tcp",
    "[fd00:10:1::9]:8080 [fd00:10:2::9]:8080"
)]
fn a_pod_that_may_reach_itself_has_a_mixed_source(#[case] question: &str, #[case] backends: &str) {
    check(question, ["translate", ECHO, backends, "mixed", "-"]);
}

#[test]
fn the_host_that_reaches_itself_keeps_its_source() {
    let alone = "default/alone (ClusterIP)";
    check(
        "10.1.1.9 10.96.0.11:80/tcp host",
        ["translate", alone, "10.1.1.9:8080", "kept", "-"],
    );
}

#[rstest]
#[case::backend_here(
    "192.0.2.7 10.96.0.11:80/tcp",
    "default/alone",
    "10.1.1.9:8080",
    "kept"
)]
#[case::backend_there(
    "192.0.2.7 10.96.0.12:80/tcp",
    "default/remote",
    "10.1.2.9:8080",
    "node"
)]
#[case::pod_of_another_node(
    "10.1.2.9 10.96.0.12:80/tcp",
    "default/remote",
    "10.1.2.9:8080",
    "node"
)]
#[case::backends_on_both(
    "192.0.2.7 10.96.0.10:80/tcp",
    "default/echo:http",
    ECHO_BACKENDS,
    "mixed"
)]
#[case::address_of_a_finished_pod(
    "10.1.1.77 10.96.0.12:80/tcp",
    "default/remote",
    "10.1.2.9:8080",
    "node"
)]
#[case::hosts(
    "192.0.2.7 10.96.0.13:443/tcp",
    "default/on-hosts:api",
    "10.0.0.1:6443 10.0.0.2:6443",
    "mixed"
)]
#[case::as_told(
    "10.1.1.5 10.96.0.12:80/tcp wire",
    "default/remote",
    "10.1.2.9:8080",
    "node"
)]
fn from_the_wire_only_remote_backends_see_the_node(
    #[case] question: &str,
    #[case] frontend: &str,
    #[case] backends: &str,
    #[case] source: &str,
) {
    let frontend = format!("{frontend} (ClusterIP)");
    check(question, ["translate", &frontend, backends, source, "-"]);
}

#[rstest]
#[case::of_a_pod("10.1.1.5 10.96.0.20:80/tcp")]
#[case::of_the_host("10.0.0.1 10.96.0.20:80/tcp")]
#[case::of_the_wire("192.0.2.7 10.96.0.20:80/tcp")]
fn a_frontend_without_backends_rejects(#[case] question: &str) {
    check(
        question,
        ["reject", "default/empty:http (ClusterIP)", "-", "-", "-"],
    );
}

#[rstest]
#[case::of_a_pod("10.1.1.5 10.96.0.21:80/tcp")]
#[case::of_the_host("10.0.0.1 10.96.0.21:80/tcp")]
#[case::of_the_wire("192.0.2.7 10.96.0.21:80/tcp")]
fn local_policy_without_a_local_backend_drops(#[case] question: &str) {
    let local = "default/local:http (ClusterIP)";
    check(question, ["drop", local, "-", "-", "no-local-backend"]);
}

#[rstest]
#[case::another_port("10.1.1.5 10.96.0.10:81/tcp")]
#[case::another_protocol("10.1.1.5 10.96.0.10:80/udp")]
#[case::another_address("10.1.1.5 192.0.2.1:80/tcp")]
#[case::icmp("10.1.1.5 10.96.0.10/icmp")]
#[case::icmpv6("fd00:10:1::5 fd00:96::a/icmp")]
#[case::icmp_of_the_host("10.0.0.1 10.96.0.10/icmp")]
#[case::node_port("192.0.2.7 10.0.0.1:30080/tcp")]
#[case::a_backend_itself("10.1.1.5 10.1.2.9:8080/tcp")]
#[case::service_of_another_proxy("10.1.1.5 10.96.0.30:80/tcp")]
fn what_is_no_frontend_passes(#[case] question: &str) {
    check(question, ["pass", "-", "-", "-", "-"]);
}

#[test]
fn programs_read_every_field_of_the_answer() {
    let dir = directory(&[("cluster.yaml", CLUSTER)]);
    expect![[r#"
        {
          "outcome": "translate",
          "frontend": {
            "namespace": "default",
            "name": "echo",
            "port": "http",
            "kind": "ClusterIP"
          },
          "backends": [
            "10.1.1.9:8080",
            "10.1.2.9:8080"
          ],
          "source": "mixed",
          "reason": null,
          "steps": [
            "10.1.1.9 is pod default/echo-1 of node node-1",
            "a pod's TCP is decided over when its socket connects, or else by from_pod",
            "10.96.0.10:80/tcp is frontend default/echo:http",
            "one of 2 is drawn, the source is mixed"
          ]
        }
    "#]]
    .assert_eq(
        &trace(
            dir.path(),
            &["--from", "10.1.1.9", "--to", "10.96.0.10:80/tcp"],
        )
        .out,
    );
    expect![[r#"
        {
          "outcome": "pass",
          "frontend": null,
          "backends": [],
          "source": null,
          "reason": null,
          "steps": [
            "10.1.1.9 is pod default/echo-1 of node node-1",
            "a pod's TCP is decided over when its socket connects, or else by from_pod",
            "10.96.0.10:81/tcp is no frontend",
            "the packet passes as it is"
          ]
        }
    "#]]
    .assert_eq(
        &trace(
            dir.path(),
            &["--from", "10.1.1.9", "--to", "10.96.0.10:81/tcp"],
        )
        .out,
    );
}

#[test]
fn people_read_how_it_came_about() {
    let dir = directory(&[("cluster.yaml", CLUSTER)]);
    let dir = dir.path().to_str().unwrap();
    let read = |question: [&str; 4]| {
        let words = ["trace", "--manifests", dir, "--node", "node-1"];
        run(&words.into_iter().chain(question).collect::<Vec<_>>()).out
    };
    expect![[r#"
        1. 10.1.1.5 is pod default/client of node node-1
        2. a pod's TCP is decided over when its socket connects, or else by from_pod
        3. 10.96.0.21:80/tcp is frontend default/local:http
        4. the packet is dropped: no-local-backend

        Outcome:   drop
        Frontend:  default/local:http (ClusterIP)
        Reason:    no-local-backend
    "#]]
    .assert_eq(&read(["--from", "10.1.1.5", "--to", "10.96.0.21:80/tcp"]));
    expect![[r#"
        1. 192.0.2.7 is no pod and no address of node node-1: it is on the wire
        2. no hook sees uplinks: this is what the tables say
        3. 10.96.0.10:80/tcp is frontend default/echo:http
        4. one of 2 is drawn, the source is mixed

        Outcome:   translate
        Frontend:  default/echo:http (ClusterIP)
        Source:    mixed
        Backend:   10.1.1.9:8080
        Backend:   10.1.2.9:8080
    "#]]
    .assert_eq(&read(["--from", "192.0.2.7", "--to", "10.96.0.10:80/tcp"]));
}

#[test]
fn a_bad_file_is_reported_and_the_rest_is_served() {
    let broken = "kind: Service\nmetadata: [\n";
    let dir = directory(&[("a.yaml", broken), ("cluster.yaml", CLUSTER)]);
    let ran = trace(
        dir.path(),
        &["--from", "10.1.1.5", "--to", "10.96.0.20:80/tcp"],
    );
    assert!(ran.out.contains(r#""outcome": "reject""#), "{}", ran.out);
    assert!(ran.err.starts_with("a.yaml:"), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

#[test]
fn a_node_without_an_object_is_said() {
    let dir = directory(&[("cluster.yaml", CLUSTER)]);
    let dir = dir.path().to_str().unwrap();
    let question = [
        "--from",
        "10.1.2.9",
        "--to",
        "10.96.0.12:80/tcp",
        "-o",
        "json",
    ];
    let words: Vec<&str> = ["trace", "--manifests", dir, "--node", " NODE-2 "]
        .into_iter()
        .chain(question)
        .collect();
    let ran = run(&words);
    assert!(ran.out.contains(r#""source": "frontend""#), "{}", ran.out);
    expect![[r#"
        Node node-2: it does not exist: no zone and no addresses are known
    "#]]
    .assert_eq(&ran.err);
}

#[test]
fn the_configuration_may_name_the_node() {
    let dir = directory(&[("cluster.yaml", CLUSTER), ("config", "nodeName: node-2\n")]);
    let (objects, config) = (dir.path(), dir.path().join("config"));
    let ran = run(&[
        "trace",
        "--manifests",
        objects.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
        "--from=10.1.2.9",
        "--to=10.96.0.12:80/tcp",
        "-ojson",
    ]);
    assert!(ran.out.contains(r#""source": "frontend""#), "{}", ran.out);
}

#[test]
fn a_question_over_two_families_fails() {
    let dir = directory(&[("cluster.yaml", CLUSTER)]);
    let ran = trace(
        dir.path(),
        &["--from", "10.1.1.5", "--to", "[fd00:96::a]:80/tcp"],
    );
    assert_eq!(ran.out, "");
    expect!["10.1.1.5 and [fd00:96::a]:80/tcp are of different address families"]
        .assert_eq(&ran.ending.unwrap_err().to_string());
}

#[test]
fn offline_the_node_must_be_named() {
    let dir = directory(&[]);
    let dir = dir.path().to_str().unwrap();
    let ran = run(&[
        "trace",
        "--manifests",
        dir,
        "--from",
        "10.1.1.5",
        "--to",
        "10.96.0.20:80/tcp",
    ]);
    expect!["which node? say --node NAME"].assert_eq(&ran.ending.unwrap_err().to_string());
}

#[test]
fn a_directory_that_is_not_there_fails() {
    let ran = trace(
        Path::new("/nowhere"),
        &["--from", "10.1.1.5", "--to", "10.96.0.20:80/tcp"],
    );
    let error = format!("{:#}", ran.ending.unwrap_err());
    assert!(
        error.starts_with("read the objects in /nowhere: "),
        "{error}"
    );
}

#[test]
fn the_agent_is_asked_where_there_is_no_directory() {
    let agent = FakeAgent::start(|query| {
        if let Query::Trace(question, reply) = query {
            let maps = testing::maps();
            let answer = answer(&question, &World::pinned(&maps, Names::new()));
            reply
                .send(answer.map_err(|error| error.to_string()))
                .unwrap();
        }
    });
    let words = [
        "trace",
        "--from",
        "10.1.0.5",
        "--to",
        "10.96.0.9:80/tcp",
        "--at",
        "pod",
    ];
    expect![[r#"
        1. the packet is taken to meet the node at pod
        2. a pod's TCP is decided over when its socket connects, or else by from_pod
        3. 10.96.0.9:80/tcp is frontend of service id 2
        4. no backend: the client is told that the port is closed

        Outcome:   reject
        Frontend:  unknown (ClusterIP)
    "#]]
    .assert_eq(&agent.run(&words).out);
    let error = agent.run(&words[..5]).ending.unwrap_err();
    expect!["only a running agent knows what 10.1.0.5 is to this node: say --at pod|host|wire"]
        .assert_eq(&error.to_string());
}
