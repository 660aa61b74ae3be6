//! The tables in memory: a node's own to read, and empty ones for what packets leave behind.
//!
//! With a draw, a frontend appears with a single slot of each of its sets, so that running the
//! decision once for each slot visits every backend that chance could have given.

use std::{cell::Cell, collections::BTreeMap};

use ipnet::IpNet;
use proxy_datapath::{
    family::Family,
    frontend::MAGLEV,
    snat::{self, Walk},
    tables::{
        Affinity, AffinityKey, Backend, Flow, FlowKey, Flows, Fragment, FragmentKey, Frontend,
        FrontendKey, Node, Prefix, Services, SourceKey,
    },
};

use crate::plan::FamilyState;

/// One family's tables. Chance always draws the first slot, and time stands still.
#[derive(Debug)]
pub struct Simulation<'a, F: Family> {
    rows: &'a FamilyState<F>,
    slots: &'a BTreeMap<u32, u32>,
    node: Node<F>,
    /// The only place of a frontend's sets that there is.
    drawn: Option<u32>,
    matched: Cell<Option<(FrontendKey<F>, Frontend)>>,
    affinities: BTreeMap<AffinityKey<F>, Affinity>,
    flows: BTreeMap<FlowKey<F>, Flow<F>>,
    fragments: BTreeMap<FragmentKey<F>, Fragment>,
}

// === impl Simulation ===

impl<'a, F: Family> Simulation<'a, F> {
    pub fn new(rows: &'a FamilyState<F>, slots: &'a BTreeMap<u32, u32>) -> Self {
        Self {
            rows,
            slots,
            node: rows.nodes.get(&0).copied().unwrap_or_default(),
            drawn: None,
            matched: Cell::new(None),
            affinities: BTreeMap::new(),
            flows: BTreeMap::new(),
            fragments: BTreeMap::new(),
        }
    }

    /// With a node that sends from here, if the tables do not say.
    #[must_use]
    pub(super) fn with_node(mut self, stand_in: &Node<F>) -> Self {
        if self.node.addr == F::Addr::default() {
            self.node.addr = stand_in.addr;
        }
        if self.node.snat_count == [0; 2] {
            self.node.snat_first = stand_in.snat_first;
            self.node.snat_count = stand_in.snat_count;
        }
        self
    }

    /// With only one place of each set.
    #[must_use]
    pub(super) const fn drawing(mut self, place: u32) -> Self {
        self.drawn = Some(place);
        self
    }

    /// What masqueraded packets leave with.
    pub(super) const fn sends_from(&self) -> F::Addr {
        self.node.addr
    }

    /// The frontend that the last decision found, as the tables have it.
    pub(super) const fn matched(&self) -> Option<(FrontendKey<F>, Frontend)> {
        self.matched.get()
    }
}

/// The place of a set, or its last one.
fn narrowed(base: u32, count: u32, place: u32) -> (u32, u32) {
    match count.checked_sub(1) {
        Some(last) => (base.wrapping_add(place.min(last)), 1),
        None => (base, 0),
    }
}

/// The range of so many bits that has the address; `None` for more bits than there are.
fn network<F: Family>(addr: F::Addr, bits: u8) -> Option<F::Addr> {
    let range = IpNet::new(addr.into(), bits).ok()?;
    F::from_ip(range.network())
}

impl<F: Family> Services<F> for Simulation<'_, F> {
    fn frontend(&self, key: &FrontendKey<F>) -> Option<Frontend> {
        let frontend = *self.rows.frontends.get(key)?;
        self.matched.set(Some((*key, frontend)));
        let Some(place) = self.drawn else {
            return Some(frontend);
        };
        let (base, count) = narrowed(frontend.base, frontend.count, place);
        let (wire_base, wire_count) = narrowed(frontend.wire_base, frontend.wire_count, place);
        Some(Frontend {
            base,
            count,
            wire_base,
            wire_count,
            flags: frontend.flags & !MAGLEV,
            ..frontend
        })
    }

    fn slot(&self, index: u32) -> Option<u32> {
        self.slots.get(&index).copied()
    }

    fn backend(&self, id: u32) -> Option<Backend<F>> {
        self.rows.backends.get(&id).copied()
    }

    fn address(&self, addr: &F::Addr) -> u32 {
        self.rows.addresses.get(addr).copied().unwrap_or(0)
    }

    fn node(&self) -> Option<&Node<F>> {
        Some(&self.node)
    }

    fn range(&self, index: u32) -> Option<&Prefix<F>> {
        self.rows.ranges.get(&index)
    }

    fn admits(&self, service: u32, source: F::Addr) -> bool {
        let mut networks =
            (0..=u8::MAX).map_while(|bits| Some((bits, network::<F>(source, bits)?)));
        networks.any(|(bits, addr)| {
            let prefix_length = 32 + u32::from(bits);
            self.rows.sources.contains_key(&SourceKey {
                prefix_length,
                service,
                addr,
            })
        })
    }

    fn affinity(&self, key: &AffinityKey<F>) -> Option<Affinity> {
        self.affinities.get(key).copied()
    }

    fn insert_affinity(&mut self, key: &AffinityKey<F>, affinity: &Affinity) {
        self.affinities.insert(*key, *affinity);
    }

    fn random(&mut self) -> u32 {
        0
    }

    fn now_s(&self) -> u32 {
        0
    }
}

impl<F: Family> Flows<F> for Simulation<'_, F> {
    fn flow(&mut self, key: &FlowKey<F>) -> Option<&mut Flow<F>> {
        self.flows.get_mut(key)
    }

    fn insert_flow(&mut self, key: &FlowKey<F>, flow: &Flow<F>) -> bool {
        self.flows.insert(*key, *flow);
        true
    }

    fn remove_flow(&mut self, key: &FlowKey<F>) {
        self.flows.remove(key);
    }

    fn fragment(&self, key: &FragmentKey<F>) -> Option<Fragment> {
        self.fragments.get(key).copied()
    }

    fn insert_fragment(&mut self, key: &FragmentKey<F>, fragment: &Fragment) -> bool {
        self.fragments.insert(*key, *fragment);
        true
    }

    fn claim_flow(&mut self, key: &FlowKey<F>, flow: &Flow<F>) -> bool {
        let is_free = !self.flows.contains_key(key);
        if is_free {
            self.flows.insert(*key, *flow);
        }
        is_free
    }

    fn masquerade_address(&self, _destination: F::Addr) -> Option<F::Addr> {
        Some(self.node.addr).filter(|addr| *addr != F::Addr::default())
    }

    fn is_own_socket(&self, _key: &FlowKey<F>) -> bool {
        false
    }

    fn walk(&mut self, turns: u32, begin: impl FnOnce(&mut Walk<F>)) -> u32 {
        snat::walk(self, turns, begin)
    }
}
