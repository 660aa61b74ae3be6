//! What `GET /status` answers: the agent's state as one object, the same for people and programs.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    model::{Cluster, Diagnostic, Kind},
    tables,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub started: Timestamp,
    pub node: NodeStatus,
    pub source: SourceStatus,
    /// How programs are attached to devices: `tcx` or `clsact`.
    pub attach: String,
    /// The cgroup whose sockets are translated.
    pub cgroup: String,
    /// Service ports that have a frontend.
    pub service_ports: usize,
    /// Single map writes since the start.
    pub writes_total: u64,
    /// Absent until something had to be written.
    pub last_apply: Option<Apply>,
    pub endpoints: Vec<Endpoint>,
    pub service_cidrs: Vec<String>,
    pub diagnostics: Vec<Problem>,
    pub tables: Vec<TableUsage>,
    pub counters: Vec<Counter>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    pub name: String,
    /// Whether the Node object exists.
    pub found: bool,
    pub addresses: Vec<IpAddr>,
    pub zone: Option<String>,
}

/// Where objects come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// `directory` or `api`.
    pub kind: String,
    /// The directory; or the API server in use, and what was configured.
    pub location: String,
    /// By kind of object: whether its first complete list has come.
    pub synced: BTreeMap<String, bool>,
}

/// The last time that something was written to the maps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Apply {
    pub at: Timestamp,
    pub writes: u64,
    pub failed: u64,
    pub duration_us: u64,
}

/// A device of this node that is, or might be, a pod's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    pub ifname: String,
    pub ifindex: u32,
    pub state: EndpointState,
    /// Addresses behind the device.
    pub addresses: Vec<IpAddr>,
    /// `namespace/name`, where it is known.
    pub pod: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointState {
    /// A pod's, with the programs attached.
    Pod,
    /// Attached, but no pod has claimed its addresses yet.
    Pending,
    /// Left alone: nobody claimed it in time.
    Unclaimed,
    /// Leads to other nodes.
    Uplink,
}

/// Something wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    pub object: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableUsage {
    pub name: String,
    pub used: u64,
    pub capacity: u64,
}

/// Packets, or dialled sockets, by where and how they were decided over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    pub direction: String,
    /// A verdict, or the reason of a drop.
    pub verdict: String,
    pub packets: u64,
}

// === impl EndpointState ===

impl EndpointState {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Pending => "pending",
            Self::Unclaimed => "unclaimed",
            Self::Uplink => "uplink",
        }
    }
}

// === impl TableUsage ===

impl From<tables::Usage> for TableUsage {
    fn from(usage: tables::Usage) -> Self {
        Self {
            name: usage.table.to_owned(),
            used: usage.used.into(),
            capacity: usage.capacity.into(),
        }
    }
}

// === impl Counter ===

impl Counter {
    /// `None` for one that never moved: most never do.
    pub fn moved(counter: tables::Counter) -> Option<Self> {
        (counter.packets > 0).then(|| Self {
            direction: counter.direction.name().to_owned(),
            verdict: counter.verdict.name().to_owned(),
            packets: counter.packets,
        })
    }
}

// === impl NodeStatus ===

impl NodeStatus {
    pub fn of(cluster: &Cluster) -> Self {
        let node = cluster.node();
        Self {
            name: cluster.node_name().to_owned(),
            found: node.is_some(),
            addresses: node.map(|node| node.addrs.clone()).unwrap_or_default(),
            zone: node
                .and_then(|node| node.zone.as_deref())
                .map(str::to_owned),
        }
    }
}

// === impl SourceStatus ===

impl SourceStatus {
    /// By kind of object, whether its first complete list has come.
    pub fn synced(cluster: &Cluster) -> BTreeMap<String, bool> {
        Kind::ALL
            .map(|kind| (kind.name().to_owned(), cluster.has_synced(kind)))
            .into()
    }
}

// === impl Problem ===

impl From<Diagnostic> for Problem {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            object: diagnostic.object.to_string(),
            reason: diagnostic.reason,
        }
    }
}
