//! What the service proxy can be told, by kube-proxy's names where kube-proxy has it.
//!
//! Text is checked where it is given a meaning, so that everything wrong is said at once.

use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};

use super::{
    super::{Algorithm, GoDuration},
    gates::FeatureGates,
    go_bool,
};

#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[command(next_help_heading = "Services")]
pub struct ProxySettings {
    /// The mode of kube-proxy whose defaults apply: nftables, iptables or ipvs [default: nftables]
    #[arg(long, value_name = "MODE")]
    pub proxy_mode: Option<String>,
    /// Where NodePorts answer: primary, localhost, all, CIDRs [default: primary]
    #[arg(
        long = "nodeport-addresses",
        value_name = "LIST",
        value_delimiter = ','
    )]
    pub node_port_addresses: Option<Vec<String>>,
    /// How pods of other nodes are known: ClusterCIDR, NodeCIDR, BridgeInterface,
    /// InterfaceNamePrefix or None [default: ClusterCIDR]
    #[arg(long, value_name = "MODE")]
    pub detect_local_mode: Option<String>,
    /// The pods' addresses: one CIDR, or one of each family
    #[arg(long = "cluster-cidr", value_name = "CIDRS", value_delimiter = ',')]
    pub cluster_cidrs: Option<Vec<String>>,
    /// Asked for by BridgeInterface; this node's pods are known by their devices anyway
    #[arg(long, value_name = "NAME")]
    pub pod_bridge_interface: Option<String>,
    /// Asked for by InterfaceNamePrefix; this node's pods are known by their devices anyway
    #[arg(long, value_name = "PREFIX")]
    pub pod_interface_name_prefix: Option<String>,
    /// The only addresses that externalIPs may capture [default: any]
    #[arg(long = "external-ip-cidr", value_name = "CIDR", value_delimiter = ',')]
    pub external_ip_cidrs: Option<Vec<String>>,
    /// How a new flow gets its backend [default: random]
    #[arg(long, value_enum, value_name = "HOW")]
    pub algorithm: Option<Algorithm>,
    /// Source ports of masqueraded flows; by default all from 1024 on that the kernel does not give
    /// to sockets and that are no NodePorts
    #[arg(long, value_name = "FIRST-LAST")]
    pub snat_ports: Option<String>,
    /// Source ranges of one family close a load balancer to the other
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool)]
    pub close_other_family: Option<bool>,
    /// Address of /healthz and /livez; empty for none [default: 0.0.0.0:10256]
    #[arg(long, value_name = "IP:PORT")]
    pub healthz_bind_address: Option<String>,
    /// Address of /metrics; empty for none [default: 127.0.0.1:10249]
    #[arg(long, value_name = "IP:PORT")]
    pub metrics_bind_address: Option<String>,
    /// End if one of these addresses cannot be listened on
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool)]
    pub bind_address_hard_fail: Option<bool>,
    /// This node's primary address, instead of what its Node object says
    #[arg(long, value_name = "IP")]
    pub bind_address: Option<String>,
    /// A change that waits for twice as long makes the node unhealthy [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub sync_period: Option<GoDuration>,
    /// nf_conntrack_max for each CPU; 0 leaves it [default: 32768]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    pub conntrack_max_per_core: Option<i32>,
    /// nf_conntrack_max at least [default: 131072]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    pub conntrack_min: Option<i32>,
    /// nf_conntrack_tcp_timeout_established; 0 leaves it [default: 24h]
    #[arg(long, value_name = "DURATION")]
    pub conntrack_tcp_timeout_established: Option<GoDuration>,
    /// nf_conntrack_tcp_timeout_close_wait; 0 leaves it [default: 1h]
    #[arg(long, value_name = "DURATION")]
    pub conntrack_tcp_timeout_close_wait: Option<GoDuration>,
    /// Set nf_conntrack_tcp_be_liberal
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool)]
    pub conntrack_tcp_be_liberal: Option<bool>,
    /// nf_conntrack_udp_timeout; 0 leaves it [default: 0]
    #[arg(long, value_name = "DURATION")]
    pub conntrack_udp_timeout: Option<GoDuration>,
    /// nf_conntrack_udp_timeout_stream; 0 leaves it [default: 0]
    #[arg(long, value_name = "DURATION")]
    pub conntrack_udp_timeout_stream: Option<GoDuration>,
    /// Kubernetes' feature gates; AllowServiceExternalIPs has an effect
    #[arg(long, value_name = "GATE=BOOL,…", action = ArgAction::Set)]
    pub feature_gates: Option<FeatureGates>,
}

// === impl ProxySettings ===

impl ProxySettings {
    /// These, and `others` where these say nothing.
    pub fn or(self, others: Self) -> Self {
        Self {
            proxy_mode: self.proxy_mode.or(others.proxy_mode),
            node_port_addresses: self.node_port_addresses.or(others.node_port_addresses),
            detect_local_mode: self.detect_local_mode.or(others.detect_local_mode),
            cluster_cidrs: self.cluster_cidrs.or(others.cluster_cidrs),
            pod_bridge_interface: self.pod_bridge_interface.or(others.pod_bridge_interface),
            pod_interface_name_prefix: self
                .pod_interface_name_prefix
                .or(others.pod_interface_name_prefix),
            external_ip_cidrs: self.external_ip_cidrs.or(others.external_ip_cidrs),
            algorithm: self.algorithm.or(others.algorithm),
            snat_ports: self.snat_ports.or(others.snat_ports),
            close_other_family: self.close_other_family.or(others.close_other_family),
            healthz_bind_address: self.healthz_bind_address.or(others.healthz_bind_address),
            metrics_bind_address: self.metrics_bind_address.or(others.metrics_bind_address),
            bind_address_hard_fail: self
                .bind_address_hard_fail
                .or(others.bind_address_hard_fail),
            bind_address: self.bind_address.or(others.bind_address),
            sync_period: self.sync_period.or(others.sync_period),
            conntrack_max_per_core: self
                .conntrack_max_per_core
                .or(others.conntrack_max_per_core),
            conntrack_min: self.conntrack_min.or(others.conntrack_min),
            conntrack_tcp_timeout_established: self
                .conntrack_tcp_timeout_established
                .or(others.conntrack_tcp_timeout_established),
            conntrack_tcp_timeout_close_wait: self
                .conntrack_tcp_timeout_close_wait
                .or(others.conntrack_tcp_timeout_close_wait),
            conntrack_tcp_be_liberal: self
                .conntrack_tcp_be_liberal
                .or(others.conntrack_tcp_be_liberal),
            conntrack_udp_timeout: self.conntrack_udp_timeout.or(others.conntrack_udp_timeout),
            conntrack_udp_timeout_stream: self
                .conntrack_udp_timeout_stream
                .or(others.conntrack_udp_timeout_stream),
            feature_gates: self.feature_gates.or(others.feature_gates),
        }
    }
}
