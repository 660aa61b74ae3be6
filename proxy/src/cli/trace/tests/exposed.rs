//! Node ports, load balancers and external addresses: each case asks about `cluster.yaml` and
//! `exposed.yaml`.

use rstest::rstest;

use super::*;

const BOTH: &str = "10.1.1.9:8080 10.1.2.9:8080";

/// `question` is FROM TO [AT].
#[track_caller]
fn check_translated(question: &str, [frontend, backends, source]: [&str; 3]) {
    let frontend = format!("default/{frontend}");
    check(question, ["translate", &frontend, backends, source, "-"]);
}

#[rstest]
#[case::node_port("10.0.0.1:30010", "NodePort")]
#[case::load_balancer("203.0.113.5:80", "LoadBalancer")]
#[case::external("198.51.100.7:80", "ExternalIP")]
fn every_frontend_leads_everywhere_by_default_44_46(#[case] addr: &str, #[case] kind: &str) {
    let frontend = format!("open:http ({kind})");
    for (from, source) in [
        ("10.1.1.5", "kept"),
        ("10.1.1.9", "mixed"),
        ("10.0.0.1", "kept"),
        ("192.0.2.7", "mixed"),
        ("10.1.2.9", "mixed"),
    ] {
        let question = format!("{from} {addr}/tcp");
        check_translated(&question, [&frontend, BOTH, source]);
    }
}

#[rstest]
#[case::node_port("[fd00::1]:30010", "NodePort")]
#[case::load_balancer("[2001:db8:2::5]:80", "LoadBalancer")]
#[case::external("[2001:db8:1::7]:80", "ExternalIP")]
fn every_frontend_is_there_in_both_families_50(#[case] addr: &str, #[case] kind: &str) {
    let frontend = format!("open:http ({kind})");
    let backends = "[fd00:10:1::9]:8080 [fd00:10:2::9]:8080";
    for (from, source) in [
        ("fd00:10:1::5", "kept"),
        ("fd00::1", "kept"),
        ("2001:db8::7", "mixed"),
    ] {
        let question = format!("{from} {addr}/tcp");
        check_translated(&question, [&frontend, backends, source]);
    }
}

#[rstest]
#[case::node_port("10.0.0.1:30011", "NodePort")]
#[case::load_balancer("203.0.113.11:80", "LoadBalancer")]
#[case::external("198.51.100.8:80", "ExternalIP")]
fn with_external_policy_local_only_clients_here_go_elsewhere_47(
    #[case] addr: &str,
    #[case] kind: &str,
) {
    let frontend = format!("stays:both ({kind})");
    for (from, backends) in [
        ("10.1.1.5", BOTH),
        ("10.0.0.1", BOTH),
        ("192.0.2.7", "10.1.1.9:8080"),
    ] {
        let question = format!("{from} {addr}/tcp");
        check_translated(&question, [&frontend, backends, "kept"]);
    }
}

#[rstest]
#[case::node_port("10.0.0.1:30012", "NodePort")]
#[case::load_balancer("203.0.113.11:81", "LoadBalancer")]
#[case::external("198.51.100.8:81", "ExternalIP")]
fn with_external_policy_local_and_nobody_here_the_outside_hears_nothing_67(
    #[case] addr: &str,
    #[case] kind: &str,
) {
    let frontend = format!("stays:there ({kind})");
    for from in ["10.1.1.5", "10.0.0.1"] {
        let question = format!("{from} {addr}/tcp");
        check_translated(&question, [&frontend, "10.1.2.9:8081", "kept"]);
    }
    let question = format!("192.0.2.7 {addr}/tcp");
    let frontend = format!("default/{frontend}");
    check(&question, ["drop", &frontend, "-", "-", "no-local-backend"]);
}

#[test]
fn the_external_policy_says_nothing_of_the_clusterip_48() {
    let clusterip = ["stays:both (ClusterIP)", BOTH, "mixed"];
    check_translated("192.0.2.7 10.97.0.11:80/tcp", clusterip);
}

