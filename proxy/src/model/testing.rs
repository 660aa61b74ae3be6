//! Objects for the tests of the pure stages, in few words.

use std::sync::Arc;

use super::{
    Cluster, Endpoint, EndpointSlice, Event, IpFamily, Kind, Object, ObjectKey, ObjectRef,
    Protocol, Service, ServicePort, ServiceType, SlicePort, TrafficPolicy,
};

/// A ready endpoint that is nowhere in particular.
pub(crate) fn endpoint(addr: &str) -> Endpoint {
    Endpoint {
        addr: addr.parse().unwrap(),
        ready: true,
        serving: true,
        terminating: false,
        node: None,
        zone: None,
        zone_hints: Box::default(),
        node_hints: Box::default(),
    }
}

/// A ready endpoint with hints: `node,node|zone,zone`.
pub(crate) fn hinted(hints: &str) -> Endpoint {
    let names = |text: &str| {
        text.split(',')
            .filter(|name| !name.is_empty())
            .map(Arc::from)
            .collect()
    };
    let (nodes, zones) = hints.split_once('|').unwrap();
    Endpoint {
        node_hints: names(nodes),
        zone_hints: names(zones),
        ..endpoint("10.1.0.1")
    }
}

/// A slice of Service `web`; its ports are `name/protocol=number`.
pub(crate) fn slice(ports: &[&str], endpoints: Vec<Endpoint>) -> EndpointSlice {
    let ports = ports.iter().map(|text| {
        let (name, text) = text.split_once('/').unwrap();
        let (protocol, number) = text.split_once('=').unwrap();
        let protocol = Protocol::parse(&protocol.to_uppercase()).unwrap();
        SlicePort {
            name: name.into(),
            protocol,
            port: number.parse().unwrap(),
        }
    });
    EndpointSlice {
        service: "web".into(),
        family: endpoints
            .first()
            .map_or(IpFamily::V4, |endpoint| IpFamily::of(endpoint.addr)),
        ports: ports.collect(),
        endpoints,
        triggered_ms: None,
    }
}

pub(crate) fn port(name: &str, protocol: Protocol, port: u16) -> ServicePort {
    ServicePort {
        name: name.into(),
        protocol,
        port,
        node_port: 0,
    }
}

/// A ClusterIP Service without policies.
pub(crate) fn service(addrs: &[&str], ports: Vec<ServicePort>) -> Service {
    Service {
        service_type: ServiceType::ClusterIp,
        cluster_ips: addrs.iter().map(|addr| addr.parse().unwrap()).collect(),
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        ports,
        internal_traffic_policy: TrafficPolicy::Cluster,
        external_traffic_policy: TrafficPolicy::Cluster,
        health_check_node_port: 0,
        affinity_timeout_s: None,
        source_ranges: None,
        algorithm: None,
        created_s: 0,
    }
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

/// A cluster that has delivered everything, as the node `here` sees it.
pub(crate) fn synced_cluster() -> Cluster {
    let mut cluster = Cluster::new("here");
    for kind in Kind::ALL {
        cluster.handle(Event::Synced(kind));
    }
    cluster
}

pub(crate) fn apply(cluster: &mut Cluster, object: Object) {
    cluster.handle(Event::Apply {
        object,
        problems: Vec::new(),
    });
}

pub(crate) fn apply_service(cluster: &mut Cluster, name: &str, service: Service) {
    apply(cluster, Object::Service(key(name), service));
}

/// The slice `<service>-<suffix>` of a Service.
pub(crate) fn apply_slice(
    cluster: &mut Cluster,
    service: &str,
    suffix: &str,
    slice: EndpointSlice,
) {
    let slice = EndpointSlice {
        service: service.into(),
        ..slice
    };
    apply(
        cluster,
        Object::EndpointSlice(key(&format!("{service}-{suffix}")), slice),
    );
}

pub(crate) fn delete(cluster: &mut Cluster, kind: Kind, name: &str) {
    cluster.handle(Event::Delete(ObjectRef::new(kind, key(name))));
}
