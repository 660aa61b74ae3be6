//! What is known when a question comes: the tables, and names for them if there is a model.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{Names, PortName};
use crate::{
    compile::{Compiler, ServicePortState},
    model::{Cluster, Endpoint, ObjectKey, Pod, ServiceType},
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

    /// The pod of this node that has this address.
    pub fn local_pod(&self, addr: IpAddr) -> Option<&'a ObjectKey> {
        self.local_pods()
            .find(|(_, pod)| pod.addrs.contains(&addr))
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
        self.endpoints(service)
            .filter_map(|endpoint| Some((endpoint.addr, endpoint.node.clone()?)))
            .collect()
    }

    /// The addresses on this node: its own, its pods', and those that the endpoints of a service
    /// port have here. `None` if nobody knows.
    pub fn addrs_here(&self, service: u32) -> Option<BTreeSet<IpAddr>> {
        let cluster = self.cluster?;
        let is_here = |node: &Arc<str>| **node == *cluster.node_name();
        let own = cluster.node().into_iter().flat_map(|node| &node.addrs);
        let pods = self.local_pods().flat_map(|(_, pod)| &pod.addrs);
        let endpoints = self
            .endpoints(service)
            .filter(|endpoint| endpoint.node.as_ref().is_some_and(is_here))
            .map(|endpoint| &endpoint.addr);
        Some(own.chain(pods).chain(endpoints).copied().collect())
    }

    /// The pods of this node that are behind a device. One on the host's network has none, and the
    /// address of one that has finished may be another's.
    fn local_pods(&self) -> impl Iterator<Item = (&'a ObjectKey, &'a Pod)> {
        let pods = self.cluster.into_iter().flat_map(|cluster| {
            let is_here = |pod: &Pod| *pod.node == *cluster.node_name();
            cluster.pods().iter().filter(move |(_, pod)| is_here(pod))
        });
        pods.filter(|(_, pod)| !pod.host_network && !pod.finished)
    }

    fn endpoints(&self, service: u32) -> impl Iterator<Item = &'a Endpoint> {
        let named = self.cluster.zip(self.name(service));
        named
            .into_iter()
            .flat_map(|(cluster, name)| cluster.slices(&name.service))
            .flat_map(|slice| &slice.endpoints)
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
