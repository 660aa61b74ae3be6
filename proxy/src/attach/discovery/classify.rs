//! What each device is, as a function of what was seen and what is known.
//!
//! Being wrong costs differently: a pod's device taken for an uplink leaves a pod without Services
//! and policy; an uplink taken for a pod's applies a pod's rules to the whole node. So the certain
//! signs of an uplink (an address of the node, a default route) win over everything, a pod's claim
//! wins over the uncertain one (a route through a gateway may lead through a pod that is a router),
//! and what shows no sign is given time.
//!
//! A tunnel that is up, and a device of the machine's with an address of its own, lead elsewhere
//! whatever the routes say: somebody behind them may dial this node. A bridge does so only by the
//! certain signs, or the pods' own bridge would be one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Claim, CniClaims, Endpoint, EndpointKind, Facts, NotPod, Scan, UplinkSign};
use crate::{attach::netlink::Link, model::ObjectKey};

/// Kinds of tunnel devices (`ip link help`); those that carry layer 2 can be ports of a bridge.
pub(super) const TUNNELS: [&str; 14] = [
    "amt",
    "bareudp",
    "erspan",
    "geneve",
    "gre",
    "gretap",
    "gtp",
    "ip6gre",
    "ip6gretap",
    "ip6tnl",
    "ipip",
    "sit",
    "vxlan",
    "wireguard",
];
/// Kinds whose two ends can be in two namespaces. Others name a namespace too, that of the device
/// below them (macvlan) or of their packets (vxlan).
const PAIRS: [&str; 2] = ["veth", "netkit"];

/// Kinds besides real devices, which have none, whose other side is a wire.
const WIRES: [&str; 7] = [
    "bond", "ipvlan", "macvlan", "macvtap", "team", "tun", "vlan",
];

/// What the main table sends out of a device.
#[derive(Clone, Copy, Default)]
struct Ways {
    default: bool,
    gateway: bool,
}

/// All there is to know about one look, indexed.
struct View<'a> {
    facts: &'a Facts,
    cni: &'a CniClaims,
    own_addrs: BTreeMap<u32, BTreeSet<IpAddr>>,
    ways: BTreeMap<u32, Ways>,
    bonds: BTreeSet<u32>,
    bridges: BTreeSet<u32>,
    pods: BTreeMap<IpAddr, &'a ObjectKey>,
    scan: &'a Scan,
}

/// Says of every device what it is. `waited` tells for a device's index whether it has been without
/// a claim for as long as is allowed.
pub fn classify(
    scan: &Scan,
    facts: &Facts,
    cni: &CniClaims,
    waited: impl Fn(u32) -> bool,
) -> Vec<Endpoint> {
    let view = View::new(scan, facts, cni);
    let endpoint = |link: &Link| {
        let kind = view.kind(link, &waited);
        let addrs = match kind {
            EndpointKind::Uplink { .. } | EndpointKind::NotPod { .. } => view.own(link),
            _ => view.behind(link),
        };
        let ifname = link.ifname.as_str().into();
        Endpoint {
            ifindex: link.ifindex,
            ifname,
            netnsid: link.netnsid,
            addrs,
            kind,
        }
    };
    let mut endpoints: Vec<_> = scan.links.iter().map(endpoint).collect();
    endpoints.sort_by_key(|endpoint| endpoint.ifindex);
    endpoints
}

// === impl View ===

impl<'a> View<'a> {
    fn new(scan: &'a Scan, facts: &'a Facts, cni: &'a CniClaims) -> Self {
        let mut own_addrs = BTreeMap::<u32, BTreeSet<IpAddr>>::new();
        for address in &scan.addresses {
            own_addrs
                .entry(address.ifindex)
                .or_default()
                .insert(address.addr);
        }
        let mut ways = BTreeMap::<u32, Ways>::new();
        for route in &scan.routes {
            let ways = ways.entry(route.ifindex).or_default();
            ways.default |= route.prefix_len == 0;
            ways.gateway |= route.gateway;
        }
        let of_kinds = |kinds: &[&str]| -> BTreeSet<u32> {
            let is_one = |link: &&Link| kinds.iter().any(|kind| link.kind.as_deref() == Some(kind));
            let found = scan.links.iter().filter(is_one);
            found.map(|link| link.ifindex).collect()
        };
        let pods = facts
            .pods
            .iter()
            .flat_map(|(pod, addrs)| addrs.iter().map(move |a| (*a, pod)));
        Self {
            facts,
            cni,
            own_addrs,
            ways,
            bonds: of_kinds(&["bond", "team"]),
            bridges: of_kinds(&["bridge"]),
            pods: pods.collect(),
            scan,
        }
    }

