//! Who has which ClusterIP and who asks for which other address, so that a change of an address
//! finds the Services that it matters to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use super::hygiene;
use crate::model::{ObjectKey, Service};

#[derive(Debug, Default)]
pub(super) struct Registry {
    /// How many Services have this ClusterIP: one, but for a moment.
    cluster_ips: HashMap<IpAddr, u32>,
    /// The Services with this ExternalIP or load-balancer address.
    external: BTreeMap<IpAddr, BTreeSet<ObjectKey>>,
    known: HashMap<ObjectKey, Addresses>,
}

/// A Service's addresses.
#[derive(Debug, Default, PartialEq, Eq)]
struct Addresses {
    cluster: Box<[IpAddr]>,
    external: Box<[IpAddr]>,
}

// === impl Registry ===

impl Registry {
    /// Takes in what a Service is, or that it is not; returns the addresses that began or ceased
    /// to be ClusterIPs.
    pub(super) fn set(&mut self, key: &ObjectKey, service: Option<&Service>) -> Vec<IpAddr> {
        let after = service.map(Addresses::of).unwrap_or_default();
        let before = self.known.remove(key).unwrap_or_default();
        if before == after {
            self.keep(key, after);
            return Vec::new();
        }
        let mut changed = BTreeSet::new();
        for addr in &before.cluster {
            changed.extend(self.drop_cluster_ip(*addr));
        }
        for addr in &after.cluster {
            let count = self.cluster_ips.entry(*addr).or_default();
            *count += 1;
            if *count == 1 && !changed.remove(addr) {
                changed.insert(*addr);
            }
        }
        for addr in &before.external {
            if let Some(holders) = self.external.get_mut(addr) {
                holders.remove(key);
                if holders.is_empty() {
                    self.external.remove(addr);
                }
            }
        }
        for addr in &after.external {
            self.external.entry(*addr).or_default().insert(key.clone());
        }
        self.keep(key, after);
        changed.into_iter().collect()
    }

    pub(super) fn is_cluster_ip(&self, addr: IpAddr) -> bool {
        self.cluster_ips.contains_key(&addr)
    }

    /// The Services that ask for this address beside a ClusterIP.
    pub(super) fn holders(&self, addr: IpAddr) -> impl Iterator<Item = &ObjectKey> {
        self.external.get(&addr).into_iter().flatten()
    }

    /// The Services that ask for any such address.
    pub(super) fn all_holders(&self) -> impl Iterator<Item = &ObjectKey> {
        self.external.values().flatten()
    }

    fn keep(&mut self, key: &ObjectKey, addresses: Addresses) {
        if addresses != Addresses::default() {
            self.known.insert(key.clone(), addresses);
        }
    }

    /// The address, if nobody has it any more.
    fn drop_cluster_ip(&mut self, addr: IpAddr) -> Option<IpAddr> {
        let count = self.cluster_ips.get_mut(&addr)?;
        *count -= 1;
        if *count > 0 {
            return None;
        }
        self.cluster_ips.remove(&addr);
        Some(addr)
    }
}

// === impl Addresses ===

impl Addresses {
    fn of(service: &Service) -> Self {
        let cluster = service.cluster_ips.iter().copied();
        let external = service.external_ips.iter();
        Self {
            cluster: cluster
                .filter(|addr| hygiene::refuse(*addr).is_none())
                .collect(),
            external: external
                .chain(&service.load_balancer_ips)
                .copied()
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{key, service};

    fn with(addrs: &[&str], external: &[&str]) -> Service {
        Service {
            external_ips: external.iter().map(|addr| addr.parse().unwrap()).collect(),
            ..service(addrs, Vec::new())
        }
    }

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_a_cluster_ip_as_long_as_any_service_has_it() {
        let mut registry = Registry::default();
        let one = with(&["10.96.0.1"], &[]);
        assert_eq!(registry.set(&key("a"), Some(&one)), [addr("10.96.0.1")]);
        assert_eq!(registry.set(&key("a"), Some(&one)), Vec::<IpAddr>::new());
        assert_eq!(registry.set(&key("b"), Some(&one)), Vec::<IpAddr>::new());
        assert_eq!(registry.set(&key("a"), None), Vec::<IpAddr>::new());
        assert!(registry.is_cluster_ip(addr("10.96.0.1")));
        let other = with(&["10.96.0.2"], &[]);
        assert_eq!(
            registry.set(&key("b"), Some(&other)),
            [addr("10.96.0.1"), addr("10.96.0.2")]
        );
        assert_eq!(registry.set(&key("b"), None), [addr("10.96.0.2")]);
        assert!(registry.cluster_ips.is_empty() && registry.known.is_empty());
    }

    #[test]
    fn an_address_that_a_service_keeps_has_not_changed() {
        let mut registry = Registry::default();
        registry.set(&key("a"), Some(&with(&["10.96.0.1"], &[])));
        let more = with(&["10.96.0.1", "fd00:96::1"], &[]);
        assert_eq!(registry.set(&key("a"), Some(&more)), [addr("fd00:96::1")]);
    }

    #[test]
    fn who_asks_for_an_address_is_known_until_it_does_not() {
        let mut registry = Registry::default();
        registry.set(&key("a"), Some(&with(&[], &["192.0.2.1", "192.0.2.2"])));
        registry.set(&key("b"), Some(&with(&[], &["192.0.2.1"])));
        registry.set(&key("a"), Some(&with(&[], &["192.0.2.2"])));
        assert!(registry.holders(addr("192.0.2.1")).eq([&key("b")]));
        assert!(registry.holders(addr("192.0.2.2")).eq([&key("a")]));
        registry.set(&key("a"), None);
        registry.set(&key("b"), None);
        assert_eq!(registry.all_holders().count(), 0);
        assert!(registry.external.is_empty());
    }
}
