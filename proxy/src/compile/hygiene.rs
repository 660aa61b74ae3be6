//! Addresses that are never used, neither as a backend nor as a frontend, and who is told.
//!
//! Whoever may write an EndpointSlice could otherwise lead traffic to the node itself or to the
//! cloud's metadata service (CVE-2021-25737).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use crate::model::{Diagnostic, EndpointSlice, Kind, ObjectKey, ObjectRef};

/// How many addresses a diagnostic lists.
const LISTED_MAX: usize = 8;

/// Why an address is never used; `None` if it may be.
pub(super) const fn refuse(addr: IpAddr) -> Option<&'static str> {
    match addr.to_canonical() {
        IpAddr::V4(addr) => refuse4(addr),
        IpAddr::V6(addr) => refuse6(addr),
    }
}

const fn refuse4(addr: Ipv4Addr) -> Option<&'static str> {
    if addr.is_unspecified() {
        Some("unspecified")
    } else if addr.is_loopback() {
        Some("loopback")
    } else if addr.is_link_local() {
        Some("link-local")
    } else if addr.is_multicast() {
        Some("multicast")
    } else {
        None
    }
}

const fn refuse6(addr: Ipv6Addr) -> Option<&'static str> {
    if addr.is_unspecified() {
        Some("unspecified")
    } else if addr.is_loopback() {
        Some("loopback")
    } else if addr.is_unicast_link_local() {
        Some("link-local")
    } else if addr.is_multicast() {
        Some("multicast")
    } else {
        None
    }
}

/// One diagnostic for each slice that has endpoints which are not used.
pub(super) fn check<'a>(
    namespace: &Arc<str>,
    slices: impl Iterator<Item = (&'a Arc<str>, &'a EndpointSlice)>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    for (name, slice) in slices {
        let mut refused = slice
            .endpoints
            .iter()
            .filter_map(|endpoint| Some((endpoint.addr, refuse(endpoint.addr)?)));
        let listed: Vec<String> = refused
            .by_ref()
            .take(LISTED_MAX)
            .map(|(addr, why)| format!("{addr} ({why})"))
            .collect();
        if listed.is_empty() {
            continue;
        }
        let more = match refused.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let key = ObjectKey {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        diagnostics.push(Diagnostic {
            object: ObjectRef::new(Kind::EndpointSlice, key),
            reason: format!("endpoints are not used: {}{more}", listed.join(", ")),
        });
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::model::testing::{endpoint, slice};

    #[rstest]
    #[case::pod("10.1.0.5", None)]
    #[case::pod6("fd00:10:1::5", None)]
    #[case::public("203.0.113.7", None)]
    #[case::loopback("127.0.0.1", Some("loopback"))]
    #[case::any_loopback("127.8.8.8", Some("loopback"))]
    #[case::loopback6("::1", Some("loopback"))]
    #[case::mapped_loopback("::ffff:127.0.0.1", Some("loopback"))]
    #[case::metadata("169.254.169.254", Some("link-local"))]
    #[case::link_local6("fe80::1", Some("link-local"))]
    #[case::multicast("224.0.0.251", Some("multicast"))]
    #[case::multicast6("ff02::fb", Some("multicast"))]
    #[case::unspecified("0.0.0.0", Some("unspecified"))]
    #[case::unspecified6("::", Some("unspecified"))]
    fn special_addresses_are_refused(#[case] addr: &str, #[case] why: Option<&str>) {
        assert_eq!(refuse(addr.parse().unwrap()), why);
    }

    #[test]
    fn a_slice_is_named_once_however_many_of_its_endpoints_are_refused() {
        let name: Arc<str> = "web-x".into();
        let bad = (1..=10).map(|last| endpoint(&format!("127.0.0.{last}")));
        let slice = slice(&[], bad.chain([endpoint("10.1.0.1")]).collect());
        let mut diagnostics = Vec::new();
        check(
            &"default".into(),
            [(&name, &slice)].into_iter(),
            &mut diagnostics,
        );
        assert_eq!(diagnostics.len(), 1);
        assert_eq!(
            diagnostics[0].object.to_string(),
            "EndpointSlice default/web-x"
        );
        let reason = &diagnostics[0].reason;
        assert!(
            reason.starts_with("endpoints are not used: 127.0.0.1 (loopback), "),
            "{reason}"
        );
        assert!(
            reason.ends_with("127.0.0.8 (loopback) and 2 more"),
            "{reason}"
        );
    }
}
