//! What a Service asks for: which frontends for which port, as far as it may have them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proxy_datapath::{
    family::{Family, Port},
    frontend::kind,
    tables::FrontendKey,
};

use super::{Settings, claims::Claim, hygiene, registry::Registry, scene::Scene};
use crate::model::{Protocol, Service, ServicePort};

/// One port of a Service with the frontends it asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer<'a> {
    pub(super) port: &'a ServicePort,
    pub(super) claims: Vec<Offered>,
}

/// A frontend, and what it is: one of `frontend::kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) claim: Claim,
    pub(super) kind: u32,
}

/// What decides over an address that a Service asks for.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) settings: &'a Settings,
    pub(super) scene: &'a Scene,
    pub(super) registry: &'a Registry,
}

/// An address that a Service may have, and what it is there.
type Usable = (IpAddr, u32);

/// A Service's ports, each with the frontends that it may have; each port and each frontend once.
/// What is left out is told in `problems`.
pub(super) fn offers<'a>(
    service: &'a Service,
    rules: Rules<'_>,
    problems: &mut Vec<String>,
) -> Vec<Offer<'a>> {
    let addrs = rules.usable(service, problems);
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
        let mut claims = Vec::with_capacity(addrs.len());
        for &(addr, kind) in &addrs {
            let claim = Claim {
                addr,
                port: *number,
                protocol: *protocol,
            };
            match rules.refuse_port(&claim, kind) {
                None => claims.push(Offered { claim, kind }),
                Some(why) => problems.push(why),
            }
        }
        let has_node_port = |offer: &Offer<'_>| {
            let taken = offer.port;
            (taken.protocol, taken.node_port) == (*protocol, port.node_port)
        };
        if port.node_port != 0 {
            if offers.iter().any(has_node_port) {
                problems.push(format!(
                    "nodePort {}/{protocol} is not used: another port has it",
                    port.node_port
                ));
            } else {
                claims.extend(node_port(service, port));
            }
        }
        offers.push(Offer { port, claims });
    }
    offers
}

/// The claims of one family as table keys.
pub(super) fn frontend_keys<F: Family>(claims: &[Offered]) -> Vec<FrontendKey<F>> {
    claims.iter().filter_map(Offered::key).collect()
}

/// A node port is claimed on every address of the node at once.
fn node_port(service: &Service, port: &ServicePort) -> impl Iterator<Item = Offered> {
    let anywhere = [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    let (number, protocol) = (port.node_port, port.protocol);
    let of_family = move |addr: &IpAddr| has_family_of(service, *addr);
    anywhere
        .into_iter()
        .filter(of_family)
        .map(move |addr| Offered {
            claim: Claim {
                addr,
                port: number,
                protocol,
            },
            kind: kind::NODE_PORT,
        })
}

/// A Service exists in the families of its ClusterIPs (services.md 6); one of a stand-alone load
/// balancer, which has none, in those of its other addresses.
fn has_family_of(service: &Service, addr: IpAddr) -> bool {
    let is_like = |other: &IpAddr| other.is_ipv4() == addr.is_ipv4();
    if service.cluster_ips.is_empty() {
        let mut others = service
            .load_balancer_ips
            .iter()
            .chain(&service.external_ips);
        others.any(is_like)
    } else {
        service.cluster_ips.iter().any(is_like)
    }
}

// === impl Offered ===

impl Offered {
    /// As a table's key, in the family that it is of.
    pub(super) fn key<F: Family>(&self) -> Option<FrontendKey<F>> {
        let Claim {
            addr,
            port,
            protocol,
        } = self.claim;
        let addr = F::from_ip(addr)?;
        Some(FrontendKey::new(addr, Port::new(port), protocol.number()))
    }
}

// === impl Rules ===

impl Rules<'_> {
    /// The addresses that a Service may have, each once. One that is both a load balancer's and an
    /// external one is guarded as the former (services.md 78).
    fn usable(self, service: &Service, problems: &mut Vec<String>) -> Vec<Usable> {
        let mut usable: Vec<Usable> = Vec::new();
        for &addr in &service.cluster_ips {
            match hygiene::refuse(addr) {
                None => usable.push((addr, kind::CLUSTER_IP)),
                Some(why) => problems.push(format!("ClusterIP {addr} is not used: {why}")),
            }
        }
        let balanced = service.load_balancer_ips.iter();
        let external = service.external_ips.iter();
        let others = balanced
            .map(|addr| (*addr, kind::LOAD_BALANCER))
            .chain(external.map(|addr| (*addr, kind::EXTERNAL_IP)));
        for (addr, kind) in others {
            let is_known = usable.iter().any(|(known, _)| *known == addr);
            if is_known || !has_family_of(service, addr) {
                continue;
            }
            match self.refuse(addr, kind) {
                None => usable.push((addr, kind)),
                Some(why) => {
                    problems.push(format!("{} {addr} is not used: {why}", name(kind)));
                }
            }
        }
        usable
    }

    /// Why nobody may have this address beside a ClusterIP: who could name it in a Service would
    /// get the traffic to it (CVE-2020-8554).
    fn refuse(self, addr: IpAddr, kind: u32) -> Option<String> {
        let Self {
            settings,
            scene,
            registry,
        } = self;
        if kind == kind::EXTERNAL_IP && !settings.external_ips.enabled {
            return Some("external addresses are switched off".to_owned());
        }
        if kind == kind::EXTERNAL_IP && !settings.external_ips.allows(addr) {
            return Some("it is in no range that is allowed".to_owned());
        }
        if let Some(why) = hygiene::refuse(addr) {
            return Some(why.to_owned());
        }
        let services = scene.service_ranges.iter().map(|(range, _)| range);
        if let Some(range) = { services }.find(|range| range.contains(&addr)) {
            return Some(format!("it is in {range}, which ClusterIPs come from"));
        }
        if registry.is_cluster_ip(addr) {
            return Some("it is another Service's ClusterIP".to_owned());
        }
        if let Some(range) = scene.pod_ranges.iter().find(|range| range.contains(&addr)) {
            return Some(format!(
                "it is in {range}, which pods have their addresses from"
            ));
        }
        scene
            .pods
            .contains(&addr)
            .then(|| "it is a pod's".to_owned())
    }

    /// Why nobody may have this port of an address.
    fn refuse_port(self, claim: &Claim, kind: u32) -> Option<String> {
        let is_system = kind != kind::CLUSTER_IP
            && claim.protocol == Protocol::Tcp
            && self.settings.system_ports.contains(&claim.port)
            && self.scene.local.contains(&claim.addr);
        is_system.then(|| {
            format!(
                "{} {claim} is not used: it is a port of the node's own servers",
                name(kind)
            )
        })
    }
}

const fn name(kind: u32) -> &'static str {
    if kind == kind::LOAD_BALANCER {
        "load-balancer address"
    } else {
        "ExternalIP"
    }
}
