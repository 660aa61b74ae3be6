//! Where the Services are: the node, its pods and the ranges of the cluster, as far as the tables
//! depend on them.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::Settings;
use crate::model::{Cluster, IpFamily, ObjectKey, Uplink};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scene {
    /// The node's primary addresses, one of a family at most (services.md 121).
    pub(super) primary: Vec<IpAddr>,
    /// Every address of this node.
    pub(super) local: BTreeSet<IpAddr>,
    /// Those of its pods on its own network: known without a Node object, and in the family that
    /// it does not tell.
    pub(super) on_host: BTreeSet<IpAddr>,
    /// The addresses that pods of this node have for themselves.
    pub(super) pods: BTreeSet<IpAddr>,
    /// The ranges that all the cluster's pods have their addresses from.
    pub(super) pod_ranges: Vec<IpNet>,
    /// Of each family, the range that a source on the wire is known by to be a pod
    /// (services.md 62).
    pub(super) pod_sources: Vec<IpNet>,
    /// Where ClusterIPs come from, each once, with the first object that names it.
    pub(super) service_ranges: Vec<(IpNet, ObjectKey)>,
    pub(super) uplinks: Vec<Uplink>,
}

// === impl Scene ===

impl Scene {
    pub(super) fn of(cluster: &Cluster, settings: &Settings) -> Self {
        let node = cluster.node();
        let pod_cidrs = node.map_or(&[][..], |node| &node.pod_cidrs);
        let pod_sources: Vec<IpNet> = IpFamily::ALL
            .into_iter()
            .filter_map(|family| settings.detect_local.source_cidr(family, pod_cidrs))
            .collect();
        let pods = cluster.pods().values();
        Self {
            primary: primary(cluster, settings),
            local: cluster.local_addrs().iter().copied().collect(),
            on_host: pods
                .clone()
                .filter(|pod| pod.host_network && !pod.finished)
                .flat_map(|pod| &pod.addrs)
                .copied()
                .collect(),
            pods: pods
                .filter(|pod| !pod.host_network && !pod.finished)
                .flat_map(|pod| &pod.addrs)
                .copied()
                .collect(),
            pod_ranges: settings
                .detect_local
                .cluster_cidrs
                .iter()
                .chain(&pod_sources)
                .copied()
                .collect(),
            pod_sources,
            service_ranges: service_ranges(cluster),
            uplinks: cluster.uplinks().to_vec(),
        }
    }

    /// Whether whoever has this address is on this node.
    pub(super) fn is_here(&self, addr: IpAddr) -> bool {
        self.who_has(addr).contains(&true)
    }

    /// The node, a pod on its network, a pod.
    fn who_has(&self, addr: IpAddr) -> [bool; 3] {
        [&self.local, &self.on_host, &self.pods].map(|addrs| addrs.contains(&addr))
    }

    /// The addresses that somebody on this node has in one scene and not in the other.
    pub(super) fn moved(&self, before: &Self) -> BTreeSet<IpAddr> {
        let all = [self, before].map(|scene| [&scene.local, &scene.on_host, &scene.pods]);
        let addrs = all.into_iter().flatten().flatten().copied();
        addrs
            .filter(|addr| self.who_has(*addr) != before.who_has(*addr))
            .collect()
    }

    /// Whether the ranges are the same, from which nobody may have an external address.
    pub(super) fn has_ranges_of(&self, other: &Self) -> bool {
        self.pod_ranges == other.pod_ranges && self.service_ranges == other.service_ranges
    }
}

/// The configured address comes before those of the Node, of which the first of each family counts.
fn primary(cluster: &Cluster, settings: &Settings) -> Vec<IpAddr> {
    let bind = settings.bind_address;
    let bind = bind.filter(|addr| !addr.is_unspecified() && !addr.is_multicast());
    let of_node = cluster.node().map_or(&[][..], |node| &node.addrs);
    let mut primary: Vec<IpAddr> = Vec::new();
    for addr in bind.iter().chain(of_node) {
        if primary
            .iter()
            .all(|known| known.is_ipv4() != addr.is_ipv4())
        {
            primary.push(*addr);
        }
    }
    primary
}

