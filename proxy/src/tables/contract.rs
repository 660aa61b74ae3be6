//! What every implementation of `Tables` promises: the same tests over all three.
//!
//! The kernel's maps are real ones, pinned in a bpf file system of the test's own.

use std::collections::BTreeSet;

use proxy_datapath::{
    family::{Ipv4, Ipv6, Port, proto},
    frontend::backend,
    tables::{Backend, Frontend, FrontendKey, port_proto},
};
use rstest::rstest;

use super::{
    Access, BpfTables, Error, FaultyTables, MemoryTables, Tables,
    testing::{ScratchPins, privileged},
};
use crate::plan::{FamilyOp, MapState, Op};

const FRONTENDS: u32 = 6_000;
const BACKENDS: u32 = 20_000;

/// Tables under test, and what must live as long.
struct Fixture {
    tables: Box<dyn Tables>,
    _pins: Option<ScratchPins>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Memory,
    Faulty,
    Bpf,
}

/// `None` where the kernel's maps are not to be had.
fn fixture(kind: Kind, frontends_max: u32) -> Option<Fixture> {
    let memory = || MemoryTables::with_frontends_max(frontends_max);
    Some(match kind {
        Kind::Memory => Fixture {
            tables: Box::new(memory()),
            _pins: None,
        },
        Kind::Faulty => Fixture {
            tables: Box::new(FaultyTables::new(memory(), 0, 1)),
            _pins: None,
        },
        Kind::Bpf => {
            if !privileged() {
                return None;
            }
            let pins = ScratchPins::with_maps(frontends_max, BACKENDS);
            let tables = BpfTables::open_pinned(&pins.pins, Access::Write).unwrap();
            Fixture {
                tables: Box::new(tables),
                _pins: Some(pins),
            }
        }
    })
}

fn backend4(id: u32, service: u32) -> Op {
    Op::V4(FamilyOp::Backend {
        id,
        value: Some(backend_value(id, service)),
    })
}

fn backend_value(id: u32, service: u32) -> Backend<Ipv4> {
    Backend {
        addr: std::net::Ipv4Addr::from(0x0a01_0000 + id).into(),
        port_proto: port_proto(Port::new(8080), proto::TCP),
        state: backend::ACTIVE,
        service,
    }
}

fn backend4_gone(id: u32) -> Op {
    Op::V4(FamilyOp::Backend { id, value: None })
}

fn slot(index: u32, backend: u32) -> Op {
    Op::Slot { index, backend }
}

fn key4(number: u32) -> FrontendKey<Ipv4> {
    let addr = std::net::Ipv4Addr::from(0x0a60_0000 + number).into();
    FrontendKey::new(addr, Port::new(80), proto::TCP)
}

fn frontend4(number: u32, service: u32, base: u32, count: u32) -> Op {
    let value = Frontend {
        base,
        count,
        flags: 0,
        service,
    };
    Op::V4(FamilyOp::Frontend {
        key: key4(number),
        value: Some(value),
    })
}

fn frontend4_gone(number: u32) -> Op {
    Op::V4(FamilyOp::Frontend {
        key: key4(number),
        value: None,
    })
}

fn vip4(number: u32, value: Option<u32>) -> Op {
    Op::V4(FamilyOp::Vip {
        addr: key4(number).addr,
        value,
    })
}

/// A service of one frontend and two backends, in the order of `plan`.
fn service(number: u32) -> Vec<Op> {
    let first = 2 * number;
    vec![
        backend4(first, number),
        backend4(first + 1, number),
        slot(first, first),
        slot(first + 1, first + 1),
        vip4(number, Some(1)),
        frontend4(number, number, first, 2),
    ]
}

