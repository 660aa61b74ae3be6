//! Brings one service port's part of one family's tables to what it should be.
//!
//! All or nothing: what does not fit leaves the old set as it is. A set that changes gets a range
//! of its own, and the frontend flips to it.

use std::{collections::BTreeMap, ops::Range};

use proxy_datapath::{
    family::Family,
    tables::{Backend, Frontend, FrontendKey},
};

use super::{
    part::{NoRoom, Part, Wanted},
    ranges::Ranges,
    store::{Half, Left},
};
use crate::plan::{FamilyChanges, FamilyState};

/// One family's tables, and where its numbers come from.
pub(super) struct Pass<'a, F: Family> {
    pub(super) half: &'a mut Half<F>,
    pub(super) rows: &'a mut FamilyState<F>,
    pub(super) changes: &'a mut FamilyChanges<F>,
    pub(super) sets: Sets<'a>,
}

/// The slots, which both families share.
pub(super) struct Sets<'a> {
    pub(super) ranges: &'a mut Ranges,
    pub(super) slots: &'a mut BTreeMap<u32, u32>,
    pub(super) changes: &'a mut Vec<Range<u32>>,
}

/// The ids of wanted backends that exist, and those of backends that are not wanted.
struct Matched {
    ids: Vec<Option<u32>>,
    /// The positions of wanted backends by address and port.
    by_addr: Vec<usize>,
    unwanted: Vec<u32>,
}

// === impl Pass ===

