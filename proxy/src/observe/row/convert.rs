//! Rows of entries as the maps have them.

use std::net::IpAddr;

use ipnet::IpNet;
use proxy_datapath::{
    family::Family,
    flow,
    frontend::{ANSWERED, LOCAL, MAGLEV, SOURCE_RANGES, WIRE_LOCAL, address, backend, range},
    socket::TO_BACKEND,
    tables::{
        Affinity, AffinityKey, Backend, Flow, FlowKey, Fragment, FragmentKey, Frontend,
        FrontendKey, Node, Prefix, SocketKey, SocketPeer, SourceKey, Uplink, port_of, proto_of,
    },
};

use super::{
    AffinityRow, BackendRow, CounterRow, FlowRow, FragmentRow, FrontendRow, NodeRow, Row, SetRow,
    SocketRow, UplinkRow, kind_name, protocol, seconds, socket_addr, state_name,
};
use crate::{plan::MapState, tables};

/// Words for the bits of a word.
type Flags<const N: usize> = [(u32, &'static str); N];

const FRONTEND_FLAGS: Flags<4> = [
    (LOCAL, "local"),
    (WIRE_LOCAL, "wire-local"),
    (SOURCE_RANGES, "ranges"),
    (MAGLEV, "maglev"),
];
const ADDRESS_FLAGS: Flags<5> = [
    (address::FRONTEND, "frontend"),
    (address::CLUSTER_IP, "cluster-ip"),
    (address::NODE_PORT, "node-port"),
    (address::LOCALHOST, "localhost"),
    (address::NODE, "node"),
];
const FLOW_FLAGS: Flags<5> = [
    (flow::FORWARD, "forward"),
    (flow::REVERSE, "reverse"),
    (flow::HAIRPIN, "hairpin"),
    (flow::CLOSING, "closing"),
    (flow::MASQUERADED, "masqueraded"),
];

// === impl Row ===

impl Row {
    pub(in crate::observe) fn frontend<F: Family>(
        key: &FrontendKey<F>,
        value: &Frontend,
        maps: &MapState,
    ) -> Self {
        let set = SetRow::new(value.base, value.count, value, maps);
        let wire = SetRow::new(value.wire_base, value.wire_count, value, maps);
        Self::Frontend(FrontendRow {
            address: socket_addr(key.addr, key.port()),
            protocol: protocol(key.proto()),
            service: value.service,
            kind: kind_name(value.flags),
            wire: (wire != set).then_some(wire),
            set,
            affinity_s: (value.affinity != 0).then(|| seconds(value.affinity)),
            flags: words(value.flags, &FRONTEND_FLAGS),
            name: None,
        })
    }

    pub(in crate::observe) fn source<F: Family>(key: &SourceKey<F>) -> Option<Self> {
        let bits = u8::try_from(key.prefix_length.checked_sub(32)?).ok()?;
        Some(Self::Source {
            service: key.service,
            range: IpNet::new(key.addr.into(), bits).ok()?,
            name: None,
        })
    }

    pub(in crate::observe) fn address(address: impl Into<IpAddr>, flags: u32) -> Self {
        Self::Address {
            address: address.into(),
            flags: words(flags, &ADDRESS_FLAGS),
        }
    }

    /// `None` for a mask that is no prefix.
    pub(in crate::observe) fn range<F: Family>(index: u32, value: &Prefix<F>) -> Option<Self> {
        let range = IpNet::with_netmask(value.addr.into(), value.mask.into()).ok()?;
        let purpose = if index == range::PODS {
            "pods"
        } else {
            "services"
        };
        Some(Self::Range {
            index,
            purpose,
            range,
        })
    }

    pub(in crate::observe) fn node<F: Family>(value: &Node<F>) -> Self {
        let runs = value.snat_first.into_iter().zip(value.snat_count);
        Self::Node(NodeRow {
            address: known::<F>(value.addr),
            family: F::NUMBER,
            snat_ports: runs
                .filter(|(_, count)| *count > 0)
                .map(|(first, count)| (first, first.saturating_add(count - 1)))
                .collect(),
        })
    }

    pub(in crate::observe) fn uplink<F: Family>(ifindex: u32, value: &Uplink<F>) -> Self {
        Self::Uplink(UplinkRow {
            ifindex,
            family: F::NUMBER,
            address: known::<F>(value.addr),
        })
    }

    /// `now_s` is the monotonic clock that the programs read.
    pub fn affinity<F: Family>(key: &AffinityKey<F>, value: &Affinity, now_s: u32) -> Self {
        Self::Affinity(AffinityRow {
            client: key.client.into(),
            service: key.service,
            backend: value.backend,
            idle_s: now_s.saturating_sub(value.used_s),
            name: None,
        })
    }

    pub(in crate::observe) fn backend<F: Family>(id: u32, value: &Backend<F>) -> Self {
        Self::Backend(BackendRow {
            id,
            address: socket_addr(value.addr, value.port()),
            protocol: protocol(value.proto()),
            state: state_name(value.state),
            service: value.service,
            here: value.flags & backend::HERE != 0,
            name: None,
        })
    }

    /// `now_s` is the monotonic clock that the programs read.
    pub fn flow<F: Family>(key: &FlowKey<F>, value: &Flow<F>, now_s: u32) -> Self {
        Self::Flow(FlowRow {
            source: socket_addr(key.source, key.ports.source()),
            destination: socket_addr(key.destination, key.ports.destination()),
            protocol: protocol(key.proto),
            new_source: socket_addr(value.source, value.ports.source()),
            new_destination: socket_addr(value.destination, value.ports.destination()),
            flags: words(value.flags, &FLOW_FLAGS),
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
            Self::Affinity(row) => row.name = lookup_name(row.service),
            Self::Source { service, name, .. } => *name = lookup_name(*service),
            _ => {}
        }
        self
    }
}

// === impl SetRow ===

impl SetRow {
    fn new(base: u32, count: u32, frontend: &Frontend, maps: &MapState) -> Self {
        let range = base..base.saturating_add(count);
        let mut backends: Vec<u32> = maps.slots.range(range).map(|(_, &id)| id).collect();
        backends.sort_unstable();
        // A Maglev table has each many times.
        backends.dedup();
        let answered = frontend.flags & ANSWERED != 0;
        Self {
            backends,
            refuses: (count == 0).then_some(if answered { "drop" } else { "reject" }),
        }
    }
}

fn words<const N: usize>(flags: u32, names: &Flags<N>) -> Vec<&'static str> {
    let set = names.iter().filter(|(flag, _)| flags & flag != 0);
    set.map(|(_, name)| *name).collect()
}

fn known<F: Family>(addr: F::Addr) -> Option<IpAddr> {
    (addr != F::Addr::default()).then(|| addr.into())
}
