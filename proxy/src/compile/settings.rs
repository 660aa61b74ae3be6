//! What the compiler is told: the part of the configuration that the tables depend on.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use crate::config::{
    Algorithm, Proxy,
    proxy::{DetectLocal, ExternalIps, NodePortAddresses, PortRange},
};

/// Plain data; `Default` is what an agent has that was told nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub node_port_addresses: NodePortAddresses,
    pub detect_local: DetectLocal,
    pub external_ips: ExternalIps,
    /// For Services that name none.
    pub algorithm: Algorithm,
    /// Source ranges of one family admit nobody of the other (services.md 79).
    pub close_other_family: bool,
    /// This node's primary address, if its Node object shall not say (services.md 121).
    pub bind_address: Option<IpAddr>,
    /// Source ports of masqueraded flows; `None` for all that nobody else gives out.
    pub snat_ports: Option<PortRange>,
    /// What the kernel gives to sockets: `net.ipv4.ip_local_port_range`.
    pub local_ports: PortRange,
    /// TCP ports of the cluster's own servers, which no external address takes from a node
    /// (CVE-2020-8554).
    pub system_ports: BTreeSet<u16>,
}

/// The kernel's default.
const LOCAL_PORTS: PortRange = PortRange {
    first: 32_768,
    last: 60_999,
};

/// etcd, the API server, kube-proxy's metrics and health, the kubelet's ports, controller manager
/// and scheduler.
const SYSTEM_PORTS: [u16; 10] = [
    2379, 2380, 6443, 10_248, 10_249, 10_250, 10_255, 10_256, 10_257, 10_259,
];

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self::new(&Proxy::default())
    }
}

impl Settings {
    /// `local_ports` is the kernel's default; whoever can ask the kernel, sets it.
    pub fn new(proxy: &Proxy) -> Self {
        let own_servers = [proxy.healthz_bind, proxy.metrics_bind];
        let own_ports = own_servers.iter().flatten().map(SocketAddr::port);
        Self {
            node_port_addresses: proxy.node_port_addresses.clone(),
            detect_local: proxy.detect_local.clone(),
            external_ips: proxy.external_ips.clone(),
            algorithm: proxy.algorithm,
            close_other_family: proxy.close_other_family,
            bind_address: proxy.bind_address,
            snat_ports: proxy.snat_ports,
            local_ports: LOCAL_PORTS,
            system_ports: SYSTEM_PORTS.into_iter().chain(own_ports).collect(),
        }
    }
}
