//! Flags, file and defaults weighed.

use std::io::Write;

use clap::{Args as _, FromArgMatches};
use tempfile::NamedTempFile;

use super::*;

/// Reads `words` as the agent's flags beside a file with this text.
fn told(words: &[&str], file: &str) -> anyhow::Result<Told> {
    let command = KubeProxyFlags::augment_args(Settings::augment_args(clap::Command::new("agent")));
    let matches = command.try_get_matches_from(["agent"].iter().chain(words))?;
    let settings = Settings::from_arg_matches(&matches)?;
    let kube_proxy = KubeProxyFlags::from_arg_matches(&matches)?;
    let mut path = NamedTempFile::new()?;
    path.write_all(file.as_bytes())?;
    Told::new(settings, &kube_proxy, Some(path.path()))
}

#[track_caller]
fn config(words: &[&str], file: &str) -> Config {
    let mut told = told(words, file).unwrap();
    told.settings.cgroup = Some("/cgroup".into());
    let name = told.settings.node_name.take();
    told.settings.node_name = name.or_else(|| Some("node-1".to_owned()));
    Config::new(told).unwrap()
}

const KUBE_PROXY: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: /file}
clusterCIDR: 10.1.0.0/16
hostnameOverride: from-file
";

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let file = "manifests: /from-file\npinDir: /pins\nlog: debug\nnodeName: other\n";
    let config = config(&["--log", "warn", "--node-name", " Node-1 "], file);
    let proxy = config.proxy.clone();
    assert_eq!(
        config,
        Config {
            node_name: "node-1".to_owned(),
            source: Source::Directory("/from-file".into()),
            pin_dir: "/pins".into(),
            run_dir: "/run/switchboard".into(),
            cgroup: "/cgroup".into(),
            cni_cache: None,
            proc_sys: "/proc/sys".into(),
            attach: Attach::Auto,
            xdp: Xdp::Auto,
            log: "warn".to_owned(),
            log_format: LogFormat::Text,
            proxy,
            notes: Vec::new(),
        }
    );
    assert_eq!(config.proxy.configz["hostnameOverride"], "node-1");
}

#[test]
fn a_source_among_the_flags_replaces_the_one_in_the_file() {
    let file = "kubeconfig: /k\napiServers: [https://a]";
    let config = config(&["--manifests", "/m"], file);
    assert_eq!(config.source, Source::Directory("/m".into()));
}

#[test]
fn a_directory_and_an_api_server_exclude_each_other() {
    let both = told(&[], "manifests: /m\napiServers: [https://a]").unwrap();
    assert!(Source::new(&both.settings).is_err());
    assert!(told(&["--manifests", "/m", "--kubeconfig", "/k"], "").is_err());
}

#[test]
fn a_node_without_a_name_is_refused_3() {
    for words in [
        ["--node-name", " "],
        ["--node-name", ""],
        ["--hostname-override", " "],
    ] {
        let error = Config::new(told(&words, "").unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this node's name is empty: say --node-name NAME",
            "{words:?}"
        );
    }
}

#[test]
fn the_nodes_name_is_trimmed_and_in_lower_case_3() {
    assert_eq!(
        config(&["--node-name", " Edge-1\n"], "").node_name,
        "edge-1"
    );
    let file = config(&[], KUBE_PROXY);
    assert_eq!(file.node_name, "from-file");
    // Empty as in a manifest whose variable is not set: as if it were not there.
    let flag = config(&["--hostname-override", ""], KUBE_PROXY);
    assert_eq!(flag.node_name, "from-file");
}

#[test]
fn flags_win_over_switchboards_own_file() {
    let words = [
        "--nodeport-addresses=localhost,10.0.0.0/8",
        "--bind-address-hard-fail",
    ];
    let config = config(&words, "nodePortAddresses: [all]\nconntrackMin: 7\n");
    assert!(config.proxy.node_port_addresses.localhost);
    assert!(!config.proxy.node_port_addresses.all);
    assert!(config.proxy.bind_hard_fail);
    assert_eq!(config.proxy.conntrack.min, 7);
}

