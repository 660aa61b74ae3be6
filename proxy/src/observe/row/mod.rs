//! One entry of one table, as a line of text and as JSON.
//!
//! The line is what scenarios expect and `switchboard dump` prints: lower case, the key first.

mod text;

use std::net::{IpAddr, SocketAddr};

use proxy_datapath::{
    family::{Family, Port, proto},
    flow,
    frontend::backend,
    socket::TO_BACKEND,
    tables::{
        Backend, Flow, FlowKey, Fragment, FragmentKey, Frontend, FrontendKey, SocketKey,
        SocketPeer, port_of, proto_of,
    },
};
use serde::Serialize;

use crate::{model::Protocol, plan::MapState, tables};

/// One entry of one table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "table", rename_all = "camelCase")]
pub enum Row {
    Frontend(FrontendRow),
    Vip { address: IpAddr },
    Slot { index: u32, backend: u32 },
    Backend(BackendRow),
    Flow(FlowRow),
    Fragment(FragmentRow),
    Socket(SocketRow),
    Counter(CounterRow),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FrontendRow {
    pub address: SocketAddr,
    pub protocol: String,
    pub service: u32,
    /// Backend ids, ascending.
    pub backends: Vec<u32>,
    /// `reject` or `drop`, without backends.
    pub refuses: Option<&'static str>,
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BackendRow {
    pub id: u32,
    pub address: SocketAddr,
    pub protocol: String,
    pub state: &'static str,
    pub service: u32,
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

// === impl Row ===

impl Row {
    pub(super) fn frontend<F: Family>(
        key: &FrontendKey<F>,
        value: &Frontend,
        maps: &MapState,
    ) -> Self {
        let range = value.base..value.base.saturating_add(value.count);
        let mut backends: Vec<u32> = maps.slots.range(range).map(|(_, &id)| id).collect();
        backends.sort_unstable();
        let refuses = (value.count == 0).then(|| {
            let local = value.flags & proxy_datapath::frontend::NO_LOCAL_BACKEND != 0;
            if local { "drop" } else { "reject" }
        });
        Self::Frontend(FrontendRow {
            address: socket_addr(key.addr, key.port()),
            protocol: protocol(key.proto()),
            service: value.service,
            backends,
            refuses,
            name: None,
        })
    }

    pub(super) fn backend<F: Family>(id: u32, value: &Backend<F>) -> Self {
        Self::Backend(BackendRow {
            id,
            address: socket_addr(value.addr, value.port()),
            protocol: protocol(value.proto()),
            state: state_name(value.state),
            service: value.service,
            name: None,
        })
    }

    /// `now_s` is the monotonic clock that the programs read.
    pub fn flow<F: Family>(key: &FlowKey<F>, value: &Flow<F>, now_s: u32) -> Self {
        const FLAGS: [(u32, &str); 4] = [
            (flow::FORWARD, "forward"),
            (flow::REVERSE, "reverse"),
            (flow::HAIRPIN, "hairpin"),
            (flow::CLOSING, "closing"),
        ];
        Self::Flow(FlowRow {
            source: socket_addr(key.source, key.ports.source()),
            destination: socket_addr(key.destination, key.ports.destination()),
            protocol: protocol(key.proto),
            new_source: socket_addr(value.source, value.ports.source()),
            new_destination: socket_addr(value.destination, value.ports.destination()),
            flags: FLAGS
                .iter()
                .filter(|flag| value.flags & flag.0 != 0)
                .map(|flag| flag.1)
                .collect(),
            backend: value.backend,
            idle_s: now_s.saturating_sub(value.last_seen_s),
        })
    }

    pub fn fragment<F: Family>(key: &FragmentKey<F>, value: &Fragment) -> Self {
        Self::Fragment(FragmentRow {
            source: key.source.into(),
            destination: key.destination.into(),
            protocol: protocol(key.proto),
            id: if F::NUMBER == 4 {
                u32::from(u16::from_be(key.id as u16))
            } else {
                key.id.to_be()
            },
            source_port: value.ports.source().host(),
            destination_port: value.ports.destination().host(),
            covered: value.covered,
        })
    }

    pub fn socket<F: Family>(key: &SocketKey<F>, value: &SocketPeer<F>) -> Self {
        Self::Socket(SocketRow {
            cookie: u64::from(key.cookie[0]) | u64::from(key.cookie[1]) << 32,
            address: socket_addr(key.addr, port_of(key.port_proto)),
            protocol: protocol(proto_of(key.port_proto)),
            to_backend: key.port_proto & TO_BACKEND != 0,
            peer: socket_addr(value.addr, port_of(value.port_proto)),
            backend: value.backend,
        })
    }

    pub const fn counter(counter: tables::Counter) -> Self {
        Self::Counter(CounterRow {
            direction: counter.direction.name(),
            verdict: counter.verdict.name(),
            packets: counter.packets,
        })
    }

    /// Adds the name that belongs to the row's service id.
    #[must_use]
    pub fn named(mut self, lookup_name: impl Fn(u32) -> Option<String>) -> Self {
        match &mut self {
            Self::Frontend(row) => row.name = lookup_name(row.service),
            Self::Backend(row) => row.name = lookup_name(row.service),
            _ => {}
        }
        self
    }
}

pub(super) fn socket_addr(addr: impl Into<IpAddr>, port: Port) -> SocketAddr {
    SocketAddr::new(addr.into(), port.host())
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
