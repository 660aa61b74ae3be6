//! The cluster: every object by its key, which Services changed, and which kinds are complete.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    Diagnostic, EndpointSlice, Event, Kind, Node, Object, ObjectKey, ObjectRef, Pod, Service,
    ServiceCidr,
};

#[derive(Debug, Default)]
pub struct Cluster {
    node_name: Arc<str>,
    services: BTreeMap<ObjectKey, Service>,
    /// The slices of each Service, by name: the order in which duplicates are resolved.
    slices: HashMap<ObjectKey, BTreeMap<Arc<str>, EndpointSlice>>,
    /// Which Service a slice was last counted for.
    slice_owner: HashMap<ObjectKey, ObjectKey>,
    pods: BTreeMap<ObjectKey, Pod>,
    node: Option<Node>,
    service_cidrs: BTreeMap<ObjectKey, ServiceCidr>,
    problems: BTreeMap<ObjectRef, Vec<String>>,
    synced: BTreeSet<Kind>,
    dirty: BTreeSet<ObjectKey>,
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
        self.slices
            .get(service)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// The same with their names.
    pub fn slices_by_name(
        &self,
        service: &ObjectKey,
    ) -> impl Iterator<Item = (&Arc<str>, &EndpointSlice)> {
        self.slices.get(service).into_iter().flatten()
    }

    pub const fn pods(&self) -> &BTreeMap<ObjectKey, Pod> {
        &self.pods
    }

    pub const fn service_cidrs(&self) -> &BTreeMap<ObjectKey, ServiceCidr> {
        &self.service_cidrs
    }

    /// What the sources found wrong, object by object.
    pub fn diagnostics(&self) -> impl Iterator<Item = Diagnostic> + '_ {
        self.problems.iter().flat_map(|(object, reasons)| {
            reasons.iter().map(|reason| Diagnostic {
                object: object.clone(),
                reason: reason.clone(),
            })
        })
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

    fn apply_slice(&mut self, key: ObjectKey, slice: EndpointSlice) {
        let service = ObjectKey {
            namespace: key.namespace.clone(),
            name: slice.service.clone(),
        };
        if self
            .slice_owner
            .get(&key)
            .is_some_and(|owner| *owner != service)
        {
            self.remove_slice(&key);
        }
        let slices = self.slices.entry(service.clone()).or_default();
        if slices.get(&key.name) != Some(&slice) {
            slices.insert(key.name.clone(), slice);
            self.dirty.insert(service.clone());
        }
        self.slice_owner.insert(key, service);
    }

    fn remove_slice(&mut self, key: &ObjectKey) {
        let Some(service) = self.slice_owner.remove(key) else {
            return;
        };
        if let Some(slices) = self.slices.get_mut(&service) {
            slices.remove(&key.name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
        self.dirty.insert(service);
    }

    fn set_node(&mut self, node: Option<Node>) {
        let zone = |node: &Option<Node>| node.as_ref().and_then(|node| node.zone.clone());
        // Only the zone takes part in the choice of endpoints (services.md 42).
        if zone(&self.node) != zone(&node) {
            self.dirty.extend(self.services.keys().cloned());
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
