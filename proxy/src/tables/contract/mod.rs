//! What every implementation of `Tables` promises: the same tests over all three.
//!
//! The kernel's maps are real ones, pinned in a bpf file system of the test's own.

mod failures;
mod rows;

use std::net::Ipv4Addr;

use proxy_datapath::{
    family::{Ipv4, Port, proto},
    frontend::{address, backend},
    tables::{Backend, Frontend, FrontendKey, SourceKey, port_proto},
};

use super::{
    Access, BpfTables, FaultyTables, MemoryTables, Tables,
    testing::{ScratchPins, privileged},
};
use crate::plan::{FamilyOp, MapState, Op, sets_of};

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
        addr: Ipv4Addr::from(0x0a01_0000 + id).into(),
        port_proto: port_proto(Port::new(8080), proto::TCP),
        state: backend::ACTIVE,
        flags: backend::IN_CLUSTER_SET,
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
    let addr = Ipv4Addr::from(0x0a60_0000 + number).into();
    FrontendKey::new(addr, Port::new(80), proto::TCP)
}

/// Of service 1, one slot for everybody.
fn frontend_value(base: u32) -> Frontend {
    Frontend {
        base,
        count: 1,
        wire_base: base,
        wire_count: 1,
        service: 1,
        ..Frontend::default()
    }
}

fn frontend4(number: u32, service: u32, base: u32, count: u32) -> Op {
    let value = Frontend {
        count,
        wire_count: count,
        service,
        ..frontend_value(base)
    };
    frontend4_as(number, value)
}

fn frontend4_as(number: u32, value: Frontend) -> Op {
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

fn address4(number: u32, value: Option<u32>) -> Op {
    Op::V4(FamilyOp::Address {
        addr: key4(number).addr,
        value,
    })
}

/// A range of one address that a service admits.
fn source4(service: u32, number: u32, value: Option<u32>) -> Op {
    let key = SourceKey {
        prefix_length: 64,
        service,
        addr: Ipv4Addr::from(0xc0a8_0000 + number).into(),
    };
    Op::V4(FamilyOp::Source { key, value })
}

/// A service of one frontend and two backends, in the order of `plan`.
fn service(number: u32) -> Vec<Op> {
    let first = 2 * number;
    vec![
        backend4(first, number),
        backend4(first + 1, number),
        slot(first, first),
        slot(first + 1, first + 1),
        address4(number, Some(address::FRONTEND)),
        frontend4(number, number, first, 2),
    ]
}

/// Every slot of every frontend names a backend that is there and belongs to its service.
#[track_caller]
fn assert_sound(state: &MapState) {
    for (key, frontend) in &state.v4.frontends {
        for index in sets_of(frontend).into_iter().flatten() {
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
