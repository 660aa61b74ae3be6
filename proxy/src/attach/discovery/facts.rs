//! What the sources know about this node and its pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::model::{Cluster, Kind, ObjectKey, Pod};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The first complete lists of Nodes and Pods are in: only from then on can it be said of a
    /// device that no pod claims it.
    pub complete: bool,
    /// The addresses of the Node object.
    pub node_addrs: BTreeSet<IpAddr>,
    /// The addresses of this node's pods, without those on the host's network and those that have
    /// finished: their addresses may belong to others.
    pub pods: BTreeMap<ObjectKey, Vec<IpAddr>>,
}

// === impl Facts ===

impl Facts {
    pub fn of(cluster: &Cluster) -> Self {
        let behind_a_device =
            |pod: &Pod| *pod.node == *cluster.node_name() && !pod.host_network && !pod.finished;
        let pods = cluster
            .pods()
            .iter()
            .filter(|(_, pod)| behind_a_device(pod));
        Self {
            complete: [Kind::Node, Kind::Pod]
                .into_iter()
                .all(|kind| cluster.has_synced(kind)),
            node_addrs: cluster
                .node()
                .iter()
                .flat_map(|node| &node.addrs)
                .copied()
                .collect(),
            pods: pods
                .map(|(key, pod)| (key.clone(), pod.addrs.clone()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Event, Node, Object};

    fn apply(cluster: &mut Cluster, object: Object) {
        cluster.handle(Event::Apply {
            object,
            problems: Vec::new(),
        });
    }

    #[test]
    fn pods_of_others_on_the_host_network_and_finished_ones_have_no_device() {
        let mut cluster = Cluster::new("node-1");
        let web = Pod {
            node: "node-1".into(),
            addrs: vec![[10, 1, 0, 9].into()],
            host_network: false,
            finished: false,
        };
        let pods = [
            ("web", web.clone()),
            (
                "elsewhere",
                Pod {
                    node: "node-2".into(),
                    ..web.clone()
                },
            ),
            (
                "on-the-host",
                Pod {
                    host_network: true,
                    ..web.clone()
                },
            ),
            (
                "finished",
                Pod {
                    finished: true,
                    ..web.clone()
                },
            ),
        ];
        for (name, pod) in pods {
            apply(
                &mut cluster,
                Object::Pod(ObjectKey::new("default", name), pod),
            );
        }
        let node = Node {
            addrs: vec![[10, 0, 0, 1].into()],
            ..Node::default()
        };
        apply(
            &mut cluster,
            Object::Node(ObjectKey::new("", "node-1"), node),
        );

        let facts = Facts::of(&cluster);
        assert_eq!(
            facts.pods,
            [(ObjectKey::new("default", "web"), web.addrs)].into()
        );
        assert_eq!(facts.node_addrs, [[10, 0, 0, 1].into()].into());
    }

    #[test]
    fn facts_are_complete_once_both_lists_are_in() {
        let mut cluster = Cluster::new("node-1");
        cluster.handle(Event::Synced(Kind::Pod));
        assert!(!Facts::of(&cluster).complete);
        cluster.handle(Event::Synced(Kind::Node));
        assert!(Facts::of(&cluster).complete);
    }
}
