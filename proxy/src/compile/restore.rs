//! What is found in the maps at the start, and who adopts it.
//!
//! Frontends may share a set: those of one service port do, and an agent that was killed between
//! two operations leaves the frontend that was to go beside the one that came.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

use proxy_datapath::{
    family::Family,
    tables::{FrontendKey, SourceKey},
};

use super::{part::Part, pass::Pass, sets::Sets, store::Half};
use crate::plan::FamilyState;

/// What was found in the maps and has not been adopted.
#[derive(Debug)]
pub(super) struct Orphans<F: Family> {
    /// By their first slot.
    sets: BTreeMap<u32, FoundSet<F>>,
    /// By the id of their service port, each list by address and port.
    backends: HashMap<u32, Vec<u32>>,
    /// By the id of their service port, in the order of the keys.
    sources: HashMap<u32, Vec<SourceKey<F>>>,
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
            sources: HashMap::new(),
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
            sources: self.orphans.sources.remove(&id).unwrap_or_default(),
            ..Part::default()
        };
        for key in keys {
            let Some(row) = rows.frontends.get(key).filter(|row| row.service == id) else {
                continue;
            };
            if self.adopt_sets(&mut part, Sets::of_row(row)) {
                part.frontends.push(*key);
            }
        }
        part
    }

    /// Adopts the sets of one frontend; false if one of them is not there any more, or the service
    /// port has another in its place.
    fn adopt_sets(&mut self, part: &mut Part<F>, found: Sets) -> bool {
        let mut sets = part.sets.unwrap_or(Sets {
            spans: [None; 2],
            ..found
        });
        for (known, span) in sets.spans.iter_mut().zip(found.spans) {
            let Some(span) = span else { continue };
            if known.is_some_and(|known| known != span) {
                return false;
            }
            *known = Some(span);
        }
        let known: Vec<Range<u32>> = part.sets.iter().flat_map(Sets::ranges).collect();
        let missing = || sets.ranges().filter(|range| !known.contains(range));
        if !missing().all(|range| self.orphans.has_set(&range)) {
            return false;
        }
        for found in missing().filter_map(|range| self.orphans.sets.remove(&range.start)) {
            part.former.extend(found.readers);
        }
        part.sets = Some(sets);
        true
    }
}

// === impl Orphans ===

impl<F: Family> Orphans<F> {
    fn has_set(&self, range: &Range<u32>) -> bool {
        let found = self.sets.get(&range.start);
        found.is_some_and(|found| found.range == *range)
    }
}

// === impl Pass: the first one ===

impl<F: Family> Pass<'_, F> {
    /// Begins with what the maps hold.
    pub(super) fn restore(&mut self, actual: &FamilyState<F>, slots: &BTreeMap<u32, u32>) {
        *self.rows = actual.clone();
        let Orphans {
            sets,
            backends,
            sources,
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
        for &key in actual.sources.keys() {
            sources.entry(key.service).or_default().push(key);
        }
        for (&key, row) in &actual.frontends {
            for range in Sets::of_row(row).ranges() {
                if let Some(found) = sets.get_mut(&range.start) {
                    found.readers.push(key);
                } else if self.sets.ranges.reserve(range.clone()) {
                    self.sets.slots.extend(slots.range(range.clone()));
                    let readers = vec![key];
                    sets.insert(range.start, FoundSet { range, readers });
                }
            }
        }
    }

    /// Removes what nobody has adopted. `kept` are the frontends that have an owner.
    pub(super) fn sweep(&mut self, kept: &BTreeSet<FrontendKey<F>>) {
        let ownerless = self.rows.frontends.keys().filter(|key| !kept.contains(key));
        for key in ownerless.copied().collect::<Vec<_>>() {
            self.remove_frontend(key);
        }
        self.refresh_addresses();
        let Orphans {
            sets,
            backends,
            sources,
            mut strays,
        } = std::mem::take(&mut self.half.orphans);
        for FoundSet { range, readers } in sets.into_values() {
            self.leave_range(range, readers);
        }
        for id in backends.into_values().flatten() {
            self.remove_backend(id);
        }
        for key in sources.into_values().flatten() {
            self.remove_source(key);
        }
        self.changes.backends.append(&mut strays);
    }
}
