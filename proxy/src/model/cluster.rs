//! The cluster: every object by its key, which Services changed, and which kinds are complete.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use super::{
    Diagnostic, EndpointSlice, Event, Kind, Node, Object, ObjectKey, ObjectRef, Pod, Service,
    ServiceCidr, Uplink,
    names::Names,
    triggers::{Trigger, Triggers},
};

#[derive(Debug, Default)]
pub struct Cluster {
    node_name: Arc<str>,
    services: BTreeMap<ObjectKey, Service>,
    /// The slices of each Service in name order, in which duplicates are resolved.
    slices: HashMap<ObjectKey, Vec<(Arc<str>, EndpointSlice)>>,
    /// The name of the Service that a slice was last counted for.
    slice_owner: HashMap<ObjectKey, Arc<str>>,
    pods: BTreeMap<ObjectKey, Pod>,
    node: Option<Node>,
    service_cidrs: BTreeMap<ObjectKey, ServiceCidr>,
    /// `None` until somebody has looked.
    local_addrs: Option<Vec<IpAddr>>,
    uplinks: Vec<Uplink>,
    problems: BTreeMap<ObjectRef, Vec<String>>,
    synced: BTreeSet<Kind>,
    dirty: BTreeSet<ObjectKey>,
    names: Names,
    triggers: Triggers,
}

// === impl Cluster ===

