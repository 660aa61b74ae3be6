//! From the cluster to what the maps should hold: a pure function, computed where something
//! changed.
//!
//! The unit is the service port (namespace, name, port name, protocol). A pass compiles those
//! Services that something changed for; a full pass is the same over all of them. There is no clock
//! here: the agent says what time it is, so that numbers are not used again before the programs
//! have let go of them.

mod addresses;
mod claims;
mod endpoints;
mod hygiene;
mod ids;
mod look;
mod maglev;
mod node;
mod offers;
mod part;
mod pass;
mod port;
mod quarantine;
mod ranges;
mod registry;
mod restore;
mod scene;
mod service;
mod sets;
mod settings;
mod sources;
mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod topology;
mod traffic_policy;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use proxy_datapath::family::{Ipv4, Ipv6};

use self::{
    claims::{Claim, Claims},
    offers::{Rules, offers},
    part::NoRoom,
    port::Target,
    registry::Registry,
    scene::Scene,
    store::{Store, Tabled},
};
pub use self::{service::ServicePortState, settings::Settings, store::Limits};
use crate::{
    model::{Cluster, Diagnostic, IpFamily, Kind, ObjectKey, ObjectRef, Service, ServicePort},
    plan::{Changes, MapState},
};

/// What the maps should hold, and how it came about.
#[derive(Debug)]
pub struct Compiler {
    settings: Arc<Settings>,
    /// Where the Services were in the last pass.
    scene: Arc<Scene>,
    store: Store,
    registry: Registry,
    claims: Claims,
    services: BTreeMap<ObjectKey, Vec<ServicePortState>>,
    diagnostics: BTreeMap<ObjectKey, Vec<Diagnostic>>,
    /// About the whole.
    scene_diagnostics: Vec<Diagnostic>,
    /// Services of which something did not fit.
    unfit: BTreeSet<ObjectKey>,
    has_passed: bool,
    /// What the first pass wrote in ascending order has been packed, after its hurry.
    is_packed: bool,
}

impl Default for Compiler {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

// === impl Compiler ===

impl Compiler {
    /// For maps that are empty.
    pub fn new(settings: Settings) -> Self {
        Self::restore(&MapState::default(), settings)
    }

    /// For maps that an agent before this one has written: ids and sets that still serve stay.
    pub fn restore(actual: &MapState, settings: Settings) -> Self {
        Self::with_limits(actual, settings, Limits::default())
    }

    pub fn with_limits(actual: &MapState, settings: Settings, limits: Limits) -> Self {
        Self {
            settings: Arc::new(settings),
            scene: Arc::default(),
            store: Store::restore(actual, limits),
            registry: Registry::default(),
            claims: Claims::default(),
            services: BTreeMap::new(),
            diagnostics: BTreeMap::new(),
            scene_diagnostics: Vec::new(),
            unfit: BTreeSet::new(),
            has_passed: false,
            is_packed: false,
        }
    }

    /// Compiles the Services that something changed for, and names the rows that it touched.
    ///
    /// Nothing happens before the cluster is synced: a Service whose slices have not all come would
    /// lose backends, or refuse (services.md 23). The first pass after that is over all Services,
    /// whatever `dirty` says, and ends with the removal of what was restored and belongs to nobody.
    pub fn compile(
        &mut self,
        cluster: &Cluster,
        dirty: &BTreeSet<ObjectKey>,
        now_s: u64,
    ) -> Changes {
        let mut changes = Changes::default();
        if !cluster.is_synced() {
            return changes;
        }
        self.store.release(now_s);
        let mut affected: Vec<ObjectKey> = dirty.iter().cloned().collect();
        if !self.has_passed {
            affected.extend(cluster.services().keys().cloned());
        }
        self.look_around(cluster, &mut affected, &mut changes);
        self.claim(cluster, &mut affected, &mut changes);
        affected.sort();
        affected.dedup();
        for key in &affected {
            self.compile_service(cluster, key, &mut changes);
        }
        if !self.has_passed {
            self.sweep(&mut changes);
            self.has_passed = true;
        }
        if self.store.take_freed() {
            for key in std::mem::take(&mut self.unfit) {
                self.compile_service(cluster, &key, &mut changes);
            }
        }
        changes.tidy();
        changes
    }

    /// Tells what the maps hold after a pass was applied, as far as it could be: numbers that they
    /// have let go of may be used again two seconds later.
    pub fn settle(&mut self, actual: &MapState, now_s: u64) {
        self.store.settle(actual, now_s);
        if self.has_passed && !self.is_packed {
            self.store.desired.pack();
            self.is_packed = true;
        }
    }

    /// When to compile again though nothing changed: something may fit then that did not.
    pub fn retry_at_s(&self) -> Option<u64> {
        self.store
            .next_release_s()
            .filter(|_| !self.unfit.is_empty())
    }

    pub const fn desired(&self) -> &MapState {
        &self.store.desired
    }

    /// The node's primary addresses, one of a family at most (services.md 121).
    pub fn primary_addrs(&self) -> &[IpAddr] {
        &self.scene.primary
    }

    /// The service ports that have frontends, by name.
    pub fn services(&self) -> impl Iterator<Item = &ServicePortState> {
        self.services
            .values()
            .flatten()
            .filter(|port| port.frontends().next().is_some())
    }

    /// What could not be done as the objects ask for.
    pub fn diagnostics(&self) -> impl Iterator<Item = Diagnostic> + '_ {
        let of_services = self.diagnostics.values().flatten();
        self.scene_diagnostics.iter().chain(of_services).cloned()
    }

