//! Service ports as a person thinks of them: by name, with their frontends and backends.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use ipnet::IpNet;
use proxy_datapath::{
    family::Family,
    frontend::{ANSWERED, backend},
    tables::{Frontend, FrontendKey},
};
use serde::{Deserialize, Serialize};

use super::{
    PortName, Row, World,
    row::{kind_name, protocol, seconds, socket_addr, state_name},
};
use crate::{
    model::{ObjectKey, Service, ServiceType, TrafficPolicy},
    plan::FamilyState,
};

/// One service port; without an agent that knows the names, only the id tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePortView {
    pub namespace: Option<String>,
    pub name: Option<String>,
    /// The port's name, empty for an only port without one.
    pub port: Option<String>,
    pub protocol: String,
    /// The Service's type.
    #[serde(rename = "type")]
    pub service_type: Option<String>,
    /// `Cluster` or `Local`, as the Service says.
    pub internal_traffic_policy: Option<String>,
    pub external_traffic_policy: Option<String>,
    /// The service id in the tables.
    pub id: u32,
    /// How long a client stays with its backend.
    pub affinity_s: Option<u32>,
    /// What load balancer addresses admit; everybody if empty.
    pub source_ranges: Vec<IpNet>,
    pub frontends: Vec<FrontendView>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendView {
    /// Unspecified for a node port, which every address has that serves node ports.
    pub address: SocketAddr,
    /// `ClusterIP`, `NodePort`, `ExternalIP` or `LoadBalancer`.
    pub kind: String,
    /// `reject` or `drop`, without a backend to choose.
    pub refuses: Option<String>,
    /// What clients in the cluster choose from, and those that terminate, of the frontend's family.
    pub backends: Vec<BackendView>,
    /// What everybody else chooses from, where that differs.
    pub wire: Option<WireView>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireView {
    /// As in `FrontendView`.
    pub refuses: Option<String>,
    pub backends: Vec<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendView {
    pub address: SocketAddr,
    /// `active` or `terminating`.
    pub state: String,
    pub node: Option<String>,
}

/// One family's tables, with what they are asked for made quick to find.
struct Tables<'a, F: Family> {
    family: &'a FamilyState<F>,
    slots: &'a BTreeMap<u32, u32>,
    /// By service id.
    terminating: HashMap<u32, Vec<u32>>,
}

/// Every service port, sorted by namespace, name and port; those without a name by their id.
pub fn views(world: &World<'_>) -> Vec<ServicePortView> {
    let mut views = BTreeMap::new();
    collect(&world.maps.v4, world, &mut views);
    collect(&world.maps.v6, world, &mut views);
    let mut views: Vec<ServicePortView> = views.into_values().collect();
    for view in &mut views {
        view.frontends.sort_unstable();
    }
    views.sort_unstable();
    views
}

fn collect<F: Family>(
    family: &FamilyState<F>,
    world: &World<'_>,
    views: &mut BTreeMap<u32, ServicePortView>,
) {
    let tables = Tables::new(family, &world.maps.slots);
    for (key, frontend) in &family.frontends {
        let nodes = world.endpoint_nodes(frontend.service, key.proto());
        let view = views
            .entry(frontend.service)
            .or_insert_with(|| ServicePortView::new(frontend, key.proto(), world));
        view.frontends
            .push(FrontendView::new(key, frontend, &tables, &nodes));
    }
    for key in family.sources.keys() {
        if let (Some(view), Some(Row::Source { range, .. })) =
            (views.get_mut(&key.service), Row::source(key))
        {
            view.source_ranges.push(range);
        }
    }
}

/// As Kubernetes writes it.
const fn type_name(service_type: ServiceType) -> &'static str {
    match service_type {
        ServiceType::ClusterIp => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    }
}

const fn policy(policy: TrafficPolicy) -> &'static str {
    match policy {
        TrafficPolicy::Cluster => "Cluster",
        TrafficPolicy::Local => "Local",
    }
}

/// What a frontend with this many slots does to every flow, if anything.
fn refusal(frontend: &Frontend, count: u32) -> Option<String> {
    let how = if frontend.flags & ANSWERED != 0 {
        "drop"
    } else {
        "reject"
    };
    (count == 0).then(|| how.to_owned())
}

