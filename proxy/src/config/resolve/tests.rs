//! What settings come to mean, what is refused, and the way back.

use std::time::Duration;

use proptest::{option, prelude::*, sample::select};

use super::*;
use crate::config::{
    Algorithm, FeatureGates, Settings,
    proxy::{DetectMode, PortRange},
};

fn settings(text: &str) -> ProxySettings {
    let fields = serde_saphyr::from_str(text).unwrap();
    Settings::read(fields).unwrap().proxy
}

#[track_caller]
fn proxy(text: &str) -> Proxy {
    Proxy::new(&settings(text)).unwrap()
}

#[test]
fn without_settings_everything_has_its_default() {
    let proxy = Proxy::new(&ProxySettings::default()).unwrap();
    let configz = proxy.configz.clone();
    assert_eq!(
        proxy,
        Proxy {
            configz,
            ..Proxy::default()
        }
    );
}

#[test]
fn the_dialect_says_where_node_ports_answer_unless_a_list_does_90() {
    for (text, expected) in [
        ("{}", "primary"),
        ("proxyMode: ''", "primary"),
        ("proxyMode: nftables", "primary"),
        ("proxyMode: iptables", "all"),
        ("proxyMode: ipvs", "all"),
        ("{proxyMode: iptables, nodePortAddresses: []}", "all"),
        (
            "{proxyMode: iptables, nodePortAddresses: [primary]}",
            "primary",
        ),
        (
            "nodePortAddresses: [localhost, 10.0.0.0/8, primary, ' fd00::1/64']",
            "primary localhost 10.0.0.0/8 fd00::/64",
        ),
        ("nodePortAddresses: ['', '']", "primary"),
    ] {
        let written = ProxySettings::from(&proxy(text)).node_port_addresses;
        assert_eq!(written.unwrap().join(" "), expected, "{text}");
    }
}

#[test]
fn servers_listen_where_the_settings_say_102() {
    for (text, healthz, metrics) in [
        ("{}", "0.0.0.0:10256", "127.0.0.1:10249"),
        ("bindAddress: 10.0.0.1", "0.0.0.0:10256", "127.0.0.1:10249"),
        ("bindAddress: '::'", "[::]:10256", "[::1]:10249"),
        (
            "{healthzBindAddress: 10.0.0.1, metricsBindAddress: '::'}",
            "10.0.0.1:10256",
            "[::]:10249",
        ),
        (
            "{healthzBindAddress: '[fd00::1]:80', metricsBindAddress: '0.0.0.0:90'}",
            "[fd00::1]:80",
            "0.0.0.0:90",
        ),
        (
            "{healthzBindAddress: '', metricsBindAddress: '0.0.0.0:0'}",
            "",
            "",
        ),
    ] {
        let proxy = proxy(text);
        let text_of = |bind: Option<std::net::SocketAddr>| {
            bind.map(|bind| bind.to_string()).unwrap_or_default()
        };
        assert_eq!(text_of(proxy.healthz_bind), healthz, "{text}");
        assert_eq!(text_of(proxy.metrics_bind), metrics, "{text}");
    }
}

#[test]
fn an_unspecified_bind_address_is_none_121() {
    assert_eq!(proxy("bindAddress: 0.0.0.0").bind_address, None);
    assert_eq!(proxy("bindAddress: '::'").bind_address, None);
    assert_eq!(
        proxy("bindAddress: fd00::1").bind_address,
        Some("fd00::1".parse().unwrap())
    );
}

#[test]
fn the_gate_closes_external_addresses_21() {
    for (text, enabled) in [
        ("{}", true),
        ("featureGates: {AllAlpha: true}", true),
        ("featureGates: {AllowServiceExternalIPs: true}", true),
        ("featureGates: {AllowServiceExternalIPs: false}", false),
    ] {
        assert_eq!(proxy(text).external_ips.enabled, enabled, "{text}");
    }
}

#[test]
fn a_change_may_wait_for_two_sync_periods_102() {
    assert_eq!(
        proxy("syncPeriod: 45s").health_timeout(),
        Duration::from_secs(90)
    );
}

