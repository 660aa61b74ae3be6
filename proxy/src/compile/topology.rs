//! Which endpoints are near enough, by the hints of their slices (services.md 38–40).

use crate::model::Endpoint;

/// Where this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) node: &'a str,
    /// `topology.kubernetes.io/zone` of the own Node, if it has one.
    pub(super) zone: Option<&'a str>,
}

/// How a service port's endpoints are narrowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topology<'a> {
    Anywhere,
    /// Those whose hints name this node.
    SameNode(&'a str),
    /// Those whose hints name this zone.
    SameZone(&'a str),
}

// === impl Topology ===

impl<'a> Topology<'a> {
    /// Every ready endpoint must have a hint of the kind, and one of them must name this place
    /// (services.md 38); the hints of the others neither help nor hinder (39). `PreferSameNode`
    /// writes both kinds, so that it falls from the node to the zone and then to all (40).
    pub(super) fn choose<'e>(
        ready: impl Iterator<Item = &'e Endpoint> + Clone,
        place: Place<'a>,
    ) -> Self {
        [
            Some(Self::SameNode(place.node)),
            place.zone.map(Self::SameZone),
        ]
        .into_iter()
        .flatten()
        .find(|candidate| {
            ready.clone().all(|endpoint| candidate.has_hint(endpoint))
                && ready.clone().any(|endpoint| candidate.admits(endpoint))
        })
        .unwrap_or(Self::Anywhere)
    }

    pub(super) fn admits(self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Anywhere => true,
            Self::SameNode(node) => endpoint.node_hints.iter().any(|hint| **hint == *node),
            Self::SameZone(zone) => endpoint.zone_hints.iter().any(|hint| **hint == *zone),
        }
    }

    fn has_hint(self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Anywhere => true,
            Self::SameNode(_) => !endpoint.node_hints.is_empty(),
            Self::SameZone(_) => !endpoint.zone_hints.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::model::testing::hinted;

    const NODE: Topology<'_> = Topology::SameNode("here");
    const ZONE: Topology<'_> = Topology::SameZone("z1");
    const ALL: Topology<'_> = Topology::Anywhere;

    /// An endpoint is `nodes|zones`, each separated by commas; we are on `here` in `z1`.
    #[rstest]
    #[case::a_hint_for_this_node_38a(&["here|z1", "there|z1"], NODE)]
    #[case::no_hint_for_this_node_falls_to_the_zone_40(&["there|z1", "other|z2"], ZONE)]
    #[case::one_without_a_node_hint_falls_to_the_zone_39(&["here|z1", "|z1"], ZONE)]
    #[case::one_without_any_hint_uses_all_39(&["|z1", "|"], ALL)]
    #[case::no_hint_for_this_zone_uses_all_39(&["|z2", "|z3"], ALL)]
    #[case::several_zones_in_one_hint_38b(&["|z2,z1", "|z3"], ZONE)]
    #[case::no_endpoint_uses_all_39(&[], ALL)]
    fn hints_choose_the_topology(#[case] endpoints: &[&str], #[case] expected: Topology<'_>) {
        let endpoints: Vec<Endpoint> = endpoints.iter().map(|hints| hinted(hints)).collect();
        let place = Place {
            node: "here",
            zone: Some("z1"),
        };
        assert_eq!(Topology::choose(endpoints.iter(), place), expected);
    }

    #[test]
    fn a_node_without_a_zone_takes_endpoints_of_every_zone_39() {
        let endpoints = [hinted("|z1")];
        let place = Place {
            node: "here",
            zone: None,
        };
        assert_eq!(
            Topology::choose(endpoints.iter(), place),
            Topology::Anywhere
        );
    }

    #[test]
    fn only_those_hinted_here_are_admitted() {
        assert!(NODE.admits(&hinted("here,there|")));
        assert!(!NODE.admits(&hinted("there|z1")));
        assert!(ZONE.admits(&hinted("|z1")));
        assert!(!ZONE.admits(&hinted("here|z2")));
        assert!(ALL.admits(&hinted("|")));
    }
}
