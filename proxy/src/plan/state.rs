//! What the service maps hold, or should, and what one operation does to it.

use std::{collections::BTreeMap, ops::Range};

use proxy_datapath::{
    family::{Family, Ipv4, Ipv6},
    tables::{Backend, Frontend, FrontendKey},
};

use super::{FamilyOp, Op};

/// What the service maps hold, or should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapState {
    pub v4: FamilyState<Ipv4>,
    pub v6: FamilyState<Ipv6>,
    /// Backend id by slot. Desired: only slots that a frontend's range covers. Actual: also those
    /// left behind by older sets, since nothing ever clears a slot; see [`MapState::covered`].
    pub slots: BTreeMap<u32, u32>,
}

/// One family's part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FamilyState<F: Family> {
    pub frontends: BTreeMap<FrontendKey<F>, Frontend>,
    /// By id; only those not gone.
    pub backends: BTreeMap<u32, Backend<F>>,
    pub vips: BTreeMap<F::Addr, u32>,
}

// === impl MapState ===

impl MapState {
    /// Follows one operation that was done.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::V4(op) => self.v4.apply(op),
            Op::V6(op) => self.v6.apply(op),
            Op::Slot { index, backend } => {
                self.slots.insert(*index, *backend);
            }
        }
    }

    /// Stores the rows densely: a map that was filled in ascending order is half empty.
    pub fn pack(&mut self) {
        self.v4.pack();
        self.v6.pack();
        pack(&mut self.slots);
    }

    /// The same with only the slots that a frontend's range covers.
    #[must_use]
    pub fn covered(mut self) -> Self {
        let frontends = self.v4.frontends.values().chain(self.v6.frontends.values());
        let sets: Vec<Range<u32>> = frontends.map(set_of).collect();
        let slots = std::mem::take(&mut self.slots);
        for set in sets {
            self.slots.extend(slots.range(set));
        }
        self
    }
}

// === impl FamilyState ===

impl<F: Family> FamilyState<F> {
    fn apply(&mut self, op: &FamilyOp<F>) {
        match *op {
            FamilyOp::Backend { id, value } => put(&mut self.backends, id, value),
            FamilyOp::Vip { addr, value } => put(&mut self.vips, addr, value),
            FamilyOp::Frontend { key, value } => put(&mut self.frontends, key, value),
        }
    }

    fn pack(&mut self) {
        pack(&mut self.frontends);
        pack(&mut self.backends);
        pack(&mut self.vips);
    }

    /// Whether any frontend has this address.
    pub fn has_frontend_at(&self, addr: F::Addr) -> bool {
        let first = FrontendKey {
            addr,
            port_proto: 0,
        };
        let last = FrontendKey {
            addr,
            port_proto: u32::MAX,
        };
        self.frontends.range(first..=last).next().is_some()
    }
}

fn put<K: Ord, V>(entries: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(entries.insert(key, value)),
        None => drop(entries.remove(&key)),
    }
}

fn pack<K: Ord, V>(entries: &mut BTreeMap<K, V>) {
    *entries = std::mem::take(entries).into_iter().collect();
}

/// The slots of a frontend's set.
const fn set_of(frontend: &Frontend) -> Range<u32> {
    frontend.base..frontend.base.saturating_add(frontend.count)
}
