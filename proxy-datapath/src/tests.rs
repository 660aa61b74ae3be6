//! Decisions that no cluster leads to: tables that the agent would never write, or that are full.

use std::{collections::BTreeMap, net::Ipv4Addr, vec::Vec};

use crate::{
    family::{Addr4, Ipv4, Port, Ports, proto},
    flow,
    frontend::{address, backend},
    net,
    packet::{Packet, Rewrite, shape},
    snat::{self, Walk},
    tables::{
        Affinity, AffinityKey, Backend, Flow, FlowKey, Flows, Fragment, FragmentKey, Frontend,
        FrontendKey, Node, Prefix, Services, port_proto,
    },
    verdict::{DropReason, code},
};

/// One frontend with one backend, and room for a few flows.
struct Tables {
    backend: Option<Backend<Ipv4>>,
    room: usize,
    flows: BTreeMap<FlowKey<Ipv4>, Flow<Ipv4>>,
    now_s: u32,
}

impl Services<Ipv4> for Tables {
    fn frontend(&self, key: &FrontendKey<Ipv4>) -> Option<Frontend> {
        let set = Frontend {
            base: 7,
            count: 1,
            wire_base: 7,
            wire_count: 1,
            service: 1,
            ..Frontend::default()
        };
        (*key == FrontendKey::new(VIP, Port::new(53), proto::UDP)).then_some(set)
    }

    fn slot(&self, index: u32) -> Option<u32> {
        (index == 7).then_some(3)
    }

    fn backend(&self, id: u32) -> Option<Backend<Ipv4>> {
        self.backend.filter(|_| id == 3)
    }

    fn address(&self, addr: &Addr4) -> u32 {
        if *addr == VIP { address::FRONTEND } else { 0 }
    }

    fn node(&self) -> Option<&Node<Ipv4>> {
        Some(&NODE)
    }

    fn range(&self, _index: u32) -> Option<&Prefix<Ipv4>> {
        None
    }

    fn admits(&self, _service: u32, _source: Addr4) -> bool {
        false
    }

    fn affinity(&self, _key: &AffinityKey<Ipv4>) -> Option<Affinity> {
        None
    }

    fn insert_affinity(&mut self, _key: &AffinityKey<Ipv4>, _affinity: &Affinity) {}

    fn now_s(&self) -> u32 {
        self.now_s
    }

    fn random(&mut self) -> u32 {
        u32::MAX
    }
}

impl Flows<Ipv4> for Tables {
    fn flow(&mut self, key: &FlowKey<Ipv4>) -> Option<&mut Flow<Ipv4>> {
        self.flows.get_mut(key)
    }

    fn insert_flow(&mut self, key: &FlowKey<Ipv4>, flow: &Flow<Ipv4>) -> bool {
        let fits = self.flows.len() < self.room;
        if fits {
            self.flows.insert(*key, *flow);
        }
        fits
    }

    fn remove_flow(&mut self, key: &FlowKey<Ipv4>) {
        self.flows.remove(key);
    }

    fn fragment(&self, _key: &FragmentKey<Ipv4>) -> Option<Fragment> {
        None
    }

    fn insert_fragment(&mut self, _key: &FragmentKey<Ipv4>, _fragment: &Fragment) -> bool {
        false
    }

    fn claim_flow(&mut self, key: &FlowKey<Ipv4>, flow: &Flow<Ipv4>) -> bool {
        !self.flows.contains_key(key) && self.insert_flow(key, flow)
    }

    fn masquerade_address(&self, _destination: Addr4) -> Option<Addr4> {
        Some(NODE.addr)
    }

    fn is_own_socket(&self, _key: &FlowKey<Ipv4>) -> bool {
        false
    }

    fn walk(&mut self, turns: u32, begin: impl FnOnce(&mut Walk<Ipv4>)) -> u32 {
        snat::walk(self, turns, begin)
    }
}

const fn addr(last: u8) -> Addr4 {
    Addr4(u32::from_ne_bytes(Ipv4Addr::new(10, 1, 0, last).octets()))
}

const VIP: Addr4 = Addr4(u32::from_ne_bytes([10, 96, 0, 10]));
/// With a single port to masquerade with.
const NODE: Node<Ipv4> = Node {
    addr: addr(200),
    snat_first: [30_000, 0],
    snat_count: [1, 0],
};

