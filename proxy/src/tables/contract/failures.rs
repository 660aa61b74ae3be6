//! What is withheld when a write fails.

use proxy_datapath::{
    family::{Addr4, Port, proto},
    frontend::{SOURCE_RANGES, address},
    tables::{Frontend, FrontendKey, SLOTS_MAX},
};
use rstest::rstest;

use super::{
    Kind, address4, assert_sound, backend4, backend4_gone, fixture, frontend_value, frontend4,
    frontend4_as, service, slot, source4,
};
use crate::{
    plan::{FamilyOp, MapState, Op},
    tables::{Error, FaultyTables, MemoryTables, Tables as _},
};

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
#[case::memory(Kind::Memory)]
#[case::faulty(Kind::Faulty)]
#[case::bpf(Kind::Bpf)]
fn without_room_for_a_source_its_service_keeps_those_it_admits_80(#[case] kind: Kind) {
    let Some(mut fixture) = fixture(kind, 2) else {
        return;
    };
    let guarded = |base| Frontend {
        flags: SOURCE_RANGES,
        ..frontend_value(base)
    };
    let mut ops = service(1);
    ops.extend([source4(1, 0, Some(1)), frontend4_as(1, guarded(2))]);
    assert!(fixture.tables.apply(&ops).is_empty());
    let before = fixture.tables.dump().unwrap();

    // Two new ranges for one old one, and another set: the second range does not fit.
    let ops = [
        backend4(9, 1),
        slot(9, 9),
        source4(1, 1, Some(1)),
        source4(1, 2, Some(1)),
        frontend4_as(1, guarded(9)),
        source4(1, 0, None),
        backend4_gone(2),
        backend4_gone(3),
    ];
    let failures = fixture.tables.apply(&ops);
    let failed: Vec<_> = failures.iter().map(|failure| failure.place).collect();
    assert_eq!(failed, [3, 4, 5, 6, 7], "{failures:?}");
    let text = failures[0].to_string();
    let words = "source 192.168.0.2/32 of service port 1: cannot write to";
    assert!(text.starts_with(words), "{text}");
    let after = fixture.tables.dump().unwrap();
    assert_eq!(after.v4.frontends, before.v4.frontends);
    assert_eq!(after.v4.sources.len(), 2);
    assert_sound(&after);
}

#[test]
fn a_frontend_that_asks_for_no_sources_does_not_wait_for_them() {
    let mut tables = MemoryTables::with_frontends_max(1);
    let mut ops = service(1);
    ops.splice(4..4, [source4(1, 1, Some(1)), source4(1, 2, Some(1))]);
    let failures = tables.apply(&ops);
    let failed: Vec<_> = failures.iter().map(|failure| failure.place).collect();
    assert_eq!(failed, [5], "{failures:?}");
}

#[test]
fn a_frontend_waits_for_the_slots_of_the_wire_too() {
    let mut tables = MemoryTables::default();
    let local = Frontend {
        wire_base: SLOTS_MAX,
        ..frontend_value(2)
    };
    let mut ops = service(1);
    ops.splice(5.., [slot(SLOTS_MAX, 2), frontend4_as(1, local)]);
    let failures = tables.apply(&ops);
    let failed: Vec<_> = failures.iter().map(|failure| failure.place).collect();
    assert_eq!(failed, [5, 6], "{failures:?}");
}

#[test]
fn a_frontend_waits_for_its_address_and_a_node_port_for_none() {
    let mut tables = MemoryTables::with_frontends_max(1);
    assert!(
        tables
            .apply(&[address4(0, Some(address::FRONTEND))])
            .is_empty()
    );
    let wildcard = Op::V4(FamilyOp::Frontend {
        key: FrontendKey::new(Addr4::default(), Port::new(30_080), proto::TCP),
        value: Some(frontend_value(2)),
    });
    // The node's address has no room, nor has the ClusterIP.
    let mut ops = service(1);
    ops.insert(4, address4(2, Some(address::NODE | address::NODE_PORT)));
    ops.insert(6, wildcard);
    let failures = tables.apply(&ops);
    let failed: Vec<_> = failures.iter().map(|failure| failure.place).collect();
    assert_eq!(failed, [4, 5, 7], "{failures:?}");
}

/// The frontends ask for sources; those of each set's round are there.
#[track_caller]
fn assert_admitting(state: &MapState) {
    for frontend in state.v4.frontends.values() {
        let round = frontend.base / 100;
        for number in [2 * round, 2 * round + 1] {
            let Op::V4(FamilyOp::Source { key, .. }) = source4(frontend.service, number, None)
            else {
                unreachable!("`source4` makes sources");
            };
            assert!(state.v4.sources.contains_key(&key), "{frontend:?}: {key:?}");
        }
    }
}

#[rstest]
#[case::rarely(20)]
#[case::often(400)]
fn whatever_fails_every_frontend_keeps_backends_that_exist_and_the_sources_it_admits(
    #[case] failures_per_mille: u32,
) {
    for seed in 0..200 {
        let mut tables = FaultyTables::new(MemoryTables::default(), failures_per_mille, seed);
        let services = 0..5u32;
        let set = |service, base| Frontend {
            count: 3,
            wire_base: base + 2,
            wire_count: 1,
            flags: SOURCE_RANGES,
            service,
            ..frontend_value(base)
        };
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
            for number in [2 * round, 2 * round + 1] {
                ops.extend(services.clone().map(|s| source4(s, number, Some(1))));
            }
            ops.extend(services.clone().map(|s| frontend4_as(s, set(s, base(s)))));
            let old = tables.dump().unwrap();
            for (key, _) in old.v4.sources {
                let value = None;
                let is_new = ops.contains(&Op::V4(FamilyOp::Source {
                    key,
                    value: Some(1),
                }));
                ops.extend((!is_new).then_some(Op::V4(FamilyOp::Source { key, value })));
            }
            let old = old.v4.backends.into_keys().filter(|id| *id < 100 * round);
            ops.extend(old.map(backend4_gone));

            let mut failures = tables.apply(&ops);
            assert_sound(&tables.dump().unwrap());
            assert_admitting(&tables.dump().unwrap());
            tables.failures_per_mille = 0;
            while !failures.is_empty() {
                failures = tables.apply(&ops);
                assert_sound(&tables.dump().unwrap());
                assert_admitting(&tables.dump().unwrap());
            }
            tables.failures_per_mille = failures_per_mille;
            let dump = tables.dump().unwrap();
            assert_eq!(dump.v4.backends.len(), 15, "seed {seed}, round {round}");
            assert_eq!(dump.v4.sources.len(), 10, "seed {seed}, round {round}");
        }
    }
}
