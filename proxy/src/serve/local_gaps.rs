//! Service ports with a local policy that nothing on this node answers, for the metric of them
//! (services.md, section 2: no_local_endpoints).

use super::{
    health_ports::{has_family, is_local},
    metrics::LocalGaps,
};
use crate::model::{
    Cluster, IpFamily, ObjectKey, Service, ServicePort, ServiceType, TrafficPolicy,
};

/// Looks through the Services that have a local policy; for a scrape, not for a pass.
pub fn local_gaps(cluster: &Cluster) -> LocalGaps {
    let mut gaps = LocalGaps::default();
    for (key, service) in cluster.services() {
        let internal = service.internal_traffic_policy == TrafficPolicy::Local;
        if !internal && !has_local_external_policy(service) {
            continue;
        }
        for (at, family) in IpFamily::ALL.into_iter().enumerate() {
            if !has_family(service, family) {
                continue;
            }
            for port in &service.ports {
                if !is_gap(cluster, key, port, family) {
                    continue;
                }
                gaps.internal[at] += usize::from(internal);
                gaps.external[at] += usize::from(
                    has_local_external_policy(service) && is_external(service, port, family),
                );
            }
        }
    }
    gaps
}

/// Services.md 26.
fn has_local_external_policy(service: &Service) -> bool {
    let may_have =
        service.service_type != ServiceType::ClusterIp || !service.external_ips.is_empty();
    may_have && service.external_traffic_policy == TrafficPolicy::Local
}

/// Services.md 28.
fn is_external(service: &Service, port: &ServicePort, family: IpFamily) -> bool {
    let mut addrs = service
        .external_ips
        .iter()
        .chain(&service.load_balancer_ips);
    port.node_port != 0 || addrs.any(|addr| IpFamily::of(*addr) == family)
}

/// Something answers elsewhere and nothing here (services.md 33, 36).
fn is_gap(cluster: &Cluster, service: &ObjectKey, port: &ServicePort, family: IpFamily) -> bool {
    let slices = cluster.slices(service).filter(|slice| {
        let mut ports = slice.ports.iter();
        slice.family == family
            && ports.any(|one| one.name == port.name && one.protocol == port.protocol)
    });
    let mut elsewhere = false;
    for endpoint in slices.flat_map(|slice| &slice.endpoints) {
        if endpoint.ready || (endpoint.serving && endpoint.terminating) {
            if is_local(endpoint, cluster.node_name()) {
                return false;
            }
            elsewhere = true;
        }
    }
    elsewhere
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::model::{
        Endpoint, Protocol,
        testing::{apply_service, apply_slice, endpoint, port, service, slice, synced_cluster},
    };

    #[rstest]
    #[case::none_here("i", "r", [1, 0])]
    #[case::some_here("i", "lr", [0, 0])]
    #[case::serving_here("i", "tr", [0, 0])]
    #[case::unready_here("i", "ur", [1, 0])]
    #[case::none_anywhere("i", "", [0, 0])]
    #[case::unready_everywhere("i", "u", [0, 0])]
    #[case::cluster_policy("", "r", [0, 0])]
    #[case::external_policy("e", "r", [0, 1])]
    #[case::both("ie", "r", [1, 1])]
    fn ports_with_endpoints_elsewhere_only_are_counted(
        #[case] policies: &str,
        #[case] endpoints: &str,
        #[case] expected: [usize; 2],
    ) {
        let local = |letter| match policies.contains(letter) {
            true => TrafficPolicy::Local,
            false => TrafficPolicy::Cluster,
        };
        let mut cluster = synced_cluster();
        let service = Service {
            internal_traffic_policy: local('i'),
            external_traffic_policy: local('e'),
            external_ips: vec!["203.0.113.1".parse().unwrap()],
            ..service(&["10.96.0.1", "fd00::a"], vec![port("", Protocol::Tcp, 80)])
        };
        apply_service(&mut cluster, "web", service);
        let parse = |(at, letter)| Endpoint {
            node: Some(if letter == 'r' { "there" } else { "here" }.into()),
            ready: matches!(letter, 'l' | 'r'),
            terminating: letter == 't',
            ..endpoint(&format!("10.1.0.{at}"))
        };
        let endpoints = endpoints.chars().enumerate().map(parse).collect();
        apply_slice(&mut cluster, "web", "a", slice(&["/tcp=80"], endpoints));
        let gaps = local_gaps(&cluster);
        assert_eq!([gaps.internal[0], gaps.external[0]], expected);
        assert_eq!([gaps.internal[1], gaps.external[1]], [0, 0]);
    }
}
