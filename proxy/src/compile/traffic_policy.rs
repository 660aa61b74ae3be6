//! From a service port's endpoints to those that new flows may choose (services.md 31–36, 45–47,
//! 65–67).
//!
//! The fall-back to endpoints that terminate but still serve is decided for each list by itself
//! (34). Endpoints that neither are ready nor serve while they terminate are never used (35).

use proxy_datapath::family::Family;

use super::{
    endpoints::PortEndpoint,
    topology::{Place, Topology},
};
use crate::model::{Endpoint, Service, ServiceType, TrafficPolicy};

/// A list of endpoints that frontends choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Wherever they are.
    Cluster = 0,
    /// On this node.
    Local = 1,
}

/// The lists of one service port in one family.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lists {
    /// By `List`: positions among the endpoints, ascending; `None` if no frontend asks for it.
    pub(super) members: [Option<Vec<usize>>; 2],
    /// Somebody answers somewhere: an empty list drops and does not refuse (services.md 65–67).
    pub(super) answered: bool,
}

/// Which list a ClusterIP's flows are drawn from (services.md 45): the external policy has no say
/// (48).
pub(super) const fn cluster_ip_list(service: &Service) -> List {
    match service.internal_traffic_policy {
        TrafficPolicy::Cluster => List::Cluster,
        TrafficPolicy::Local => List::Local,
    }
}

/// Which list the flows from the wire to another frontend are drawn from (services.md 26, 46, 47).
/// Those of the cluster's own clients always come from the whole cluster.
pub(super) const fn wire_list(service: &Service) -> List {
    let is_meant = match service.service_type {
        ServiceType::NodePort | ServiceType::LoadBalancer => true,
        ServiceType::ClusterIp => !service.external_ips.is_empty(),
    };
    match service.external_traffic_policy {
        TrafficPolicy::Local if is_meant => List::Local,
        TrafficPolicy::Local | TrafficPolicy::Cluster => List::Cluster,
    }
}

// === impl Lists ===

