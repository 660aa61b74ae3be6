//! The validated state of the cluster as this node sees it, and the events that change it.
//!
//! Ground state only: everything the maps hold is a function of it (`compile`). Synchronous, no
//! clock, no I/O; replays and reorderings are harmless, because an event carries a whole object.

mod cluster;
mod names;
mod object;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod triggers;

use std::net::IpAddr;

pub use cluster::Cluster;
pub use object::{
    Endpoint, EndpointSlice, IpFamily, Node, Object, ObjectKey, ObjectRef, Pod, Protocol, Service,
    ServiceCidr, ServicePort, ServiceType, SlicePort, TrafficPolicy, Uplink,
};
pub use triggers::Trigger;

/// The kinds of objects that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Service,
    EndpointSlice,
    Pod,
    Node,
    ServiceCidr,
}

/// Everything that can change the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The object exists and looks like this. `problems` are the parts that could not be used.
    Apply {
        object: Object,
        problems: Vec<String>,
    },
    /// The object does not exist, or is none of ours (services.md 1, 2, 9).
    Delete(ObjectRef),
    /// The object exists but nothing in it can be used.
    Invalid {
        object: ObjectRef,
        problems: Vec<String>,
    },
    /// The first complete list of this kind has been delivered. Sent once for each kind.
    Synced(Kind),
    /// All the addresses of this node. Before the first of these, those of the Node object count.
    LocalAddrs(Vec<IpAddr>),
    /// All the devices that lead to other nodes.
    Uplinks(Vec<Uplink>),
}

/// Something wrong with an object, for `status`, the log and the object's user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    pub object: ObjectRef,
    /// Lower case, no final period.
    pub reason: String,
}

// === impl Kind ===

impl Kind {
    pub const ALL: [Self; 5] = [
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::Node,
        Self::ServiceCidr,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::ServiceCidr => "ServiceCIDR",
        }
    }
}
