//! Which Services want a health check port, and what it shall say (services.md 26, 30, 97, 100).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::model::{Cluster, Endpoint, IpFamily, ObjectKey, Service, ServiceType, TrafficPolicy};

/// One Service's health check port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthPort {
    pub service: ObjectKey,
    pub port: u16,
    /// Distinct addresses of ready endpoints on this node; `None` where the Service does not have
    /// the family, and nobody listens.
    pub local4: Option<usize>,
    pub local6: Option<usize>,
}

/// In the order of the Services' names. Other types of Services, and those that may send elsewhere,
/// have none.
pub fn health_ports(cluster: &Cluster) -> Vec<HealthPort> {
    let wanted = cluster.services().iter().filter(|(_, service)| {
        service.service_type == ServiceType::LoadBalancer
            && service.external_traffic_policy == TrafficPolicy::Local
            && service.health_check_node_port != 0
    });
    wanted
        .map(|(key, service)| {
            let local = local_ready(cluster, key);
            let count = |family| {
                let of_family = |addr: &&IpAddr| IpFamily::of(**addr) == family;
                has_family(service, family).then(|| local.iter().filter(of_family).count())
            };
            HealthPort {
                service: key.clone(),
                port: service.health_check_node_port,
                local4: count(IpFamily::V4),
                local6: count(IpFamily::V6),
            }
        })
        .collect()
}

/// By its ClusterIPs (services.md 6), or by its other addresses where it has none (section 3, "The
/// directory source").
pub(super) fn has_family(service: &Service, family: IpFamily) -> bool {
    let mut addrs: Vec<IpAddr> = service.cluster_ips.clone();
    if addrs.is_empty() {
        addrs.extend(&service.external_ips);
        addrs.extend(&service.load_balancer_ips);
    }
    addrs.into_iter().any(|addr| IpFamily::of(addr) == family)
}

/// The addresses of local endpoints that are ready on some port. Those that only serve while they
/// terminate do not count, although they get traffic (services.md 100).
fn local_ready(cluster: &Cluster, service: &ObjectKey) -> BTreeSet<IpAddr> {
    let mut endpoints: BTreeMap<_, &Endpoint> = BTreeMap::new();
    for slice in cluster.slices(service) {
        for port in &slice.ports {
            for endpoint in &slice.endpoints {
                // One endpoint may be in two slices (services.md 12).
                let key = (&port.name, port.protocol, port.port, endpoint.addr);
                if endpoint.replaces() || !endpoints.contains_key(&key) {
                    endpoints.insert(key, endpoint);
                }
            }
        }
    }
    let node = cluster.node_name();
    endpoints
        .into_values()
        .filter(|endpoint| endpoint.ready && is_local(endpoint, node))
        .map(|endpoint| endpoint.addr)
        .collect()
}

/// Services.md 15.
pub(super) fn is_local(endpoint: &Endpoint, node: &str) -> bool {
    !node.is_empty() && endpoint.node.as_deref() == Some(node)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::model::{
        Protocol,
        testing::{
            apply_service, apply_slice, endpoint, key, port, service, slice, synced_cluster,
        },
    };

    fn balanced() -> Service {
        Service {
            service_type: ServiceType::LoadBalancer,
            external_traffic_policy: TrafficPolicy::Local,
            health_check_node_port: 30_001,
            ..service(&["10.96.0.1"], vec![port("http", Protocol::Tcp, 80)])
        }
    }

    /// An endpoint here: its last octet, then `u`nready, `t`erminating, `p`ublished although
    /// terminating, or `r`emote.
    fn parse(text: &str) -> Endpoint {
        let (octet, state) = text.split_at(text.len() - 1);
        let mut found = endpoint(&format!("10.1.0.{octet}"));
        found.node = Some(if state == "r" { "there" } else { "here" }.into());
        found.ready = !matches!(state, "u" | "t");
        found.terminating = matches!(state, "t" | "p");
        found
    }

    #[rstest]
    #[case::wanted(|_: &mut Service| {}, true)]
    #[case::other_type_30(|one: &mut Service| one.service_type = ServiceType::NodePort, false)]
    #[case::cluster_policy_30(
        |one: &mut Service| one.external_traffic_policy = TrafficPolicy::Cluster,
        false
    )]
    #[case::internal_policy_has_no_say_30(
        |one: &mut Service| one.internal_traffic_policy = TrafficPolicy::Local,
        true
    )]
    #[case::no_port_30(|one: &mut Service| one.health_check_node_port = 0, false)]
    fn only_a_local_load_balancer_has_a_health_check_port(
        #[case] change: fn(&mut Service),
        #[case] wanted: bool,
    ) {
        let mut cluster = synced_cluster();
        let mut service = balanced();
        change(&mut service);
        apply_service(&mut cluster, "web", service);
        assert_eq!(health_ports(&cluster).len(), usize::from(wanted));
    }

    #[rstest]
    #[case::none("", 0)]
    #[case::ready("1- 2-", 2)]
    #[case::remote("1- 2r", 1)]
    #[case::unready("1u", 0)]
    #[case::serving_while_terminating("1t", 0)]
    #[case::published_although_terminating("1p", 1)]
    #[case::terminating_does_not_replace_ready("1- 1t", 1)]
    #[case::ready_replaces_terminating("1t 1-", 1)]
    fn ready_local_addresses_are_counted_100(#[case] endpoints: &str, #[case] count: usize) {
        let mut cluster = synced_cluster();
        apply_service(&mut cluster, "web", balanced());
        let endpoints = endpoints.split_whitespace().map(parse).collect();
        apply_slice(&mut cluster, "web", "a", slice(&["http/tcp=80"], endpoints));
        let expected = HealthPort {
            service: key("web"),
            port: 30_001,
            local4: Some(count),
            local6: None,
        };
        assert_eq!(health_ports(&cluster), [expected]);
    }

    #[test]
    fn an_address_counts_once_over_all_ports_and_slices_100() {
        let mut cluster = synced_cluster();
        apply_service(&mut cluster, "web", balanced());
        let ports = ["http/tcp=80", "metrics/tcp=9090"];
        for suffix in ["a", "b"] {
            let endpoints = vec![parse("1-")];
            apply_slice(&mut cluster, "web", suffix, slice(&ports, endpoints));
        }
        assert_eq!(health_ports(&cluster)[0].local4, Some(1));
    }

    #[test]
    fn each_family_counts_its_own_97() {
        let mut cluster = synced_cluster();
        let service = Service {
            cluster_ips: vec!["10.96.0.1".parse().unwrap(), "fd00::a".parse().unwrap()],
            ..balanced()
        };
        apply_service(&mut cluster, "web", service);
        let local6 = |addr| Endpoint {
            node: Some("here".into()),
            ..endpoint(addr)
        };
        let v6 = vec![local6("fd00:10::1"), local6("fd00:10::2")];
        apply_slice(
            &mut cluster,
            "web",
            "v4",
            slice(&["http/tcp=80"], vec![parse("1-")]),
        );
        apply_slice(&mut cluster, "web", "v6", slice(&["http/tcp=80"], v6));
        let found = &health_ports(&cluster)[0];
        assert_eq!((found.local4, found.local6), (Some(1), Some(2)));
    }
}
