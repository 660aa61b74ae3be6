//! The node's addresses that NodePorts are served on (services.md 90 to 95).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::IpFamily;

/// Keywords and CIDRs, in any mixture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePortAddresses {
    pub primary: bool,
    pub localhost: bool,
    pub all: bool,
    pub cidrs: Vec<IpNet>,
}

// === impl NodePortAddresses ===

impl Default for NodePortAddresses {
    fn default() -> Self {
        Self {
            primary: true,
            localhost: false,
            all: false,
            cidrs: Vec::new(),
        }
    }
}

impl NodePortAddresses {
    /// Whether NodePorts are served on this address of the node's, whose primary addresses are
    /// `primary`. Loopback is never meant here: see `serves_localhost`.
    pub fn matches(&self, addr: IpAddr, primary: &[IpAddr]) -> bool {
        if addr.is_loopback() {
            return false;
        }
        self.matches_all(IpFamily::of(addr), primary)
            || (self.primary && primary.contains(&addr))
            || self.cidrs.iter().any(|cidr| cidr.contains(&addr))
    }

    /// Whether every address of a family is meant: also where the list has nothing of the family,
    /// as upstream (services.md 92).
    pub fn matches_all(&self, family: IpFamily, primary: &[IpAddr]) -> bool {
        let mut cidrs = self
            .cidrs
            .iter()
            .filter(|cidr| IpFamily::of_net(cidr) == family)
            .peekable();
        let names_none = cidrs.peek().is_none() && !self.localhost && {
            // An unknown primary address is loopback there (services.md 91).
            let known = |addr: &&IpAddr| IpFamily::of(**addr) == family && !addr.is_loopback();
            !self.primary || !primary.iter().any(|addr| known(&addr))
        };
        self.all || names_none || cidrs.any(|cidr| cidr.prefix_len() == 0)
    }

    /// Whether NodePorts are served on the loopback address: only where the list names loopback,
    /// and not because it names everything (services.md 95 and section 3).
    pub fn serves_localhost(&self, family: IpFamily) -> bool {
        let names_loopback = |cidr: &IpNet| {
            let loopback = match family {
                IpFamily::V4 => IpAddr::from([127, 0, 0, 1]),
                IpFamily::V6 => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            };
            cidr.network().is_loopback() && cidr.contains(&loopback)
        };
        self.localhost || self.cidrs.iter().any(names_loopback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(words: &str) -> NodePortAddresses {
        let mut list = NodePortAddresses {
            primary: false,
            ..NodePortAddresses::default()
        };
        for word in words.split_whitespace() {
            match word {
                "primary" => list.primary = true,
                "localhost" => list.localhost = true,
                "all" => list.all = true,
                cidr => list.cidrs.push(cidr.parse().unwrap()),
            }
        }
        list
    }

    /// On a node with these addresses, of which 10.0.0.1 is primary: those that match.
    #[track_caller]
    fn check(list: &str, primary: &[&str], expected: &[&str]) {
        let node = [
            "10.0.0.1",
            "172.17.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "fd00::1",
            "fd00::2",
            "::1",
        ];
        let primary: Vec<IpAddr> = primary.iter().map(|addr| addr.parse().unwrap()).collect();
        let list = addresses(list);
        let matching: Vec<&str> = node
            .into_iter()
            .filter(|addr| list.matches(addr.parse().unwrap(), &primary))
            .collect();
        assert_eq!(matching, expected, "{list:?} {primary:?}");
    }

    #[test]
    fn primary_is_the_nodes_own_addresses_91() {
        check(
            "primary",
            &["10.0.0.1", "fd00::1"],
            &["10.0.0.1", "fd00::1"],
        );
    }

    #[test]
    fn a_family_of_which_the_list_names_nothing_matches_everything_92() {
        let all6 = ["fd00::1", "fd00::2"];
        let all = ["10.0.0.1", "172.17.0.1", "fd00::1", "fd00::2"];
        check("", &["10.0.0.1"], &all);
        check("primary", &["10.0.0.1"], &["10.0.0.1", all6[0], all6[1]]);
        // An unknown primary address is loopback.
        check(
            "primary",
            &["10.0.0.1", "::1"],
            &["10.0.0.1", all6[0], all6[1]],
        );
        check(
            "172.17.0.0/16",
            &["10.0.0.1"],
            &["172.17.0.1", all6[0], all6[1]],
        );
        check(
            "172.17.0.0/16 fd00::2/128",
            &["10.0.0.1"],
            &["172.17.0.1", "fd00::2"],
        );
    }

    #[test]
    fn everything_is_everything_but_loopback_93() {
        let all = ["10.0.0.1", "172.17.0.1", "fd00::1", "fd00::2"];
        check("all", &["10.0.0.1"], &all);
        check("0.0.0.0/0 ::/0", &["10.0.0.1"], &all);
        check("10.0.0.0/8 0.0.0.0/0 ::/0", &["10.0.0.1"], &all);
    }

    #[test]
    fn loopback_in_the_list_never_matches_94() {
        check("127.0.0.0/8 ::1/128", &["10.0.0.1"], &[]);
        check("localhost", &["10.0.0.1"], &[]);
    }

    #[test]
    fn keywords_and_cidrs_mix_90() {
        check(
            "primary localhost 172.17.0.0/16",
            &["10.0.0.1", "fd00::1"],
            &["10.0.0.1", "172.17.0.1", "fd00::1"],
        );
    }

    #[test]
    fn localhost_is_served_only_where_the_list_names_loopback_95() {
        for (list, ipv4, ipv6) in [
            ("primary", false, false),
            ("all", false, false),
            ("0.0.0.0/0 ::/0", false, false),
            ("localhost", true, true),
            ("primary localhost", true, true),
            ("127.0.0.0/8", true, false),
            ("127.0.0.1/32", true, false),
            ("127.0.0.8/32", false, false),
            ("::1/128", false, true),
        ] {
            let list = addresses(list);
            let served = [IpFamily::V4, IpFamily::V6].map(|family| list.serves_localhost(family));
            assert_eq!(served, [ipv4, ipv6], "{list:?}");
        }
    }
}
