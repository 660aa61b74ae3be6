//! The desired tables, and the numbers that are in use in them.
//!
//! After a restart the tables begin as the maps are. What nobody has adopted when the first pass is
//! over, nobody desires.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    ops::Range,
};

use proxy_datapath::{
    family::{Family, Ipv4, Ipv6},
    frontend::backend,
    tables::{
        ADDRESSES_MAX, BACKENDS_MAX, FRONTENDS_MAX, Frontend, FrontendKey, SLOTS_MAX, SOURCES_MAX,
    },
};

use super::{
    addresses::Addresses,
    ids::Ids,
    part::{NoRoom, Part},
    pass::{Pass, Slots},
    quarantine::Quarantine,
    ranges::Ranges,
    restore::Orphans,
};
use crate::plan::{Changes, FamilyState, MapState, sets_of};

/// How much the tables hold: of each family, and the slots of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub frontends: u32,
    /// One less can be used: id 0 is none.
    pub backends: u32,
    pub slots: u32,
    pub addresses: u32,
    pub sources: u32,
}

#[derive(Debug)]
pub(super) struct Store {
    pub(super) desired: MapState,
    v4: Half<Ipv4>,
    v6: Half<Ipv6>,
    ranges: Ranges,
    service_ids: Ids,
    service_quarantine: Quarantine<u32>,
    /// Ids of service ports in the maps that no service port has adopted yet.
    orphans: BTreeSet<u32>,
}

/// One family's numbers.
#[derive(Debug)]
pub(super) struct Half<F: Family> {
    pub(super) ids: Ids,
    pub(super) frontends_max: usize,
    pub(super) addresses_max: usize,
    pub(super) sources_max: usize,
    pub(super) addresses: Addresses<F>,
    pub(super) quarantine: Quarantine<Left<F>>,
    /// Something has become free since it was last asked.
    pub(super) freed: bool,
    pub(super) orphans: Orphans<F>,
}

/// What nothing desires any more.
#[derive(Debug)]
pub(super) enum Left<F: Family> {
    Backend(u32),
    Set {
        range: Range<u32>,
        readers: Vec<FrontendKey<F>>,
    },
}

/// The families, where one is chosen by its type.
pub(super) trait Tabled: Family {
    fn pass<'a>(store: &'a mut Store, changes: &'a mut Changes) -> Pass<'a, Self>;
}

// === impl Tabled ===

impl Tabled for Ipv4 {
    fn pass<'a>(store: &'a mut Store, changes: &'a mut Changes) -> Pass<'a, Self> {
        let MapState {
            v4: rows, slots, ..
        } = &mut store.desired;
        let sets = Slots {
            ranges: &mut store.ranges,
            slots,
            changes: &mut changes.slots,
        };
        Pass {
            half: &mut store.v4,
            rows,
            changes: &mut changes.v4,
            sets,
        }
    }
}

impl Tabled for Ipv6 {
    fn pass<'a>(store: &'a mut Store, changes: &'a mut Changes) -> Pass<'a, Self> {
        let MapState {
            v6: rows, slots, ..
        } = &mut store.desired;
        let sets = Slots {
            ranges: &mut store.ranges,
            slots,
            changes: &mut changes.slots,
        };
        Pass {
            half: &mut store.v6,
            rows,
            changes: &mut changes.v6,
            sets,
        }
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            frontends: FRONTENDS_MAX,
            backends: BACKENDS_MAX,
            slots: SLOTS_MAX,
            addresses: ADDRESSES_MAX,
            sources: SOURCES_MAX,
        }
    }
}

// === impl Store ===

impl Store {
    /// Begins with what the maps hold.
    pub(super) fn restore(actual: &MapState, limits: Limits) -> Self {
        let mut store = Self {
            desired: MapState::default(),
            v4: Half::new(limits),
            v6: Half::new(limits),
            ranges: Ranges::new(limits.slots),
            // Each service port has a frontend in one family at least, and as many may rest.
            service_ids: Ids::new(limits.frontends.saturating_mul(4).saturating_add(1)),
            service_quarantine: Quarantine::default(),
            orphans: BTreeSet::new(),
        };
        Ipv4::pass(&mut store, &mut Changes::default()).restore(&actual.v4, &actual.slots);
        Ipv6::pass(&mut store, &mut Changes::default()).restore(&actual.v6, &actual.slots);
        let services = services_in(&store.desired.v4).chain(services_in(&store.desired.v6));
        let services: BTreeSet<u32> = services.collect();
        store.orphans = services
            .into_iter()
            .filter(|&id| store.service_ids.reserve(id))
            .collect();
        store
    }

    /// The service port that the maps know by one of these frontends, if nobody else has adopted
    /// it.
    pub(super) fn adopt(
        &mut self,
        v4: &[FrontendKey<Ipv4>],
        v6: &[FrontendKey<Ipv6>],
    ) -> Option<(u32, Part<Ipv4>, Part<Ipv6>)> {
        let rows4 = v4
            .iter()
            .filter_map(|key| self.desired.v4.frontends.get(key));
        let rows6 = v6
            .iter()
            .filter_map(|key| self.desired.v6.frontends.get(key));
        let mut known = rows4.chain(rows6).map(|row| row.service);
        let id = known.find(|id| self.orphans.contains(id))?;
        self.orphans.remove(&id);
        let part4 = self.v4.adopt(&self.desired.v4, id, v4);
        let part6 = self.v6.adopt(&self.desired.v6, id, v6);
        Some((id, part4, part6))
    }

    pub(super) fn take_service_id(&mut self) -> Option<u32> {
        self.service_ids.take()
    }

    pub(super) fn leave_service_id(&mut self, id: u32) {
        self.service_quarantine.add(id);
    }

