//! What is found in the maps at the start, and who adopts it.
//!
//! Frontends may share a set: an agent that was killed between two operations leaves the frontend
//! that was to go beside the one that came.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

use proxy_datapath::{
    family::Family,
    tables::{Frontend, FrontendKey},
};

use super::{part::Part, pass::Pass, store::Half};
use crate::plan::FamilyState;

/// What was found in the maps and has not been adopted.
#[derive(Debug)]
pub(super) struct Orphans<F: Family> {
    /// By their first slot.
    sets: BTreeMap<u32, FoundSet<F>>,
    /// By the id of their service port, each list by address and port.
    backends: HashMap<u32, Vec<u32>>,
    /// Backends under ids that are never given out.
    strays: Vec<u32>,
}

#[derive(Debug)]
struct FoundSet<F: Family> {
    range: Range<u32>,
    readers: Vec<FrontendKey<F>>,
}

impl<F: Family> Default for Orphans<F> {
    fn default() -> Self {
        Self {
            sets: BTreeMap::new(),
            backends: HashMap::new(),
            strays: Vec::new(),
        }
    }
}

// === impl Half: adoption ===

impl<F: Family> Half<F> {
    /// What a service port with this id and these frontends has.
    pub(super) fn adopt(
        &mut self,
        rows: &FamilyState<F>,
        id: u32,
        keys: &[FrontendKey<F>],
    ) -> Part<F> {
        let mut part = Part {
            backends: self.orphans.backends.remove(&id).unwrap_or_default(),
            ..Part::default()
        };
        let its = |key: &FrontendKey<F>| rows.frontends.get(key).filter(|row| row.service == id);
        for row in keys.iter().filter_map(its) {
            if row.count == 0 {
                part.value = Some(*row);
            } else if let Some(found) = self.orphans.take_set(row) {
                part.value = Some(*row);
                part.former = found.readers;
            } else {
                continue;
            }
            break;
        }
        let same = |key: &&FrontendKey<F>| part.value.is_some() && its(key) == part.value.as_ref();
        part.frontends = keys.iter().filter(same).copied().collect();
        part
    }
}

// === impl Orphans ===

impl<F: Family> Orphans<F> {
    fn take_set(&mut self, row: &Frontend) -> Option<FoundSet<F>> {
        let found = self.sets.get(&row.base)?;
        if found.range != set_of(row) {
            return None;
        }
        self.sets.remove(&row.base)
    }
}

const fn set_of(row: &Frontend) -> Range<u32> {
    row.base..row.base.saturating_add(row.count)
}

// === impl Pass: the first one ===

impl<F: Family> Pass<'_, F> {
    /// Begins with what the maps hold.
    pub(super) fn restore(&mut self, actual: &FamilyState<F>, slots: &BTreeMap<u32, u32>) {
        *self.rows = actual.clone();
        let Orphans {
            sets,
            backends,
            strays,
        } = &mut self.half.orphans;
        for (&id, row) in &actual.backends {
            if self.half.ids.reserve(id) {
                backends.entry(row.service).or_default().push(id);
            } else {
                self.rows.backends.remove(&id);
                strays.push(id);
            }
        }
        let order = |id: &u32| {
            actual
                .backends
                .get(id)
                .map(|row| (row.addr, row.port_proto))
        };
        for ids in backends.values_mut() {
            ids.sort_by_cached_key(order);
        }
        for (&key, row) in actual.frontends.iter().filter(|(_, row)| row.count > 0) {
            let range = set_of(row);
            if let Some(found) = sets.get_mut(&row.base) {
                found.readers.push(key);
            } else if self.sets.ranges.reserve(range.clone()) {
                self.sets.slots.extend(slots.range(range.clone()));
                sets.insert(
                    row.base,
                    FoundSet {
                        range,
                        readers: vec![key],
                    },
                );
            }
        }
    }

    /// Removes what nobody has adopted. `kept` are the frontends that have an owner.
    pub(super) fn sweep(&mut self, kept: &BTreeSet<FrontendKey<F>>) {
        let ownerless = self.rows.frontends.keys().filter(|key| !kept.contains(key));
        for key in ownerless.copied().collect::<Vec<_>>() {
            self.remove_frontend(key);
        }
        let unused = self
            .rows
            .vips
            .keys()
            .filter(|addr| !self.rows.has_frontend_at(**addr));
        for addr in unused.copied().collect::<Vec<_>>() {
            self.rows.vips.remove(&addr);
            self.changes.vips.push(addr);
        }
        let Orphans {
            sets,
            backends,
            mut strays,
        } = std::mem::take(&mut self.half.orphans);
        for FoundSet { range, readers } in sets.into_values() {
            self.leave_range(range, readers);
        }
        for id in backends.into_values().flatten() {
            self.remove_backend(id);
        }
        self.changes.backends.append(&mut strays);
    }
}
