//! The tables that both sides decide by: frontends that lead everywhere they can, with one backend
//! each.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use proxy_datapath::{
    family::{Family, Port, proto},
    frontend::{ANSWERED, KIND_SHIFT, SOURCE_RANGES, WIRE_LOCAL, address, backend, kind, range},
    tables::{Backend, Frontend, FrontendKey, Node, Prefix, SourceKey, port_proto},
};
use switchboard::plan::{FamilyState, MapState};

pub(super) const CLIENT: u8 = 5;
const NODE: u8 = 1;
/// Frontends by their address's last byte: to a pod of another node, to the client itself, to
/// nobody; at a load balancer's address to nobody here but for clients in the cluster, and for some
/// sources only.
pub(super) const REMOTE: u8 = 10;
pub(super) const ITSELF: u8 = 11;
pub(super) const NOBODY: u8 = 12;
pub(super) const NOT_HERE: u8 = 14;
pub(super) const SOME_SOURCES: u8 = 15;
pub(super) const FRONTEND_PORT: u16 = 80;
/// To a pod of another node, and to the client.
pub(super) const NODE_PORTS: [u16; 2] = [30080, 30081];
pub(super) const BACKEND_PORT: u16 = 8080;
const PROTOCOLS: [u32; 3] = [proto::TCP, proto::UDP, proto::SCTP];
/// The only port to masquerade from, so that chance has no say.
pub(super) const SNAT_PORT: u16 = 2000;

/// The tables that both sides get.
pub(super) fn maps() -> MapState {
    let mut maps = MapState::default();
    fill(&mut maps.v4, &mut maps.slots);
    fill(&mut maps.v6, &mut maps.slots);
    maps
}

/// Where a frontend leads.
#[derive(Clone, Copy)]
struct Set {
    pod: u8,
    flags: u32,
}

fn fill<F: Family>(state: &mut FamilyState<F>, slots: &mut BTreeMap<u32, u32>) {
    let v6 = F::NUMBER == 6;
    let lb = ANSWERED | kind::LOAD_BALANCER << KIND_SHIFT;
    let node_port = ANSWERED | kind::NODE_PORT << KIND_SHIFT;
    let any = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    let any = if v6 {
        any
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    let mut id = 0;
    for protocol in PROTOCOLS {
        for (addr, port, pod, flags) in [
            (vip_addr(v6, REMOTE), FRONTEND_PORT, 9, ANSWERED),
            (vip_addr(v6, ITSELF), FRONTEND_PORT, CLIENT, ANSWERED),
            (vip_addr(v6, NOBODY), FRONTEND_PORT, 0, 0),
            (vip_addr(v6, NOT_HERE), FRONTEND_PORT, 9, lb | WIRE_LOCAL),
            (
                vip_addr(v6, SOME_SOURCES),
                FRONTEND_PORT,
                9,
                lb | SOURCE_RANGES,
            ),
            (any, NODE_PORTS[0], 9, node_port),
            (any, NODE_PORTS[1], CLIENT, node_port),
        ] {
            let addr = F::from_ip(addr).expect("of the family");
            let key = FrontendKey::new(addr, Port::new(port), protocol);
            add(state, slots, (key, id), Set { pod, flags });
            id += 1;
        }
    }
    let [node, pods, services, outside] =
        [node_addr(v6), pod_addr(v6, 0), vip_addr(v6, 0), far(v6)]
            .map(|addr| F::from_ip(addr).expect("of the family"));
    state.addresses.remove(&F::Addr::default());
    let own = address::NODE_PORT | address::NODE;
    state.addresses.insert(node, own);
    let mask = if v6 {
        "ffff:ffff:ffff:ffff::"
    } else {
        "255.255.255.0"
    };
    let mask = F::from_ip(mask.parse().expect("a mask")).expect("of the family");
    for (index, addr) in [(range::PODS, pods), (range::SERVICES, services)] {
        state.ranges.insert(index, Prefix { addr, mask });
    }
    let sends_from = Node {
        addr: node,
        snat_first: [SNAT_PORT.into(), 0],
        snat_count: [1, 0],
    };
    state.nodes.insert(0, sends_from);
    // The whole of the outside's address, for one protocol's frontend and not for the others.
    let admitted = SourceKey {
        prefix_length: 32 + if v6 { 128 } else { 32 },
        service: 4,
        addr: outside,
    };
    state.sources.insert(admitted, 1);
}

/// A frontend with one backend or none, under the id that service, backend and slot have.
fn add<F: Family>(
    state: &mut FamilyState<F>,
    slots: &mut BTreeMap<u32, u32>,
    (key, id): (FrontendKey<F>, u32),
    Set { pod, flags }: Set,
) {
    let v6 = F::NUMBER == 6;
    let slot = id + if v6 { 100 } else { 0 };
    let count = u32::from(pod != 0);
    let stays = flags & WIRE_LOCAL != 0;
    let frontend = Frontend {
        base: slot,
        count,
        wire_base: slot,
        wire_count: if stays { 0 } else { count },
        flags,
        service: id,
        affinity: 0,
    };
    state.frontends.insert(key, frontend);
    let what = address::FRONTEND
        | if flags >> KIND_SHIFT == kind::CLUSTER_IP {
            address::CLUSTER_IP
        } else {
            0
        };
    state.addresses.insert(key.addr, what);
    if pod == 0 {
        return;
    }
    let here = if pod == CLIENT { backend::HERE } else { 0 };
    let value = Backend {
        addr: F::from_ip(pod_addr(v6, pod)).expect("of the family"),
        port_proto: port_proto(Port::new(BACKEND_PORT), key.proto()),
        state: backend::ACTIVE,
        flags: backend::IN_CLUSTER_SET | here,
        service: id,
    };
    state.backends.insert(id, value);
    slots.insert(slot, id);
}

pub(super) fn vip_addr(v6: bool, last: u8) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, last.into()).into()
    } else {
        Ipv4Addr::new(10, 96, 0, last).into()
    }
}

pub(super) fn pod_addr(v6: bool, last: u8) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, last.into()).into()
    } else {
        Ipv4Addr::new(10, 1, 0, last).into()
    }
}

pub(super) fn node_addr(v6: bool) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, NODE.into()).into()
    } else {
        Ipv4Addr::new(10, 0, 0, NODE).into()
    }
}

/// A client beyond the cluster.
pub(super) fn far(v6: bool) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).into()
    } else {
        Ipv4Addr::new(192, 0, 2, 7).into()
    }
}
