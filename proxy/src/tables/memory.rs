//! The service maps as plain collections, for tests and simulations.

use std::collections::BTreeMap;

use proxy_datapath::{
    family::Family,
    frontend::backend,
    tables::{
        ADDRESSES_MAX, BACKENDS_MAX, FRONTENDS_MAX, Node, Prefix, RANGES_MAX, SLOTS_MAX,
        SOURCES_MAX, UPLINKS_MAX,
    },
};

use super::{Error, Tables};
use crate::plan::{FamilyOp, FamilyState, MapState, Op};

/// Behaves as the kernel's maps do: entries stay until they are replaced, and a full map takes no
/// more.
#[derive(Clone, Debug)]
pub struct MemoryTables {
    state: MapState,
    limits: Limits,
}

/// Entries of each family.
#[derive(Clone, Copy, Debug)]
struct Limits {
    frontends: u32,
    addresses: u32,
    sources: u32,
}

impl Default for MemoryTables {
    fn default() -> Self {
        Self {
            state: MapState::default(),
            limits: Limits {
                frontends: FRONTENDS_MAX,
                addresses: ADDRESSES_MAX,
                sources: SOURCES_MAX,
            },
        }
    }
}

impl MemoryTables {
    /// Holds at most so many frontends, addresses and source ranges of each family.
    pub fn with_frontends_max(frontends_max: u32) -> Self {
        Self {
            state: MapState::default(),
            limits: Limits {
                frontends: frontends_max,
                addresses: frontends_max,
                sources: frontends_max,
            },
        }
    }
}

impl Tables for MemoryTables {
    fn dump(&self) -> Result<MapState, Error> {
        Ok(self.state.clone().covered())
    }

    fn write(&mut self, run: &[Op]) -> Vec<(usize, Error)> {
        let mut failed = Vec::new();
        for (at, op) in run.iter().enumerate() {
            let result = match *op {
                Op::Slot { index, .. } if index >= SLOTS_MAX => Err(full("SLOTS")),
                Op::Slot { index, backend } => {
                    self.state.slots.insert(index, backend);
                    Ok(())
                }
                Op::V4(op) => write_one(&mut self.state.v4, op, self.limits),
                Op::V6(op) => write_one(&mut self.state.v6, op, self.limits),
            };
            failed.extend(result.err().map(|error| (at, error)));
        }
        failed
    }

    fn owner(&self, op: &Op) -> Result<Option<u32>, Error> {
        Ok(match op {
            Op::V4(op) => owner_in(&self.state.v4, op),
            Op::V6(op) => owner_in(&self.state.v6, op),
            Op::Slot { .. } => None,
        })
    }
}

fn write_one<F: Family>(
    state: &mut FamilyState<F>,
    op: FamilyOp<F>,
    limits: Limits,
) -> Result<(), Error> {
    match op {
        FamilyOp::Backend { id, value } => {
            let value = value.filter(|value| value.state != backend::GONE);
            set(&mut state.backends, id, value, BACKENDS_MAX).ok_or("BACKENDS")
        }
        FamilyOp::Range { index, value } => {
            let value = value.filter(|value| *value != Prefix::default());
            set(&mut state.ranges, index, value, RANGES_MAX).ok_or("RANGES")
        }
        FamilyOp::Node { value } => {
            let value = value.filter(|value| *value != Node::default());
            set(&mut state.nodes, 0, value, 1).ok_or("NODE")
        }
        FamilyOp::Source { key, value } => {
            put(&mut state.sources, key, value, limits.sources).ok_or("SOURCES")
        }
        FamilyOp::Uplink { ifindex, value } => {
            put(&mut state.uplinks, ifindex, value, UPLINKS_MAX).ok_or("UPLINKS")
        }
        FamilyOp::Address { addr, value } => {
            put(&mut state.addresses, addr, value, limits.addresses).ok_or("ADDRESSES")
        }
        FamilyOp::Frontend { key, value } => {
            put(&mut state.frontends, key, value, limits.frontends).ok_or("FRONTENDS")
        }
    }
    .map_err(full)
}

/// An array's entry; `None` if the array ends before.
fn set<V>(rows: &mut BTreeMap<u32, V>, index: u32, value: Option<V>, max: u32) -> Option<()> {
    if index >= max {
        return None;
    }
    put(rows, index, value, max)
}

/// A hash's entry; `None` if there is no room.
fn put<K: Ord, V>(rows: &mut BTreeMap<K, V>, key: K, value: Option<V>, max: u32) -> Option<()> {
    let has_room = rows.len() < max as usize;
    match value {
        Some(value) if has_room || rows.contains_key(&key) => drop(rows.insert(key, value)),
        Some(_) => return None,
        None => drop(rows.remove(&key)),
    }
    Some(())
}

fn owner_in<F: Family>(state: &FamilyState<F>, op: &FamilyOp<F>) -> Option<u32> {
    match op {
        FamilyOp::Backend { id, .. } => state.backends.get(id).map(|found| found.service),
        FamilyOp::Frontend { key, .. } => state.frontends.get(key).map(|found| found.service),
        FamilyOp::Source { .. }
        | FamilyOp::Range { .. }
        | FamilyOp::Node { .. }
        | FamilyOp::Uplink { .. }
        | FamilyOp::Address { .. } => None,
    }
}

/// As the kernel says it.
fn full(map: &'static str) -> Error {
    let source = std::io::Error::from_raw_os_error(libc::E2BIG);
    Error::Map {
        map,
        operation: "write to",
        source,
    }
}