#[test]
fn a_kube_proxy_configuration_goes_before_kube_proxys_flags() {
    let words = [
        "--cluster-cidr=10.9.0.0/16",
        "--bind-address-hard-fail",
        "--proxy-mode=nftables",
        "--algorithm=maglev",
        "--hostname-override=from-flag",
        "-v4",
    ];
    let config = config(&words, KUBE_PROXY);
    let cidrs = &config.proxy.detect_local.cluster_cidrs;
    assert_eq!(cidrs, &["10.1.0.0/16".parse().unwrap()]);
    assert!(!config.proxy.bind_hard_fail);
    // What such a file cannot say, a flag can; and these two as upstream.
    assert_eq!(config.proxy.algorithm, Algorithm::Maglev);
    assert_eq!(config.node_name, "from-flag");
    assert!(config.log.contains("switchboard=debug"));
    assert_eq!(
        config.notes,
        [
            "bindAddressHardFail: the KubeProxyConfiguration counts, and not the flag",
            "clusterCidrs: the KubeProxyConfiguration counts, and not the flag",
        ]
    );
}

#[test]
fn a_master_replaces_the_address_and_keeps_the_kubeconfig() {
    let config = config(&["--master", "https://a"], KUBE_PROXY);
    assert_eq!(
        config.source,
        Source::Api {
            kubeconfig: Some("/file".into()),
            servers: vec!["https://a".to_owned()],
        }
    );
}

