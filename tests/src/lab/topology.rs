//! How nodes and pods are wired: the lines of `ip` for each kind of CNI plugin.
//!
//! A router joins the nodes on one wire (a bridge) and the outside client on another. Pods of node
//! N have 10.1.N.0/24 and fd00:1:N::/64, nodes 10.0.0.N and fd00::N.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::netns;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Each pod's device is routed by itself, as the CNI plugin `ptp` does; nodes know each other's
    /// pods by routes.
    Ptp,
    /// The pods of a node share a bridge; nodes know each other's pods by routes.
    Bridge,
    /// The pods of a node share a bridge; other nodes are reached through a vxlan tunnel, which has
    /// the first address of the node's pods, as flannel's.
    Vxlan,
}

/// Which devices leave checksums to the "hardware", so that packets travel with partial ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TxOffload {
    #[default]
    On,
    /// Off where a node sends: what the programs left in a packet must be right on its own.
    OffAtNodes,
    /// Off where anybody does, the client outside included.
    Off,
}

/// Node N's network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wiring {
    pub(super) topology: Topology,
    pub(super) nodes: u8,
    pub(super) pod_mtu: Option<u16>,
}

pub(super) const ROUTER4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
pub(super) const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xfe);
pub(super) const OUTSIDE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(super) const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const WIRE_MTU: u16 = 1500;
/// What vxlan leaves of the MTU of the wire.
const TUNNEL_MTU: u16 = WIRE_MTU - 50;

/// Settings of every namespace, before any device is made. Duplicate address detection would make
/// an address unusable for a second.
pub(super) const SYSCTLS: &[(&str, &str)] = &[
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
];

pub(super) const FORWARDING: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
];

pub(super) const fn node_addr4(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, node)
}

pub(super) const fn node_addr6(node: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, node as u16)
}

/// The `host`th pod address of the node; 1 is the gateway.
pub(super) fn pod_addrs(node: u8, host: u8) -> [IpAddr; 2] {
    [
        Ipv4Addr::new(10, 1, node, host).into(),
        Ipv6Addr::new(0xfd00, 1, node.into(), 0, 0, 0, 0, host.into()).into(),
    ]
}

/// The router and the outside client; the wire between the nodes is `lan`.
pub(super) fn wire_router(router: &str, outside: &str) -> Result<()> {
    netns::ip(
        Some(router),
        &[
            "link set lo up".to_owned(),
            "link add lan type bridge".to_owned(),
            format!("addr add {ROUTER4}/24 dev lan"),
            format!("addr add {ROUTER6}/64 dev lan"),
            "link set lan up".to_owned(),
            format!("link add out type veth peer name eth0 netns {outside}"),
            "addr add 192.0.2.1/24 dev out".to_owned(),
            "addr add 2001:db8::1/64 dev out".to_owned(),
            "link set out up".to_owned(),
        ],
    )?;
    netns::ip(
        Some(outside),
        &[
            "link set lo up".to_owned(),
            format!("addr add {OUTSIDE4}/24 dev eth0"),
            format!("addr add {OUTSIDE6}/64 dev eth0"),
            "link set eth0 up".to_owned(),
            "route add default via 192.0.2.1".to_owned(),
            "route add default via 2001:db8::1".to_owned(),
        ],
    )
}

// === impl Wiring ===

impl Wiring {
    pub(super) fn pod_mtu(&self) -> u16 {
        let default = match self.topology {
            Topology::Vxlan => TUNNEL_MTU,
            Topology::Ptp | Topology::Bridge => WIRE_MTU,
        };
        self.pod_mtu.unwrap_or(default)
    }

    pub(super) fn wire_node(&self, node: u8, netns: &str, router: &str) -> Result<()> {
        let (addr4, addr6) = (node_addr4(node), node_addr6(node));
        let [pods4, pods6] = pod_addrs(node, 0);
        netns::ip(
            Some(router),
            &[
                format!("link add n{node} type veth peer name eth0 netns {netns}"),
                format!("link set n{node} master lan up"),
                format!("route add {pods4}/24 via {addr4}"),
                format!("route add {pods6}/64 via {addr6}"),
            ],
        )?;
        let mut lines = vec![
            "link set lo up".to_owned(),
            format!("addr add {addr4}/24 dev eth0"),
            format!("addr add {addr6}/64 dev eth0"),
            "link set eth0 up".to_owned(),
            format!("route add default via {ROUTER4}"),
            format!("route add default via {ROUTER6}"),
        ];
        if self.topology != Topology::Ptp {
            lines.extend(self.pod_bridge(node));
        }
        if self.topology == Topology::Vxlan {
            lines.push(format!(
                "link add vxlan0 mtu {TUNNEL_MTU} address {} \
                 type vxlan id 1 dstport 8472 local {addr4} nolearning",
                vxlan_mac(node)
            ));
            lines.extend([
                format!("addr add {pods4}/32 dev vxlan0"),
                format!("addr add {pods6}/128 dev vxlan0"),
                "link set vxlan0 up".to_owned(),
            ]);
        }
        netns::ip(Some(netns), &lines)?;
        self.wire_peers(node, netns)
    }

