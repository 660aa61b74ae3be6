//! Who may speak to a Service's load-balancer addresses (services.md 7, 8, 78–81).

use std::net::IpAddr;

use ipnet::IpNet;
use proxy_datapath::{family::Family, tables::SourceKey};

use super::{Settings, scene::Scene};
use crate::model::{IpFamily, Service};

/// The bits of a key before the address: those of the service port.
const SERVICE_BITS: u32 = u32::BITS;

/// The sources that the addresses of one family admit; `None` for all.
pub(super) fn admitted(
    service: &Service,
    family: IpFamily,
    scene: &Scene,
    settings: &Settings,
) -> Option<Vec<IpNet>> {
    let all = service.source_ranges.as_ref()?;
    let mut ranges: Vec<IpNet> = of(all, family).copied().collect();
    if ranges.iter().any(|range| range.prefix_len() == 0) {
        return None;
    }
    if ranges.is_empty() {
        // A list of which nothing could be read admits nobody, as one of the other family does if
        // the operator wants it to (79).
        return (all.is_empty() || settings.close_other_family).then(Vec::new);
    }
    let mut primary = scene.primary.iter().filter(|addr| is_of(**addr, family));
    if primary.any(|addr| ranges.iter().any(|range| range.contains(addr))) {
        // What this node sends to an address that it has itself comes from that address (81).
        let vips = service.load_balancer_ips.iter();
        ranges.extend(
            vips.filter(|vip| is_of(**vip, family))
                .map(|vip| IpNet::from(*vip)),
        );
    }
    Some(ranges)
}

/// What to say of a family whose addresses are open although the other's are not (79).
pub(super) fn gap(service: &Service, family: IpFamily, settings: &Settings) -> Option<String> {
    let all = service.source_ranges.as_ref()?;
    let has_vips = service
        .load_balancer_ips
        .iter()
        .any(|vip| is_of(*vip, family));
    let is_listed = of(all, family).next().is_some();
    let is_restricted = !all.is_empty() && all.iter().all(|range| range.prefix_len() > 0);
    (has_vips && is_restricted && !is_listed && !settings.close_other_family).then(|| {
        format!(
            "no loadBalancerSourceRange is {}: its load-balancer addresses of that family admit \
             everybody",
            family.name()
        )
    })
}

/// A range as the key of a service port; `None` for the other family's.
pub(super) fn key<F: Family>(service: u32, range: IpNet) -> Option<SourceKey<F>> {
    Some(SourceKey {
        prefix_length: SERVICE_BITS + u32::from(range.prefix_len()),
        service,
        addr: F::from_ip(range.network())?,
    })
}

fn of(ranges: &[IpNet], family: IpFamily) -> impl Iterator<Item = &IpNet> {
    ranges
        .iter()
        .filter(move |range| is_of(range.addr(), family))
}

fn is_of(addr: IpAddr, family: IpFamily) -> bool {
    IpFamily::of(addr) == family
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::model::testing::service;

    const V4: IpFamily = IpFamily::V4;
    const V6: IpFamily = IpFamily::V6;

    fn balanced(ranges: &[&str]) -> Service {
        let vips = ["192.0.2.1", "2001:db8::1"];
        Service {
            source_ranges: Some(ranges.iter().map(|range| range.parse().unwrap()).collect()),
            load_balancer_ips: vips.map(|vip| vip.parse().unwrap()).to_vec(),
            ..service(&["10.96.0.1", "fd00:96::1"], Vec::new())
        }
    }

    fn text(admitted: Option<Vec<IpNet>>) -> String {
        let list = |ranges: Vec<IpNet>| {
            let texts = ranges.iter().map(ToString::to_string);
            texts.collect::<Vec<_>>().join(" ")
        };
        admitted.map_or_else(|| "all".to_owned(), list)
    }

    #[rstest]
    #[case::each_family_has_its_own_78(&["172.16.0.0/12", "fc00::/16"], "172.16.0.0/12", "fc00::/16")]
    #[case::a_family_without_ranges_is_open_79(&["172.16.0.0/12"], "172.16.0.0/12", "all")]
    #[case::a_range_of_everything_opens_its_family_8(
        &["172.16.0.0/12", "0.0.0.0/0", "fc00::/16"], "all", "fc00::/16"
    )]
    #[case::an_unreadable_list_admits_nobody_7(&[], "", "")]
    #[case::a_range_with_the_node_admits_the_addresses_themselves_81(
        &["10.9.0.0/16"], "10.9.0.0/16 192.0.2.1/32", "all"
    )]
    #[case::the_nodes_other_family_has_no_say_81(
        &["10.8.0.0/16", "fd09::/16"], "10.8.0.0/16", "fd09::/16 2001:db8::1/128"
    )]
    fn sources_are_admitted_by_family(
        #[case] ranges: &[&str],
        #[case] ipv4: &str,
        #[case] ipv6: &str,
    ) {
        let service = balanced(ranges);
        let scene = Scene {
            primary: ["10.9.0.1", "fd09::1"]
                .map(|addr| addr.parse().unwrap())
                .to_vec(),
            ..Scene::default()
        };
        let of = |family| text(admitted(&service, family, &scene, &Settings::default()));
        assert_eq!((&*of(V4), &*of(V6)), (ipv4, ipv6));
    }

    #[test]
    fn a_service_without_ranges_admits_everybody_78() {
        let service = service(&["10.96.0.1"], Vec::new());
        let admitted = admitted(&service, V4, &Scene::default(), &Settings::default());
        assert_eq!(admitted, None);
    }

    #[test]
    fn the_gap_between_the_families_is_told_and_can_be_closed_79() {
        let open = Settings::default();
        let closed = Settings {
            close_other_family: true,
            ..Settings::default()
        };
        let service = balanced(&["10.0.0.0/8"]);
        assert_eq!(gap(&service, V4, &open), None);
        assert_eq!(
            gap(&service, V6, &open).as_deref(),
            Some(
                "no loadBalancerSourceRange is IPv6: its load-balancer addresses of that family \
                 admit everybody"
            )
        );
        assert_eq!(gap(&service, V6, &closed), None);
        let admitted = admitted(&service, V6, &Scene::default(), &closed);
        assert_eq!(admitted, Some(Vec::new()));
        for ranges in [&["0.0.0.0/0"][..], &[], &["10.0.0.0/8", "fd00::/8"]] {
            assert_eq!(gap(&balanced(ranges), V6, &open), None, "{ranges:?}");
        }
        let single = Service {
            load_balancer_ips: vec!["192.0.2.1".parse().unwrap()],
            ..service
        };
        assert_eq!(gap(&single, V6, &open), None, "nothing there to admit to");
    }
}
