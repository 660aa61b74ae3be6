//! The endpoints of one service port in one family: the join of its slices (services.md 9–16).

use std::{
    io::{self, Cursor, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use proxy_datapath::family::Family;

use super::hygiene;
use crate::model::{Endpoint, EndpointSlice, ServicePort};

/// One endpoint of one service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortEndpoint<'a, F: Family> {
    pub(super) addr: F::Addr,
    /// The number that the endpoint's own slice gives the port.
    pub(super) port: u16,
    pub(super) endpoint: &'a Endpoint,
}

/// Long enough for `[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535`.
type OrderKey = [u8; 56];

/// Joins slices, given in name order, with a service port by (name, protocol), never by number
/// (services.md 11). The order is that of the texts `ip:port` (13).
pub(super) fn join<'a, F: Family>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    port: &ServicePort,
) -> Vec<PortEndpoint<'a, F>> {
    let mut found: Vec<PortEndpoint<'a, F>> = Vec::new();
    for slice in slices {
        for slice_port in &slice.ports {
            if slice_port.name == port.name && slice_port.protocol == port.protocol {
                found.extend(usable::<F>(slice).map(|(addr, endpoint)| PortEndpoint {
                    addr,
                    port: slice_port.port,
                    endpoint,
                }));
            }
        }
    }
    found.sort_by_cached_key(PortEndpoint::order_key);
    resolve_duplicates(&mut found);
    found
}

/// The endpoints of this family whose address may be used at all.
fn usable<F: Family>(slice: &EndpointSlice) -> impl Iterator<Item = (F::Addr, &Endpoint)> {
    slice.endpoints.iter().filter_map(|endpoint| {
        let addr = F::from_ip(endpoint.addr)?;
        hygiene::refuse(endpoint.addr)
            .is_none()
            .then_some((addr, endpoint))
    })
}

/// One entry for each address and port: one that is not terminating replaces what is there, a
/// terminating one never does (services.md 12). Equal entries are neighbours, in reading order.
fn resolve_duplicates<F: Family>(found: &mut Vec<PortEndpoint<'_, F>>) {
    found.dedup_by(|next, kept| {
        let same = (next.addr, next.port) == (kept.addr, kept.port);
        if same && next.endpoint.replaces() {
            *kept = *next;
        }
        same
    });
}

// === impl PortEndpoint ===

impl<F: Family> PortEndpoint<'_, F> {
    /// Sorts as the text `ip:port` does: the rest is zero, and no text contains a zero.
    fn order_key(&self) -> OrderKey {
        let mut key = [0; size_of::<OrderKey>()];
        let mut rest = Cursor::new(&mut key[..]);
        let written = match self.addr.into() {
            IpAddr::V4(addr) => write_v4(&mut rest, addr, self.port),
            addr @ IpAddr::V6(_) => write!(rest, "{}", SocketAddr::new(addr, self.port)),
        };
        written.expect("the key is as long as any text");
        key
    }
}

/// What `Display` writes, in a tenth of the time: it is most of what a full pass does.
fn write_v4(rest: &mut impl Write, addr: Ipv4Addr, port: u16) -> io::Result<()> {
    let [a, b, c, d] = addr.octets();
    for (number, end) in [(a, b"."), (b, b"."), (c, b"."), (d, b":")] {
        write_number(rest, number.into())?;
        rest.write_all(end)?;
    }
    write_number(rest, port)
}