    /// The node's side of a pod's device, and the pod's.
    pub(super) fn wire_pod(&self, node: &str, pod: &str, link: &PodLink<'_>) -> Result<()> {
        let PodLink {
            device,
            addrs: [addr4, addr6],
            gateways: [gateway4, gateway6],
        } = *link;
        let mtu = self.pod_mtu();
        let mut outer = vec![
            format!("link add {device} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {pod}"),
            format!("link set {device} up"),
        ];
        let mut inner = vec!["link set lo up".to_owned()];
        if self.topology == Topology::Ptp {
            outer.extend([
                format!("addr add {gateway4}/32 dev {device}"),
                format!("addr add {gateway6}/128 dev {device} nodad"),
                format!("route add {addr4}/32 dev {device}"),
                format!("route add {addr6}/128 dev {device}"),
            ]);
            inner.extend([
                format!("addr add {addr4}/32 dev eth0"),
                format!("addr add {addr6}/128 dev eth0 nodad"),
                "link set eth0 up".to_owned(),
                format!("route add {gateway4}/32 dev eth0 scope link"),
                format!("route add {gateway6}/128 dev eth0"),
            ]);
        } else {
            outer.push(format!("link set {device} master cni0"));
            inner.extend([
                format!("addr add {addr4}/24 dev eth0"),
                format!("addr add {addr6}/64 dev eth0 nodad"),
                "link set eth0 up".to_owned(),
            ]);
        }
        inner.push(format!("route add default via {gateway4}"));
        inner.push(format!("route add default via {gateway6}"));
        netns::ip(Some(node), &outer)?;
        netns::ip(Some(pod), &inner)
    }

    fn pod_bridge(&self, node: u8) -> Vec<String> {
        let [gateway4, gateway6] = pod_addrs(node, 1);
        vec![
            format!("link add cni0 mtu {} type bridge", self.pod_mtu()),
            format!("addr add {gateway4}/24 dev cni0"),
            format!("addr add {gateway6}/64 dev cni0 nodad"),
            "link set cni0 up".to_owned(),
        ]
    }

    /// How the node reaches the pods of the others.
    fn wire_peers(&self, node: u8, netns: &str) -> Result<()> {
        let mut lines = Vec::new();
        let mut forwarding = Vec::new();
        for peer in (1..=self.nodes).filter(|&peer| peer != node) {
            let [pods4, pods6] = pod_addrs(peer, 0);
            if self.topology == Topology::Vxlan {
                let mac = vxlan_mac(peer);
                let [via4, via6] = pod_addrs(peer, 1);
                lines.extend([
                    format!("neigh add {via4} lladdr {mac} dev vxlan0 nud permanent"),
                    format!("neigh add {via6} lladdr {mac} dev vxlan0 nud permanent"),
                    format!("route add {pods4}/24 via {via4} dev vxlan0 onlink"),
                    format!("route add {pods6}/64 via {via6} dev vxlan0 onlink"),
                ]);
                forwarding.push(format!(
                    "fdb append {mac} dev vxlan0 dst {}",
                    node_addr4(peer)
                ));
            } else {
                lines.extend([
                    format!("route add {pods4}/24 via {}", node_addr4(peer)),
                    format!("route add {pods6}/64 via {}", node_addr6(peer)),
                ]);
            }
        }
        netns::ip(Some(netns), &lines)?;
        if forwarding.is_empty() {
            Ok(())
        } else {
            netns::bridge(netns, &forwarding)
        }
    }
}

/// What a pod's device needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct PodLink<'a> {
    /// Its name on the node.
    pub(super) device: &'a str,
    pub(super) addrs: [IpAddr; 2],
    pub(super) gateways: [IpAddr; 2],
}

fn vxlan_mac(node: u8) -> String {
    format!("02:00:00:00:00:{node:02x}")
}
