//! What the service proxy does, decided: what compiler, datapath and servers must be told.
//!
//! Plain data. The defaults are kube-proxy's in its nftables mode, which is the dialect of a
//! configuration that names none (services.md 90).

mod detect_local;
mod node_ports;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use serde_json::Value;

pub use self::{
    detect_local::{DetectLocal, DetectMode},
    node_ports::NodePortAddresses,
};
use super::choice::{Algorithm, Dialect, Forwarding};

/// On a Service: how packets reach its backends on other nodes, instead of `forwarding`.
pub const FORWARDING_ANNOTATION: &str = "switchboard.io/forwarding";
/// On a Service: how its backends are chosen, instead of `algorithm`.
pub const ALGORITHM_ANNOTATION: &str = "switchboard.io/algorithm";

/// The gate that decides over `externalIPs` (services.md 21).
pub const EXTERNAL_IPS_GATE: &str = "AllowServiceExternalIPs";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamily {
    Ipv4,
    Ipv6,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    pub node_port_addresses: NodePortAddresses,
    pub detect_local: DetectLocal,
    /// What is sent to a ClusterIP is masqueraded, whoever sent it (services.md 58 a).
    pub masquerade_all: bool,
    pub external_ips: ExternalIps,
    pub forwarding: Forwarding,
    pub tunnel: Tunnel,
    pub algorithm: Algorithm,
    /// Source ports of masqueraded flows. `None`: all from 1024 on but for those that the kernel
    /// gives to sockets (`ip_local_port_range`) and the NodePorts, 30000 to 32767.
    pub snat_ports: Option<PortRange>,
    /// Source ranges that list one family only admit nobody of the other (services.md 79).
    pub close_other_family: bool,
    /// `/healthz` and `/livez` (services.md 102); `None` serves nothing.
    pub healthz_bind: Option<SocketAddr>,
    /// `/metrics`, `/proxyMode`, `/configz`; `None` serves nothing.
    pub metrics_bind: Option<SocketAddr>,
    /// A server that cannot listen ends the agent (services.md 132).
    pub bind_hard_fail: bool,
    pub profiling: bool,
    /// This node's primary address, if its Node object shall not say (services.md 121).
    pub bind_address: Option<IpAddr>,
    /// How long a change may wait before the proxy counts as unhealthy (services.md 102).
    pub health_timeout: Duration,
    pub conntrack: Conntrack,
    pub oom_score_adj: i32,
    /// Between the end of one pass and the beginning of the next (services.md 124).
    pub min_sync_period: Duration,
    pub sync_period: Duration,
    /// The dialect of kube-proxy's that the configuration is written in, for `/proxyMode`.
    pub mode: Dialect,
    pub feature_gates: BTreeMap<String, bool>,
    /// This configuration as a KubeProxyConfiguration, for `/configz`.
    pub configz: Value,
}

/// Who may capture traffic by `externalIPs` (services.md 21).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalIps {
    pub enabled: bool,
    /// Empty allows every address.
    pub allowed: Vec<IpNet>,
}

/// VXLAN to a backend's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    pub port: u16,
    pub vni: u32,
}

/// Both ends are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

/// What is written to the kernel's connection tracking at the start (services.md 117, 118).
/// Zero leaves a value as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    pub max_per_core: u32,
    pub min: u32,
    pub tcp_established: Duration,
    pub tcp_close_wait: Duration,
    pub tcp_be_liberal: bool,
    pub udp_timeout: Duration,
    pub udp_stream_timeout: Duration,
}

// === impl IpFamily ===

impl IpFamily {
    pub const fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    pub const fn of_net(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::Ipv4,
            IpNet::V6(_) => Self::Ipv6,
        }
    }
}

// === impl Proxy ===

impl Default for Proxy {
    fn default() -> Self {
        Self {
            node_port_addresses: NodePortAddresses::default(),
            detect_local: DetectLocal::default(),
            masquerade_all: false,
            external_ips: ExternalIps::default(),
            forwarding: Forwarding::default(),
            tunnel: Tunnel::default(),
            algorithm: Algorithm::default(),
            snat_ports: None,
            close_other_family: false,
            healthz_bind: Some((Ipv4Addr::UNSPECIFIED, 10256).into()),
            metrics_bind: Some((Ipv4Addr::LOCALHOST, 10249).into()),
            bind_hard_fail: false,
            profiling: false,
            bind_address: None,
            health_timeout: Duration::from_secs(60),
            conntrack: Conntrack::default(),
            oom_score_adj: -999,
            min_sync_period: Duration::from_secs(1),
            sync_period: Duration::from_secs(30),
            mode: Dialect::default(),
            feature_gates: BTreeMap::new(),
            configz: Value::Null,
        }
    }
}

// === impl ExternalIps ===

impl Default for ExternalIps {
    fn default() -> Self {
        Self {
            enabled: true,
            allowed: Vec::new(),
        }
    }
}

impl ExternalIps {
    /// Whether a Service may have this external address as far as the configuration is concerned;
    /// which addresses nobody may have is `compile::hygiene`'s.
    pub fn allows(&self, addr: IpAddr) -> bool {
        self.enabled
            && (self.allowed.is_empty() || self.allowed.iter().any(|cidr| cidr.contains(&addr)))
    }
}

// === impl Tunnel ===

impl Default for Tunnel {
    /// CNI plugins' VXLAN is on port 4789 or 8472 with a small identifier: ours is neither, so that
    /// a packet of one is never taken for the other's.
    fn default() -> Self {
        Self {
            port: 7472,
            vni: 0x5342,
        }
    }
}

// === impl Conntrack ===

impl Default for Conntrack {
    fn default() -> Self {
        Self {
            max_per_core: 32 * 1024,
            min: 128 * 1024,
            tcp_established: Duration::from_secs(24 * 3600),
            tcp_close_wait: Duration::from_secs(3600),
            tcp_be_liberal: false,
            udp_timeout: Duration::ZERO,
            udp_stream_timeout: Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_addresses_need_the_gate_and_a_place_in_the_list_21() {
        let addr = "203.0.113.9".parse().unwrap();
        let allowed = vec!["203.0.113.0/24".parse().unwrap()];
        let other = vec!["198.51.100.0/24".parse().unwrap()];
        for (enabled, allowed, expected) in [
            (true, Vec::new(), true),
            (true, allowed.clone(), true),
            (true, other, false),
            (false, Vec::new(), false),
            (false, allowed, false),
        ] {
            let external_ips = ExternalIps { enabled, allowed };
            assert_eq!(external_ips.allows(addr), expected, "{external_ips:?}");
        }
    }
}
