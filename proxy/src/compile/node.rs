//! The rows about the node itself: its addresses, its ports, its devices, and the ranges around it.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use proxy_datapath::{
    family::Family,
    frontend::{address, range},
    tables::{Node, Prefix, RANGES_MAX, UPLINKS_MAX, Uplink},
};

use super::{Settings, scene::Scene};
use crate::{
    config::proxy::PortRange,
    model::{Diagnostic, IpFamily, Kind, ObjectRef},
};

/// Ports that an unprivileged process may have.
const PORTS: Range<u32> = 1024..65_536;
const NODE_PORTS: PortRange = PortRange {
    first: 30_000,
    last: 32_767,
};
const SNAT_PORTS_MIN: u32 = 2048;
const RANGES: usize = (RANGES_MAX - range::SERVICES) as usize;
const UPLINKS: usize = UPLINKS_MAX as usize;

/// One family's rows.
#[derive(Debug)]
pub(super) struct NodeRows<F: Family> {
    /// What each of the node's addresses is.
    pub(super) local: BTreeMap<F::Addr, u32>,
    pub(super) ranges: BTreeMap<u32, Prefix<F>>,
    pub(super) node: Node<F>,
    pub(super) uplinks: BTreeMap<u32, Uplink<F>>,
}

// === impl NodeRows ===

impl<F: Family> NodeRows<F> {
    pub(super) fn new(scene: &Scene, settings: &Settings) -> Self {
        let [low, high] = snat_ports(settings);
        let mut primary = scene.primary.iter().copied();
        let addr: Option<F::Addr> = primary.find_map(F::from_ip);
        Self {
            local: local::<F>(scene, settings),
            ranges: ranges(scene),
            node: Node {
                addr: addr.unwrap_or_default(),
                snat_first: [low.start, high.start],
                snat_count: [low.end - low.start, high.end - high.start],
            },
            uplinks: uplinks(scene),
        }
    }
}