/// A range of everything is none.
fn service_ranges(cluster: &Cluster) -> Vec<(IpNet, ObjectKey)> {
    let mut ranges: Vec<(IpNet, ObjectKey)> = Vec::new();
    for (key, object) in cluster.service_cidrs() {
        for cidr in object.cidrs.iter().filter(|cidr| cidr.prefix_len() > 0) {
            if ranges.iter().all(|(known, _)| known != cidr) {
                ranges.push((*cidr, key.clone()));
            }
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        config::proxy::{DetectLocal, DetectMode},
        model::{
            Event, Node, Object, Pod,
            testing::{apply, key, synced_cluster},
        },
    };

    fn addrs(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn cluster(node: &[&str]) -> Cluster {
        let mut cluster = synced_cluster();
        let node = Node {
            addrs: addrs(node),
            pod_cidrs: vec!["10.1.7.0/24".parse().unwrap()],
            ..Node::default()
        };
        apply(&mut cluster, Object::Node(ObjectKey::new("", "here"), node));
        cluster
    }

    #[rstest]
    #[case::first_of_each_family(&["10.0.0.1", "10.0.0.2", "fd00::1"], None, &["10.0.0.1", "fd00::1"])]
    #[case::configured(&["10.0.0.1", "fd00::1"], Some("10.0.0.9"), &["10.0.0.9", "fd00::1"])]
    #[case::unspecified_says_nothing(&["10.0.0.1"], Some("0.0.0.0"), &["10.0.0.1"])]
    #[case::configured_without_a_node(&[], Some("fd00::9"), &["fd00::9"])]
    fn the_primary_address_is_configured_or_the_nodes_first_121(
        #[case] node: &[&str],
        #[case] bind: Option<&str>,
        #[case] expected: &[&str],
    ) {
        let settings = Settings {
            bind_address: bind.map(|text| text.parse().unwrap()),
            ..Settings::default()
        };
        assert_eq!(
            Scene::of(&cluster(node), &settings).primary,
            addrs(expected)
        );
    }

    #[test]
    fn the_nodes_devices_say_more_than_its_object() {
        let mut cluster = cluster(&["10.0.0.1"]);
        let scene = |cluster: &Cluster| Scene::of(cluster, &Settings::default());
        let before = scene(&cluster);
        assert!(before.is_here("10.0.0.1".parse().unwrap()));
        cluster.handle(Event::LocalAddrs(addrs(&["10.0.0.2", "127.0.0.1"])));
        let after = scene(&cluster);
        assert_eq!(
            after.moved(&before).into_iter().collect::<Vec<_>>(),
            addrs(&["10.0.0.1", "10.0.0.2", "127.0.0.1"])
        );
        assert!(after.has_ranges_of(&before));
    }

    #[test]
    fn pods_on_the_nodes_own_network_have_no_address_for_themselves() {
        let mut cluster = cluster(&["10.0.0.1"]);
        for (name, host_network, finished, addr) in [
            ("plain", false, false, "10.1.7.1"),
            ("host", true, false, "10.0.0.1"),
            ("over", false, true, "10.1.7.2"),
        ] {
            let pod = Pod {
                node: "here".into(),
                addrs: addrs(&[addr]),
                host_network,
                finished,
            };
            apply(&mut cluster, Object::Pod(key(name), pod));
        }
        let scene = Scene::of(&cluster, &Settings::default());
        assert_eq!(scene.pods, addrs(&["10.1.7.1"]).into_iter().collect());
    }

    #[test]
    fn pods_come_from_every_configured_range_and_are_known_by_the_first_62() {
        let cidrs = ["10.1.0.0/16", "10.2.0.0/16"];
        let cidrs: Vec<IpNet> = cidrs.map(|cidr| cidr.parse().unwrap()).to_vec();
        for (mode, sources) in [
            (DetectMode::ClusterCidr, vec![cidrs[0]]),
            (DetectMode::NodeCidr, vec!["10.1.7.0/24".parse().unwrap()]),
            (DetectMode::None, Vec::new()),
        ] {
            let settings = Settings {
                detect_local: DetectLocal {
                    mode,
                    cluster_cidrs: cidrs.clone(),
                },
                ..Settings::default()
            };
            let scene = Scene::of(&cluster(&[]), &settings);
            assert_eq!(scene.pod_sources, sources);
            assert_eq!(scene.pod_ranges[..2], cidrs);
        }
    }
}
