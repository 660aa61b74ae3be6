//! The contract of `trace`: each case asks about `cluster.yaml`, beside which `exposed.yaml` is,
//! and states the whole answer.

mod exposed;
mod text;

use std::{fs, path::Path};

use rstest::rstest;
use tempfile::TempDir;

use super::*;
use crate::cli::testing::{Ran, run};

const CLUSTER: &str = include_str!("../cluster.yaml");
const EXPOSED: &str = include_str!("../exposed.yaml");

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

/// The arguments for FROM TO [AT].
fn question_words(question: &str) -> Vec<&str> {
    let flags = ["--from", "--to", "--at"];
    let pairs = flags.into_iter().zip(question.split(' '));
    pairs.flat_map(|(flag, word)| [flag, word]).collect()
}

/// `question` is FROM TO [AT], `answer` the outcome, frontend, backends, source and reason.
#[track_caller]
fn check(question: &str, answer: [&str; 5]) {
    let dir = directory(&[("cluster.yaml", CLUSTER), ("exposed.yaml", EXPOSED)]);
    let ran = trace(dir.path(), &question_words(question));
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

#[test]
fn a_backend_is_where_the_entry_in_force_says_12() {
    let moved = "default/moved (ClusterIP)";
    check(
        "192.0.2.7 10.96.0.14:80/tcp",
        ["translate", moved, "10.1.2.30:8080", "node", "-"],
    );
}

#[rstest]
#[case::of_its_own_address("10.0.0.7 10.96.0.15:80/tcp", "10.0.0.7:8080 10.1.2.9:8080", "kept")]
#[case::of_the_wire("192.0.2.7 10.96.0.15:80/tcp", "10.0.0.7:8080 10.1.2.9:8080", "mixed")]
fn a_pod_on_the_hosts_network_tells_an_address_of_the_node_53(
    #[case] question: &str,
    #[case] backends: &str,
    #[case] source: &str,
) {
    let frontend = "default/beside-host (ClusterIP)";
    check(question, ["translate", frontend, backends, source, "-"]);
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
#[case::of_the_host("10.0.0.1 10.96.0.10:81/tcp")]
#[case::of_the_wire("192.0.2.7 10.96.0.10:81/tcp")]
#[case::icmp("10.1.1.5 10.96.0.10/icmp")]
#[case::icmpv6("fd00:10:1::5 fd00:96::a/icmp")]
#[case::icmp_of_the_host("10.0.0.1 10.96.0.10/icmp")]
#[case::icmp_of_the_wire("192.0.2.7 10.96.0.10/icmp")]
fn what_is_no_port_of_a_clusterip_is_refused_72(#[case] question: &str) {
    check(question, ["reject", "-", "-", "-", "-"]);
}

#[rstest]
#[case::of_a_pod("10.1.1.5 10.97.0.99:80/tcp")]
#[case::of_the_host("10.0.0.1 10.97.0.99:80/tcp")]
#[case::of_the_wire("192.0.2.7 10.97.0.99:80/tcp")]
#[case::icmp("10.1.1.5 10.97.0.99/icmp")]
#[case::service_of_another_proxy("10.1.1.5 10.97.0.30:80/tcp")]
fn what_is_no_clusterip_in_their_range_is_dropped_73(#[case] question: &str) {
    check(question, ["drop", "-", "-", "-", "no-such-cluster-ip"]);
}

#[rstest]
#[case::another_address("10.1.1.5 192.0.2.1:80/tcp")]
#[case::a_backend_itself("10.1.1.5 10.1.2.9:8080/tcp")]
#[case::another_port_of_an_external_address("192.0.2.7 203.0.113.5:81/tcp")]
#[case::icmp_to_an_external_address("192.0.2.7 203.0.113.5/icmp")]
#[case::another_port_of_the_node("192.0.2.7 10.0.0.1:30099/tcp")]
#[case::a_node_port_on_another_node("10.1.1.5 10.0.0.2:30080/tcp")]
#[case::a_node_port_on_a_pod("10.1.1.5 10.1.1.9:30080/tcp")]
#[case::a_node_port_on_the_second_address("192.0.2.7 10.0.0.101:30080/tcp")]
#[case::a_node_port_on_localhost("127.0.0.1 127.0.0.1:30080/tcp")]
#[case::a_service_behind_a_proxying_load_balancer("10.1.1.5 203.0.113.6:80/tcp")]
fn what_is_no_frontend_passes_74(#[case] question: &str) {
    check(question, ["pass", "-", "-", "-", "-"]);
}