impl Lists {
    /// The lists that are asked for (services.md 29).
    pub(super) fn choose<F: Family>(
        asked_for: impl Iterator<Item = List> + Clone,
        endpoints: &[PortEndpoint<'_, F>],
        place: Place<'_>,
    ) -> Self {
        let is_asked_for = |list| asked_for.clone().any(|asked_for| asked_for == list);
        Self {
            members: [
                is_asked_for(List::Cluster).then(|| cluster_list(endpoints, place)),
                is_asked_for(List::Local).then(|| local_list(endpoints, place.node)),
            ],
            answered: answers_anywhere(endpoints),
        }
    }
}

/// The ready endpoints that topology admits, else all that serve while they terminate
/// (services.md 32).
fn cluster_list<F: Family>(endpoints: &[PortEndpoint<'_, F>], place: Place<'_>) -> Vec<usize> {
    let ready = endpoints
        .iter()
        .map(|found| found.endpoint)
        .filter(|endpoint| endpoint.ready);
    let topology = Topology::choose(ready, place);
    let near = positions(endpoints, |endpoint| {
        endpoint.ready && topology.admits(endpoint)
    });
    if near.is_empty() {
        positions(endpoints, serves_while_terminating)
    } else {
        near
    }
}

/// The same among those on this node, without topology (services.md 33).
fn local_list<F: Family>(endpoints: &[PortEndpoint<'_, F>], node: &str) -> Vec<usize> {
    let ready = positions(endpoints, |endpoint| {
        endpoint.ready && is_local(endpoint, node)
    });
    if ready.is_empty() {
        positions(endpoints, |endpoint| {
            serves_while_terminating(endpoint) && is_local(endpoint, node)
        })
    } else {
        ready
    }
}

/// Services.md 36: an empty list of the whole cluster says the same.
fn answers_anywhere<F: Family>(endpoints: &[PortEndpoint<'_, F>]) -> bool {
    let mut all = endpoints.iter().map(|found| found.endpoint);
    all.any(|endpoint| endpoint.ready || serves_while_terminating(endpoint))
}

const fn serves_while_terminating(endpoint: &Endpoint) -> bool {
    endpoint.serving && endpoint.terminating
}

/// An endpoint without a node is nowhere local (services.md 15).
pub(super) fn is_local(endpoint: &Endpoint, node: &str) -> bool {
    !node.is_empty() && endpoint.node.as_deref() == Some(node)
}

fn positions<F: Family>(
    endpoints: &[PortEndpoint<'_, F>],
    eligible: impl Fn(&Endpoint) -> bool,
) -> Vec<usize> {
    let all = endpoints.iter().enumerate();
    all.filter(|(_, found)| eligible(found.endpoint))
        .map(|(at, _)| at)
        .collect()
}

#[cfg(test)]
mod tests {
    use proxy_datapath::family::Ipv4;
    use rstest::rstest;

    use super::*;
    use crate::model::testing::{endpoint, hinted, service};

    const HERE: Place<'_> = Place {
        node: "here",
        zone: Some("z1"),
    };

    /// An endpoint in letters. Where: `l`ocal, `r`emote, `n`owhere. How: `r`eady, `u`nready but
    /// serving, `t`erminating and serving, `x` terminating and not serving, `p`ublished although
    /// terminating.
    fn parse(text: &str) -> Endpoint {
        let mut found = endpoint("10.1.0.1");
        let (place, state) = text.split_at(1);
        found.node = match place {
            "l" => Some("here".into()),
            "r" => Some("there".into()),
            _ => None,
        };
        found.ready = matches!(state, "r" | "p");
        found.serving = matches!(state, "r" | "u" | "t" | "p");
        found.terminating = matches!(state, "t" | "x" | "p");
        found
    }

    /// What both lists hold: `0 1 2 | 1`, and whether an empty one refuses or drops.
    fn lists(endpoints: &[Endpoint], place: Place<'_>) -> String {
        let found: Vec<PortEndpoint<'_, Ipv4>> = endpoints
            .iter()
            .map(|endpoint| PortEndpoint {
                addr: Default::default(),
                port: 80,
                endpoint,
            })
            .collect();
        let lists = Lists::choose([List::Cluster, List::Local].into_iter(), &found, place);
        let refuses = if lists.answered { "drop" } else { "reject" };
        let text = |list: &Option<Vec<usize>>| {
            let list: Vec<_> = list.iter().flatten().map(ToString::to_string).collect();
            if list.is_empty() {
                refuses.to_owned()
            } else {
                list.join(" ")
            }
        };
        lists.members.each_ref().map(text).join(" | ")
    }

    #[rstest]
    #[case::none_31_65("", "reject | reject")]
    #[case::ready_wherever_they_are_32_33("lr rr nr", "0 1 2 | 0")]
    #[case::terminating_only_without_ready_32_34("rt lr", "1 | 1")]
    #[case::terminating_wherever_they_are_32("rt lt", "0 1 | 1")]
    #[case::each_list_falls_back_by_itself_34("lt rr", "1 | 0")]
    #[case::all_are_elsewhere_66_67("rr", "0 | drop")]
    #[case::all_are_elsewhere_and_terminate_66("rt", "0 | drop")]
    #[case::without_a_node_is_not_local_15("nr", "0 | drop")]
    #[case::not_serving_is_never_used_35("lx rx", "reject | reject")]
    #[case::serving_alone_is_not_enough_35("lu ru", "reject | reject")]
    #[case::local_but_unready_66("lu rr", "1 | drop")]
    #[case::nobody_answers_anywhere_65("lx ru", "reject | reject")]
    #[case::published_although_terminating_is_ready_16("lp rt", "0 | 0")]
    fn each_list_has_its_endpoints(#[case] endpoints: &str, #[case] expected: &str) {
        let endpoints: Vec<Endpoint> = endpoints.split_whitespace().map(parse).collect();
        assert_eq!(lists(&endpoints, HERE), expected);
    }

    #[test]
    fn topology_narrows_the_cluster_list_32_and_not_the_local_one_33() {
        let mut endpoints = [hinted("|z2"), hinted("|z1"), hinted("|z2")];
        for endpoint in &mut endpoints[1..] {
            endpoint.node = Some("here".into());
        }
        assert_eq!(lists(&endpoints, HERE), "1 | 1 2");
    }

    #[test]
    fn topology_has_no_say_over_terminating_endpoints_32() {
        let mut endpoints = [hinted("|z2"), hinted("|z1")];
        for endpoint in &mut endpoints {
            (endpoint.ready, endpoint.terminating) = (false, true);
        }
        assert_eq!(lists(&endpoints, HERE), "0 1 | drop");
    }

    #[test]
    fn a_node_without_a_name_has_nothing_local_15() {
        let mut unnamed = endpoint("10.1.0.1");
        unnamed.node = Some("".into());
        let place = Place {
            node: "",
            zone: None,
        };
        assert_eq!(lists(&[unnamed], place), "0 | drop");
    }

    #[test]
    fn only_lists_that_are_asked_for_are_made_29() {
        let endpoint = parse("lr");
        let found = [PortEndpoint::<Ipv4> {
            addr: Default::default(),
            port: 80,
            endpoint: &endpoint,
        }];
        let lists = Lists::choose([List::Local].into_iter(), &found, HERE);
        assert_eq!(lists.members, [None, Some(vec![0])]);
    }

    #[rstest]
    #[case::node_port(ServiceType::NodePort, &[], List::Local)]
    #[case::load_balancer(ServiceType::LoadBalancer, &[], List::Local)]
    #[case::external_ip(ServiceType::ClusterIp, &["203.0.113.1"], List::Local)]
    #[case::nothing_external(ServiceType::ClusterIp, &[], List::Cluster)]
    fn the_external_policy_counts_where_there_may_be_external_traffic_26(
        #[case] service_type: ServiceType,
        #[case] external_ips: &[&str],
        #[case] expected: List,
    ) {
        let mut service = Service {
            service_type,
            external_ips: external_ips
                .iter()
                .map(|addr| addr.parse().unwrap())
                .collect(),
            external_traffic_policy: TrafficPolicy::Local,
            ..service(&["10.96.0.1"], Vec::new())
        };
        assert_eq!(wire_list(&service), expected);
        assert_eq!(cluster_ip_list(&service), List::Cluster, "48");
        service.external_traffic_policy = TrafficPolicy::Cluster;
        service.internal_traffic_policy = TrafficPolicy::Local;
        assert_eq!(wire_list(&service), List::Cluster, "48");
        assert_eq!(cluster_ip_list(&service), List::Local);
    }
}