impl Cluster {
    /// `node_name` is trimmed and in lower case (services.md 3).
    pub fn new(node_name: impl Into<Arc<str>>) -> Self {
        Self {
            node_name: node_name.into(),
            ..Self::default()
        }
    }

    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Apply { object, problems } => {
                self.set_problems(object.reference(), problems);
                self.apply(object);
            }
            Event::Delete(object) => {
                self.set_problems(object.clone(), Vec::new());
                self.delete(&object);
            }
            Event::Invalid { object, problems } => {
                self.delete(&object);
                self.set_problems(object, problems);
            }
            Event::Synced(kind) => {
                self.synced.insert(kind);
            }
            Event::LocalAddrs(addrs) => self.local_addrs = Some(addrs),
            Event::Uplinks(uplinks) => self.uplinks = uplinks,
        }
    }

    pub fn node_name(&self) -> &str {
        &self.node_name
    }

    pub const fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    pub const fn services(&self) -> &BTreeMap<ObjectKey, Service> {
        &self.services
    }

    pub fn service(&self, key: &ObjectKey) -> Option<&Service> {
        self.services.get(key)
    }

    /// The slices of a Service in name order.
    pub fn slices(&self, service: &ObjectKey) -> impl Iterator<Item = &EndpointSlice> {
        self.slices_by_name(service).map(|(_, slice)| slice)
    }

    /// The same with their names.
    pub fn slices_by_name(
        &self,
        service: &ObjectKey,
    ) -> impl Iterator<Item = (&Arc<str>, &EndpointSlice)> {
        self.slices
            .get(service)
            .into_iter()
            .flatten()
            .map(|(name, slice)| (name, slice))
    }

    pub const fn pods(&self) -> &BTreeMap<ObjectKey, Pod> {
        &self.pods
    }

    pub const fn service_cidrs(&self) -> &BTreeMap<ObjectKey, ServiceCidr> {
        &self.service_cidrs
    }

    /// The addresses of this node: those of its devices, or as long as nobody has looked at them
    /// those of the Node object.
    pub fn local_addrs(&self) -> &[IpAddr] {
        match &self.local_addrs {
            Some(addrs) => addrs,
            None => self.node.as_ref().map_or(&[], |node| &node.addrs),
        }
    }

    /// The devices that lead to other nodes.
    pub fn uplinks(&self) -> &[Uplink] {
        &self.uplinks
    }

    /// What the sources found wrong, object by object, and whether our own Node is missing.
    pub fn diagnostics(&self) -> impl Iterator<Item = Diagnostic> + '_ {
        let found = self.problems.iter().flat_map(|(object, reasons)| {
            reasons.iter().map(|reason| Diagnostic {
                object: object.clone(),
                reason: reason.clone(),
            })
        });
        let is_missing = self.node.is_none() && self.has_synced(Kind::Node);
        found.chain(is_missing.then(|| Diagnostic {
            object: ObjectRef::new(Kind::Node, ObjectKey::new("", self.node_name.clone())),
            reason: "does not exist: this node has no zone and no addresses".to_owned(),
        }))
    }

    /// Whether every kind has delivered its first complete list: before that, nothing that is
    /// absent may be taken for deleted (services.md 23, reliability.md R3).
    pub fn is_synced(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.synced.contains(kind))
    }

    pub fn has_synced(&self, kind: Kind) -> bool {
        self.synced.contains(&kind)
    }

    /// The Services that something changed for since the last call, existing or not.
    pub fn take_dirty(&mut self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.dirty)
    }

    /// What triggered the changes of slices since the last call.
    pub fn take_triggers(&mut self) -> Vec<Trigger> {
        self.triggers.take()
    }

    fn apply(&mut self, object: Object) {
        match object {
            Object::Service(key, service) => {
                if self.services.get(&key) != Some(&service) {
                    self.services.insert(key.clone(), service);
                    self.dirty.insert(key);
                }
            }
            Object::EndpointSlice(key, slice) => self.apply_slice(key, slice),
            Object::Pod(key, pod) => {
                self.pods.insert(key, pod);
            }
            Object::Node(key, node) => {
                if *key.name == *self.node_name {
                    self.set_node(Some(node));
                }
            }
            Object::ServiceCidr(key, cidr) => {
                self.service_cidrs.insert(key, cidr);
            }
        }
    }

    fn delete(&mut self, object: &ObjectRef) {
        let ObjectRef::Object { kind, key } = object else {
            return;
        };
        match kind {
            Kind::Service => {
                if self.services.remove(key).is_some() {
                    self.dirty.insert(key.clone());
                }
            }
            Kind::EndpointSlice => self.remove_slice(key),
            Kind::Pod => {
                self.pods.remove(key);
            }
            Kind::Node => {
                if *key.name == *self.node_name {
                    self.set_node(None);
                }
            }
            Kind::ServiceCidr => {
                self.service_cidrs.remove(key);
            }
        }
    }

    fn apply_slice(&mut self, mut key: ObjectKey, mut slice: EndpointSlice) {
        if self
            .slice_owner
            .get(&key)
            .is_some_and(|owner| *owner != slice.service)
        {
            self.remove_slice(&key);
        }
        let triggered_ms = slice.triggered_ms.take();
        let family = slice.family;
        self.names.share(&mut key.namespace);
        self.names.share(&mut slice.service);
        let service = ObjectKey {
            namespace: key.namespace.clone(),
            name: slice.service.clone(),
        };
        let slices = self.slices.entry(service.clone()).or_default();
        match slices.binary_search_by(|(name, _)| name.cmp(&key.name)) {
            Ok(at) if slices[at].1 == slice => return,
            Ok(at) => {
                share_names(&mut self.names, &mut slice);
                slices[at].1 = slice;
            }
            Err(at) => {
                share_names(&mut self.names, &mut slice);
                slices.reserve_exact(1);
                slices.insert(at, (key.name.clone(), slice));
                self.slice_owner.insert(key, service.name.clone());
            }
        }
        if let Some(at_ms) = triggered_ms {
            self.triggers.add(&service, Trigger { family, at_ms });
        }
        self.dirty.insert(service);
    }

    fn remove_slice(&mut self, key: &ObjectKey) {
        let Some(name) = self.slice_owner.remove(key) else {
            return;
        };
        let service = ObjectKey {
            namespace: key.namespace.clone(),
            name,
        };
        if let Some(slices) = self.slices.get_mut(&service) {
            slices.retain(|(name, _)| *name != key.name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
        self.triggers.forget(&service);
        self.dirty.insert(service);
    }

    fn set_node(&mut self, node: Option<Node>) {
        let zone = |node: &Option<Node>| node.as_ref().and_then(|node| node.zone.clone());
        // Only the zone takes part in the choice of endpoints (services.md 42), where they have
        // hints for zones.
        if zone(&self.node) != zone(&node) {
            let hinted = self.slices.iter().filter(|(_, slices)| {
                let mut endpoints = slices.iter().flat_map(|(_, slice)| &slice.endpoints);
                endpoints.any(|endpoint| !endpoint.zone_hints.is_empty())
            });
            self.dirty
                .extend(hinted.map(|(service, _)| service.clone()));
        }
        self.node = node;
    }

    fn set_problems(&mut self, object: ObjectRef, problems: Vec<String>) {
        if problems.is_empty() {
            self.problems.remove(&object);
        } else {
            self.problems.insert(object, problems);
        }
    }
}

/// What repeats in every slice is kept once, and nothing is kept for growth.
fn share_names(names: &mut Names, slice: &mut EndpointSlice) {
    slice.ports.shrink_to_fit();
    slice.endpoints.shrink_to_fit();
    for port in &mut slice.ports {
        names.share(&mut port.name);
    }
    for endpoint in &mut slice.endpoints {
        let places = endpoint.node.iter_mut().chain(&mut endpoint.zone);
        let hints = endpoint
            .zone_hints
            .iter_mut()
            .chain(&mut endpoint.node_hints);
        places.chain(hints).for_each(|name| names.share(name));
    }
}