impl<F: Family> Pass<'_, F> {
    pub(super) fn write(
        &mut self,
        part: &mut Part<F>,
        service: u32,
        wanted: &Wanted<F>,
    ) -> Result<(), NoRoom> {
        self.drop_frontends(part, service, &wanted.frontends);
        let (frontends, room) = self.fitting(&wanted.frontends);
        if frontends.is_empty() {
            self.clear(part);
            return room;
        }
        let set = self.write_set(part, service, wanted);
        self.write_frontends(part, &frontends);
        set.and(room)
    }

    /// The frontends that are in the table or have room there.
    fn fitting(&self, keys: &[FrontendKey<F>]) -> (Vec<FrontendKey<F>>, Result<(), NoRoom>) {
        let free = self
            .half
            .frontends_max
            .saturating_sub(self.rows.frontends.len());
        let (mut fitting, missing): (Vec<_>, Vec<_>) = keys
            .iter()
            .partition(|key| self.rows.frontends.contains_key(key));
        fitting.extend(missing.iter().take(free));
        if missing.len() <= free {
            return (fitting, Ok(()));
        }
        let (needed, free) = (missing.len(), free as u32);
        (
            fitting,
            Err(NoRoom {
                what: "frontends",
                needed,
                free,
                family: F::NUMBER,
            }),
        )
    }

    /// Removes whatever a service port has.
    pub(super) fn remove(&mut self, mut part: Part<F>, service: u32) {
        self.drop_frontends(&mut part, service, &[]);
        self.clear(&mut part);
    }

    /// Removes the frontends that are not to be kept, unless they have passed to another service
    /// port already.
    fn drop_frontends(&mut self, part: &mut Part<F>, service: u32, keep: &[FrontendKey<F>]) {
        for key in part.frontends.extract_if(.., |key| !keep.contains(key)) {
            let row = self.rows.frontends.get(&key);
            if row.is_some_and(|row| row.service == service) {
                self.remove_frontend(key);
            }
            part.former.push(key);
        }
    }

    pub(super) fn remove_frontend(&mut self, key: FrontendKey<F>) {
        self.rows.frontends.remove(&key);
        self.changes.frontends.push(key);
        self.half.freed = true;
        if !self.rows.has_frontend_at(key.addr) {
            self.rows.vips.remove(&key.addr);
            self.changes.vips.push(key.addr);
        }
    }

    fn clear(&mut self, part: &mut Part<F>) {
        self.leave_set(part);
        part.value = None;
        for id in part.backends.drain(..) {
            self.remove_backend(id);
        }
    }

    pub(super) fn remove_backend(&mut self, id: u32) {
        self.rows.backends.remove(&id);
        self.changes.backends.push(id);
        self.half.quarantine.add(Left::Backend(id));
    }

    fn leave_set(&mut self, part: &mut Part<F>) {
        let mut readers = std::mem::take(&mut part.former);
        if let Some(range) = part.set() {
            readers.extend(&part.frontends);
            self.leave_range(range, readers);
        }
    }

    pub(super) fn leave_range(&mut self, range: Range<u32>, readers: Vec<FrontendKey<F>>) {
        for index in range.clone() {
            self.sets.slots.remove(&index);
        }
        self.half.quarantine.add(Left::Set { range, readers });
    }

    fn write_set(
        &mut self,
        part: &mut Part<F>,
        service: u32,
        wanted: &Wanted<F>,
    ) -> Result<(), NoRoom> {
        let matched = self.match_backends(part, wanted);
        let needed = matched.ids.iter().filter(|id| id.is_none()).count();
        let free = self.half.ids.available();
        if needed > free as usize {
            return Err(NoRoom {
                what: "backends",
                needed,
                free,
                family: F::NUMBER,
            });
        }
        let members = members(wanted, &matched.ids);
        let value = if members.is_empty() {
            Frontend {
                base: 0,
                count: 0,
                flags: wanted.flags,
                service,
            }
        } else if let Some(value) = part.value.filter(|_| self.holds(part, &members)) {
            value
        } else {
            let range = self.take_range(members.len())?;
            Frontend {
                base: range.start,
                count: range.end - range.start,
                flags: 0,
                service,
            }
        };
        let ids = self.write_backends(service, wanted, &matched);
        if part.value != Some(value) {
            self.leave_set(part);
            self.fill(value, wanted, &ids);
            part.value = Some(value);
        }
        for id in matched.unwanted {
            self.remove_backend(id);
        }
        part.backends = matched.by_addr.iter().map(|&at| ids[at]).collect();
        Ok(())
    }

    /// Finds the ids of the backends that are wanted and exist: both sides in one order, so that
    /// one walk does.
    fn match_backends(&self, part: &Part<F>, wanted: &Wanted<F>) -> Matched {
        let key = |at: &usize| (wanted.backends[*at].addr, wanted.backends[*at].port_proto);
        let mut by_addr: Vec<usize> = (0..wanted.backends.len()).collect();
        by_addr.sort_unstable_by_key(key);
        let mut ids = vec![None; wanted.backends.len()];
        let mut unwanted = Vec::new();
        let mut next = by_addr.iter().peekable();
        for &id in &part.backends {
            let row = self
                .rows
                .backends
                .get(&id)
                .map(|row| (row.addr, row.port_proto));
            while next.next_if(|at| Some(key(at)) < row).is_some() {}
            match next.next_if(|at| Some(key(at)) == row) {
                Some(&at) => ids[at] = Some(id),
                None => unwanted.push(id),
            }
        }
        Matched {
            ids,
            by_addr,
            unwanted,
        }
    }

    /// Whether its set is made of exactly these.
    fn holds(&self, part: &Part<F>, members: &[Option<u32>]) -> bool {
        let Some(range) = part.set() else {
            return false;
        };
        let held = self.sets.slots.range(range).map(|(_, id)| Some(*id));
        held.eq(members.iter().copied())
    }

    fn take_range(&mut self, length: usize) -> Result<Range<u32>, NoRoom> {
        let range = u32::try_from(length)
            .ok()
            .and_then(|length| self.sets.ranges.take(length));
        range.ok_or_else(|| NoRoom {
            what: "slots in a row",
            needed: length,
            free: self.sets.ranges.largest_gap(),
            family: 0,
        })
    }

    /// Writes every wanted backend; returns their ids.
    fn write_backends(&mut self, service: u32, wanted: &Wanted<F>, matched: &Matched) -> Vec<u32> {
        let mut ids = Vec::with_capacity(wanted.backends.len());
        for (backend, id) in wanted.backends.iter().zip(&matched.ids) {
            let id = id
                .or_else(|| self.half.ids.take())
                .expect("the free ids were counted before");
            let row = Backend {
                addr: backend.addr,
                port_proto: backend.port_proto,
                state: backend.state,
                service,
            };
            if self.rows.backends.insert(id, row) != Some(row) {
                self.changes.backends.push(id);
            }
            ids.push(id);
        }
        ids
    }

    /// Writes the set's slots.
    fn fill(&mut self, value: Frontend, wanted: &Wanted<F>, ids: &[u32]) {
        let range = value.base..value.base + value.count;
        self.sets
            .slots
            .extend(range.clone().zip(members(wanted, ids)));
        if !range.is_empty() {
            self.sets.changes.push(range);
        }
    }

    /// Points the frontends at the set, if it has ever fitted.
    fn write_frontends(&mut self, part: &mut Part<F>, keys: &[FrontendKey<F>]) {
        let Some(value) = part.value else { return };
        for key in keys {
            if self.rows.frontends.insert(*key, value) != Some(value) {
                self.changes.frontends.push(*key);
            }
            if self.rows.vips.insert(key.addr, 1) != Some(1) {
                self.changes.vips.push(key.addr);
            }
            if !part.frontends.contains(key) {
                part.frontends.reserve_exact(1);
                part.frontends.push(*key);
            }
        }
    }
}

/// What belongs to the members of the set, in its order.
fn members<F: Family, T: Copy>(wanted: &Wanted<F>, of: &[T]) -> Vec<T> {
    let all = wanted.backends.iter().zip(of);
    all.filter(|(backend, _)| backend.is_member())
        .map(|(_, of)| *of)
        .collect()
}
