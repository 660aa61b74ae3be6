//! One service port as it is in the tables, for whoever wants to know.

use std::{net::SocketAddr, sync::Arc};

use proxy_datapath::{
    family::{Family, Ipv4, Ipv6},
    tables::{Backend, FrontendKey},
};

use super::part::Part;
use crate::{
    model::{ObjectKey, Protocol, ServicePort},
    plan::{FamilyState, MapState},
};

/// One service port that has frontends: the unit of everything.
#[derive(Debug)]
pub struct ServicePortState {
    pub service: ObjectKey,
    /// The port's name.
    pub port: Arc<str>,
    pub protocol: Protocol,
    /// What stands for it in the tables.
    pub id: u32,
    pub(super) v4: Part<Ipv4>,
    pub(super) v6: Part<Ipv6>,
}

// === impl ServicePortState ===

impl ServicePortState {
    pub(super) fn new(
        service: ObjectKey,
        port: &ServicePort,
        (id, v4, v6): (u32, Part<Ipv4>, Part<Ipv6>),
    ) -> Self {
        Self {
            service,
            port: port.name.clone(),
            protocol: port.protocol,
            id,
            v4,
            v6,
        }
    }

    pub(super) fn is_of(&self, port: &ServicePort) -> bool {
        self.port == port.name && self.protocol == port.protocol
    }

    /// IPv4 first.
    pub fn frontends(&self) -> impl Iterator<Item = SocketAddr> {
        let v4 = self.v4.frontends.iter().map(socket_addr);
        v4.chain(self.v6.frontends.iter().map(socket_addr))
    }

    /// Its backends in these tables with their states, IPv4 first, by address and port.
    pub fn backends<'a>(
        &'a self,
        maps: &'a MapState,
    ) -> impl Iterator<Item = (SocketAddr, u32)> + 'a {
        rows(&self.v4, &maps.v4).chain(rows(&self.v6, &maps.v6))
    }
}

fn socket_addr<F: Family>(key: &FrontendKey<F>) -> SocketAddr {
    SocketAddr::new(key.addr.into(), key.port().host())
}

fn rows<'a, F: Family>(
    part: &'a Part<F>,
    rows: &'a FamilyState<F>,
) -> impl Iterator<Item = (SocketAddr, u32)> + 'a {
    let found = part.backends.iter().filter_map(|id| rows.backends.get(id));
    found.map(|row: &Backend<F>| {
        (
            SocketAddr::new(row.addr.into(), row.port().host()),
            row.state,
        )
    })
}
