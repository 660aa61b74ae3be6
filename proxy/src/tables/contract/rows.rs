//! What is written is read, row by row.

use std::net::Ipv6Addr;

use proxy_datapath::{
    family::{Ipv6, Port, proto},
    frontend::{KIND_SHIFT, WIRE_LOCAL, backend, kind, range},
    tables::{
        Backend, Frontend, FrontendKey, Node, Prefix, RANGES_MAX, SourceKey, Uplink, port_proto,
    },
};
use rstest::rstest;

use super::{
    FRONTENDS, Kind, MemoryTables, address4, backend_value, backend4_gone, fixture, frontend4,
    frontend4_gone, key4, service, slot, source4,
};
use crate::{
    plan::{Changes, FamilyOp, FamilyState, MapState, Op, plan},
    tables::Tables as _,
};

#[rstest]
#[case::memory(Kind::Memory)]
#[case::faulty(Kind::Faulty)]
#[case::bpf(Kind::Bpf)]
fn what_is_applied_is_dumped(#[case] kind: Kind) {
    let Some(mut fixture) = fixture(kind, FRONTENDS) else {
        return;
    };
    assert_eq!(fixture.tables.dump().unwrap(), MapState::default());

    let key6 = FrontendKey::<Ipv6>::new(
        "fd00:96::1".parse::<Ipv6Addr>().unwrap().into(),
        Port::new(53),
        proto::UDP,
    );
    let backend6 = Backend {
        addr: "fd00:10:1::5".parse::<Ipv6Addr>().unwrap().into(),
        port_proto: port_proto(Port::new(5353), proto::UDP),
        state: backend::TERMINATING,
        flags: backend::HERE | backend::IN_LOCAL_SET,
        service: 9,
    };
    let frontend6 = Frontend {
        wire_base: 40,
        wire_count: 1,
        flags: WIRE_LOCAL | kind::NODE_PORT << KIND_SHIFT,
        service: 9,
        affinity: 10_800,
        ..Frontend::default()
    };
    let mut ops = service(1);
    ops.extend([
        Op::V6(FamilyOp::Backend {
            id: 7,
            value: Some(backend6),
        }),
        slot(40, 7),
        Op::V6(FamilyOp::Address {
            addr: key6.addr,
            value: Some(1),
        }),
        Op::V6(FamilyOp::Frontend {
            key: key6,
            value: Some(frontend6),
        }),
    ]);
    assert!(fixture.tables.apply(&ops).is_empty());

    let dump = fixture.tables.dump().unwrap();
    assert_eq!(dump.v4.frontends.len(), 1);
    assert_eq!(
        dump.v4.backends,
        [2, 3].map(|id| (id, backend_value(id, 1))).into()
    );
    assert_eq!(dump.v4.addresses, [(key4(1).addr, 1)].into());
    assert_eq!(dump.v6.frontends, [(key6, frontend6)].into());
    assert_eq!(dump.v6.backends, [(7, backend6)].into());
    assert_eq!(dump.v6.addresses, [(key6.addr, 1)].into());
    assert_eq!(dump.slots, [(2, 2), (3, 3), (40, 7)].into());
}

#[rstest]
#[case::memory(Kind::Memory)]
#[case::faulty(Kind::Faulty)]
#[case::bpf(Kind::Bpf)]
fn what_is_removed_or_uncovered_is_not_dumped(#[case] kind: Kind) {
    let Some(mut fixture) = fixture(kind, FRONTENDS) else {
        return;
    };
    assert!(fixture.tables.apply(&service(1)).is_empty());

    assert!(
        fixture
            .tables
            .apply(&[frontend4(1, 1, 2, 1), backend4_gone(3)])
            .is_empty()
    );
    let dump = fixture.tables.dump().unwrap();
    assert_eq!(
        dump.slots,
        [(2, 2)].into(),
        "slot 3 is in no frontend's set any more"
    );
    assert_eq!(dump.v4.backends.keys().copied().collect::<Vec<_>>(), [2]);

    assert!(
        fixture
            .tables
            .apply(&[frontend4_gone(1), address4(1, None), backend4_gone(2)])
            .is_empty()
    );
    assert_eq!(fixture.tables.dump().unwrap(), MapState::default());
}