// === impl Tables ===

impl<'a, F: Family> Tables<'a, F> {
    fn new(family: &'a FamilyState<F>, slots: &'a BTreeMap<u32, u32>) -> Self {
        let mut terminating: HashMap<u32, Vec<u32>> = HashMap::new();
        for (&id, backend) in &family.backends {
            if backend.state == backend::TERMINATING {
                terminating.entry(backend.service).or_default().push(id);
            }
        }
        Self {
            family,
            slots,
            terminating,
        }
    }

    /// The ids in a set, each once: a Maglev table has each many times.
    fn set(&self, base: u32, count: u32) -> BTreeSet<u32> {
        let range = self.slots.range(base..base.saturating_add(count));
        range.map(|(_, &id)| id).collect()
    }

    fn backend(&self, id: u32) -> Option<(SocketAddr, &'static str)> {
        let backend = self.family.backends.get(&id)?;
        let address = socket_addr(backend.addr, backend.port());
        Some((address, state_name(backend.state)))
    }
}

// === impl ServicePortView ===

impl ServicePortView {
    fn new(frontend: &Frontend, proto: u32, world: &World<'_>) -> Self {
        let id = frontend.service;
        let name = world.name(id);
        let service = world.service(id);
        let text = |of: fn(&Service) -> &'static str| service.map(|s| of(s).to_owned());
        Self {
            namespace: name.map(|name| name.service.namespace.to_string()),
            name: name.map(|name| name.service.name.to_string()),
            port: name.map(|name| name.port.to_string()),
            protocol: protocol(proto),
            service_type: text(|service| type_name(service.service_type)),
            internal_traffic_policy: text(|service| policy(service.internal_traffic_policy)),
            external_traffic_policy: text(|service| policy(service.external_traffic_policy)),
            id,
            affinity_s: (frontend.affinity != 0).then(|| seconds(frontend.affinity)),
            source_ranges: Vec::new(),
            frontends: Vec::new(),
        }
    }

    /// `namespace/name:port`, if it is known.
    pub fn title(&self) -> Option<String> {
        let service = ObjectKey::new(self.namespace.as_deref()?, self.name.as_deref()?);
        Some(
            PortName {
                service,
                port: self.port.as_deref()?.into(),
            }
            .to_string(),
        )
    }
}

// === impl FrontendView ===

impl FrontendView {
    fn new<F: Family>(
        key: &FrontendKey<F>,
        frontend: &Frontend,
        tables: &Tables<'_, F>,
        nodes: &BTreeMap<SocketAddr, Arc<str>>,
    ) -> Self {
        let set = tables.set(frontend.base, frontend.count);
        let wire = tables.set(frontend.wire_base, frontend.wire_count);
        let is_same = (frontend.count == 0) == (frontend.wire_count == 0) && wire == set;
        let of_service = tables.terminating.get(&frontend.service);
        let ids: BTreeSet<u32> = set
            .into_iter()
            .chain(of_service.into_iter().flatten().copied())
            .collect();
        let mut backends: Vec<BackendView> = ids
            .into_iter()
            .filter_map(|id| tables.backend(id))
            .map(|(address, state)| BackendView {
                address,
                state: state.to_owned(),
                node: nodes.get(&address).map(|node| node.to_string()),
            })
            .collect();
        backends.sort_unstable();
        Self {
            address: socket_addr(key.addr, key.port()),
            kind: kind_name(frontend.flags).to_owned(),
            refuses: refusal(frontend, frontend.count),
            backends,
            wire: (!is_same).then(|| WireView {
                refuses: refusal(frontend, frontend.wire_count),
                backends: addresses(&wire, tables),
            }),
        }
    }

    /// How many backends new flows of clients in the cluster choose from.
    pub fn active(&self) -> usize {
        self.backends
            .iter()
            .filter(|backend| backend.state == "active")
            .count()
    }
}

fn addresses<F: Family>(ids: &BTreeSet<u32>, tables: &Tables<'_, F>) -> Vec<SocketAddr> {
    let found = ids.iter().filter_map(|&id| tables.backend(id));
    let mut addresses: Vec<SocketAddr> = found.map(|(address, _)| address).collect();
    addresses.sort_unstable();
    addresses
}
