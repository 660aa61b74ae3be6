//! What changes around the Services, and which of them it matters to: no other is compiled for it.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use proxy_datapath::family::{Ipv4, Ipv6};

use super::{
    Compiler, Scene,
    node::{self, NodeRows},
    store::Tabled,
};
use crate::{
    model::{Cluster, ObjectKey},
    plan::Changes,
};

// === impl Compiler: the scene ===

impl Compiler {
    /// Takes in the node, its pods and the ranges around it; adds the Services that are not what
    /// they were because of it.
    pub(super) fn look_around(
        &mut self,
        cluster: &Cluster,
        affected: &mut Vec<ObjectKey>,
        changes: &mut Changes,
    ) {
        let scene = Scene::of(cluster, &self.settings);
        if self.has_passed && scene == *self.scene {
            return;
        }
        let before = std::mem::replace(&mut self.scene, Arc::new(scene));
        self.scene_diagnostics = node::diagnostics(&self.scene, &self.settings);
        self.write_node::<Ipv4>(changes);
        self.write_node::<Ipv6>(changes);
        // The first pass is over all of them.
        if self.has_passed {
            let moved = self.scene.moved(&before);
            self.add_holders(&before, &moved, affected);
            self.add_guarded(&before, cluster, affected);
            self.add_served_by(&moved, affected);
        }
    }

    fn write_node<F: Tabled>(&mut self, changes: &mut Changes) {
        let rows = NodeRows::<F>::new(&self.scene, &self.settings);
        F::pass(&mut self.store, changes).set_node(rows);
    }

    /// Those with addresses that they may not have any more, or may have again.
    fn add_holders(&self, before: &Scene, moved: &BTreeSet<IpAddr>, affected: &mut Vec<ObjectKey>) {
        if self.scene.has_ranges_of(before) {
            let holders = moved.iter().flat_map(|addr| self.registry.holders(*addr));
            affected.extend(holders.cloned());
        } else {
            affected.extend(self.registry.all_holders().cloned());
        }
    }

    /// Those whose source ranges may have the node's primary address in them (services.md 81).
    fn add_guarded(&self, before: &Scene, cluster: &Cluster, affected: &mut Vec<ObjectKey>) {
        if self.scene.primary != before.primary {
            let services = cluster.services().iter();
            let guarded = services.filter(|(_, service)| service.source_ranges.is_some());
            affected.extend(guarded.map(|(key, _)| key.clone()));
        }
    }

    /// Those with backends that are here now, or were, by nothing but their address.
    fn add_served_by(&self, moved: &BTreeSet<IpAddr>, affected: &mut Vec<ObjectKey>) {
        let place = |addr: &IpAddr| (*addr, self.scene.is_here(*addr));
        let ids = self.store.misplaced(&moved.iter().map(place).collect());
        if ids.is_empty() {
            return;
        }
        let ports = self.services.values().flatten();
        let served = ports.filter(|port| ids.contains(&port.id));
        affected.extend(served.map(|port| port.service.clone()));
    }
}