/// Loopback is an address of the node only where NodePorts are served on it: whatever else goes
/// there is none of ours (services.md 95).
fn local<F: Family>(scene: &Scene, settings: &Settings) -> BTreeMap<F::Addr, u32> {
    let wanted = &settings.node_port_addresses;
    let mut rows = BTreeMap::new();
    for addr in scene.local.iter().filter(|addr| !addr.is_loopback()) {
        let mut flags = address::NODE;
        if wanted.matches(*addr, &scene.primary) {
            flags |= address::NODE_PORT;
        }
        rows.extend(F::from_ip(*addr).map(|addr| (addr, flags)));
    }
    for (family, loopback) in [
        (IpFamily::V4, IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (IpFamily::V6, IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ] {
        let addr = F::from_ip(loopback).filter(|_| wanted.serves_localhost(family));
        rows.extend(addr.map(|addr| (addr, address::LOCALHOST)));
    }
    rows
}

fn ranges<F: Family>(scene: &Scene) -> BTreeMap<u32, Prefix<F>> {
    let prefix = |range: &ipnet::IpNet| {
        let (addr, mask) = (F::from_ip(range.network())?, F::from_ip(range.netmask())?);
        (mask != F::Addr::default()).then_some(Prefix { addr, mask })
    };
    let mut pods = scene.pod_sources.iter();
    let pods = pods.find_map(prefix).map(|pods| (range::PODS, pods));
    let services = scene.service_ranges.iter();
    let services = services.filter_map(|(range, _)| prefix(range)).take(RANGES);
    pods.into_iter()
        .chain((range::SERVICES..).zip(services))
        .collect()
}

fn uplinks<F: Family>(scene: &Scene) -> BTreeMap<u32, Uplink<F>> {
    let row = |uplink: &crate::model::Uplink| {
        let mut addrs = uplink.addrs.iter().copied();
        let addr: Option<F::Addr> = addrs.find_map(F::from_ip);
        let row = Uplink {
            addr: addr.unwrap_or_default(),
        };
        (uplink.ifindex, row)
    };
    let all: BTreeMap<u32, Uplink<F>> = scene.uplinks.iter().map(row).collect();
    all.into_iter().take(UPLINKS).collect()
}

/// Two runs of ports that nobody else gives out: as configured, or the two longest that neither the
/// kernel nor the cluster has.
fn snat_ports(settings: &Settings) -> [Range<u32>; 2] {
    if let Some(configured) = settings.snat_ports {
        return [run(configured), 0..0];
    }
    let mut runs = free_ports(&[NODE_PORTS, settings.local_ports]);
    if !are_enough(&runs) {
        // A socket that the kernel gives such a port is found out when the flow begins.
        runs = free_ports(&[NODE_PORTS]);
    }
    runs.sort_by_key(|run| Reverse(run.end - run.start));
    runs.truncate(2);
    runs.sort_by_key(|run| run.start);
    let mut runs = runs.into_iter();
    [(); 2].map(|()| runs.next().unwrap_or_default())
}

/// Whether there are ports for as many flows to one backend at once as a node may have to carry.
fn are_enough(runs: &[Range<u32>]) -> bool {
    runs.iter().map(|run| run.end - run.start).sum::<u32>() >= SNAT_PORTS_MIN
}

/// What these leave of all ports, ascending.
fn free_ports(taken: &[PortRange]) -> Vec<Range<u32>> {
    let mut free = vec![PORTS];
    for taken in taken.iter().copied().map(run) {
        let rest = free.into_iter().flat_map(|run| {
            [
                run.start..run.end.min(taken.start),
                run.start.max(taken.end)..run.end,
            ]
        });
        free = rest.filter(|run| !run.is_empty()).collect();
    }
    free
}

fn run(PortRange { first, last }: PortRange) -> Range<u32> {
    first.into()..u32::from(last) + 1
}

/// What of the node does not fit, or is not as it is configured.
pub(super) fn diagnostics(scene: &Scene, settings: &Settings) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for is_ipv4 in [true, false] {
        let of_family = scene
            .service_ranges
            .iter()
            .filter(|(range, _)| range.addr().is_ipv4() == is_ipv4);
        for (range, object) in of_family.skip(RANGES) {
            found.push(Diagnostic {
                object: ObjectRef::new(Kind::ServiceCidr, object.clone()),
                reason: format!(
                    "no room for {range}: a packet to an address in it that no Service has is not \
                     dropped"
                ),
            });
        }
    }
    let mut tell = |object: &str, reason: String| {
        found.push(Diagnostic {
            object: ObjectRef::Cluster(object.into()),
            reason,
        });
    };
    if scene.uplinks.len() > UPLINKS {
        let left_out = scene.uplinks.len() - UPLINKS;
        tell("uplinks", format!("no room for {left_out} of them"));
    }
    if settings.snat_ports.is_none()
        && !are_enough(&free_ports(&[NODE_PORTS, settings.local_ports]))
    {
        let PortRange { first, last } = settings.local_ports;
        tell(
            "masquerading",
            format!(
                "shares its ports with sockets: the kernel gives them those from {first} to {last}"
            ),
        );
    }
    for range in &scene.pod_sources {
        if range.prefix_len() == 0 {
            tell(
                "configuration",
                format!("{range} says nothing of who is a pod, and is not used"),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proxy_datapath::family::{Ipv4, Ipv6};
    use rstest::rstest;

    use super::*;
    use crate::{config::proxy::NodePortAddresses, model::ObjectKey};

    fn scene(primary: &[&str], local: &[&str]) -> Scene {
        let parse = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        Scene {
            primary: parse(primary),
            local: parse(local).into_iter().collect(),
            ..Scene::default()
        }
    }

    /// `address flags` with the flags' letters: `n`ode, node `p`orts, `l`ocalhost.
    fn addresses<F: Family>(scene: &Scene, settings: &Settings) -> Vec<String> {
        let rows = NodeRows::<F>::new(scene, settings).local;
        let letters = [
            (address::NODE, "n"),
            (address::NODE_PORT, "p"),
            (address::LOCALHOST, "l"),
        ];
        rows.iter()
            .map(|(addr, flags)| {
                let set = letters.iter().filter(|(flag, _)| flags & flag != 0);
                let set: String = set.map(|(_, letter)| *letter).collect();
                format!("{} {set}", (*addr).into())
            })
            .collect()
    }

    #[test]
    fn node_ports_are_served_on_the_addresses_that_match_90() {
        let scene = scene(
            &["10.0.0.1"],
            &["10.0.0.1", "172.17.0.1", "127.0.0.1", "::1", "fd00::1"],
        );
        let settings = Settings::default();
        assert_eq!(
            addresses::<Ipv4>(&scene, &settings),
            ["10.0.0.1 np", "172.17.0.1 n"]
        );
        assert_eq!(addresses::<Ipv6>(&scene, &settings), ["fd00::1 np"]);
    }

    #[test]
    fn loopback_serves_node_ports_only_where_it_is_named_95() {
        let scene = scene(
            &["10.0.0.1"],
            &["10.0.0.1", "127.0.0.1", "127.0.0.53", "::1"],
        );
        let settings = Settings {
            node_port_addresses: NodePortAddresses {
                primary: false,
                cidrs: vec!["127.0.0.0/8".parse().unwrap()],
                ..NodePortAddresses::default()
            },
            ..Settings::default()
        };
        assert_eq!(
            addresses::<Ipv4>(&scene, &settings),
            ["10.0.0.1 n", "127.0.0.1 l"]
        );
        assert_eq!(addresses::<Ipv6>(&scene, &settings), Vec::<String>::new());
    }

    #[test]
    fn ranges_of_cluster_ips_come_after_the_range_of_pods_62_73() {
        let range = |text: &str| (text.parse().unwrap(), ObjectKey::new("", "kubernetes"));
        let scene = Scene {
            pod_sources: vec!["10.1.0.0/16".parse().unwrap()],
            service_ranges: ["10.96.0.0/16", "fd00:96::/112", "10.97.0.0/24"]
                .map(range)
                .to_vec(),
            ..Scene::default()
        };
        let settings = Settings::default();
        let prefix = |addr: [u8; 4], mask: [u8; 4]| Prefix::<Ipv4> {
            addr: Ipv4Addr::from(addr).into(),
            mask: Ipv4Addr::from(mask).into(),
        };
        assert_eq!(
            NodeRows::<Ipv4>::new(&scene, &settings).ranges,
            BTreeMap::from([
                (range::PODS, prefix([10, 1, 0, 0], [255, 255, 0, 0])),
                (range::SERVICES, prefix([10, 96, 0, 0], [255, 255, 0, 0])),
                (
                    range::SERVICES + 1,
                    prefix([10, 97, 0, 0], [255, 255, 255, 0])
                ),
            ])
        );
        let ranges6 = NodeRows::<Ipv6>::new(&scene, &settings).ranges;
        assert!(ranges6.keys().eq(&[range::SERVICES]));
        assert_eq!(diagnostics(&scene, &settings), []);
    }

    #[test]
    fn a_range_too_many_is_told() {
        let many = |count: u8| Scene {
            service_ranges: (0..count)
                .map(|at| {
                    let text = format!("10.{at}.0.0/16");
                    (text.parse().unwrap(), ObjectKey::new("", format!("c{at}")))
                })
                .collect(),
            ..Scene::default()
        };
        let settings = Settings::default();
        let fits = RANGES as u8;
        assert_eq!(diagnostics(&many(fits), &settings), []);
        let told = diagnostics(&many(fits + 1), &settings);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].object.to_string(), format!("ServiceCIDR c{fits}"));
        let rows = NodeRows::<Ipv4>::new(&many(fits + 1), &settings).ranges;
        assert_eq!(rows.len(), RANGES);
    }

    #[rstest]
    #[case::usual(None, (32_768, 60_999), [1024..30_000, 61_000..65_536])]
    #[case::kernel_has_the_low_ones(None, (1024, 40_000), [40_001..65_536, 0..0])]
    #[case::kernel_has_all(None, (1024, 65_535), [1024..30_000, 32_768..65_536])]
    #[case::kernel_leaves_too_few(None, (1024, 65_000), [1024..30_000, 32_768..65_536])]
    #[case::the_two_longest(None, (10_000, 50_000), [1024..10_000, 50_001..65_536])]
    #[case::kernel_has_some_between(None, (2000, 20_000), [20_001..30_000, 32_768..65_536])]
    #[case::kernel_has_system_ports(None, (1, 1030), [1031..30_000, 32_768..65_536])]
    #[case::configured(Some((40_000, 40_009)), (32_768, 60_999), [40_000..40_010, 0..0])]
    fn flows_are_masqueraded_from_ports_that_nobody_else_gives_out_57(
        #[case] configured: Option<(u16, u16)>,
        #[case] local: (u16, u16),
        #[case] expected: [Range<u32>; 2],
    ) {
        let range = |(first, last)| PortRange { first, last };
        let settings = Settings {
            snat_ports: configured.map(range),
            local_ports: range(local),
            ..Settings::default()
        };
        assert_eq!(snat_ports(&settings), expected);
        let told = diagnostics(&Scene::default(), &settings);
        assert_eq!(
            told.len(),
            usize::from(local.0 == 1024 && local.1 > 65_000 - 1)
        );
    }
}
