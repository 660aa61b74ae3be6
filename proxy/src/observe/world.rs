//! What is known when a question comes: the tables, and names for them if there is a model.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{Names, PortName};
use crate::{
    compile::{Compiler, ServicePortState},
    model::{Cluster, Endpoint, ObjectKey, Pod, Service},
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

    /// The Service that a service id belongs to.
    pub fn service(&self, id: u32) -> Option<&'a Service> {
        self.cluster?.service(&self.name(id)?.service)
    }

    /// The pod of this node that has this address.
    pub fn local_pod(&self, addr: IpAddr) -> Option<&'a ObjectKey> {
        self.local_pods()
            .find(|(_, pod)| pod.addrs.contains(&addr))
            .map(|(key, _)| key)
    }

    /// Whether the address is the node's own: one that it has, or that of a pod on its network,
    /// which is known without a Node object, and in the family that it does not tell.
    pub fn is_node_addr(&self, addr: IpAddr) -> bool {
        let own = self.cluster.map_or(&[][..], Cluster::local_addrs);
        let mut on_host = self.pods().filter(|(_, pod)| pod.host_network);
        addr.is_loopback()
            || own.contains(&addr)
            || on_host.any(|(_, pod)| pod.addrs.contains(&addr))
    }

    /// On which nodes the endpoints of a service port are; `proto` is its protocol's number.
    pub fn endpoint_nodes(&self, service: u32, proto: u32) -> BTreeMap<SocketAddr, Arc<str>> {
        let endpoints = self.endpoints(service, proto).into_iter();
        endpoints
            .filter_map(|(addr, endpoint)| Some((addr, endpoint.node.clone()?)))
            .collect()
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
