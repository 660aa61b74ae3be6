//! Service ports as a person thinks of them: by name, with their frontends and backends.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use proxy_datapath::{
    family::Family,
    frontend::NO_LOCAL_BACKEND,
    tables::{Frontend, FrontendKey},
};
use serde::{Deserialize, Serialize};

use super::{
    PortName, World,
    row::{protocol, socket_addr, state_name},
};
use crate::{model::ObjectKey, plan::FamilyState};

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
    /// The service id in the tables.
    pub id: u32,
    pub frontends: Vec<FrontendView>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendView {
    pub address: SocketAddr,
    /// `reject` or `drop`, without a backend to choose.
    pub refuses: Option<String>,
    /// Of the frontend's family; only active ones are chosen for new flows.
    pub backends: Vec<BackendView>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendView {
    pub address: SocketAddr,
    /// `active` or `terminating`.
    pub state: String,
    pub node: Option<String>,
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
    let mut backends: HashMap<u32, Vec<BackendView>> = HashMap::new();
    for backend in family.backends.values() {
        backends
            .entry(backend.service)
            .or_default()
            .push(BackendView {
                address: socket_addr(backend.addr, backend.port()),
                state: state_name(backend.state).to_owned(),
                node: None,
            });
    }
    for (key, frontend) in &family.frontends {
        let nodes = world.endpoint_nodes(frontend.service, key.proto());
        let mut backends = backends.get(&frontend.service).cloned().unwrap_or_default();
        name_nodes(&mut backends, &nodes);
        backends.sort_unstable();
        let view = views
            .entry(frontend.service)
            .or_insert_with(|| ServicePortView::new(frontend.service, key.proto(), world));
        view.frontends
            .push(FrontendView::new(key, frontend, backends));
    }
}

fn name_nodes(backends: &mut [BackendView], nodes: &BTreeMap<SocketAddr, Arc<str>>) {
    for backend in backends {
        backend.node = nodes.get(&backend.address).map(|node| node.to_string());
    }
}

// === impl ServicePortView ===

impl ServicePortView {
    fn new(id: u32, proto: u32, world: &World<'_>) -> Self {
        let name = world.name(id);
        Self {
            namespace: name.map(|name| name.service.namespace.to_string()),
            name: name.map(|name| name.service.name.to_string()),
            port: name.map(|name| name.port.to_string()),
            protocol: protocol(proto),
            service_type: world.service_type(id).map(str::to_owned),
            id,
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
        backends: Vec<BackendView>,
    ) -> Self {
        let refuses = match (frontend.count, frontend.flags & NO_LOCAL_BACKEND) {
            (1.., _) => None,
            (0, 0) => Some("reject".to_owned()),
            (0, _) => Some("drop".to_owned()),
        };
        Self {
            address: socket_addr(key.addr, key.port()),
            refuses,
            backends,
        }
    }

    /// How many backends new flows choose from.
    pub fn active(&self) -> usize {
        self.backends
            .iter()
            .filter(|backend| backend.state == "active")
            .count()
    }
}