    fn kind(&self, link: &Link, waited: impl Fn(u32) -> bool) -> EndpointKind {
        if let Some(why) = self.certain_uplink(link) {
            return EndpointKind::Uplink { why };
        }
        let ways = self.ways.get(&link.ifindex).copied().unwrap_or_default();
        let gateway = EndpointKind::Uplink {
            why: UplinkSign::Gateway,
        };
        match self.obstacle(link) {
            Some(NotPod::Tunnel) if link.up => {
                return EndpointKind::Uplink {
                    why: UplinkSign::Tunnel,
                };
            }
            Some(NotPod::NoPeerNamespace | NotPod::BondPort) if ways.gateway => return gateway,
            Some(NotPod::NoPeerNamespace) if let Some(why) = self.wire(link) => {
                return EndpointKind::Uplink { why };
            }
            Some(why) => return EndpointKind::NotPod { why },
            None => {}
        }
        match self.claim(link) {
            Some(claimed_by) => EndpointKind::Pod { claimed_by },
            None if ways.gateway => gateway,
            None if waited(link.ifindex) => EndpointKind::Unclaimed,
            None => EndpointKind::Pending,
        }
    }

    /// A device of the machine's with an address of its own.
    fn wire(&self, link: &Link) -> Option<UplinkSign> {
        let is_port = link
            .master
            .is_some_and(|of| self.bonds.contains(&of) || self.bridges.contains(&of));
        let is_wire = link
            .kind
            .as_deref()
            .is_none_or(|kind| WIRES.contains(&kind));
        if is_port || !is_wire {
            return None;
        }
        self.own(link).first().copied().map(UplinkSign::OwnAddress)
    }

    fn certain_uplink(&self, link: &Link) -> Option<UplinkSign> {
        if link.loopback {
            return None;
        }
        let own = self.own_addrs.get(&link.ifindex);
        let node_addr = own.and_then(|own| own.intersection(&self.facts.node_addrs).next());
        if let Some(addr) = node_addr {
            return Some(UplinkSign::NodeAddress(*addr));
        }
        let default = self
            .ways
            .get(&link.ifindex)
            .is_some_and(|ways| ways.default);
        default.then_some(UplinkSign::DefaultRoute)
    }

    /// What shows that no pod can be behind the device.
    fn obstacle(&self, link: &Link) -> Option<NotPod> {
        let kind = link.kind.as_deref().unwrap_or_default();
        match link.netnsid {
            _ if link.loopback => Some(NotPod::Loopback),
            _ if kind == "bridge" => Some(NotPod::Bridge),
            _ if TUNNELS.contains(&kind) => Some(NotPod::Tunnel),
            _ if !PAIRS.contains(&kind) => Some(NotPod::NoPeerNamespace),
            None => Some(NotPod::NoPeerNamespace),
            Some(netnsid) if netnsid < 0 => Some(NotPod::PeerNamespaceGone),
            Some(_) => {
                let in_bond = link
                    .master
                    .is_some_and(|master| self.bonds.contains(&master));
                in_bond.then_some(NotPod::BondPort)
            }
        }
    }

    /// The pod that one of the addresses in the other namespace belongs to: according to the CNI
    /// plugin's cache, unless that names a pod that does not exist while another claims the
    /// address.
    fn claim(&self, link: &Link) -> Option<Claim> {
        let inside = || self.inside(link).map(|(_, addr)| addr);
        let cached = inside()
            .find_map(|addr| self.cni.by_addr.get(&addr))
            .or_else(|| self.cni.by_ifname.get(&link.ifname));
        if let Some(claim) = cached
            && self.facts.pods.contains_key(&claim.pod)
        {
            return Some(claim.clone());
        }
        let pod = inside().find_map(|addr| self.pods.get(&addr));
        pod.map(|pod| Claim {
            pod: (*pod).clone(),
            uid: None,
        })
        .or_else(|| cached.cloned())
    }

    fn own(&self, link: &Link) -> BTreeSet<IpAddr> {
        let own = self.own_addrs.get(&link.ifindex).into_iter().flatten();
        own.copied().filter(is_unicast).collect()
    }

    fn behind(&self, link: &Link) -> BTreeSet<IpAddr> {
        let on_peer = |(ifindex, addr)| (Some(ifindex) == link.peer).then_some(addr);
        self.inside(link).filter_map(on_peer).collect()
    }

    /// The addresses in the other end's namespace, with the devices that they are on: a pod may
    /// have several devices, and its address may sit on a bridge inside.
    fn inside(&self, link: &Link) -> impl Iterator<Item = (u32, IpAddr)> {
        let addresses = link
            .netnsid
            .and_then(|netnsid| self.scan.inside.get(&netnsid));
        addresses
            .into_iter()
            .flatten()
            .filter(|address| is_unicast(&address.addr))
            .map(|address| (address.ifindex, address.addr))
    }
}

/// Whether an address can be a pod's or a node's towards others.
const fn is_unicast(addr: &IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => !addr.is_loopback(),
        IpAddr::V6(addr) => !addr.is_loopback() && !addr.is_unicast_link_local(),
    }
}
