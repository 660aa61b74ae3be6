//! The short way and the general one, over the same random packets and tables.

use std::{collections::BTreeMap, net::IpAddr, vec::Vec};

use proptest::{prelude::*, strategy::ValueTree as _};

use super::*;
use crate::{
    family::{Ipv4, Ipv6, Port},
    flow,
    frontend::address,
    net,
    packet::{Packet, Rewrite},
    parse::{Layout, parse},
    rewrite::rewrite,
    snat::{self, Walk},
    tables::{
        Affinity, AffinityKey, Backend, Fragment, FragmentKey, Frontend, FrontendKey, Node, Prefix,
        Services, port_proto,
    },
    wire::Buffer,
};

const NOW_S: u32 = 1000;
const ENDPOINT: u32 = 4;

/// Whatever the agent and the programs could have written, and more.
#[derive(Clone, Debug, PartialEq)]
struct Memory<F: Family> {
    frontends: BTreeMap<FrontendKey<F>, Frontend>,
    backends: Vec<Backend<F>>,
    flows: BTreeMap<FlowKey<F>, Flow<F>>,
    fragments: BTreeMap<FragmentKey<F>, Fragment>,
}

impl<F: Family> Services<F> for Memory<F> {
    fn frontend(&self, key: &FrontendKey<F>) -> Option<Frontend> {
        self.frontends.get(key).copied()
    }

    fn slot(&self, index: u32) -> Option<u32> {
        Some(index)
    }

    fn backend(&self, id: u32) -> Option<Backend<F>> {
        self.backends.get(id as usize).copied()
    }

    fn address(&self, addr: &F::Addr) -> u32 {
        let known = self.frontends.keys().any(|key| key.addr == *addr);
        let frontend = if known { address::FRONTEND } else { 0 };
        // Some of the addresses are this node's.
        frontend | ((F::mix(addr) & 1) * address::NODE)
    }

    fn node(&self) -> Option<&Node<F>> {
        None
    }

    fn range(&self, _index: u32) -> Option<&Prefix<F>> {
        None
    }

    fn admits(&self, _service: u32, _source: F::Addr) -> bool {
        true
    }

    fn affinity(&self, _key: &AffinityKey<F>) -> Option<Affinity> {
        None
    }

    fn insert_affinity(&mut self, _key: &AffinityKey<F>, _affinity: &Affinity) {}

    fn random(&mut self) -> u32 {
        0
    }

    fn now_s(&self) -> u32 {
        NOW_S
    }
}

impl<F: Family> Flows<F> for Memory<F> {
    fn flow(&mut self, key: &FlowKey<F>) -> Option<&mut Flow<F>> {
        self.flows.get_mut(key)
    }

    fn insert_flow(&mut self, key: &FlowKey<F>, flow: &Flow<F>) -> bool {
        self.flows.insert(*key, *flow);
        true
    }

    fn remove_flow(&mut self, key: &FlowKey<F>) {
        self.flows.remove(key);
    }

    fn fragment(&self, key: &FragmentKey<F>) -> Option<Fragment> {
        self.fragments.get(key).copied()
    }

    fn insert_fragment(&mut self, key: &FragmentKey<F>, fragment: &Fragment) -> bool {
        self.fragments.insert(*key, *fragment);
        true
    }

    fn claim_flow(&mut self, key: &FlowKey<F>, flow: &Flow<F>) -> bool {
        let is_new = !self.flows.contains_key(key);
        if is_new {
            self.flows.insert(*key, *flow);
        }
        is_new
    }

    fn masquerade_address(&self, _destination: F::Addr) -> Option<F::Addr> {
        None
    }

    fn is_own_socket(&self, _key: &FlowKey<F>) -> bool {
        false
    }

    fn walk(&mut self, turns: u32, begin: impl FnOnce(&mut Walk<F>)) -> u32 {
        snat::walk(self, turns, begin)
    }
}

/// One of few, so that packets, flows and frontends meet.
fn addr<F: Family>() -> impl Strategy<Value = F::Addr> {
    (0u8..4).prop_map(|last| {
        let texts = [
            ["10.1.0.5", "10.1.0.9", "10.96.0.10", "10.96.0.11"],
            ["fd00:1::5", "fd00:1::9", "fd00:96::10", "fd00:96::11"],
        ];
        let ip: IpAddr = texts[usize::from(F::NUMBER == 6)][usize::from(last)]
            .parse()
            .unwrap();
        F::from_ip(ip).unwrap()
    })
}

