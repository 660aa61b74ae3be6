//! How a packet that arrives on the wire is known to come from a pod (services.md 60, 62).
//!
//! A pod of this node is known by its device, whatever is configured here: the modes that name
//! devices of pods add nothing to it.

use ipnet::IpNet;

use crate::model::IpFamily;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetectLocal {
    pub mode: DetectMode,
    /// The first of a family counts.
    pub cluster_cidrs: Vec<IpNet>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DetectMode {
    #[default]
    ClusterCidr,
    NodeCidr,
    BridgeInterface(String),
    InterfaceNamePrefix(String),
    None,
}

// === impl DetectLocal ===

impl DetectLocal {
    /// A source in this CIDR counts as a pod's. `None` where no CIDR tells, either because the mode
    /// goes by devices or because none is known. `pod_cidrs` are the own Node's.
    pub fn source_cidr(&self, family: IpFamily, pod_cidrs: &[IpNet]) -> Option<IpNet> {
        let cidrs = match self.mode {
            DetectMode::ClusterCidr => &self.cluster_cidrs,
            DetectMode::NodeCidr => pod_cidrs,
            _ => return None,
        };
        let first = cidrs.iter().find(|cidr| IpFamily::of_net(cidr) == family);
        first.copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(mode: DetectMode) -> DetectLocal {
        let cidrs = ["10.1.0.0/16", "10.2.0.0/16", "fd00:1::/48"];
        DetectLocal {
            mode,
            cluster_cidrs: cidrs.map(|cidr| cidr.parse().unwrap()).to_vec(),
        }
    }

    #[test]
    fn the_first_cidr_of_a_family_says_what_a_pod_is_62() {
        let node = ["10.1.7.0/24".parse().unwrap()];
        let prefix = DetectMode::InterfaceNamePrefix("veth".to_owned());
        for (mode, ipv4, ipv6) in [
            (
                DetectMode::ClusterCidr,
                Some("10.1.0.0/16"),
                Some("fd00:1::/48"),
            ),
            (DetectMode::NodeCidr, Some("10.1.7.0/24"), None),
            (prefix, None, None),
            (DetectMode::None, None, None),
        ] {
            let detect = detect(mode);
            for (family, expected) in [(IpFamily::V4, ipv4), (IpFamily::V6, ipv6)] {
                let expected = expected.map(|cidr| cidr.parse().unwrap());
                assert_eq!(detect.source_cidr(family, &node), expected, "{detect:?}");
            }
        }
    }
}
