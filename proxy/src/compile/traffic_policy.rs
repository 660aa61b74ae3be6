//! From a service port's endpoints to those that new flows may choose (services.md 31–36, 45, 65,
//! 66).
//!
//! The fall-back to endpoints that terminate but still serve is decided for each list by itself
//! (34). Endpoints that neither are ready nor serve while they terminate are never used (35).

use proxy_datapath::family::Family;

use super::{
    endpoints::PortEndpoint,
    topology::{Place, Topology},
};
use crate::model::{Endpoint, TrafficPolicy};

/// What a frontend does with a new flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// Choose one of these, by their position among the endpoints; never empty.
    Choose(Vec<usize>),
    /// Nobody answers anywhere (services.md 65).
    Reject,
    /// Somebody answers, but not on this node, where traffic has to stay (services.md 66).
    Drop,
}

/// What a ClusterIP does (services.md 45): the external policy has no say (48).
pub(super) fn select_cluster_ip<F: Family>(
    policy: TrafficPolicy,
    endpoints: &[PortEndpoint<'_, F>],
    place: Place<'_>,
) -> Selection {
    let list = match policy {
        TrafficPolicy::Cluster => cluster_list(endpoints, place),
        TrafficPolicy::Local => local_list(endpoints, place.node),
    };
    if !list.is_empty() {
        Selection::Choose(list)
    } else if policy == TrafficPolicy::Local && answers_anywhere(endpoints) {
        Selection::Drop
    } else {
        Selection::Reject
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

/// Services.md 36 for a local policy; with the other one an empty list says it all.
fn answers_anywhere<F: Family>(endpoints: &[PortEndpoint<'_, F>]) -> bool {
    let mut all = endpoints.iter().map(|found| found.endpoint);
    all.any(|endpoint| endpoint.ready || serves_while_terminating(endpoint))
}

const fn serves_while_terminating(endpoint: &Endpoint) -> bool {
    endpoint.serving && endpoint.terminating
}

/// An endpoint without a node is nowhere local (services.md 15).
fn is_local(endpoint: &Endpoint, node: &str) -> bool {
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
    use crate::model::testing::{endpoint, hinted};

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

    fn select(policy: TrafficPolicy, endpoints: &[Endpoint]) -> Selection {
        let found: Vec<PortEndpoint<'_, Ipv4>> = endpoints
            .iter()
            .map(|endpoint| PortEndpoint {
                addr: Default::default(),
                port: 80,
                endpoint,
            })
            .collect();
        select_cluster_ip(policy, &found, HERE)
    }

    #[rstest]
    #[case::none_31("", "reject")]
    #[case::ready_wherever_they_are_32("lr rr nr", "0 1 2")]
    #[case::terminating_only_without_ready_32("rt lr", "1")]
    #[case::terminating_wherever_they_are_32("rt lt", "0 1")]
    #[case::local_terminating_does_not_beat_remote_ready_34("lt rr", "1")]
    #[case::not_serving_is_never_used_35("lx rx", "reject")]
    #[case::serving_alone_is_not_enough_35("lu ru", "reject")]
    #[case::published_although_terminating_is_ready_16("rp rt", "0")]
    fn cluster_policy_takes_from_anywhere(#[case] endpoints: &str, #[case] expected: &str) {
        check(TrafficPolicy::Cluster, endpoints, expected);
    }

    #[rstest]
    #[case::none_31("", "reject")]
    #[case::only_local_33("lr rr nr", "0")]
    #[case::local_terminating_when_no_local_is_ready_33("lt rr", "0")]
    #[case::all_remote_66("rr", "drop")]
    #[case::all_remote_and_terminating_66("rt", "drop")]
    #[case::without_a_node_is_not_local_15("nr", "drop")]
    #[case::nobody_answers_anywhere_65("lx ru", "reject")]
    #[case::local_but_unready_66("lu rr", "drop")]
    fn local_policy_stays_on_the_node(#[case] endpoints: &str, #[case] expected: &str) {
        check(TrafficPolicy::Local, endpoints, expected);
    }

    fn check(policy: TrafficPolicy, endpoints: &str, expected: &str) {
        let endpoints: Vec<Endpoint> = endpoints.split_whitespace().map(parse).collect();
        let text = match select(policy, &endpoints) {
            Selection::Reject => "reject".to_owned(),
            Selection::Drop => "drop".to_owned(),
            Selection::Choose(list) => list
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn topology_narrows_the_cluster_list_32() {
        let endpoints = [hinted("|z2"), hinted("|z1")];
        assert_eq!(
            select(TrafficPolicy::Cluster, &endpoints),
            Selection::Choose(vec![1])
        );
    }

    #[test]
    fn topology_has_no_say_over_terminating_endpoints_32() {
        let mut endpoints = [hinted("|z2"), hinted("|z1")];
        for endpoint in &mut endpoints {
            (endpoint.ready, endpoint.terminating) = (false, true);
        }
        assert_eq!(
            select(TrafficPolicy::Cluster, &endpoints),
            Selection::Choose(vec![0, 1])
        );
    }

    #[test]
    fn topology_has_no_say_over_a_local_policy_33() {
        let mut endpoints = [hinted("|z2"), hinted("|z2")];
        endpoints[0].node = Some("here".into());
        assert_eq!(
            select(TrafficPolicy::Local, &endpoints),
            Selection::Choose(vec![0])
        );
    }

    #[test]
    fn a_node_without_a_name_has_nothing_local_15() {
        let mut unnamed = endpoint("10.1.0.1");
        unnamed.node = Some("".into());
        let found = [PortEndpoint::<Ipv4> {
            addr: Default::default(),
            port: 80,
            endpoint: &unnamed,
        }];
        let place = Place {
            node: "",
            zone: None,
        };
        assert_eq!(
            select_cluster_ip(TrafficPolicy::Local, &found, place),
            Selection::Drop
        );
    }
}
