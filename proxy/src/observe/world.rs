//! What is known when a question comes: the tables, and names for them if there is a model.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
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
        self.node_addrs().any(|own| *own == addr)
    }

    /// On which nodes the endpoints of a service port are; `proto` is its protocol's number.
    pub fn endpoint_nodes(&self, service: u32, proto: u32) -> BTreeMap<SocketAddr, Arc<str>> {
        let endpoints = self.endpoints(service, proto).into_iter();
        endpoints
            .filter_map(|(addr, endpoint)| Some((addr, endpoint.node.clone()?)))
            .collect()
    }

    /// The backends of a service port that are on this node: its slices say so, or the address is
    /// the node's own or a pod's of this node. `None` if nobody knows.
    pub fn is_here(&self, service: u32, proto: u32) -> Option<impl Fn(SocketAddr) -> bool> {
        let name = self.cluster?.node_name();
        let nodes = self.endpoint_nodes(service, proto);
        let pods = self.local_pods().flat_map(|(_, pod)| &pod.addrs);
        let known: BTreeSet<IpAddr> = self.node_addrs().chain(pods).copied().collect();
        Some(move |backend: SocketAddr| {
            known.contains(&backend.ip()) || nodes.get(&backend).is_some_and(|node| **node == *name)
        })
    }

    /// The addresses of the Node object, and of the pods on the host's network: those are known
    /// without a Node object, and in the family that it does not tell.
    fn node_addrs(&self) -> impl Iterator<Item = &'a IpAddr> {
        let node = self.cluster.and_then(Cluster::node);
        let on_host = self.pods().filter(|(_, pod)| pod.host_network);
        node.into_iter()
            .flat_map(|node| &node.addrs)
            .chain(on_host.flat_map(|(_, pod)| &pod.addrs))
    }

    /// The pods of this node that are behind a device.
    fn local_pods(&self) -> impl Iterator<Item = (&'a ObjectKey, &'a Pod)> {
        self.pods().filter(|(_, pod)| !pod.host_network)
    }

    /// The pods of this node, without those that have finished: their addresses may be others'.
    fn pods(&self) -> impl Iterator<Item = (&'a ObjectKey, &'a Pod)> {
        let pods = self.cluster.into_iter().flat_map(|cluster| {
            let is_here = |pod: &Pod| *pod.node == *cluster.node_name();
            cluster.pods().iter().filter(move |(_, pod)| is_here(pod))
        });
        pods.filter(|(_, pod)| !pod.finished)
    }

    /// The endpoints of a service port, duplicates resolved as the compiler does.
    fn endpoints(&self, service: u32, proto: u32) -> BTreeMap<SocketAddr, &'a Endpoint> {
        let mut found = BTreeMap::new();
        let Some((cluster, name)) = self.cluster.zip(self.name(service)) else {
            return found;
        };
        for slice in cluster.slices(&name.service) {
            let ports = slice.ports.iter();
            for port in
                ports.filter(|port| port.name == name.port && port.protocol.number() == proto)
            {
                for endpoint in &slice.endpoints {
                    let entry = found.entry(SocketAddr::new(endpoint.addr, port.port));
                    if endpoint.replaces() {
                        entry.insert_entry(endpoint);
                    } else {
                        entry.or_insert(endpoint);
                    }
                }
            }
        }
        found
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
