//! The service maps as plain collections, for tests and simulations.

use std::collections::BTreeMap;

use proxy_datapath::{
    family::Family,
    frontend::backend,
    tables::{BACKENDS_MAX, FRONTENDS_MAX, SLOTS_MAX},
};

use super::{Error, Tables};
use crate::plan::{FamilyOp, FamilyState, MapState, Op};

/// Behaves as the kernel's maps do: entries stay until they are replaced, and a full map takes no
/// more.
#[derive(Clone, Debug)]
pub struct MemoryTables {
    state: MapState,
    frontends_max: usize,
}

impl Default for MemoryTables {
    fn default() -> Self {
        Self::with_frontends_max(FRONTENDS_MAX)
    }
}

impl MemoryTables {
    /// Holds at most so many frontends of each family.
    pub fn with_frontends_max(frontends_max: u32) -> Self {
        Self {
            state: MapState::default(),
            frontends_max: frontends_max as usize,
        }
    }
}

impl Tables for MemoryTables {
    fn dump(&self) -> Result<MapState, Error> {
        let mut state = self.state.clone();
        state.slots = BTreeMap::new();
        let v4 = self.state.v4.frontends.values();
        for frontend in v4.chain(self.state.v6.frontends.values()) {
            let set = frontend.base..frontend.base.saturating_add(frontend.count);
            state.slots.extend(self.state.slots.range(set));
        }
        Ok(state)
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
                Op::V4(op) => write_one(&mut self.state.v4, op, self.frontends_max),
                Op::V6(op) => write_one(&mut self.state.v6, op, self.frontends_max),
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
    frontends_max: usize,
) -> Result<(), Error> {
    match op {
        FamilyOp::Backend { id, .. } if id >= BACKENDS_MAX => return Err(full("BACKENDS")),
        FamilyOp::Backend { id, value } => {
            put(
                &mut state.backends,
                id,
                value.filter(|value| value.state != backend::GONE),
            );
        }
        FamilyOp::Vip { addr, value } => put(&mut state.vips, addr, value),
        FamilyOp::Frontend {
            key,
            value: Some(_),
        } if state.frontends.len() >= frontends_max && !state.frontends.contains_key(&key) => {
            return Err(full("FRONTENDS"));
        }
        FamilyOp::Frontend { key, value } => put(&mut state.frontends, key, value),
    }
    Ok(())
}

fn put<K: Ord, V>(entries: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => entries.insert(key, value),
        None => entries.remove(&key),
    };
}

fn owner_in<F: Family>(state: &FamilyState<F>, op: &FamilyOp<F>) -> Option<u32> {
    match op {
        FamilyOp::Backend { id, .. } => state.backends.get(id).map(|found| found.service),
        FamilyOp::Frontend { key, .. } => state.frontends.get(key).map(|found| found.service),
        FamilyOp::Vip { .. } => None,
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