    /// Settles who has which address and frontend; adds the Services that won or lost one.
    fn claim(&mut self, cluster: &Cluster, affected: &mut Vec<ObjectKey>, changes: &mut Changes) {
        let mut others = Vec::new();
        for key in &*affected {
            for addr in self.registry.set(key, cluster.service(key)) {
                let is_one = self.registry.is_cluster_ip(addr);
                self.store.set_cluster_ip(addr, is_one, changes);
                others.extend(self.registry.holders(addr).cloned());
            }
        }
        affected.append(&mut others);
        for key in &*affected {
            let (created_s, claims) = cluster.service(key).map_or_else(Default::default, |found| {
                let offers = offers(found, self.rules(), &mut Vec::new()).into_iter();
                let claims = offers.flat_map(|offer| offer.claims);
                (
                    found.created_s,
                    claims.map(|offered| offered.claim).collect(),
                )
            });
            others.extend(self.claims.set(key, created_s, claims));
        }
        affected.append(&mut others);
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            settings: &self.settings,
            scene: &self.scene,
            registry: &self.registry,
        }
    }

    fn compile_service(&mut self, cluster: &Cluster, key: &ObjectKey, changes: &mut Changes) {
        let mut before = self.services.remove(key).unwrap_or_default();
        let mut diagnostics = Vec::new();
        self.unfit.remove(key);
        if let Some(service) = cluster.service(key) {
            hygiene::check(
                &key.namespace,
                cluster.slices_by_name(key),
                &mut diagnostics,
            );
            let mut problems = Vec::new();
            let (scene, settings) = (self.scene.clone(), self.settings.clone());
            let target = Target {
                cluster,
                scene: &scene,
                settings: &settings,
                key,
                service,
            };
            let after = self.compile_ports(target, &mut before, &mut problems, changes);
            self.check_addresses(key, service, &mut problems, changes);
            self.services.insert(key.clone(), after);
            let object = ObjectRef::new(Kind::Service, key.clone());
            diagnostics.extend(problems.into_iter().map(|reason| Diagnostic {
                object: object.clone(),
                reason,
            }));
        }
        for state in before {
            self.store.leave_service_id(state.id);
            Ipv4::pass(&mut self.store, changes).remove(state.v4, state.id);
            Ipv6::pass(&mut self.store, changes).remove(state.v6, state.id);
        }
        if diagnostics.is_empty() {
            self.diagnostics.remove(key);
        } else {
            self.diagnostics.insert(key.clone(), diagnostics);
        }
    }

    /// Compiles a Service's ports, taking those that stay out of `before`.
    fn compile_ports(
        &mut self,
        target: Target<'_>,
        before: &mut Vec<ServicePortState>,
        problems: &mut Vec<String>,
        changes: &mut Changes,
    ) -> Vec<ServicePortState> {
        let mut after = Vec::with_capacity(target.service.ports.len());
        // A Service may have thousands of ports: the first that does not fit speaks for all.
        let mut unfit: Option<(String, usize)> = None;
        for mut offer in offers(target.service, self.rules(), problems) {
            offer
                .claims
                .retain(|offered| self.wins(target.key, &offered.claim, problems));
            if offer.claims.is_empty() {
                continue;
            }
            let known = before.iter().position(|state| state.is_of(offer.port));
            let known = known.map(|at| before.swap_remove(at));
            let written = match known.or_else(|| self.store.new_port(target.key, &offer)) {
                Some(mut state) => {
                    let written = self.store.write_port(target, &offer, &mut state, changes);
                    after.push(state);
                    written
                }
                None => Err(NoRoom {
                    what: "service ports",
                    needed: 1,
                    free: 0,
                    family: 0,
                }),
            };
            if let Err(no_room) = written {
                let ServicePort { port, protocol, .. } = offer.port;
                unfit
                    .get_or_insert_with(|| (format!("port {port}/{protocol}: {no_room}"), 0))
                    .1 += 1;
            }
        }
        if let Some((mut problem, ports)) = unfit {
            self.unfit.insert(target.key.clone());
            if ports > 1 {
                problem.push_str(&format!("; {ports} of its ports do not fit"));
            }
            problems.push(problem);
        }
        after
    }

    /// Gives every ClusterIP its row, whatever its ports (services.md 72), and says what of its
    /// addresses is not as it seems.
    fn check_addresses(
        &mut self,
        key: &ObjectKey,
        service: &Service,
        problems: &mut Vec<String>,
        changes: &mut Changes,
    ) {
        for addr in &service.cluster_ips {
            if let Err(no_room) = self.store.admit_address(*addr, changes) {
                self.unfit.insert(key.clone());
                problems.push(format!("ClusterIP {addr}: {no_room}"));
            }
        }
        let families = IpFamily::ALL.into_iter();
        problems
            .extend(families.filter_map(|family| sources::gap(service, family, &self.settings)));
    }

    /// Removes what the first pass did not adopt.
    fn sweep(&mut self, changes: &mut Changes) {
        let all = || self.services.values().flatten();
        let kept4 = all()
            .flat_map(|state| &state.v4.frontends)
            .copied()
            .collect();
        let kept6 = all()
            .flat_map(|state| &state.v6.frontends)
            .copied()
            .collect();
        self.store.sweep(&kept4, &kept6, changes);
    }

    fn wins(&self, key: &ObjectKey, claim: &Claim, problems: &mut Vec<String>) -> bool {
        let owner = self.claims.owner(claim);
        if let Some(owner) = owner.filter(|owner| *owner != key) {
            let problem = format!("{claim} belongs to Service {owner}, which came first");
            // A node port is claimed in each family.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        owner == Some(key)
    }
}