    pub(super) fn set_cluster_ip(&mut self, addr: IpAddr, is_one: bool, changes: &mut Changes) {
        if let Some(addr) = Ipv4::from_ip(addr) {
            Ipv4::pass(self, changes).set_cluster_ip(addr, is_one);
        }
        if let Some(addr) = Ipv6::from_ip(addr) {
            Ipv6::pass(self, changes).set_cluster_ip(addr, is_one);
        }
    }

    /// Gives an address its row, if there is room.
    pub(super) fn admit_address(
        &mut self,
        addr: IpAddr,
        changes: &mut Changes,
    ) -> Result<(), NoRoom> {
        let v4 = Ipv4::from_ip(addr).map(|addr| Ipv4::pass(self, changes).admit_address(addr));
        let v6 = Ipv6::from_ip(addr).map(|addr| Ipv6::pass(self, changes).admit_address(addr));
        v4.or(v6).unwrap_or(Ok(()))
    }

    /// The service ports that have a backend at one of these addresses, each with whether it is
    /// on this node, and do not know it.
    pub(super) fn misplaced(&self, addrs: &BTreeMap<IpAddr, bool>) -> BTreeSet<u32> {
        let v4 = misplaced(&self.desired.v4, addrs);
        v4.chain(misplaced(&self.desired.v6, addrs)).collect()
    }

    /// Removes what the first pass did not adopt. `kept` are the frontends that have an owner.
    pub(super) fn sweep(
        &mut self,
        kept4: &BTreeSet<FrontendKey<Ipv4>>,
        kept6: &BTreeSet<FrontendKey<Ipv6>>,
        changes: &mut Changes,
    ) {
        Ipv4::pass(self, changes).sweep(kept4);
        Ipv6::pass(self, changes).sweep(kept6);
        for id in std::mem::take(&mut self.orphans) {
            self.leave_service_id(id);
        }
    }

    pub(super) fn settle(&mut self, actual: &MapState, now_s: u64) {
        self.v4.settle(&actual.v4, now_s);
        self.v6.settle(&actual.v6, now_s);
        // An id that comes back would bring along the sources that it admitted before. Whatever
        // else names it is checked by what it names.
        let admitting = OnceCell::new();
        self.service_quarantine.settle(now_s, |id| {
            let admitting = admitting.get_or_init(|| -> HashSet<u32> {
                let v4 = actual.v4.sources.keys().map(|key| key.service);
                v4.chain(actual.v6.sources.keys().map(|key| key.service))
                    .collect()
            });
            admitting.contains(id)
        });
    }

    pub(super) fn release(&mut self, now_s: u64) {
        self.v4.release(now_s, &mut self.ranges);
        self.v6.release(now_s, &mut self.ranges);
        for id in self.service_quarantine.release(now_s) {
            self.service_ids.free(id);
        }
    }

    /// Whether anything has become free since the last call.
    pub(super) fn take_freed(&mut self) -> bool {
        let freed4 = std::mem::take(&mut self.v4.freed);
        let freed6 = std::mem::take(&mut self.v6.freed);
        freed4 || freed6
    }

    /// When something will have rested.
    pub(super) fn next_release_s(&self) -> Option<u64> {
        let (next4, next6) = (self.v4.quarantine.next_s(), self.v6.quarantine.next_s());
        next4.into_iter().chain(next6).min()
    }
}

fn services_in<F: Family>(rows: &FamilyState<F>) -> impl Iterator<Item = u32> {
    let frontends = rows.frontends.values().map(|row| row.service);
    let backends = rows.backends.values().map(|row| row.service);
    let sources = rows.sources.keys().map(|key| key.service);
    frontends.chain(backends).chain(sources)
}

fn misplaced<F: Family>(
    rows: &FamilyState<F>,
    addrs: &BTreeMap<IpAddr, bool>,
) -> impl Iterator<Item = u32> {
    let addrs: BTreeMap<F::Addr, bool> = addrs
        .iter()
        .filter_map(|(addr, is_here)| Some((F::from_ip(*addr)?, *is_here)))
        .collect();
    let rows = (!addrs.is_empty()).then(|| rows.backends.values());
    let found = rows.into_iter().flatten().filter(move |row| {
        let is_here = addrs.get(&row.addr);
        is_here.is_some_and(|is_here| *is_here != (row.flags & backend::HERE != 0))
    });
    found.map(|row| row.service)
}

fn points_to(row: &Frontend, range: &Range<u32>) -> bool {
    let mut sets = sets_of(row).into_iter();
    sets.any(|set| !set.is_empty() && set.start == range.start)
}

// === impl Half ===

impl<F: Family> Half<F> {
    fn new(limits: Limits) -> Self {
        Self {
            ids: Ids::new(limits.backends),
            frontends_max: limits.frontends as usize,
            addresses_max: limits.addresses as usize,
            sources_max: limits.sources as usize,
            addresses: Addresses::default(),
            quarantine: Quarantine::default(),
            freed: false,
            orphans: Orphans::default(),
        }
    }

    fn settle(&mut self, actual: &FamilyState<F>, now_s: u64) {
        self.quarantine.settle(now_s, |left| match left {
            Left::Backend(id) => actual.backends.contains_key(id),
            Left::Set { range, readers } => readers.iter().any(|key| {
                let row = actual.frontends.get(key);
                row.is_some_and(|row| points_to(row, range))
            }),
        });
    }

    fn release(&mut self, now_s: u64, ranges: &mut Ranges) {
        for left in self.quarantine.release(now_s) {
            self.freed = true;
            match left {
                Left::Backend(id) => self.ids.free(id),
                Left::Set { range, .. } => ranges.free(range),
            }
        }
    }
}