#[rstest]
#[case::memory(Kind::Memory)]
#[case::faulty(Kind::Faulty)]
#[case::bpf(Kind::Bpf)]
fn removing_what_is_not_there_succeeds(#[case] kind: Kind) {
    let Some(mut fixture) = fixture(kind, FRONTENDS) else {
        return;
    };
    assert!(fixture.tables.apply(&service(5)).is_empty());
    let ops = [
        frontend4_gone(4),
        frontend4_gone(5),
        frontend4_gone(6),
        address4(4, None),
        address4(5, None),
        backend4_gone(10),
        backend4_gone(11),
        backend4_gone(12),
    ];
    assert!(fixture.tables.apply(&ops).is_empty());
    assert_eq!(fixture.tables.dump().unwrap(), MapState::default());
}

#[rstest]
#[case::memory(Kind::Memory)]
#[case::faulty(Kind::Faulty)]
#[case::bpf(Kind::Bpf)]
fn tables_larger_than_a_page_survive_the_round_trip(#[case] kind: Kind) {
    let Some(mut fixture) = fixture(kind, FRONTENDS) else {
        return;
    };
    let mut memory = MemoryTables::default();
    let services: Vec<_> = (0..5_000).map(service).collect();
    // As `plan` orders them: table by table.
    let sources = (0..5_000).map(|number| source4(number, 0, Some(1)));
    let ops: Vec<Op> = (0..6)
        .flat_map(|at| services.iter().map(move |ops| ops[at]))
        .chain(sources)
        .collect();
    assert!(fixture.tables.apply(&ops).is_empty());
    assert!(memory.apply(&ops).is_empty());
    assert!(fixture.tables.dump().unwrap() == memory.dump().unwrap());
}

/// Rows of the tables that say where the node is and whom it admits.
fn placed() -> FamilyState<Ipv6> {
    let addr = |last: u16| Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, last).into();
    let source = |bits: u32, addr| SourceKey {
        prefix_length: 32 + bits,
        service: 9,
        addr,
    };
    let prefix = Prefix {
        addr: addr(0),
        mask: Ipv6Addr::from(u128::MAX << 64).into(),
    };
    let node = Node {
        addr: addr(1),
        snat_first: [32_768, 61_000],
        snat_count: [5, 4_536],
    };
    let uplink = |last| Uplink { addr: addr(last) };
    FamilyState {
        sources: [
            (source(0, Ipv6Addr::UNSPECIFIED.into()), 1),
            (source(64, addr(0)), 1),
            (source(128, addr(0)), 1),
            (source(128, addr(7)), 1),
        ]
        .into(),
        ranges: [(range::PODS, prefix), (RANGES_MAX - 1, prefix)].into(),
        nodes: [(0, node)].into(),
        uplinks: [(2, uplink(1)), (u32::MAX, uplink(2))].into(),
        ..FamilyState::default()
    }
}

#[rstest]
#[case::memory(Kind::Memory)]
#[case::faulty(Kind::Faulty)]
#[case::bpf(Kind::Bpf)]
fn where_the_node_is_and_whom_it_admits_is_dumped_until_it_is_removed(#[case] kind: Kind) {
    let Some(mut fixture) = fixture(kind, FRONTENDS) else {
        return;
    };
    let nothing = MapState::default();
    let full = MapState {
        v6: placed(),
        ..MapState::default()
    };
    let everything = Changes::everything(&nothing, &full);
    let ops = plan(&nothing, &full, &everything);
    assert_eq!(ops.len(), 9);
    assert!(fixture.tables.apply(&ops).is_empty());
    assert_eq!(fixture.tables.dump().unwrap(), full);
    let ops = plan(&full, &nothing, &everything);
    assert!(fixture.tables.apply(&ops).is_empty());
    assert_eq!(fixture.tables.dump().unwrap(), nothing);
    assert!(fixture.tables.apply(&ops).is_empty(), "all is gone already");
}

#[rstest]
#[case::memory(Kind::Memory)]
#[case::faulty(Kind::Faulty)]
#[case::bpf(Kind::Bpf)]
fn an_empty_row_of_an_array_is_no_row(#[case] kind: Kind) {
    let Some(mut fixture) = fixture(kind, FRONTENDS) else {
        return;
    };
    let ops = [
        Op::V6(FamilyOp::Range {
            index: range::PODS,
            value: Some(Prefix::default()),
        }),
        Op::V6(FamilyOp::Node {
            value: Some(Node::default()),
        }),
    ];
    assert!(fixture.tables.apply(&ops).is_empty());
    assert_eq!(fixture.tables.dump().unwrap(), MapState::default());
    let op = Op::V6(FamilyOp::Range {
        index: RANGES_MAX,
        value: Some(Prefix::default()),
    });
    let failures = fixture.tables.apply(&[op]);
    let text = failures[0].to_string();
    assert!(
        text.starts_with("range 16 (ipv6): cannot write to"),
        "{text}"
    );
}
