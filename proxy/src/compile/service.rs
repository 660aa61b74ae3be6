//! What a Service asks for: which frontends for which port.

use std::{net::SocketAddr, sync::Arc};

use proxy_datapath::{
    family::{Family, Ipv4, Ipv6, Port},
    tables::{Backend, FrontendKey},
};

use super::{claims::Claim, hygiene, part::Part};
use crate::{
    model::{ObjectKey, Protocol, Service, ServicePort},
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

/// One port of a Service with the frontends it asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer<'a> {
    pub(super) port: &'a ServicePort,
    pub(super) claims: Vec<Claim>,
}

/// A Service's ports with their ClusterIPs, each port and each frontend once; what is left out is
/// told in `problems`.
pub(super) fn offers<'a>(service: &'a Service, problems: &mut Vec<String>) -> Vec<Offer<'a>> {
    let mut usable = Vec::with_capacity(service.cluster_ips.len());
    for &addr in &service.cluster_ips {
        match hygiene::refuse(addr) {
            None => usable.push(addr),
            Some(why) => problems.push(format!("ClusterIP {addr} is not used: {why}")),
        }
    }
    let mut offers: Vec<Offer<'a>> = Vec::with_capacity(service.ports.len());
    for port in &service.ports {
        let ServicePort {
            name,
            protocol,
            port: number,
            ..
        } = port;
        let is_taken = |offer: &Offer<'_>| {
            let taken = offer.port;
            taken.protocol == *protocol && (taken.name == *name || taken.port == *number)
        };
        if offers.iter().any(is_taken) {
            problems.push(format!(
                "port {number}/{protocol} is not used: another port has its name or number"
            ));
            continue;
        }
        let claims = usable.iter().map(|&addr| Claim {
            addr,
            port: *number,
            protocol: *protocol,
        });
        offers.push(Offer {
            port,
            claims: claims.collect(),
        });
    }
    offers
}

/// The claims of one family as table keys.
pub(super) fn frontend_keys<F: Family>(claims: &[Claim]) -> Vec<FrontendKey<F>> {
    let keys = claims.iter().filter_map(|claim| {
        let addr = F::from_ip(claim.addr)?;
        Some(FrontendKey::new(
            addr,
            Port::new(claim.port),
            claim.protocol.number(),
        ))
    });
    keys.collect()
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
