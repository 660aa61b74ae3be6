//! What the service maps hold, or should, and what one operation does to it.

use std::{collections::BTreeMap, ops::Range};

use proxy_datapath::{
    family::{Family, Ipv4, Ipv6},
    tables::{Backend, Frontend, FrontendKey, Node, Prefix, SourceKey, Uplink},
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
    /// What each address is: `address::FRONTEND` and others.
    pub addresses: BTreeMap<F::Addr, u32>,
    /// The ranges that service ports admit; every value is 1.
    pub sources: BTreeMap<SourceKey<F>, u32>,
    /// By place, `range::PODS` and others; only those not empty.
    pub ranges: BTreeMap<u32, Prefix<F>>,
    /// Key 0 if this node has anything to send from, else nothing.
    pub nodes: BTreeMap<u32, Node<F>>,
    /// By index of the device.
    pub uplinks: BTreeMap<u32, Uplink<F>>,
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

    /// The same with only the slots that a frontend's ranges cover.
    #[must_use]
    pub fn covered(mut self) -> Self {
        let frontends = self.v4.frontends.values().chain(self.v6.frontends.values());
        let sets: Vec<Range<u32>> = frontends.flat_map(sets_of).collect();
        let slots = std::mem::take(&mut self.slots);
        for set in sets {
            self.slots.extend(slots.range(set));
        }
        self
    }
}

// === impl FamilyState ===

impl<F: Family> FamilyState<F> {
    pub(crate) fn apply(&mut self, op: &FamilyOp<F>) {
        match *op {
            FamilyOp::Backend { id, value } => put(&mut self.backends, id, value),
            FamilyOp::Source { key, value } => put(&mut self.sources, key, value),
            FamilyOp::Range { index, value } => put(&mut self.ranges, index, value),
            FamilyOp::Node { value } => put(&mut self.nodes, 0, value),
            FamilyOp::Uplink { ifindex, value } => put(&mut self.uplinks, ifindex, value),
            FamilyOp::Address { addr, value } => put(&mut self.addresses, addr, value),
            FamilyOp::Frontend { key, value } => put(&mut self.frontends, key, value),
        }
    }

    fn pack(&mut self) {
        pack(&mut self.frontends);
        pack(&mut self.backends);
        pack(&mut self.addresses);
        pack(&mut self.sources);
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

/// The slots of a frontend's sets: the one for clients in the cluster, the one for the wire.
pub(crate) fn sets_of(frontend: &Frontend) -> [Range<u32>; 2] {
    [
        (frontend.base, frontend.count),
        (frontend.wire_base, frontend.wire_count),
    ]
    .map(|(base, count)| base..base.saturating_add(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_covered_by_the_set_of_the_cluster_or_of_the_wire() {
        let mut state = MapState {
            slots: (0..10).map(|slot| (slot, 100 + slot)).collect(),
            ..MapState::default()
        };
        let local = Frontend {
            base: 1,
            count: 2,
            wire_base: 7,
            wire_count: 1,
            ..Frontend::default()
        };
        let empty = Frontend {
            base: 4,
            wire_base: 5,
            ..Frontend::default()
        };
        let key = |port_proto| FrontendKey {
            port_proto,
            ..FrontendKey::default()
        };
        state.v4.frontends = [(key(1), local), (key(2), empty)].into();
        let slots: Vec<_> = state.covered().slots.into_keys().collect();
        assert_eq!(slots, [1, 2, 7]);
    }
}
