//! The tables of a trace: the node's own to read, and empty ones for what a packet leaves behind.
//!
//! A frontend appears here with a single slot of its set, so that running the decision once for
//! each slot visits every backend that chance could have given.

use std::collections::BTreeMap;

use proxy_datapath::{
    family::Family,
    tables::{
        Backend, Flow, FlowKey, Flows, Fragment, FragmentKey, Frontend, FrontendKey, Services,
    },
};

use crate::plan::FamilyState;

#[derive(Debug)]
pub(super) struct Simulation<'a, F: Family> {
    family: &'a FamilyState<F>,
    slots: &'a BTreeMap<u32, u32>,
    /// Which position of the frontend's set there is.
    drawn: u32,
    flows: BTreeMap<FlowKey<F>, Flow<F>>,
    fragments: BTreeMap<FragmentKey<F>, Fragment>,
}

// === impl Simulation ===

impl<'a, F: Family> Simulation<'a, F> {
    pub(super) const fn new(
        family: &'a FamilyState<F>,
        slots: &'a BTreeMap<u32, u32>,
        drawn: u32,
    ) -> Self {
        Self {
            family,
            slots,
            drawn,
            flows: BTreeMap::new(),
            fragments: BTreeMap::new(),
        }
    }
}

impl<F: Family> Services<F> for Simulation<'_, F> {
    fn frontend(&self, key: &FrontendKey<F>) -> Option<Frontend> {
        let frontend = *self.family.frontends.get(key)?;
        if frontend.count == 0 {
            return Some(frontend);
        }
        Some(Frontend {
            base: frontend.base.wrapping_add(self.drawn),
            count: 1,
            ..frontend
        })
    }

    fn slot(&self, index: u32) -> Option<u32> {
        self.slots.get(&index).copied()
    }

    fn backend(&self, id: u32) -> Option<Backend<F>> {
        self.family.backends.get(&id).copied()
    }

    fn is_vip(&self, addr: &F::Addr) -> bool {
        self.family.vips.contains_key(addr)
    }

    fn random(&mut self) -> u32 {
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

    fn now_s(&self) -> u32 {
        0
    }
}
