//! What the service proxy does, decided: what compiler, datapath and servers must be told.
//!
//! Plain data. The defaults are kube-proxy's in its nftables mode, which is the dialect of a
//! configuration that names none (services.md 90).

mod detect_local;
mod node_ports;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use serde_json::Value;

pub use self::{
    detect_local::{DetectLocal, DetectMode},
    node_ports::NodePortAddresses,
};
use super::choice::{Algorithm, Dialect};

/// On a Service: how its backends are chosen, instead of `algorithm`.
pub const ALGORITHM_ANNOTATION: &str = "switchboard.io/algorithm";

/// The gate that decides over `externalIPs` (services.md 21).
pub const EXTERNAL_IPS_GATE: &str = "AllowServiceExternalIPs";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    pub node_port_addresses: NodePortAddresses,
    pub detect_local: DetectLocal,
    pub external_ips: ExternalIps,
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
    /// This node's primary address, if its Node object shall not say (services.md 121).
    pub bind_address: Option<IpAddr>,
    /// A change may wait for twice as long before the proxy counts as unhealthy.
    pub sync_period: Duration,
    pub conntrack: Conntrack,
    /// The dialect of kube-proxy's that the configuration is written in, for `/proxyMode`.
    pub mode: Dialect,
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

// === impl Proxy ===

impl Default for Proxy {
    fn default() -> Self {
        Self {
            node_port_addresses: NodePortAddresses::default(),
            detect_local: DetectLocal::default(),
            external_ips: ExternalIps::default(),
            algorithm: Algorithm::default(),
            snat_ports: None,
            close_other_family: false,
            healthz_bind: Some((Ipv4Addr::UNSPECIFIED, 10256).into()),
            metrics_bind: Some((Ipv4Addr::LOCALHOST, 10249).into()),
            bind_hard_fail: false,
            bind_address: None,
            sync_period: Duration::from_secs(30),
            conntrack: Conntrack::default(),
            mode: Dialect::default(),
            configz: Value::Null,
        }
    }
}

impl Proxy {
    /// How long a change may wait before the proxy counts as unhealthy (services.md 102).
    pub const fn health_timeout(&self) -> Duration {
        self.sync_period.saturating_mul(2)
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
