//! kube-proxy's configuration, read.

use std::time::Duration;

use super::*;
use crate::config::{Algorithm, ConfigFile, Dialect, LogFormat, proxy::DetectMode};

#[track_caller]
fn file(fields: &str) -> ConfigFile {
    parse(fields).unwrap()
}

fn parse(fields: &str) -> anyhow::Result<ConfigFile> {
    ConfigFile::parse(&format!(
        "apiVersion: {API_VERSION}\nkind: {KIND}\n{fields}"
    ))
}

#[track_caller]
fn proxy(fields: &str) -> Proxy {
    Proxy::new(&file(fields).settings.proxy).unwrap()
}

/// As kubeadm writes it: zero means the default.
const KUBEADM: &str = r#"
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection: {acceptContentTypes: "", burst: 0, contentType: "", kubeconfig: /k.conf, qps: 0}
clusterCIDR: 10.1.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal: {bridgeInterface: "", interfaceNamePrefix: ""}
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  {localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s,
   syncPeriod: 0s}
ipvs:
  {excludeCIDRs: null, minSyncPeriod: 0s, scheduler: "", strictARP: false, syncPeriod: 0s,
   tcpFinTimeout: 0s, tcpTimeout: 0s, udpTimeout: 0s}
logging:
  {flushFrequency: 0, options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}},
   verbosity: 0}