#[test]
fn kube_proxys_whole_command_line_is_understood() {
    let words = "--bind-address=10.0.0.1 --bind-address-hard-fail --boot-id-file=/b \
        --cluster-cidr=10.1.0.0/16 --config-sync-period=15m --conntrack-max-per-core=0 \
        --conntrack-min=0 --conntrack-tcp-be-liberal=true --conntrack-tcp-timeout-close-wait=2h \
        --conntrack-tcp-timeout-established=0 --conntrack-udp-timeout=1s \
        --conntrack-udp-timeout-stream=2s --detect-local-mode=BridgeInterface \
        --feature-gates=AllowServiceExternalIPs=false --healthz-bind-address=10.0.0.1 \
        --healthz-port=10256 --iptables-localhost-nodeports=false --iptables-masquerade-bit=14 \
        --iptables-min-sync-period=2s --iptables-sync-period=40s --ipvs-exclude-cidrs=10.0.0.0/8 \
        --ipvs-min-sync-period=1s --ipvs-scheduler=rr --ipvs-strict-arp --ipvs-sync-period=30s \
        --ipvs-tcp-timeout=1s --ipvs-tcpfin-timeout=1s --ipvs-udp-timeout=1s --kube-api-burst=10 \
        --kube-api-content-type=json --kube-api-qps=5 --kubeconfig=/k --log-flush-frequency=5s \
        --log-json-info-buffer-size=0 --log-json-split-stream --log-text-info-buffer-size=0 \
        --log-text-split-stream=false --logging-format=json --machine-id-file=/m \
        --masquerade-all=false --master=https://a --metrics-bind-address= --metrics-port=10249 \
        --nodeport-addresses= --oom-score-adj=-500 --pod-bridge-interface=cni0 \
        --pod-interface-name-prefix=veth --profiling=false --proxy-mode=iptables \
        --show-hidden-metrics-for-version= --v=2 --vmodule=a=1";
    let words: Vec<&str> = words.split_whitespace().collect();
    let config = config(&words, "");
    let proxy = &config.proxy;
    assert_eq!(proxy.bind_address, Some("10.0.0.1".parse().unwrap()));
    assert_eq!(proxy.healthz_bind, Some("10.0.0.1:10256".parse().unwrap()));
    assert!(proxy.bind_hard_fail && proxy.conntrack.tcp_be_liberal);
    assert_eq!((proxy.conntrack.max_per_core, proxy.conntrack.min), (0, 0));
    assert!(!proxy.external_ips.enabled);
    // As upstream, an iptables proxy without a list answers everywhere (services.md 90).
    assert!(proxy.node_port_addresses.all);
    assert_eq!(proxy.sync_period.as_secs(), 40);
    assert_eq!(proxy.algorithm, Algorithm::Random);
    assert_eq!(config.log_format, LogFormat::Json);
    expect_test::expect![[r#"
        --boot-id-file: no effect: kube-proxy does not use it either
        --config-sync-period: no effect: a watch tells everything, and is not listed again
        --iptables-localhost-nodeports: no effect: only nodePortAddresses can name loopback
        --iptables-masquerade-bit: no effect: packets are not marked
        --iptables-min-sync-period: no effect: what changed is programmed at once
        --ipvs-exclude-cidrs: no effect: the kernel's IPVS is not used
        --ipvs-min-sync-period: no effect: what changed is programmed at once
        --ipvs-strict-arp: no effect: the kernel's IPVS is not used
        --ipvs-tcp-timeout: no effect: the kernel's IPVS is not used
        --ipvs-tcpfin-timeout: no effect: the kernel's IPVS is not used
        --ipvs-udp-timeout: no effect: the kernel's IPVS is not used
        --kube-api-burst: no effect: only lists and watches are asked for
        --kube-api-content-type: no effect: the API is spoken to in JSON
        --kube-api-qps: no effect: only lists and watches are asked for
        --log-flush-frequency: no effect: every line is written at once
        --log-json-info-buffer-size: no effect: everything goes to standard error
        --log-json-split-stream: no effect: everything goes to standard error
        --log-text-info-buffer-size: no effect: everything goes to standard error
        --log-text-split-stream: no effect: everything goes to standard error
        --machine-id-file: no effect: kube-proxy does not use it either
        --masquerade-all: no effect: the client's address is kept where replies find back
        --oom-score-adj: no effect: the kubelet sets it, by the priority of the pod
        --profiling: no effect: there are no profiles
        --show-hidden-metrics-for-version: no effect: no metric is hidden
        --vmodule: no effect: the setting log names modules instead
        podBridgeInterface: no effect: this node's pods are known by their devices
        podInterfaceNamePrefix: no effect: this node's pods are known by their devices"#]]
    .assert_eq(&config.notes.join("\n"));
}

#[test]
fn ipvs_flags_count_in_ipvs_mode() {
    let words = [
        "--proxy-mode=ipvs",
        "--ipvs-scheduler=mh",
        "--ipvs-sync-period=20s",
        "--iptables-sync-period=40s",
    ];
    let proxy = config(&words, "").proxy;
    assert_eq!(proxy.algorithm, Algorithm::Maglev);
    assert_eq!(proxy.sync_period.as_secs(), 20);
}

#[test]
fn a_scheduler_that_nothing_comes_close_to_is_named() {
    let config = config(&["--proxy-mode=ipvs", "--ipvs-scheduler=wlc"], "");
    assert_eq!(config.proxy.algorithm, Algorithm::Random);
    assert_eq!(
        config.notes,
        ["--ipvs-scheduler: no effect: there is no such algorithm: backends are drawn at random"]
    );
}

#[test]
fn deprecated_ports_complete_an_address_or_switch_a_server_off_102() {
    for (words, expected) in [
        (&["--healthz-port=0"][..], None),
        (&["--healthz-port=80"], Some("0.0.0.0:80")),
        (
            &["--healthz-port=80", "--healthz-bind-address=10.0.0.1"],
            Some("10.0.0.1:80"),
        ),
        (
            &["--healthz-port=80", "--healthz-bind-address=fd00::1"],
            Some("[fd00::1]:80"),
        ),
        (
            &["--healthz-port=80", "--healthz-bind-address=10.0.0.1:90"],
            Some("10.0.0.1:90"),
        ),
    ] {
        let bind = config(words, "").proxy.healthz_bind;
        assert_eq!(
            bind.map(|bind| bind.to_string()).as_deref(),
            expected,
            "{words:?}"
        );
    }
}

#[test]
fn what_is_in_effect_can_be_written_and_read_130() {
    let before = told(&["--cluster-cidr=10.1.0.0/16", "--log=warn"], "").unwrap();
    let file = serde_saphyr::to_string(&before.effective().unwrap().to_file().unwrap()).unwrap();
    assert!(
        file.contains("healthzBindAddress: 0.0.0.0:10256\n"),
        "{file}"
    );
    let after = told(&[], &file).unwrap();
    assert_eq!(config(&[], &file).log, "warn");
    assert_eq!(
        Proxy::new(&after.settings.proxy).unwrap(),
        Proxy::new(&before.settings.proxy).unwrap()
    );
}

#[test]
fn settings_that_do_not_exist_are_no_flags() {
    for word in [
        "--forwarding=snat",
        "--algorithm=least-connections",
        "--min-sync-period=1s",
    ] {
        assert!(told(&[word], "").is_err(), "{word}");
    }
}

#[test]
fn a_gate_without_effect_is_named() {
    let file = "featureGates: {AllAlpha: true, AllowServiceExternalIPs: false}";
    let config = config(&[], file);
    assert!(!config.proxy.external_ips.enabled);
    assert_eq!(
        config.notes,
        ["featureGates.AllAlpha: no effect: nothing here depends on it"]
    );
}
