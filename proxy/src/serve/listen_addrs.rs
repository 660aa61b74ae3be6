//! Where health check ports listen: on everything, or on the addresses that serve node ports
//! (services.md 97).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{config::proxy::NodePortAddresses, model::IpFamily};

/// `local` are the node's addresses, `primary` the first among them, one of each family.
pub fn listen_addrs(
    wanted: &NodePortAddresses,
    local: &[IpAddr],
    primary: &[IpAddr],
) -> Vec<IpAddr> {
    let mut addrs = Vec::new();
    for any in [
        IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::from(Ipv6Addr::UNSPECIFIED),
    ] {
        let family = IpFamily::of(any);
        if wanted.matches_all(family, primary) {
            addrs.push(any);
        } else {
            let of_family = local.iter().filter(|addr| IpFamily::of(**addr) == family);
            let can_listen = of_family.filter(|addr| !is_link_local(**addr));
            addrs.extend(can_listen.filter(|addr| wanted.matches(**addr, primary)));
        }
    }
    addrs
}

/// Such an address is nobody's without its device.
const fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(_) => false,
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(texts: &str) -> Vec<IpAddr> {
        let texts = texts.split_whitespace();
        texts.map(|text| text.parse().unwrap()).collect()
    }

    /// `wanted` is `primary`, `all`, or prefixes.
    #[rstest]
    #[case::primary_is_the_default("primary", "10.0.0.1 fd00::1", "10.0.0.1 fd00::1")]
    #[case::primary_is_unknown_in_a_family_92("primary", "10.0.0.1", "10.0.0.1 ::")]
    #[case::all("all", "10.0.0.1 fd00::1", "0.0.0.0 ::")]
    #[case::prefixes(
        "10.0.0.0/8 172.16.0.0/12 fe80::/10 fd00::/64",
        "10.0.0.1 fd00::1",
        "10.0.0.1 172.17.0.1 fd00::1"
    )]
    #[case::prefixes_of_one_family_92("172.16.0.0/12", "10.0.0.1 fd00::1", "172.17.0.1 ::")]
    #[case::a_prefix_of_everything("0.0.0.0/0 fd00::/64", "10.0.0.1", "0.0.0.0 fd00::1")]
    fn health_check_ports_listen_where_node_ports_do_97(
        #[case] wanted: &str,
        #[case] primary: &str,
        #[case] expected: &str,
    ) {
        let prefixes = wanted.split_whitespace().filter(|word| word.contains('/'));
        let wanted = NodePortAddresses {
            primary: wanted == "primary",
            localhost: false,
            all: wanted == "all",
            cidrs: prefixes.map(|word| word.parse().unwrap()).collect(),
        };
        let local = parse("127.0.0.1 10.0.0.1 172.17.0.1 ::1 fd00::1 fe80::1");
        let addrs = listen_addrs(&wanted, &local, &parse(primary));
        assert_eq!(addrs, parse(expected));
    }
}
