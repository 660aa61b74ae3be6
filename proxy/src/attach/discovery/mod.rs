//! Which network devices of this node are pods', and which lead elsewhere, found without help from
//! the CNI plugin.
//!
//! A pod's device has its other end in another network namespace, and an address of a pod in there;
//! the kernel tells both over netlink, by namespace id, without anybody entering the namespace.
//! Every look reads the whole (`scan`), and what it means is a pure function of it (`classify`):
//! nothing depends on an event having been seen.

mod classify;
mod cni_cache;
mod facts;
mod pace;
mod scan;
mod uplinks;
mod waits;
mod watcher;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt, net::IpAddr, sync::Arc};

pub use classify::classify;
pub use cni_cache::{CniCache, CniClaims, DEFAULT_DIRS};
pub use facts::Facts;
pub use scan::Scan;
pub use uplinks::{Uplink, UplinkKind, uplinks};
pub use watcher::{Options, Watcher};

use crate::{
    attach::links::{Device, Role},
    model::ObjectKey,
};

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The facts were complete by then (`Facts::complete`): before, a device that seems to be no
    /// pod's may still turn out to be one, and is to be left as it is.
    pub complete: bool,
    /// Every device of the node, by index.
    pub endpoints: Vec<Endpoint>,
    /// Those of them that lead elsewhere, by index.
    pub uplinks: Vec<Uplink>,
    /// Every address of the node, loopback and link-local ones included.
    pub local_addrs: Vec<IpAddr>,
}

/// A device and what it is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub ifindex: u32,
    pub ifname: Arc<str>,
    /// Our number for the namespace of the other end, if that is another one.
    pub netnsid: Option<i32>,
    /// A device with its other end in a pod or what may be one: the addresses there. Any other: its
    /// own. Without loopback and link-local IPv6 addresses.
    pub addrs: BTreeSet<IpAddr>,
    pub kind: EndpointKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointKind {
    /// To be attached.
    Pod {
        claimed_by: Claim,
    },
    /// To be attached: nothing claims it as a pod's, but something may yet.
    Pending,
    /// Nothing has claimed it for too long: to be left alone until something does.
    Unclaimed,
    /// Leads out of the node: never a pod.
    Uplink {
        why: UplinkSign,
    },
    NotPod {
        why: NotPod,
    },
}

/// The pod that a device belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub pod: ObjectKey,
    /// Known from the CNI plugin's cache only.
    pub uid: Option<Arc<str>>,
}

/// What makes a device an uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UplinkSign {
    NodeAddress(IpAddr),
    DefaultRoute,
    /// A route to something behind another router.
    Gateway,
    /// A tunnel that is up.
    Tunnel,
    /// A device of the machine's with an address of its own: who is behind it may dial that.
    OwnAddress(IpAddr),
}

/// What keeps a device from being a pod's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPod {
    Loopback,
    Bridge,
    /// A tunnel that is down.
    Tunnel,
    /// A part of a bond or team.
    BondPort,
    /// No other end in another namespace.
    NoPeerNamespace,
    /// The namespace of the other end is about to go, and the device with it.
    PeerNamespaceGone,
}

// === impl Snapshot ===

impl Snapshot {
    /// The devices that programs belong on.
    pub fn wanted(&self) -> Vec<Device> {
        let pods = self
            .endpoints
            .iter()
            .filter(|found| found.kind.is_attached());
        let pods = pods.map(|found| (found.ifindex, &found.ifname, Role::Pod));
        let uplinks = self
            .uplinks
            .iter()
            .filter(|found| found.kind.is_supported());
        let uplinks = uplinks.map(|found| (found.ifindex, &found.ifname, Role::Uplink));
        let device = |(ifindex, ifname, role): (u32, &Arc<str>, Role)| Device {
            ifindex,
            ifname: ifname.to_string(),
            role,
        };
        pods.chain(uplinks).map(device).collect()
    }

    /// The uplinks of these kinds.
    pub fn uplinks_of(&self, kinds: &[UplinkKind]) -> Vec<Device> {
        let chosen = self
            .uplinks
            .iter()
            .filter(|found| kinds.contains(&found.kind));
        let device = |found: &Uplink| Device {
            ifindex: found.ifindex,
            ifname: found.ifname.to_string(),
            role: Role::Uplink,
        };
        chosen.map(device).collect()
    }
}

// === impl EndpointKind ===

impl EndpointKind {
    /// Whether the programs of pods' devices belong on it.
    pub const fn is_attached(&self) -> bool {
        matches!(self, Self::Pod { .. } | Self::Pending)
    }

    /// One word, as `status` shows it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pod { .. } => "pod",
            Self::Pending => "pending",
            Self::Unclaimed => "unclaimed",
            Self::Uplink { .. } => "uplink",
            Self::NotPod { .. } => "not-pod",
        }
    }
}

impl fmt::Display for EndpointKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod { claimed_by } => write!(f, "pod {}", claimed_by.pod),
            Self::Uplink { why } => write!(f, "uplink: {why}"),
            Self::NotPod { why } => write!(f, "not a pod: {why}"),
            Self::Pending | Self::Unclaimed => f.write_str(self.name()),
        }
    }
}

// === impl UplinkSign ===

impl fmt::Display for UplinkSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeAddress(addr) => write!(f, "has the node's address {addr}"),
            Self::DefaultRoute => f.write_str("has a default route"),
            Self::Gateway => f.write_str("has a route through a gateway"),
            Self::Tunnel => f.write_str("a tunnel"),
            Self::OwnAddress(addr) => write!(f, "has the address {addr}"),
        }
    }
}

// === impl NotPod ===

impl fmt::Display for NotPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "loopback",
            Self::Bridge => "a bridge",
            Self::Tunnel => "a tunnel that is down",
            Self::BondPort => "a part of a bond",
            Self::NoPeerNamespace => "no other end in another namespace",
            Self::PeerNamespaceGone => "the namespace of its other end is going away",
        })
    }
}