metricsBindAddress: ""
mode: ""
nftables: {masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  {enableDSR: false, forwardHealthCheckVip: false, networkName: "", rootHnsEndpointName: "",
   sourceVip: ""}
"#;

#[test]
fn what_kubeadm_writes_is_the_default_of_iptables_mode() {
    let file = file(KUBEADM);
    assert_eq!(file.notes, [""; 0]);
    assert_eq!(file.settings.kubeconfig, Some("/k.conf".into()));
    let proxy = Proxy::new(&file.settings.proxy).unwrap();
    let mut expected = Proxy {
        mode: Dialect::Iptables,
        configz: proxy.configz.clone(),
        ..Proxy::default()
    };
    expected.node_port_addresses.all = true;
    expected.node_port_addresses.primary = false;
    expected.detect_local.cluster_cidrs = vec!["10.1.0.0/16".parse().unwrap()];
    assert_eq!(proxy, expected);
}

#[test]
fn the_mode_decides_which_section_counts() {
    let sections = "iptables: {syncPeriod: 10s}\nnftables: {syncPeriod: 20s}\n\
                    ipvs: {syncPeriod: 40s, scheduler: mh}\n";
    for (mode, period, algorithm) in [
        ("''", 10, Algorithm::Random),
        ("iptables", 10, Algorithm::Random),
        ("nftables", 20, Algorithm::Random),
        ("ipvs", 40, Algorithm::Maglev),
    ] {
        let proxy = proxy(&format!("mode: {mode}\n{sections}"));
        assert_eq!(proxy.sync_period, Duration::from_secs(period), "{mode}");
        assert_eq!(proxy.algorithm, algorithm, "{mode}");
    }
}

#[test]
fn without_a_list_node_ports_answer_as_the_mode_says_90() {
    for (mode, all) in [
        ("''", true),
        ("iptables", true),
        ("ipvs", true),
        ("nftables", false),
    ] {
        let addresses = proxy(&format!("mode: {mode}")).node_port_addresses;
        assert_eq!((addresses.all, addresses.primary), (all, !all), "{mode}");
    }
    let listed = proxy("mode: iptables\nnodePortAddresses: [primary, 10.0.0.0/8]");
    assert!(listed.node_port_addresses.primary && !listed.node_port_addresses.all);
}

#[test]
fn everything_with_a_meaning_is_used() {
    let file = file(
        "hostnameOverride: node-1\nbindAddress: fd00::1\nbindAddressHardFail: true\n\
         featureGates: {AllowServiceExternalIPs: false}\n\
         detectLocalMode: NodeCIDR\n\
         conntrack: {maxPerCore: 0, min: 1, tcpEstablishedTimeout: 2h, tcpCloseWaitTimeout: 3m,\n\
         \x20 tcpBeLiberal: true, udpTimeout: 4s, udpStreamTimeout: 5s}\n\
         logging: {format: json, verbosity: 4}\n",
    );
    assert_eq!(file.notes, [""; 0]);
    let settings = &file.settings;
    assert_eq!(settings.node_name.as_deref(), Some("node-1"));
    assert_eq!(settings.log_format, Some(LogFormat::Json));
    assert!(settings.log.as_ref().unwrap().contains("debug"));
    let proxy = Proxy::new(&settings.proxy).unwrap();
    assert_eq!(proxy.bind_address, Some("fd00::1".parse().unwrap()));
    assert_eq!(proxy.healthz_bind, Some("[::]:10256".parse().unwrap()));
    assert_eq!(proxy.metrics_bind, Some("[::1]:10249".parse().unwrap()));
    assert!(proxy.bind_hard_fail && !proxy.external_ips.enabled);
    assert_eq!(proxy.detect_local.mode, DetectMode::NodeCidr);
    let conntrack = proxy.conntrack;
    assert_eq!((conntrack.max_per_core, conntrack.min), (0, 1));
    assert_eq!(conntrack.tcp_established.as_secs(), 7200);
    assert_eq!(conntrack.tcp_close_wait.as_secs(), 180);
    assert_eq!(conntrack.udp_timeout.as_secs(), 4);
    assert_eq!(conntrack.udp_stream_timeout.as_secs(), 5);
    assert!(conntrack.tcp_be_liberal);
}

#[test]
fn what_has_no_effect_is_named_unless_it_is_the_default() {
    let file = file(
        "iptables: {masqueradeBit: 15, localhostNodePorts: true, masqueradeAll: true}\n\
         nftables: {masqueradeBit: 15}\nipvs: {strictARP: true}\nportRange: 1-2\n\
         configSyncPeriod: 15m0s\nclientConnection: {qps: 5, burst: 20}\n\
         clusterCidr: 10.1.0.0/16\nconntrack: {tcpTimeout: 1s}\nenableProfiling: true\n\
         oomScoreAdj: 0\n",
    );
    let notes: Vec<&str> = file
        .notes
        .iter()
        .map(|note| note.strip_prefix("KubeProxyConfiguration: ").unwrap())
        .collect();
    assert_eq!(
        notes,
        [
            "clientConnection.burst: no effect: only lists and watches are asked for",
            "clusterCidr: no effect: unknown",
            "conntrack.tcpTimeout: no effect: unknown",
            "enableProfiling: no effect: there are no profiles",
            "iptables.localhostNodePorts: no effect: only nodePortAddresses can name loopback",
            "iptables.masqueradeAll: no effect: the client's address is kept where replies find \
             back",
            "iptables.masqueradeBit: no effect: packets are not marked",
            "oomScoreAdj: no effect: the kubelet sets it, by the priority of the pod",
            "portRange: no effect: kube-proxy does not use it either",
        ]
    );
}

#[test]
fn what_says_the_default_of_what_has_no_effect_is_not_named() {
    for (mode, period) in [("iptables", "1s"), ("nftables", "1s"), ("ipvs", "0s")] {
        let section = format!("{mode}: {{minSyncPeriod: {period}}}");
        let file = file(&format!("mode: {mode}\noomScoreAdj: -999\n{section}\n"));
        assert_eq!(file.notes, [""; 0], "{mode}");
    }
    let slower = file("mode: ipvs\nipvs: {minSyncPeriod: 5s, scheduler: wlc}\n");
    assert_eq!(
        slower.notes,
        [
            "KubeProxyConfiguration: ipvs.minSyncPeriod: no effect: what changed is programmed at \
             once",
            "KubeProxyConfiguration: ipvs.scheduler: no effect: there is no such algorithm: \
             backends are drawn at random",
        ]
    );
}

#[test]
fn every_field_of_the_configuration_has_a_fate() {
    let known = serde_json::to_value(KubeProxyConfiguration::default()).unwrap();
    let mut without = Vec::new();
    fn check(path: &str, value: &Value, without: &mut Vec<String>) {
        match value {
            _ if fields::has_meaning(path) => {}
            Value::Object(fields) if path.is_empty() || !fields.is_empty() => {
                for (name, value) in fields {
                    let path = format!("{path}.{name}");
                    check(path.trim_start_matches('.'), value, without);
                }
            }
            _ => without.push(path.to_owned()),
        }
    }
    check("", &known, &mut without);
    assert_eq!(without, ["apiVersion", "kind"]);
}

#[test]
fn a_value_of_another_type_is_named_by_its_path() {
    for (fields, expected) in [
        ("conntrack: {min: many}", "conntrack.min: invalid type"),
        (
            "iptables: {syncPeriod: 30}",
            "iptables.syncPeriod: invalid type",
        ),
        (
            "nftables: {syncPeriod: half a minute}",
            "nftables.syncPeriod: \"half a minute\" is no duration",
        ),
        (
            "nodePortAddresses: primary",
            "nodePortAddresses: invalid type",
        ),
        ("featureGates: {A: 1}", "featureGates.A: invalid type"),
    ] {
        let error = format!("{:#}", parse(fields).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn another_version_is_refused() {
    let error = ConfigFile::parse(&format!("apiVersion: v2\nkind: {KIND}\n")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "apiVersion: \"v2\" is not kubeproxy.config.k8s.io/v1alpha1"
    );
}

#[test]
fn what_upstream_refuses_is_refused_by_the_fields_name() {
    for (fields, expected) in [
        ("mode: kernelspace", "mode: \"kernelspace\""),
        ("iptables: {masqueradeBit: 32}", "iptables.masqueradeBit: "),
        (
            "mode: nftables\nnftables: {masqueradeBit: -1}",
            "nftables.masqueradeBit: ",
        ),
        ("configSyncPeriod: -1s", "configSyncPeriod: "),
        ("iptables: {syncPeriod: -1s}", "iptables.syncPeriod: "),
        (
            "mode: nftables\nnftables: {syncPeriod: -1s}",
            "nftables.syncPeriod: ",
        ),
        (
            "mode: ipvs\nipvs: {syncPeriod: 1s, minSyncPeriod: 2s}",
            "ipvs.minSyncPeriod: ",
        ),
        ("iptables: {syncPeriod: 100ms}", "iptables.minSyncPeriod: "),
        (
            "mode: ipvs\nipvs: {minSyncPeriod: -1s}",
            "ipvs.minSyncPeriod: ",
        ),
        ("mode: ipvs\nipvs: {tcpTimeout: -1s}", "ipvs.tcpTimeout: "),
        (
            "mode: ipvs\nipvs: {excludeCIDRs: [10.0.0.1]}",
            "ipvs.excludeCIDRs[0]: ",
        ),
        ("oomScoreAdj: 1001", "oomScoreAdj: "),
        ("bindAddress: node-1", "bindAddress: "),
        ("healthzBindAddress: 0.0.0.0:0", "healthzBindAddress: "),
        ("metricsBindAddress: 0.0.0.0:65536", "metricsBindAddress: "),
        ("nodePortAddresses: [a]", "nodePortAddresses[0]: "),
        ("clusterCIDR: 10.1.0.0/16,10.2.0.0/16", "clusterCIDR: "),
        ("clusterCIDR: 10.1.0.0", "clusterCIDR[0]: "),
        ("detectLocalMode: All", "detectLocalMode: "),
        (
            "detectLocalMode: BridgeInterface",
            "detectLocal.bridgeInterface: ",
        ),
        (
            "detectLocalMode: InterfaceNamePrefix",
            "detectLocal.interfaceNamePrefix: ",
        ),
        ("conntrack: {maxPerCore: -1}", "conntrack.maxPerCore: "),
        (
            "conntrack: {udpStreamTimeout: -1s}",
            "conntrack.udpStreamTimeout: ",
        ),
        ("clientConnection: {burst: -1}", "clientConnection.burst: "),
        ("logging: {format: xml}", "logging.format: "),
    ] {
        let error = parse(fields).unwrap_err();
        let Invalid { problems } = error.downcast_ref().unwrap();
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with(expected), "{lines:?}");
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    let error =
        parse("mode: userspace\niptables: {masqueradeBit: 99}\noomScoreAdj: 2000").unwrap_err();
    let Invalid { problems } = error.downcast_ref().unwrap();
    assert_eq!(problems.len(), 3, "{error}");
}
