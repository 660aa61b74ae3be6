//! Requests about devices, addresses and routes.

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkExtentMask, LinkMessage},
    route::{RouteAttribute, RouteHeader, RouteMessage},
};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::{
    decode::{Address, Link, NextHops, Reply, Route},
    request::{Error, Requests},
};

pub struct Routing(Requests);

// === impl Routing ===

impl Routing {
    pub fn open() -> Result<Self, Error> {
        let requests = Requests::open(NETLINK_ROUTE)?;
        // Without it the kernel takes no notice of what a dump is to be limited to, the namespace
        // among that (Linux 4.20).
        requests
            .socket()
            .set_netlink_get_strict_chk(true)
            .map_err(Error::Open)?;
        Ok(Self(requests))
    }

    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let request = RouteNetlinkMessage::GetLink(message);
        self.0
            .dump("list devices", request, |Reply::<Link>(link)| link)
    }

    /// The addresses of our own namespace.
    pub fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        self.dump_addresses(AddressMessage::default())
    }

    /// The addresses inside the namespace that we know by this number; none if it is gone or may
    /// not be looked into.
    pub fn addresses_in(&mut self, netnsid: i32) -> Result<Vec<Address>, Error> {
        let mut message = AddressMessage::default();
        message
            .attributes
            .push(AddressAttribute::TargetNetNsId(netnsid));
        match self.dump_addresses(message) {
            Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EACCES)) => {
                Ok(Vec::new())
            }
            answer => answer,
        }
    }

    /// The unicast routes of the main table.
    pub fn routes(&mut self) -> Result<Vec<Route>, Error> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let main = u32::from(RouteHeader::RT_TABLE_MAIN);
            message.attributes.push(RouteAttribute::Table(main));
            let request = RouteNetlinkMessage::GetRoute(message);
            let hops = self
                .0
                .dump("list routes", request, |Reply::<NextHops>(hops)| {
                    hops.filter(|hops| !hops.is_empty())
                });
            match hops {
                Ok(hops) => routes.extend(hops.into_iter().flatten()),
                // The table comes into being with its first route, the family with its module.
                Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::EAFNOSUPPORT)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(routes)
    }

    fn dump_addresses(&mut self, message: AddressMessage) -> Result<Vec<Address>, Error> {
        let request = RouteNetlinkMessage::GetAddress(message);
        self.0
            .dump("list addresses", request, |Reply::<Address>(address)| {
                address
            })
    }
}
