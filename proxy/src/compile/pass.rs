//! Brings one service port's part of one family's tables to what it should be.
//!
//! All or nothing: what does not fit leaves the old sets as they are.

use std::{collections::BTreeMap, ops::Range};

use proxy_datapath::{
    family::Family,
    tables::{Backend, FrontendKey, SourceKey},
};

use super::{
    part::{NoRoom, Part, Wanted, WantedFrontend},
    ranges::Ranges,
    sources,
    store::{Half, Left},
    traffic_policy::List,
};
use crate::plan::{FamilyChanges, FamilyState};

/// One family's tables, and where its numbers come from.
pub(super) struct Pass<'a, F: Family> {
    pub(super) half: &'a mut Half<F>,
    pub(super) rows: &'a mut FamilyState<F>,
    pub(super) changes: &'a mut FamilyChanges<F>,
    pub(super) sets: Slots<'a>,
}

/// The slots, which both families share.
pub(super) struct Slots<'a> {
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
        mut wanted: Wanted<F>,
    ) -> Result<(), NoRoom> {
        self.drop_frontends(part, service, &wanted.frontends);
        let room = self.fit(&mut wanted);
        if wanted.frontends.is_empty() {
            self.clear(part);
            return room;
        }
        let sources = self.write_sources(part, service, &wanted);
        let sets = self.write_sets(part, service, &wanted);
        self.write_frontends(part, service, &wanted);
        self.leave_unread(part);
        sets.and(sources).and(room)
    }

    /// Keeps the frontends that are in the table or have room there, with their addresses, and the
    /// lists that they ask for.
    fn fit(&self, wanted: &mut Wanted<F>) -> Result<(), NoRoom> {
        let free = |max: usize, used: usize| max.saturating_sub(used);
        let frontends = free(self.half.frontends_max, self.rows.frontends.len());
        let addresses = free(self.half.addresses_max, self.rows.addresses.len());
        let (mut new_frontends, mut new_addresses) = (0, Vec::new());
        let mut room: Result<(), NoRoom> = Ok(());
        wanted.frontends.retain(|frontend| {
            let addr = frontend.key.addr;
            if self.rows.frontends.contains_key(&frontend.key) {
                return true;
            }
            let is_new = addr != F::Addr::default()
                && !self.rows.addresses.contains_key(&addr)
                && !new_addresses.contains(&addr);
            let lacking = if new_frontends == frontends {
                Some(("frontends", frontends))
            } else if is_new && new_addresses.len() == addresses {
                Some(("addresses", addresses))
            } else {
                None
            };
            let Some((what, free)) = lacking else {
                new_frontends += 1;
                new_addresses.extend(is_new.then_some(addr));
                return true;
            };
            let others = room.map_or_else(|no_room| no_room.needed, |()| 0);
            room = Err(NoRoom {
                what,
                needed: others + 1,
                free: free as u32,
                family: F::NUMBER,
            });
            false
        });
        for list in [List::Cluster, List::Local] {
            let mut frontends = wanted.frontends.iter();
            if !frontends.any(|frontend| frontend.inside == list || frontend.wire == list) {
                wanted.lists[list as usize] = None;
            }
        }
        room
    }

    /// Removes whatever a service port has.
    pub(super) fn remove(&mut self, mut part: Part<F>, service: u32) {
        self.drop_frontends(&mut part, service, &[]);
        self.clear(&mut part);
    }

    /// Removes the frontends that are not to be kept, unless they have passed to another service
    /// port already.
    fn drop_frontends(&mut self, part: &mut Part<F>, service: u32, keep: &[WantedFrontend<F>]) {
        let is_kept = |key: &FrontendKey<F>| keep.iter().any(|kept| kept.key == *key);
        for key in part.frontends.extract_if(.., |key| !is_kept(key)) {
            let row = self.rows.frontends.get(&key);
            if row.is_some_and(|row| row.service == service) {
                self.remove_frontend(key);
            }
            if !part.former.contains(&key) {
                part.former.push(key);
            }
        }
    }

    pub(super) fn remove_frontend(&mut self, key: FrontendKey<F>) {
        self.rows.frontends.remove(&key);
        self.changes.frontends.push(key);
        self.half.freed = true;
        self.refresh_address(key.addr);
    }

    fn clear(&mut self, part: &mut Part<F>) {
        self.leave_sets(part);
        for id in part.backends.drain(..) {
            self.remove_backend(id);
        }
        for key in part.sources.drain(..) {
            self.remove_source(key);
        }
    }

    pub(super) fn remove_backend(&mut self, id: u32) {
        self.rows.backends.remove(&id);
        self.changes.backends.push(id);
        self.half.quarantine.add(Left::Backend(id));
    }

    pub(super) fn remove_source(&mut self, key: SourceKey<F>) {
        self.rows.sources.remove(&key);
        self.changes.sources.push(key);
        self.half.freed = true;
    }

    /// Writes the ranges that are admitted; the old ones stay if the new ones do not fit.
    fn write_sources(
        &mut self,
        part: &mut Part<F>,
        service: u32,
        wanted: &Wanted<F>,
    ) -> Result<(), NoRoom> {
        let ranges = wanted.sources.iter();
        let mut keys: Vec<SourceKey<F>> = ranges
            .filter_map(|range| sources::key(service, *range))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let is_new = |key: &&SourceKey<F>| !self.rows.sources.contains_key(key);
        let needed = keys.iter().filter(is_new).count();
        let free = self
            .half
            .sources_max
            .saturating_sub(self.rows.sources.len());
        if needed > free {
            return Err(NoRoom {
                what: "source ranges",
                needed,
                free: free as u32,
                family: F::NUMBER,
            });
        }
        for key in std::mem::take(&mut part.sources) {
            if keys.binary_search(&key).is_err() {
                self.remove_source(key);
            }
        }
        for key in &keys {
            if self.rows.sources.insert(*key, 1) != Some(1) {
                self.changes.sources.push(*key);
            }
        }
        part.sources = keys;
        Ok(())
    }

    fn write_sets(
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
        let placed = self.place(part, wanted, &matched.ids)?;
        let ids = self.write_backends(service, wanted, &matched);
        self.fill(part, &placed, &ids);
        for id in matched.unwanted {
            self.remove_backend(id);
        }
        part.backends = matched.by_addr.iter().map(|&at| ids[at]).collect();
        placed.short
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
                flags: backend.flags,
                service,
            };
            if self.rows.backends.insert(id, row) != Some(row) {
                self.changes.backends.push(id);
            }
            ids.push(id);
        }
        ids
    }

    /// Points the frontends at the sets that they ask for, if those have ever fitted.
    fn write_frontends(&mut self, part: &mut Part<F>, service: u32, wanted: &Wanted<F>) {
        let Some(sets) = part.sets else { return };
        for frontend in &wanted.frontends {
            let Some(row) = sets.row(frontend, service, wanted.affinity) else {
                continue;
            };
            let key = frontend.key;
            if self.rows.frontends.insert(key, row) != Some(row) {
                self.changes.frontends.push(key);
                if !self.is_frontends(&key.addr) {
                    self.refresh_address(key.addr);
                }
            }
            if !part.frontends.contains(&key) {
                part.frontends.reserve_exact(1);
                part.frontends.push(key);
            }
        }
    }
}