fn write_number(rest: &mut impl Write, mut number: u16) -> io::Result<()> {
    let mut digits = [0; 5];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return rest.write_all(&digits[first..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proxy_datapath::family::{Ipv4, Ipv6};
    use rstest::rstest;

    use super::*;
    use crate::model::{
        Protocol,
        testing::{endpoint, port, slice},
    };

    fn joined<F: Family>(slices: &[EndpointSlice], port: &ServicePort) -> Vec<String> {
        join::<F>(slices.iter(), port)
            .iter()
            .map(|found| SocketAddr::new(found.addr.into(), found.port).to_string())
            .collect()
    }

    #[test]
    fn ports_join_by_name_and_protocol_and_each_slice_has_its_number_11() {
        let slices = [
            slice(
                &["dns/udp=53", "dns-tcp/tcp=53"],
                vec![endpoint("10.1.0.1")],
            ),
            slice(&["dns/udp=5353"], vec![endpoint("10.1.0.2")]),
            slice(&["dns/tcp=9"], vec![endpoint("10.1.0.3")]),
        ];
        assert_eq!(
            joined::<Ipv4>(&slices, &port("dns", Protocol::Udp, 53)),
            ["10.1.0.1:53", "10.1.0.2:5353"]
        );
    }

    #[test]
    fn one_address_with_two_numbers_is_two_endpoints_12() {
        let slices = [slice(&["a/tcp=80", "a/tcp=81"], vec![endpoint("10.1.0.1")])];
        assert_eq!(
            joined::<Ipv4>(&slices, &port("a", Protocol::Tcp, 1)),
            ["10.1.0.1:80", "10.1.0.1:81"]
        );
    }

    #[test]
    fn endpoints_come_in_the_order_of_their_texts_13() {
        let addrs = ["10.0.1.2", "10.0.1.1", "10.0.1.10", "10.0.0.255"];
        let slices = [slice(&["/tcp=80"], addrs.map(endpoint).to_vec())];
        assert_eq!(
            joined::<Ipv4>(&slices, &port("", Protocol::Tcp, 80)),
            [
                "10.0.0.255:80",
                "10.0.1.10:80",
                "10.0.1.1:80",
                "10.0.1.2:80"
            ]
        );
    }

    #[test]
    fn the_key_is_the_text_13() {
        let mut endpoint = endpoint("10.1.0.1");
        for text in [
            "0.0.0.0:0",
            "10.96.0.255:65535",
            "255.100.9.1:80",
            "1.2.3.4:1000",
        ] {
            let addr: SocketAddr = text.parse().unwrap();
            endpoint.addr = addr.ip();
            let addr = Ipv4::from_ip(endpoint.addr).unwrap();
            let port = text.rsplit_once(':').unwrap().1.parse().unwrap();
            let key = PortEndpoint::<Ipv4> {
                addr,
                port,
                endpoint: &endpoint,
            }
            .order_key();
            assert_eq!(
                std::str::from_utf8(&key).unwrap().trim_end_matches('\0'),
                text
            );
        }
    }

    #[test]
    fn each_family_sees_its_own_endpoints_9() {
        let slices = [
            slice(&["/tcp=80"], vec![endpoint("10.1.0.1")]),
            slice(&["/tcp=80"], vec![endpoint("fd00:10:1::1")]),
        ];
        let port = port("", Protocol::Tcp, 80);
        assert_eq!(joined::<Ipv4>(&slices, &port), ["10.1.0.1:80"]);
        assert_eq!(joined::<Ipv6>(&slices, &port), ["[fd00:10:1::1]:80"]);
    }

    #[test]
    fn an_address_that_no_pod_can_have_loses_that_endpoint_only() {
        let addrs = ["127.0.0.1", "10.1.0.1", "169.254.169.254"];
        let slices = [slice(&["/tcp=80"], addrs.map(endpoint).to_vec())];
        assert_eq!(
            joined::<Ipv4>(&slices, &port("", Protocol::Tcp, 80)),
            ["10.1.0.1:80"]
        );
    }

    /// The states are letters: `r`eady, `t`erminating, `p`ublished although terminating.
    #[rstest]
    #[case::a_live_one_replaces_a_terminating_one("tr", 1)]
    #[case::a_terminating_one_replaces_nothing("rt", 0)]
    #[case::the_first_of_two_terminating_ones_stays("tt", 0)]
    #[case::the_last_of_two_live_ones_stays("rr", 1)]
    #[case::ready_and_terminating_replaces_16("rp", 1)]
    #[case::ready_and_terminating_is_replaced_by_ready_16("pr", 1)]
    #[case::ready_and_terminating_is_not_replaced_by_terminating_16("pt", 0)]
    #[case::a_live_one_between_two_terminating_ones_stays("trt", 1)]
    fn duplicates_are_resolved_in_slice_order_12(#[case] states: &str, #[case] kept: usize) {
        let slices: Vec<EndpointSlice> = states
            .chars()
            .enumerate()
            .map(|(at, state)| {
                let mut found = endpoint("10.1.0.1");
                found.node = Some(at.to_string().into());
                found.ready = state != 't';
                found.terminating = state != 'r';
                slice(&["/tcp=80"], vec![found])
            })
            .collect();
        let found = join::<Ipv4>(slices.iter(), &port("", Protocol::Tcp, 80));
        let nodes: Vec<_> = found
            .iter()
            .filter_map(|found| found.endpoint.node.clone())
            .collect();
        assert_eq!(nodes, [kept.to_string().into()]);
    }
}