fn tables() -> Tables {
    let backend = Backend {
        addr: addr(9),
        port_proto: port_proto(Port::new(5353), proto::UDP),
        state: backend::ACTIVE,
        service: 1,
        ..Backend::default()
    };
    Tables {
        backend: Some(backend),
        room: 16,
        flows: BTreeMap::new(),
        now_s: 1000,
    }
}

/// A datagram from outside for a backend elsewhere.
fn arrive(tables: &mut Tables, client: Addr4) -> u32 {
    let key = FlowKey {
        endpoint: 0,
        source: client,
        destination: VIP,
        ports: Ports::new(Port::new(4000), Port::new(53)),
        proto: proto::UDP,
    };
    let packet = Packet {
        key,
        shape: shape::WHOLE,
        ..Packet::default()
    };
    net::from_net(&packet, tables, &mut Rewrite::of(&key))
}

#[test]
fn the_port_of_a_flow_that_is_over_goes_to_the_next_one_57() {
    let mut tables = tables();
    let (first, second) = (addr(100), addr(101));
    assert_eq!(arrive(&mut tables, first), code::FORWARD);
    assert_eq!(
        arrive(&mut tables, second),
        DropReason::NoSnatPort.code(),
        "the only port is in use"
    );
    tables.now_s += 31;
    assert_eq!(arrive(&mut tables, second), code::FORWARD);
    assert!(
        tables.flows.keys().all(|key| key.source != first),
        "nothing leads to another flow's port"
    );
    assert_eq!(tables.flows.len(), 2);
}

fn query(tables: &mut Tables) -> (u32, Rewrite<Ipv4>) {
    let key = FlowKey {
        endpoint: 4,
        source: addr(5),
        destination: VIP,
        ports: Ports::new(Port::new(4000), Port::new(53)),
        proto: proto::UDP,
    };
    let packet = Packet {
        key,
        shape: shape::WHOLE,
        ..Packet::default()
    };
    let mut rewrite = Rewrite::of(&key);
    let verdict = flow::from_pod(&packet, tables, &mut rewrite);
    (verdict, rewrite)
}

#[test]
fn the_last_of_all_random_words_still_names_a_slot() {
    let (verdict, rewrite) = query(&mut tables());
    assert_eq!((verdict, rewrite.destination), (code::TRANSLATE, addr(9)));
}

#[test]
fn a_slot_that_names_no_backend_drops_the_packet() {
    for backend in [None, Some(Backend::default())] {
        let mut tables = Tables {
            backend,
            ..tables()
        };
        assert_eq!(query(&mut tables).0, DropReason::BackendMissing.code());
        assert!(tables.flows.is_empty(), "nothing is remembered of it");
    }
}

#[test]
fn a_flow_that_cannot_be_remembered_in_both_directions_is_dropped() {
    for room in [0, 1] {
        let mut tables = Tables { room, ..tables() };
        assert_eq!(
            query(&mut tables).0,
            DropReason::FlowNotStored.code(),
            "room for {room}"
        );
    }
}

#[test]
fn a_udp_flow_that_was_silent_for_long_begins_anew() {
    let mut tables = tables();
    query(&mut tables);
    tables.backend = tables.backend.map(|backend| Backend {
        addr: addr(8),
        ..backend
    });
    // The entry's backend is another one by now: the flow moves at once.
    assert_eq!(query(&mut tables).1.destination, addr(8));
    let entry = tables.flows.values().next().copied().unwrap();
    assert_eq!(entry.last_seen_s, 1000);
    tables.now_s += flow::UDP_IDLE_S + 1;
    assert_eq!(query(&mut tables).0, code::TRANSLATE);
    assert!(
        tables
            .flows
            .values()
            .any(|flow| flow.last_seen_s == tables.now_s)
    );
}

#[test]
fn the_time_of_an_entry_is_written_when_it_has_changed() {
    let mut tables = tables();
    query(&mut tables);
    tables.now_s += 1;
    query(&mut tables);
    let seen: Vec<u32> = tables.flows.values().map(|flow| flow.last_seen_s).collect();
    assert_eq!(seen.iter().max(), Some(&1001));
}
