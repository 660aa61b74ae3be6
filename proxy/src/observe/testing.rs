//! Small tables for tests: Services of every kind of frontend, in both families.

use std::{collections::BTreeMap, net::SocketAddr};

use proxy_datapath::{
    family::{Family, Ipv4, Port, proto},
    frontend::{ANSWERED, KIND_SHIFT, SOURCE_RANGES, WIRE_LOCAL, address, backend, kind, range},
    tables::{Backend, Frontend, FrontendKey, Node, Prefix, SourceKey, Uplink, port_proto},
};

use crate::plan::{FamilyState, MapState};

/// Service 1 has backends 1 and 2 of IPv4 and 1 of IPv6, service 2 none, service 3 none here.
pub(crate) fn maps() -> MapState {
    let mut maps = MapState::default();
    let echo = Frontend {
        service: 1,
        flags: ANSWERED,
        ..sets([4, 2], [4, 2])
    };
    let empty = Frontend {
        service: 2,
        ..Frontend::default()
    };
    let nowhere = Frontend {
        flags: ANSWERED,
        service: 3,
        ..Frontend::default()
    };
    let echo6 = Frontend {
        service: 1,
        flags: ANSWERED,
        ..sets([6, 1], [6, 1])
    };
    frontend(&mut maps.v4, "10.96.0.10:80", echo);
    frontend(&mut maps.v4, "10.96.0.9:80", empty);
    frontend(&mut maps.v4, "10.96.0.10:443", nowhere);
    frontend(&mut maps.v6, "[fd00:96::a]:80", echo6);
    backend(&mut maps.v4, 1, "10.1.0.9:8080", backend::ACTIVE);
    backend(&mut maps.v4, 2, "10.1.1.9:8080", backend::ACTIVE);
    backend(&mut maps.v4, 3, "10.1.1.7:8080", backend::TERMINATING);
    backend(&mut maps.v6, 1, "[fd00:10:1::9]:8080", backend::ACTIVE);
    maps.slots = BTreeMap::from([(4, 2), (5, 1), (6, 1)]);
    maps
}

/// The same, and service 1 also on a node port and at a load balancer's address, whose traffic
/// from the wire stays on this node; with affinity in IPv6; and what the node knows of addresses.
pub(crate) fn exposed_maps() -> MapState {
    let mut maps = maps();
    let exposed = Frontend {
        service: 1,
        ..sets([4, 2], [5, 1])
    };
    let node_port = Frontend {
        flags: ANSWERED | WIRE_LOCAL | kind::NODE_PORT << KIND_SHIFT,
        ..exposed
    };
    frontend(&mut maps.v4, "0.0.0.0:30080", node_port);
    let balanced = Frontend {
        flags: ANSWERED | SOURCE_RANGES | kind::LOAD_BALANCER << KIND_SHIFT,
        ..exposed
    };
    frontend(&mut maps.v4, "203.0.113.5:80", balanced);
    let (network, _) = split::<Ipv4>("198.51.100.0:0");
    for frontend in maps.v6.frontends.values_mut() {
        frontend.affinity = 10_059;
    }
    let source = SourceKey {
        prefix_length: 32 + 24,
        service: 1,
        addr: network,
    };
    maps.v4.sources.insert(source, 1);
    let (node, _) = split::<Ipv4>("10.0.0.1:0");
    maps.v4.addresses.remove(&split::<Ipv4>("0.0.0.0:0").0);
    let own = address::NODE_PORT | address::NODE;
    maps.v4.addresses.insert(node, own);
    let of_node = Node {
        addr: node,
        snat_first: [1024, 61_000],
        snat_count: [28_976, 4_536],
    };
    maps.v4.nodes.insert(0, of_node);
    let mask = |text: &str| split::<Ipv4>(text).0;
    for (index, addr, netmask) in [
        (range::PODS, "10.1.0.0:0", "255.255.0.0:0"),
        (range::SERVICES, "10.96.0.0:0", "255.240.0.0:0"),
    ] {
        let range = Prefix {
            addr: mask(addr),
            mask: mask(netmask),
        };
        maps.v4.ranges.insert(index, range);
    }
    let uplink = Uplink { addr: node };
    maps.v4.uplinks.insert(2, uplink);
    maps
}

/// First slot and number of slots, for the cluster and for the wire.
fn sets([base, count]: [u32; 2], [wire_base, wire_count]: [u32; 2]) -> Frontend {
    Frontend {
        base,
        count,
        wire_base,
        wire_count,
        ..Frontend::default()
    }
}

fn frontend<F: Family>(family: &mut FamilyState<F>, addr: &str, value: Frontend) {
    let (ip, port) = split::<F>(addr);
    family
        .frontends
        .insert(FrontendKey::new(ip, port, proto::TCP), value);
    let mut flags = address::FRONTEND;
    if value.flags >> KIND_SHIFT == kind::CLUSTER_IP {
        flags |= address::CLUSTER_IP;
    }
    family.addresses.insert(ip, flags);
}

fn backend<F: Family>(family: &mut FamilyState<F>, id: u32, addr: &str, state: u32) {
    let (addr, port) = split::<F>(addr);
    let here = if id == 1 { backend::HERE } else { 0 };
    let value = Backend {
        addr,
        port_proto: port_proto(port, proto::TCP),
        state,
        flags: here | backend::IN_CLUSTER_SET,
        service: 1,
    };
    family.backends.insert(id, value);
}

fn split<F: Family>(addr: &str) -> (F::Addr, Port) {
    let addr: SocketAddr = addr.parse().unwrap();
    (F::from_ip(addr.ip()).unwrap(), Port::new(addr.port()))
}
