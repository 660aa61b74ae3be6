//! A KubeProxyConfiguration → settings, all of them: what a file leaves out is its default there,
//! and no flag's.

use std::path::PathBuf;

use super::KubeProxyConfiguration;
use crate::{
    config::{Algorithm, FeatureGates, GoDuration, LogFormat, ProxySettings, Settings, log_filter},
    watch::convert::parse_addr,
};

impl KubeProxyConfiguration {
    pub(super) fn settings(&self) -> Settings {
        let Self {
            client_connection,
            logging,
            ..
        } = self;
        Settings {
            node_name: set(&self.hostname_override).map(str::to_owned),
            kubeconfig: set(&client_connection.kubeconfig).map(PathBuf::from),
            log: log_filter(logging.verbosity).map(str::to_owned),
            log_format: (logging.format == "json").then_some(LogFormat::Json),
            proxy: self.proxy_settings(),
            ..Settings::default()
        }
    }

    fn proxy_settings(&self) -> ProxySettings {
        let conntrack = &self.conntrack;
        let text = |text: &str, default: &str| Some(set(text).unwrap_or(default).to_owned());
        let (any, loopback) = self.default_addresses();
        ProxySettings {
            proxy_mode: text(&self.mode, "iptables"),
            node_port_addresses: Some(self.node_port_addresses()),
            detect_local_mode: text(&self.detect_local_mode, "ClusterCIDR"),
            cluster_cidrs: Some(self.cluster_cidrs()),
            pod_bridge_interface: text(&self.detect_local.bridge_interface, ""),
            pod_interface_name_prefix: text(&self.detect_local.interface_name_prefix, ""),
            healthz_bind_address: text(&self.healthz_bind_address, any),
            metrics_bind_address: text(&self.metrics_bind_address, loopback),
            bind_address_hard_fail: Some(self.bind_address_hard_fail),
            bind_address: text(&self.bind_address, ""),
            sync_period: Some(self.sync_period()),
            conntrack_max_per_core: conntrack.max_per_core.or(Some(32 * 1024)),
            conntrack_min: conntrack.min.or(Some(128 * 1024)),
            conntrack_tcp_timeout_established: conntrack
                .tcp_established_timeout
                .or(Some(GoDuration::from_secs(24 * 3600))),
            conntrack_tcp_timeout_close_wait: conntrack
                .tcp_close_wait_timeout
                .or(Some(GoDuration::from_secs(3600))),
            conntrack_tcp_be_liberal: Some(conntrack.tcp_be_liberal),
            conntrack_udp_timeout: Some(conntrack.udp_timeout),
            conntrack_udp_timeout_stream: Some(conntrack.udp_stream_timeout),
            feature_gates: Some(FeatureGates(self.feature_gates.clone())),
            algorithm: self.algorithm(),
            ..ProxySettings::default()
        }
    }

    /// Of the servers, if the file names none.
    fn default_addresses(&self) -> (&'static str, &'static str) {
        match parse_addr(&self.bind_address) {
            Some(addr) if addr.is_ipv6() => ("[::]:10256", "[::1]:10249"),
            _ => ("0.0.0.0:10256", "127.0.0.1:10249"),
        }
    }

    /// services.md 90.
    fn node_port_addresses(&self) -> Vec<String> {
        match (self.node_port_addresses.is_empty(), self.mode.as_str()) {
            (false, _) => self.node_port_addresses.clone(),
            (true, "nftables") => vec!["primary".to_owned()],
            (true, _) => vec!["all".to_owned()],
        }
    }

    fn cluster_cidrs(&self) -> Vec<String> {
        match set(&self.cluster_cidr) {
            Some(cidrs) => cidrs.split(',').map(str::to_owned).collect(),
            None => self.detect_local.cluster_cidrs.clone(),
        }
    }

    pub(super) fn sync_period(&self) -> GoDuration {
        let period = match self.mode.as_str() {
            "nftables" => self.nftables.sync_period,
            "ipvs" => self.ipvs.sync_period,
            _ => self.iptables.sync_period,
        };
        or(period, 30)
    }

    fn algorithm(&self) -> Option<Algorithm> {
        let scheduler = set(&self.ipvs.scheduler)?;
        Algorithm::of_scheduler(scheduler).filter(|_| self.mode == "ipvs")
    }
}

fn set(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn or(period: GoDuration, seconds: u32) -> GoDuration {
    if period == GoDuration::ZERO {
        GoDuration::from_secs(seconds)
    } else {
        period
    }
}