#[rstest]
#[case::in_the_range("192.0.2.7", true)]
#[case::beside_the_range("192.0.2.200", false)]
#[case::a_pod_in_a_range("10.1.1.5", true)]
#[case::a_pod_that_is_in_none("10.1.1.9", false)]
#[case::the_node("10.0.0.1", false)]
fn source_ranges_are_for_load_balancers_addresses_78_80(
    #[case] from: &str,
    #[case] admitted: bool,
) {
    let question = format!("{from} 203.0.113.12:80/tcp");
    let balanced = "default/guarded:http (LoadBalancer)";
    if admitted {
        check(
            &question,
            ["translate", balanced, "10.1.1.9:8080", "kept", "-"],
        );
    } else {
        check(
            &question,
            ["drop", balanced, "-", "-", "source-not-admitted"],
        );
    }
    for (to, kind) in [
        ("198.51.100.9:80", "ExternalIP"),
        ("10.0.0.1:30013", "NodePort"),
        ("10.97.0.12:80", "ClusterIP"),
    ] {
        let source = if from == "10.1.1.9" {
            "frontend"
        } else {
            "kept"
        };
        let frontend = format!("guarded:http ({kind})");
        check_translated(
            &format!("{from} {to}/tcp"),
            [&frontend, "10.1.1.9:8080", source],
        );
    }
}

#[rstest]
#[case::admitted("192.0.2.7", "reject", "-")]
#[case::not_admitted("192.0.2.200", "drop", "source-not-admitted")]
fn source_ranges_come_before_the_refusal_71(
    #[case] from: &str,
    #[case] outcome: &str,
    #[case] reason: &str,
) {
    let question = format!("{from} 203.0.113.12:81/tcp");
    let empty = "default/guarded:empty (LoadBalancer)";
    check(&question, [outcome, empty, "-", "-", reason]);
}

#[rstest]
#[case::by_its_own_address("10.0.0.1", true)]
#[case::by_the_load_balancers_address("203.0.113.13", true)]
#[case::not_by_another("10.0.0.101", false)]
fn a_node_in_the_ranges_is_admitted_by_the_service_address_too_81(
    #[case] from: &str,
    #[case] admitted: bool,
) {
    let question = format!("{from} 203.0.113.13:80/tcp host");
    let frontend = "default/of-node (LoadBalancer)";
    if admitted {
        check(&question, ["translate", frontend, BOTH, "kept", "-"]);
    } else {
        check(
            &question,
            ["drop", frontend, "-", "-", "source-not-admitted"],
        );
    }
}

#[test]
fn affinity_leaves_a_new_client_every_backend_85() {
    let frontend = ["of-node (ClusterIP)", BOTH, "kept"];
    check_translated("10.1.1.5 10.97.0.13:80/tcp", frontend);
}

#[rstest]
#[case::all(
    "nodePortAddresses: [0.0.0.0/0]",
    "192.0.2.7 10.0.0.101:30010/tcp",
    "translate"
)]
#[case::range(
    "nodePortAddresses: [10.0.0.100/30]",
    "192.0.2.7 10.0.0.1:30010/tcp",
    "pass"
)]
#[case::iptables("mode: iptables", "192.0.2.7 10.0.0.101:30010/tcp", "translate")]
#[case::localhost(
    "nodePortAddresses: [localhost]",
    "10.0.0.1 127.0.0.1:30010/tcp",
    "translate"
)]
#[case::no_external_addresses(
    "featureGates: {AllowServiceExternalIPs: false}",
    "192.0.2.7 198.51.100.7:80/tcp",
    "pass"
)]
fn the_configuration_says_where_frontends_are_21_90_95(
    #[case] config: &str,
    #[case] question: &str,
    #[case] outcome: &str,
) {
    assert_eq!(ask_with(config, question).outcome.name(), outcome);
}

#[test]
fn a_pod_of_another_node_is_known_by_the_clusters_range_62() {
    let question = "10.1.2.9 203.0.113.11:81/tcp";
    let reason = ask_with("", question).reason;
    assert_eq!(reason.as_deref(), Some("no-local-backend"));
    let known = ask_with("clusterCIDR: 10.1.0.0/16", question);
    assert_eq!(known.backends, ["10.1.2.9:8081"]);
}

/// The answer with a KubeProxyConfiguration that has these lines.
#[track_caller]
fn ask_with(config: &str, question: &str) -> Answer {
    let kind = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
    let dir = directory(&[
        ("cluster.yaml", CLUSTER),
        ("exposed.yaml", EXPOSED),
        ("config", &format!("{kind}{config}\n")),
    ]);
    let config = dir.path().join("config");
    let mut words = vec!["--config", config.to_str().unwrap()];
    words.extend(question_words(question));
    let ran = trace(dir.path(), &words);
    assert_eq!(ran.ending.unwrap(), Ending::Done, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}