/// Every slot of every frontend names a backend that is there and belongs to its service.
#[track_caller]
fn assert_sound(state: &MapState) {
    for (key, frontend) in &state.v4.frontends {
        for index in frontend.base..frontend.base + frontend.count {
            let id = state.slots.get(&index);
            let found = id.and_then(|id| state.v4.backends.get(id));
            let owner = found.map(|found| found.service);
            assert_eq!(
                owner,
                Some(frontend.service),
                "slot {index} of {key:?}: {found:?}"
            );
        }
    }
}

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
        "fd00:96::1".parse::<std::net::Ipv6Addr>().unwrap().into(),
        Port::new(53),
        proto::UDP,
    );
    let backend6 = Backend {
        addr: "fd00:10:1::5".parse::<std::net::Ipv6Addr>().unwrap().into(),
        port_proto: port_proto(Port::new(5353), proto::UDP),
        state: backend::TERMINATING,
        service: 9,
    };
    let frontend6 = Frontend {
        base: 40,
        count: 1,
        flags: 0,
        service: 9,
    };
    let mut ops = service(1);
    ops.extend([
        Op::V6(FamilyOp::Backend {
            id: 7,
            value: Some(backend6),
        }),
        slot(40, 7),
        Op::V6(FamilyOp::Vip {
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
    assert_eq!(dump.v4.vips, [(key4(1).addr, 1)].into());
    assert_eq!(dump.v6.frontends, [(key6, frontend6)].into());
    assert_eq!(dump.v6.backends, [(7, backend6)].into());
    assert_eq!(dump.v6.vips, [(key6.addr, 1)].into());
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
            .apply(&[frontend4_gone(1), vip4(1, None), backend4_gone(2)])
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
        vip4(4, None),
        vip4(5, None),
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
    let ops: Vec<Op> = (0..6)
        .flat_map(|at| services.iter().map(move |ops| ops[at]))
        .collect();
    assert!(fixture.tables.apply(&ops).is_empty());
    assert!(memory.apply(&ops).is_empty());
    assert!(fixture.tables.dump().unwrap() == memory.dump().unwrap());
}

#[rstest]
#[case::memory(Kind::Memory)]
#[case::faulty(Kind::Faulty)]
#[case::bpf(Kind::Bpf)]
fn a_full_table_fails_by_name_and_keeps_what_the_old_set_needs(#[case] kind: Kind) {
    let Some(mut fixture) = fixture(kind, 3) else {
        return;
    };
    let ops: Vec<Op> = (0..4).flat_map(service).collect();
    let failures = fixture.tables.apply(&ops);
    let failed: Vec<_> = failures.iter().map(|failure| failure.op).collect();
    assert!(failed.contains(&frontend4(3, 3, 6, 2)), "{failures:?}");
    let text = failures.last().unwrap().to_string();
    assert!(text.starts_with("frontend 10.96.0.3:80"), "{text}");

    // Services 0 to 2 are in; service 3 cannot be, and behind it its backends do not go.
    let ops = [frontend4(3, 3, 6, 1), backend4_gone(6), backend4_gone(7)];
    let failures = fixture.tables.apply(&ops);
    assert_eq!(failures.len(), 3, "{failures:?}");
    assert!(matches!(
        failures[0].error,
        Error::Map { .. } | Error::Withheld { .. }
    ));
    assert!(
        matches!(failures[1].error, Error::Withheld { .. }),
        "{failures:?}"
    );

    let dump = fixture.tables.dump().unwrap();
    assert_eq!(dump.v4.frontends.len(), 3);
    assert_sound(&dump);
}

#[rstest]
#[case::rarely(20)]
#[case::often(400)]
fn whatever_fails_every_frontend_keeps_backends_that_exist(#[case] failures_per_mille: u32) {
    for seed in 0..200 {
        let mut tables = FaultyTables::new(MemoryTables::default(), failures_per_mille, seed);
        let services = 0..5u32;
        // Three sets after each other, each with backends of its own, on slots of its own.
        for round in 0..3 {
            let base = |service: u32| 100 * round + 10 * service;
            let mut ops = Vec::new();
            for at in 0..3 {
                ops.extend(services.clone().map(|s| backend4(base(s) + at, s)));
            }
            for at in 0..3 {
                ops.extend(services.clone().map(|s| slot(base(s) + at, base(s) + at)));
            }
            ops.extend(services.clone().map(|s| frontend4(s, s, base(s), 3)));
            let old: BTreeSet<u32> = tables.dump().unwrap().v4.backends.into_keys().collect();
            let old = old.into_iter().filter(|id| *id < 100 * round);
            ops.extend(old.map(backend4_gone));

            let mut failures = tables.apply(&ops);
            assert_sound(&tables.dump().unwrap());
            tables.failures_per_mille = 0;
            while !failures.is_empty() {
                failures = tables.apply(&ops);
                assert_sound(&tables.dump().unwrap());
            }
            tables.failures_per_mille = failures_per_mille;
            let dump = tables.dump().unwrap();
            assert_eq!(dump.v4.backends.len(), 15, "seed {seed}, round {round}");
        }
    }
}