#[test]
fn cidrs_of_pods_are_checked_only_where_they_count_62() {
    let text = "{detectLocalMode: NodeCIDR, clusterCidrs: [x, 10.1.0.0/16, 10.2.0.0/16]}";
    let cidrs = proxy(text).detect_local.cluster_cidrs;
    assert_eq!(cidrs.len(), 2);
    let pair = proxy("clusterCidrs: [10.1.0.0/16, fd00:1::/48]");
    assert_eq!(pair.detect_local.cluster_cidrs.len(), 2);
}

/// Each text has one problem, which reads like this.
#[track_caller]
fn check_problems(rows: &[(&str, &str)]) {
    for (text, expected) in rows {
        let problems = Proxy::new(&settings(text)).unwrap_err().problems;
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, [*expected]);
    }
}

#[test]
fn words_and_cidrs_that_cannot_be_are_named_with_their_field() {
    check_problems(&[
        (
            "proxyMode: userspace",
            "proxyMode: \"userspace\" is not nftables, iptables or ipvs",
        ),
        (
            "nodePortAddresses: [primary, 10.0.0.1]",
            "nodePortAddresses[1]: \"10.0.0.1\" is not primary, localhost, all or a CIDR",
        ),
        (
            "detectLocalMode: clusterCIDR",
            "detectLocalMode: \"clusterCIDR\" is not ClusterCIDR, NodeCIDR, BridgeInterface, \
             InterfaceNamePrefix or None",
        ),
        (
            "detectLocalMode: BridgeInterface",
            "podBridgeInterface: must not be empty with this detectLocalMode",
        ),
        (
            "detectLocalMode: InterfaceNamePrefix",
            "podInterfaceNamePrefix: must not be empty with this detectLocalMode",
        ),
        (
            "clusterCidrs: [10.1.0.0]",
            "clusterCidrs[0]: \"10.1.0.0\" is no CIDR",
        ),
        (
            "clusterCidrs: [10.1.0.0/16, 10.2.0.0/16]",
            "clusterCidrs: must be one CIDR, or one of each family",
        ),
        (
            "clusterCidrs: [10.1.0.0/16, fd00::/64, fd01::/64]",
            "clusterCidrs: must be one CIDR, or one of each family",
        ),
        (
            "externalIpCidrs: [all]",
            "externalIpCidrs[0]: \"all\" is no CIDR",
        ),
    ]);
}

#[test]
fn numbers_and_addresses_that_cannot_be_are_named_with_their_field() {
    check_problems(&[
        (
            "snatPorts: 2000-1000",
            "snatPorts: \"2000-1000\" is no range of ports such as 1024-29999",
        ),
        (
            "snatPorts: 0-70000",
            "snatPorts: \"0-70000\" is no range of ports such as 1024-29999",
        ),
        (
            "bindAddress: eth0",
            "bindAddress: \"eth0\" is no IP address",
        ),
        (
            "healthzBindAddress: localhost:80",
            "healthzBindAddress: \"localhost:80\" is neither IP:PORT nor an IP",
        ),
        (
            "metricsBindAddress: '0.0.0.0:65536'",
            "metricsBindAddress: \"0.0.0.0:65536\" is neither IP:PORT nor an IP",
        ),
        ("syncPeriod: 0s", "syncPeriod: must be greater than 0"),
        ("syncPeriod: -1s", "syncPeriod: -1s is less than 0"),
        ("conntrackMin: -1", "conntrackMin: -1 is less than 0"),
        (
            "conntrackUdpTimeoutStream: -5s",
            "conntrackUdpTimeoutStream: -5s is less than 0",
        ),
    ]);
}

#[test]
fn all_problems_are_listed_at_once() {
    let text = "{proxyMode: none, conntrackMin: -1, clusterCidrs: [a, b]}";
    let error = Proxy::new(&settings(text)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the configuration has 4 problems
  proxyMode: \"none\" is not nftables, iptables or ipvs
  clusterCidrs[0]: \"a\" is no CIDR
  clusterCidrs[1]: \"b\" is no CIDR
  conntrackMin: -1 is less than 0"
    );
}

#[test]
fn what_only_switchboard_has_is_read_too() {
    let proxy = proxy(
        "{algorithm: maglev, snatPorts: 1024-29999, closeOtherFamily: true, \
         externalIpCidrs: [203.0.113.0/24]}",
    );
    assert_eq!(proxy.algorithm, Algorithm::Maglev);
    let ports = PortRange {
        first: 1024,
        last: 29999,
    };
    assert_eq!(proxy.snat_ports, Some(ports));
    assert!(proxy.close_other_family);
    assert!(!proxy.external_ips.allows("10.0.0.1".parse().unwrap()));
}