fn port() -> impl Strategy<Value = Port> {
    prop_oneof![Just(Port::new(53)), Just(Port::new(80))]
}

fn ports() -> impl Strategy<Value = Ports> {
    (port(), port()).prop_map(|(source, destination)| Ports::new(source, destination))
}

fn proto() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(proto::TCP),
        Just(proto::UDP),
        Just(proto::UDP),
        Just(proto::SCTP)
    ]
}

fn key<F: Family>() -> impl Strategy<Value = FlowKey<F>> {
    (addr::<F>(), addr::<F>(), ports(), proto()).prop_map(|(source, destination, ports, proto)| {
        FlowKey {
            endpoint: ENDPOINT,
            source,
            destination,
            ports,
            proto,
        }
    })
}

fn flow_to<F: Family>() -> impl Strategy<Value = Flow<F>> {
    let seen_s = prop_oneof![Just(NOW_S), Just(NOW_S - 1), Just(NOW_S - 200)];
    (addr::<F>(), addr::<F>(), ports(), 0u32..64, 0u32..4, seen_s).prop_map(
        |(source, destination, ports, flags, backend, last_seen_s)| Flow {
            source,
            destination,
            ports,
            // Mostly those that there are most of.
            flags: if flags >= 32 { 1 << (flags & 1) } else { flags },
            backend,
            last_seen_s,
        },
    )
}

fn memory<F: Family>() -> impl Strategy<Value = Memory<F>> {
    let frontend = (addr::<F>(), port(), proto())
        .prop_map(|(addr, port, proto)| FrontendKey::new(addr, port, proto));
    let set = (0u32..4, 0u32..2).prop_map(|(base, count)| Frontend {
        base,
        count,
        ..Frontend::default()
    });
    let backend =
        (addr::<F>(), port(), proto(), 0u32..3).prop_map(|(addr, port, proto, state)| Backend {
            addr,
            port_proto: port_proto(port, proto),
            state,
            service: 1,
            ..Backend::default()
        });
    (
        prop::collection::btree_map(frontend, set, 0..6),
        prop::collection::vec(backend, 0..4),
        prop::collection::btree_map(key::<F>(), flow_to::<F>(), 0..64),
    )
        .prop_map(|(frontends, mut backends, flows)| {
            // Some flows' backends are what they were.
            for flow in flows.values().take(16) {
                if let Some(backend) = backends.get_mut(flow.backend as usize) {
                    backend.addr = flow.destination;
                    let proto = backend.port_proto >> 16;
                    backend.port_proto = port_proto(flow.ports.destination(), proto);
                }
            }
            Memory {
                frontends,
                backends,
                flows,
                fragments: BTreeMap::new(),
            }
        })
}

/// A packet of the key's tuple; its checksums are any.
fn frame<F: Header>(key: &FlowKey<F>, tcp_flags: u8, checksum: u16) -> Vec<u8> {
    let mut bytes = std::vec![0; 60 + F::LENGTH as usize];
    let length = bytes.len() as u16 - 14;
    let mut store = |offset: u32, word: u32| Buffer(&mut bytes).store(offset, word).unwrap();
    let word = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        u32::from_ne_bytes([a, b, c, d])
    };
    let proto = key.proto as u16;
    if F::NUMBER == 4 {
        store(ETHERNET, word(0x4500, length));
        store(ETHERNET + 4, word(7, 0x4000));
        store(ETHERNET + 8, word(0x4000 | proto, checksum));
    } else {
        store(ETHERNET, word(0x6000, 0));
        store(ETHERNET + 4, word(length - 40, proto << 8 | 64));
    }
    let transport = ETHERNET + F::LENGTH;
    if key.proto == proto::UDP {
        store(transport + 4, word(28, checksum));
    } else {
        store(transport + 12, word(0x5000 | u16::from(tcp_flags), 0));
        store(transport + 16, word(checksum, 0));
    }
    let mut bytes = Buffer(&mut bytes);
    bytes.store(ETHERNET + F::SOURCE, key.source).unwrap();
    bytes
        .store(ETHERNET + F::DESTINATION, key.destination)
        .unwrap();
    bytes.store(transport, key.ports).unwrap();
    bytes.0.to_vec()
}

/// The device that a direction's flows belong to.
fn endpoint(direction: Direction) -> u32 {
    match direction {
        Direction::FromPod | Direction::ToPod => ENDPOINT,
        _ => 0,
    }
}

