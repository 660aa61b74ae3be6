//! The devices that lead elsewhere, as the programs on the wire need to know them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{Endpoint, EndpointKind, Facts, Scan, classify::TUNNELS};
use crate::attach::netlink::{Address, Link};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    pub ifindex: u32,
    pub ifname: Arc<str>,
    /// Its own addresses that others know. In each family first what this node sends from: an
    /// address of the Node object, by which other nodes know this one, then in the kernel's order,
    /// the secondary ones last.
    pub addrs: Vec<IpAddr>,
    pub kind: UplinkKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UplinkKind {
    /// A network card of the machine's.
    Card,
    /// What is bridged or bonded to a card, or passes for one.
    Ethernet,
    /// Frames within packets of another uplink.
    Tunnel,
    /// Packets that begin with the IP header, as those of WireGuard, IP-in-IP and PPP do.
    Headerless,
}

/// The uplinks among the devices that were judged.
pub fn uplinks(scan: &Scan, facts: &Facts, endpoints: &[Endpoint]) -> Vec<Uplink> {
    let links: BTreeMap<_, _> = scan.links.iter().map(|link| (link.ifindex, link)).collect();
    let is_uplink = |found: &&Endpoint| matches!(found.kind, EndpointKind::Uplink { .. });
    let uplink = |found: &Endpoint| {
        Some(Uplink {
            ifindex: found.ifindex,
            ifname: found.ifname.clone(),
            addrs: addrs(scan, &facts.node_addrs, found.ifindex),
            kind: UplinkKind::of(links.get(&found.ifindex)?),
        })
    };
    endpoints
        .iter()
        .filter(is_uplink)
        .filter_map(uplink)
        .collect()
}

fn addrs(scan: &Scan, node_addrs: &BTreeSet<IpAddr>, ifindex: u32) -> Vec<IpAddr> {
    let is_known = |address: &&Address| address.ifindex == ifindex && address.global;
    let mut known: Vec<_> = scan.addresses.iter().filter(is_known).collect();
    // What is equal stays in the kernel's order.
    known.sort_by_key(|address| (!node_addrs.contains(&address.addr), address.secondary));
    known.into_iter().map(|address| address.addr).collect()
}

// === impl UplinkKind ===

impl UplinkKind {
    fn of(link: &Link) -> Self {
        let is_tunnel = link
            .kind
            .as_deref()
            .is_some_and(|kind| TUNNELS.contains(&kind));
        match link.ethernet {
            true if is_tunnel => Self::Tunnel,
            true if link.kind.is_none() => Self::Card,
            true => Self::Ethernet,
            false => Self::Headerless,
        }
    }

    /// Whether the programs can read what passes.
    pub const fn is_supported(self) -> bool {
        !matches!(self, Self::Headerless)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Ethernet => "ethernet",
            Self::Tunnel => "tunnel",
            Self::Headerless => "headerless",
        }
    }
}
