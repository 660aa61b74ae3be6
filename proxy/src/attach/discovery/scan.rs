//! One look at all devices, addresses and routes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::attach::netlink::{Address, Error, Link, Route, Routing};

/// What the kernel told, as it told it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    pub links: Vec<Link>,
    /// Of our own namespace.
    pub addresses: Vec<Address>,
    pub routes: Vec<Route>,
    /// Of the other namespaces, by our number for them.
    pub inside: BTreeMap<i32, Vec<Address>>,
}

// === impl Scan ===

impl Scan {
    pub fn take(routing: &mut Routing) -> Result<Self, Error> {
        // A namespace gets its number when a device that leads there is listed, and is heard of
        // from then on: an address that is added after this look causes the next.
        let links = routing.links()?;
        let netnsids = links
            .iter()
            .filter_map(|link| link.netnsid)
            .filter(|id| *id >= 0);
        let mut inside = BTreeMap::new();
        for netnsid in netnsids.collect::<BTreeSet<_>>() {
            inside.insert(netnsid, routing.addresses_in(netnsid)?);
        }
        let addresses = routing.addresses()?;
        let routes = routing.routes()?;
        Ok(Self {
            links,
            addresses,
            routes,
            inside,
        })
    }

    /// The node's own addresses, each once.
    pub fn local_addrs(&self) -> Vec<IpAddr> {
        let addrs: BTreeSet<_> = self.addresses.iter().map(|address| address.addr).collect();
        addrs.into_iter().collect()
    }
}