/// The same tables with their flows where a direction finds them.
fn moved<F: Family>(memory: &Memory<F>, direction: Direction) -> Memory<F> {
    let endpoint = endpoint(direction);
    let flows = memory.flows.iter();
    let flows = flows.map(|(key, flow)| (FlowKey { endpoint, ..*key }, *flow));
    Memory {
        flows: flows.collect(),
        ..memory.clone()
    }
}

fn in_general<F: Header>(
    bytes: &mut Buffer<'_>,
    tables: &mut Memory<F>,
    direction: Direction,
) -> u32 {
    let mut packet = Packet::default();
    let mut layout = Layout::default();
    packet.key.endpoint = endpoint(direction);
    parse(bytes, &mut packet, &mut layout);
    let mut new = Rewrite::default();
    let verdict = match direction {
        Direction::FromPod => flow::from_pod(&packet, tables, &mut new),
        Direction::ToPod => flow::to_pod(&packet, tables, &mut new),
        Direction::ToNet => net::to_net(&packet, tables, &mut new),
        _ => net::from_net(&packet, tables, &mut new),
    };
    if flow::is_translated(verdict) {
        rewrite(bytes, &packet, &layout, &new).unwrap();
    }
    verdict
}

/// Both ways over one packet; true if the short one had an answer.
fn agree<F: Header>(frame: &[u8], memory: &Memory<F>, direction: Direction) -> bool {
    let memory = &moved(memory, direction);
    let (mut bytes, mut tables) = (frame.to_vec(), memory.clone());
    let mut asked = false;
    let verdict = run(
        &mut Buffer(&mut bytes),
        &mut tables,
        direction,
        endpoint(direction),
        |bytes, tables| {
            asked = true;
            in_general(bytes, tables, direction)
        },
    );
    let (mut expected, mut wanted) = (frame.to_vec(), memory.clone());
    let general = in_general(&mut Buffer(&mut expected), &mut wanted, direction);
    assert_eq!(verdict, general, "{direction:?} {memory:?} {frame:02x?}");
    assert_eq!(bytes, expected, "{direction:?} {memory:?} {frame:02x?}");
    assert_eq!(tables, wanted, "{direction:?} {frame:02x?}");
    !asked
}

/// Frames of flows that are known or not, whole or damaged in a byte or two, cut or padded.
fn packet<F: Header>() -> impl Strategy<Value = (Memory<F>, Vec<u8>)> {
    let flags = prop_oneof![
        Just(0x10u8),
        Just(0x02),
        Just(0x11),
        Just(0x14),
        any::<u8>()
    ];
    let checksum = prop_oneof![Just(0u16), Just(0xffff), any::<u16>()];
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    let cut = prop_oneof![Just(0usize), Just(0), 0usize..60];
    let known = (any::<prop::sample::Index>(), 0..4);
    (
        memory::<F>(),
        key::<F>(),
        known,
        flags,
        checksum,
        damage,
        cut,
    )
        .prop_map(
            |(memory, mut own, (index, way), flags, checksum, damage, cut)| {
                if way > 0 && !memory.flows.is_empty() {
                    let key = memory.flows.keys().nth(index.index(memory.flows.len()));
                    own = *key.unwrap();
                }
                if way > 1 {
                    own = own.swapped();
                }
                let mut bytes = frame(&own, flags, checksum);
                for (place, value) in damage {
                    *place.get_mut(&mut bytes[12..]) = value;
                }
                bytes.truncate(bytes.len() - cut);
                (memory, bytes)
            },
        )
}

/// Random packets over random tables; the share that the short way answers is bounded, so that
/// one which answers nothing fails too.
fn both_ways_agree<F: Header>() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut short = 0;
    for _ in 0..1_500 {
        let (memory, frame) = packet::<F>().new_tree(&mut runner).unwrap().current();
        for direction in [
            Direction::FromPod,
            Direction::ToPod,
            Direction::FromNet,
            Direction::ToNet,
        ] {
            short += usize::from(agree(&frame, &memory, direction));
        }
    }
    assert!(short > 600, "only {short} of 6,000 went the short way");
}

#[test]
fn the_short_way_decides_and_writes_ipv4_as_the_general_one_does() {
    both_ways_agree::<Ipv4>();
}

#[test]
fn the_short_way_decides_and_writes_ipv6_as_the_general_one_does() {
    both_ways_agree::<Ipv6>();
}
