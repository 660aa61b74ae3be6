//! Which network devices of this node are pods', found without help from the CNI plugin.
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
mod waits;
mod watcher;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt, net::IpAddr, sync::Arc};

pub use classify::classify;
pub use cni_cache::{CniCache, CniClaims, DEFAULT_DIRS};
pub use facts::Facts;
pub use scan::Scan;
pub use watcher::{Options, Watcher};

use crate::model::ObjectKey;

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The facts were complete by then (`Facts::complete`): before, a device that seems to be no
    /// pod's may still turn out to be one, and is to be left as it is.
    pub complete: bool,
    /// Every device of the node, by index.
    pub endpoints: Vec<Endpoint>,
    /// The node's own addresses.
    pub local_addrs: BTreeSet<IpAddr>,
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
        why: Uplink,
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
pub enum Uplink {
    NodeAddress(IpAddr),
    DefaultRoute,
    /// A route to something behind another router.
    Gateway,
}

/// What keeps a device from being a pod's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPod {
    Loopback,
    Bridge,
    Tunnel,
    /// A part of a bond or team.
    BondPort,
    /// No other end in another namespace.
    NoPeerNamespace,
    /// The namespace of the other end is about to go, and the device with it.
    PeerNamespaceGone,
}

// === impl EndpointKind ===

impl EndpointKind {
    /// Whether the programs belong on it.
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

// === impl Uplink ===

impl fmt::Display for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeAddress(addr) => write!(f, "has the node's address {addr}"),
            Self::DefaultRoute => f.write_str("has a default route"),
            Self::Gateway => f.write_str("has a route through a gateway"),
        }
    }
}

// === impl NotPod ===

impl fmt::Display for NotPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "loopback",
            Self::Bridge => "a bridge",
            Self::Tunnel => "a tunnel",
            Self::BondPort => "a part of a bond",
            Self::NoPeerNamespace => "no other end in another namespace",
            Self::PeerNamespaceGone => "the namespace of its other end is going away",
        })
    }
}