#[test]
fn what_is_in_effect_reads_as_kube_proxys_configuration() {
    let proxy = proxy(
        "{proxyMode: ipvs, clusterCidrs: [10.1.0.0/16], \
         featureGates: {AllAlpha: true, AllowServiceExternalIPs: false}}",
    );
    assert_eq!(
        proxy.configz["apiVersion"],
        "kubeproxy.config.k8s.io/v1alpha1"
    );
    assert_eq!(proxy.configz["mode"], "ipvs");
    let gates = serde_json::json!({"AllowServiceExternalIPs": false});
    assert_eq!(proxy.configz["featureGates"], gates);
    assert_eq!(proxy.configz["ipvs"]["syncPeriod"], "30s");
    assert_eq!(proxy.configz["clusterCIDR"], "10.1.0.0/16");
    assert_eq!(proxy.configz["healthzBindAddress"], "0.0.0.0:10256");
}

/// Settings that are valid together.
fn any_settings() -> impl Strategy<Value = ProxySettings> {
    let modes = option::of(select(vec!["", "nftables", "iptables", "ipvs"]));
    let places = select(vec![
        "primary",
        "localhost",
        "all",
        "10.0.0.0/8",
        "127.0.0.0/8",
        "fd00::/64",
    ]);
    let addresses = option::of(proptest::collection::vec(places, 0..4));
    let binds = option::of(select(vec![
        "",
        "0.0.0.0",
        "::",
        "[fd00::1]:80",
        "10.0.0.1:0",
    ]));
    let bind_address = option::of(select(vec!["", "0.0.0.0", "::", "10.0.0.1", "fd00::1"]));
    let detect = option::of(select(vec![
        "ClusterCIDR",
        "NodeCIDR",
        "BridgeInterface",
        "None",
    ]));
    let cidrs = option::of(select(vec!["", "10.1.0.0/16", "10.1.0.0/16,fd00:1::/48"]));
    let period = option::of(1_u32..100);
    let numbers = (option::of(0..9), any::<Option<bool>>());
    let own = |text: Option<&str>| text.map(str::to_owned);
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    (
        (modes, addresses, binds, bind_address),
        (detect, cidrs, period, numbers),
    )
        .prop_map(move |((mode, places, bind, bind_address), rest)| {
            let (detect, cidrs, period, (count, flag)) = rest;
            ProxySettings {
                proxy_mode: own(mode),
                node_port_addresses: places.map(|places| list(&places.join(","))),
                healthz_bind_address: own(bind),
                bind_address: own(bind_address),
                detect_local_mode: own(detect),
                pod_bridge_interface: Some("cni0".to_owned()),
                cluster_cidrs: cidrs.map(list),
                sync_period: period.map(super::super::GoDuration::from_secs),
                conntrack_min: count,
                close_other_family: flag,
                feature_gates: flag
                    .map(|flag| FeatureGates([(EXTERNAL_IPS_GATE.to_owned(), flag)].into())),
                ..ProxySettings::default()
            }
        })
}

proptest! {
    #[test]
    fn settings_without_defaults_mean_the_same(settings in any_settings()) {
        let proxy = Proxy::new(&settings).unwrap();
        let shorter = settings.without_defaults().unwrap();
        prop_assert_eq!(Proxy::new(&shorter).unwrap(), proxy);
    }

    #[test]
    fn what_is_in_effect_reads_back_as_the_same(settings in any_settings()) {
        let proxy = Proxy::new(&settings).unwrap();
        let written = Settings { proxy: ProxySettings::from(&proxy), ..Settings::default() };
        let read = Settings::read(written.to_file().unwrap()).unwrap();
        prop_assert_eq!(Proxy::new(&read.proxy).unwrap(), proxy);
    }
}

#[test]
fn interface_modes_carry_their_name_62() {
    let text = "{detectLocalMode: InterfaceNamePrefix, podInterfaceNamePrefix: veth}";
    let expected = DetectMode::InterfaceNamePrefix("veth".to_owned());
    assert_eq!(proxy(text).detect_local.mode, expected);
}
