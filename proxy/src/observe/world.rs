//! What is known when a question comes: the tables, and names for them if there is a model.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{Names, PortName};
use crate::{
    compile::{Compiler, ServicePortState},
    model::{Cluster, ObjectKey, Pod, ServiceType},
    plan::MapState,
};

/// The tables of this node, and what the numbers in them mean.
#[derive(Debug)]
pub struct World<'a> {
    pub maps: &'a MapState,
    names: Names,
    cluster: Option<&'a Cluster>,
}

// === impl World ===

impl<'a> World<'a> {
    /// `maps` are the desired tables or the actual ones, as the question wants.
    pub fn new(maps: &'a MapState, compiler: &Compiler, cluster: &'a Cluster) -> Self {
        Self {
            maps,
            names: names(compiler),
            cluster: Some(cluster),
        }
    }

    /// Tables as they are pinned while no agent runs, and the names that the last one left.
    pub const fn pinned(maps: &'a MapState, names: Names) -> Self {
        Self {
            maps,
            names,
            cluster: None,
        }
    }

    /// Whether anything has a name.
    pub fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    pub const fn cluster(&self) -> Option<&'a Cluster> {
        self.cluster
    }

    pub fn name(&self, service: u32) -> Option<&PortName> {
        self.names.get(&service)
    }

    /// The type of the Service that a service id belongs to, as Kubernetes writes it.
    pub fn service_type(&self, service: u32) -> Option<&'static str> {
        let service = self.cluster?.service(&self.name(service)?.service)?;
        Some(match service.service_type {
            ServiceType::ClusterIp => "ClusterIP",
            ServiceType::NodePort => "NodePort",
            ServiceType::LoadBalancer => "LoadBalancer",
        })
    }

    /// The pod of this node that is behind a device with this address. A pod on the host's network
    /// has no device, and the address of one that has finished may be another's.
    pub fn local_pod(&self, addr: IpAddr) -> Option<&'a ObjectKey> {
        let cluster = self.cluster?;
        let is_here = |pod: &Pod| {
            *pod.node == *cluster.node_name()
                && !pod.host_network
                && !pod.finished
                && pod.addrs.contains(&addr)
        };
        cluster
            .pods()
            .iter()
            .find(|(_, pod)| is_here(pod))
            .map(|(key, _)| key)
    }

    /// Whether the address is the node's own.
    pub fn is_node_addr(&self, addr: IpAddr) -> bool {
        self.cluster
            .and_then(Cluster::node)
            .is_some_and(|node| node.addrs.contains(&addr))
    }

    /// Where the endpoints of a service port are, by address.
    pub fn endpoint_nodes(&self, service: u32) -> BTreeMap<IpAddr, Arc<str>> {
        let (Some(cluster), Some(name)) = (self.cluster, self.name(service)) else {
            return BTreeMap::new();
        };
        cluster
            .slices(&name.service)
            .flat_map(|slice| &slice.endpoints)
            .filter_map(|endpoint| Some((endpoint.addr, endpoint.node.clone()?)))
            .collect()
    }
}

/// What the compiler's service ids stand for.
pub fn names(compiler: &Compiler) -> Names {
    let name = |port: &ServicePortState| {
        (
            port.id,
            PortName {
                service: port.service.clone(),
                port: port.port.clone(),
            },
        )
    };
    compiler.services().map(name).collect()
}
