//! Addresses and prefixes as Kubernetes has always accepted them (7): IPv4 with leading zeros is
//! decimal, prefixes may be padded with blanks, and an IPv4-mapped address is the IPv4 address.
//!
//! Which addresses are never used, because they name the node itself or a group, is not a question
//! of reading: `compile` refuses them.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

pub(crate) fn parse_addr(text: &str) -> Option<IpAddr> {
    parse_as_written(text).map(|addr| addr.to_canonical())
}

pub(crate) fn parse_prefix(text: &str) -> Option<IpNet> {
    let (addr, length) = text.trim().split_once('/')?;
    let addr = parse_as_written(addr)?;
    let length = u8::try_from(parse_decimal(length)?).ok()?;
    IpNet::new(addr, length).ok().map(|prefix| prefix.trunc())
}

fn parse_as_written(text: &str) -> Option<IpAddr> {
    if let Ok(addr) = text.parse() {
        return Some(addr);
    }
    match text.rsplit_once(':') {
        Some((head, tail)) => format!("{head}:{}", parse_zero_padded(tail)?).parse().ok(),
        None => parse_zero_padded(text).map(IpAddr::V4),
    }
}

fn parse_zero_padded(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        *octet = u8::try_from(parse_decimal(parts.next()?)?).ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}

/// Digits only: `str::parse` would take a sign.
fn parse_decimal(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("10.0.0.1", Some("10.0.0.1"))]
    #[case::leading_zeros_are_decimal("172.30.0.041", Some("172.30.0.41"))]
    #[case::many_leading_zeros("0010.0.0.00001", Some("10.0.0.1"))]
    #[case::ipv6("fd00:0::00a", Some("fd00::a"))]
    #[case::mapped_is_ipv4("::ffff:10.0.0.1", Some("10.0.0.1"))]
    #[case::embedded_with_zeros("64:ff9b::010.0.0.01", Some("64:ff9b::a00:1"))]
    #[case::octet_too_large("10.0.0.256", None)]
    #[case::octet_overflow("10.0.0.99999999999", None)]
    #[case::three_octets("10.0.1", None)]
    #[case::five_octets("10.0.0.0.1", None)]
    #[case::empty_octet("10..0.1", None)]
    #[case::hexadecimal("0x0a.0.0.1", None)]
    #[case::sign("+10.0.0.1", None)]
    #[case::blank(" 10.0.0.1", None)]
    #[case::zone("fe80::1%eth0", None)]
    #[case::name("web", None)]
    #[case::empty("", None)]
    #[case::colon_only(":", None)]
    fn address_is_read_as_kubernetes_reads_it(#[case] text: &str, #[case] expect: Option<&str>) {
        assert_eq!(
            parse_addr(text).map(|addr| addr.to_string()).as_deref(),
            expect
        );
    }

    #[rstest]
    #[case::plain("10.96.0.0/12", Some("10.96.0.0/12"))]
    #[case::leading_zeros("203.0.113.000/025", Some("203.0.113.0/25"))]
    #[case::padded("  10.96.0.0/16\t", Some("10.96.0.0/16"))]
    #[case::host_bits_are_dropped("10.96.0.10/16", Some("10.96.0.0/16"))]
    #[case::ipv6("fd00:96::/112", Some("fd00:96::/112"))]
    #[case::everything("0.0.0.0/0", Some("0.0.0.0/0"))]
    #[case::too_long("10.96.0.0/33", None)]
    #[case::wraps_no_byte("10.96.0.0/257", None)]
    #[case::no_length("10.96.0.0", None)]
    #[case::empty_length("10.96.0.0/", None)]
    #[case::signed_length("10.96.0.0/+8", None)]
    fn prefix_is_read_as_kubernetes_reads_it(#[case] text: &str, #[case] expect: Option<&str>) {
        assert_eq!(
            parse_prefix(text)
                .map(|prefix| prefix.to_string())
                .as_deref(),
            expect
        );
    }
}
