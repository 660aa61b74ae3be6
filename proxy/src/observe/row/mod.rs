//! One entry of one table, as a line of text and as JSON.
//!
//! The line is what scenarios expect and `switchboard dump` prints: lower case, the key first.

mod convert;
mod text;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use proxy_datapath::{
    family::{Port, proto},
    frontend::{KIND_SHIFT, backend, kind},
};
use serde::Serialize;

use crate::model::Protocol;

/// One entry of one table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "table", rename_all = "camelCase")]
pub enum Row {
    Frontend(FrontendRow),
    Source {
        service: u32,
        range: IpNet,
        name: Option<String>,
    },
    Address {
        address: IpAddr,
        flags: Vec<&'static str>,
    },
    Range {
        index: u32,
        purpose: &'static str,
        range: IpNet,
    },
    Node(NodeRow),
    Uplink(UplinkRow),
    Slot {
        index: u32,
        backend: u32,
    },
    Backend(BackendRow),
    Affinity(AffinityRow),
    Flow(FlowRow),
    Fragment(FragmentRow),
    Socket(SocketRow),
    Counter(CounterRow),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendRow {
    /// Unspecified for a node port, which every address has that serves node ports.
    pub address: SocketAddr,
    pub protocol: String,
    pub service: u32,
    /// `ClusterIP`, `NodePort`, `ExternalIP` or `LoadBalancer`.
    pub kind: &'static str,
    /// For clients in the cluster.
    #[serde(flatten)]
    pub set: SetRow,
    /// For everybody else, where that differs.
    pub wire: Option<SetRow>,
    /// How long a client stays with its backend.
    pub affinity_s: Option<u32>,
    /// `local`, `wire-local`, `ranges` and `maglev`.
    pub flags: Vec<&'static str>,
    pub name: Option<String>,
}

/// What new flows choose from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SetRow {
    /// Backend ids, ascending.
    pub backends: Vec<u32>,
    /// `reject` or `drop`, without backends.
    pub refuses: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BackendRow {
    pub id: u32,
    pub address: SocketAddr,
    pub protocol: String,
    pub state: &'static str,
    pub service: u32,
    /// Whether it is on this node.
    pub here: bool,
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    /// `4` or `6`.
    pub family: u8,
    /// The primary address, if the node has one.
    pub address: Option<IpAddr>,
    /// First and last of each run of ports for masquerading.
    pub snat_ports: Vec<(u32, u32)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UplinkRow {
    pub ifindex: u32,
    /// `4` or `6`.
    pub family: u8,
    /// What masqueraded packets leave with, if it has an address.
    pub address: Option<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AffinityRow {
    pub client: IpAddr,
    pub service: u32,
    pub backend: u32,
    pub idle_s: u32,
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowRow {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub protocol: String,
    pub new_source: SocketAddr,
    pub new_destination: SocketAddr,
    pub flags: Vec<&'static str>,
    pub backend: u32,
    pub idle_s: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FragmentRow {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: String,
    pub id: u32,
    pub source_port: u16,
    pub destination_port: u16,
    /// Bytes that the first fragment covers.
    pub covered: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketRow {
    pub cookie: u64,
    pub address: SocketAddr,
    pub protocol: String,
    /// Whether `peer` is the backend that was drawn, or the frontend that was dialled.
    pub to_backend: bool,
    pub peer: SocketAddr,
    pub backend: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CounterRow {
    pub direction: &'static str,
    pub verdict: &'static str,
    pub packets: u64,
}

pub(super) fn socket_addr(addr: impl Into<IpAddr>, port: Port) -> SocketAddr {
    SocketAddr::new(addr.into(), port.host())
}

/// A frontend's kind, as Kubernetes would write it.
pub(super) const fn kind_name(flags: u32) -> &'static str {
    match flags >> KIND_SHIFT {
        kind::NODE_PORT => "NodePort",
        kind::EXTERNAL_IP => "ExternalIP",
        kind::LOAD_BALANCER => "LoadBalancer",
        _ => "ClusterIP",
    }
}

/// Whole seconds of a time in the programs' unit, 2^30 ns.
pub(super) fn seconds(ticks: u32) -> u32 {
    ((u64::from(ticks) << 30) / 1_000_000_000) as u32
}

pub(super) const fn state_name(state: u32) -> &'static str {
    match state {
        backend::ACTIVE => "active",
        backend::TERMINATING => "terminating",
        _ => "gone",
    }
}

pub(super) fn protocol(number: u32) -> String {
    match (Protocol::from_number(number), number) {
        (Some(protocol), _) => protocol.name().to_owned(),
        (None, proto::ICMP) => "icmp".to_owned(),
        (None, proto::ICMPV6) => "icmpv6".to_owned(),
        (None, number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests;
