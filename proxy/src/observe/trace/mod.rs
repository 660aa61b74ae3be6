//! What becomes of a packet on this node: the decision that the kernel runs, on the same tables.
//!
//! A new flow draws its backend at random, so the decision runs once for each slot of the
//! frontend's set and the answer is the union. Nothing is written anywhere (`simulate`).

mod answer;
mod draw;
mod question;

use std::net::{IpAddr, SocketAddr};

use proxy_datapath::{
    family::{Family, Ipv4, Ipv6, Port, Ports},
    packet::{Packet, shape, tcp},
    tables::{FlowKey, Frontend, FrontendKey},
    verdict::Verdict,
};

use self::draw::Draws;
pub use self::{
    answer::{Answer, FrontendKind, FrontendName, Outcome, SourceAddr},
    question::{Destination, Place, Question, Source},
};
use super::{World, simulate::Simulation};
use crate::{model::Protocol, plan::FamilyState};

/// The port of a packet whose source names none: every other would have the same answer.
const SOURCE_PORT: u16 = 40_000;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswerable {
    #[error("{from} and {to} are of different address families")]
    Families { from: Source, to: Destination },
    #[error("only a running agent knows what {0} is to this node: say --at pod|host|wire")]
    Place(IpAddr),
    #[error("only a running agent knows which backends of {0} are on this node")]
    Nodes(Destination),
}

pub fn answer(question: &Question, world: &World<'_>) -> Result<Answer, Unanswerable> {
    if let Some(packet) = packet::<Ipv4>(question) {
        return follow(&packet, &world.maps.v4, question, world);
    }
    if let Some(packet) = packet::<Ipv6>(question) {
        return follow(&packet, &world.maps.v6, question, world);
    }
    Err(Unanswerable::Families {
        from: question.from,
        to: question.to,
    })
}

/// The packet that begins the flow, if both addresses are of the family.
fn packet<F: Family>(question: &Question) -> Option<Packet<F>> {
    let source_port = Port::new(question.from.port.unwrap_or(SOURCE_PORT));
    let (shape, ports, proto) = match question.to {
        Destination::Port { addr, protocol } => {
            let ports = Ports::new(source_port, Port::new(addr.port()));
            (shape::WHOLE, ports, protocol.number())
        }
        Destination::Icmp(_) => (shape::OTHER, Ports::default(), F::ICMP),
    };
    let source = F::from_ip(question.from.addr)?;
    let destination = F::from_ip(question.to.addr())?;
    Some(Packet {
        key: FlowKey {
            // No flow of another pod is in the way: the tables of a trace have none.
            endpoint: 0,
            source,
            destination,
            ports,
            proto,
        },
        shape,
        tcp_flags: if proto == Protocol::Tcp.number() {
            tcp::SYN
        } else {
            0
        },
        ..Packet::default()
    })
}

fn follow<F: Family>(
    packet: &Packet<F>,
    family: &FamilyState<F>,
    question: &Question,
    world: &World<'_>,
) -> Result<Answer, Unanswerable> {
    let (place, why) = place(question, world)?;
    let mut steps = vec![why, hook(place, question.to).to_owned()];
    let key = &packet.key;
    let dialled = FrontendKey::new(key.destination, key.ports.destination(), key.proto);
    let frontend = family.frontends.get(&dialled);
    steps.push(match frontend {
        Some(frontend) => format!("{} is frontend {}", question.to, title(frontend, world)),
        None => format!("{} is no frontend", question.to),
    });
    let count = frontend.map_or(1, |frontend| frontend.count);
    let mut draws = draw::draw(packet, place, count, |drawn| {
        Simulation::new(family, &world.maps.slots, drawn)
    });
    if let (Place::Wire, Some(frontend)) = (place, frontend) {
        masquerade(&mut draws, frontend, key.proto, question, world)?;
    }
    let frontend = frontend.map(|frontend| FrontendName::new(frontend, world));
    Ok(conclude(frontend, &draws, steps))
}

/// Where the packet meets the node, and why there.
fn place(question: &Question, world: &World<'_>) -> Result<(Place, String), Unanswerable> {
    let addr = question.from.addr;
    if let Some(at) = question.at {
        return Ok((at, format!("the packet is taken to meet the node at {at}")));
    }
    let Some(cluster) = world.cluster() else {
        return Err(Unanswerable::Place(addr));
    };
    let node = cluster.node_name();
    Ok(if let Some(pod) = world.local_pod(addr) {
        (Place::Pod, format!("{addr} is pod {pod} of node {node}"))
    } else if world.is_node_addr(addr) {
        (Place::Host, format!("{addr} is an address of node {node}"))
    } else {
        let why = format!("{addr} is no pod and no address of node {node}: it is on the wire");
        (Place::Wire, why)
    })
}

/// Which program decides.
const fn hook(place: Place, to: Destination) -> &'static str {
    let Destination::Port { protocol, .. } = to else {
        return "ICMP messages have no port, so that no frontend matches them";
    };
    match (place, protocol) {
        (Place::Pod, Protocol::Tcp) => {
            "a pod's TCP is decided over when its socket connects, or else by from_pod"
        }
        (Place::Pod, _) => "what a pod sends is decided over by from_pod, on its device",
        (Place::Host, Protocol::Sctp) => "no hook sees the host's SCTP: this is what tables say",
        (Place::Host, _) => "the host is decided over when its socket connects or sends",
        (Place::Wire, _) => "no hook sees uplinks: this is what the tables say",
    }
}

/// From the wire, the answer of a backend on another node would miss this one: such a backend must
/// see the node as its client.
fn masquerade(
    draws: &mut Draws,
    frontend: &Frontend,
    proto: u32,
    question: &Question,
    world: &World<'_>,
) -> Result<(), Unanswerable> {
    let Some(is_here) = world.is_here(frontend.service, proto) else {
        return Err(Unanswerable::Nodes(question.to));
    };
    for (backend, source) in &mut draws.backends {
        *source = if is_here(*backend) {
            SourceAddr::Kept
        } else {
            SourceAddr::Node
        };
    }
    Ok(())
}

fn conclude(frontend: Option<FrontendName>, draws: &Draws, mut steps: Vec<String>) -> Answer {
    let source = draws.source();
    let (outcome, reason) = match (source, draws.others.first()) {
        (Some(_), _) => (Outcome::Translate, None),
        (None, Some(Verdict::Reject)) => (Outcome::Reject, None),
        (None, Some(Verdict::Drop(reason))) => (Outcome::Drop, Some(reason.name().to_owned())),
        (None, _) => (Outcome::Pass, None),
    };
    let mut backends: Vec<String> = draws.backends.keys().map(SocketAddr::to_string).collect();
    backends.sort_unstable();
    steps.push(match (outcome, source, &reason) {
        (Outcome::Translate, Some(SourceAddr::Frontend), _) => {
            "the client is the only backend: it sees the frontend as its client".to_owned()
        }
        (Outcome::Translate, Some(source), _) => {
            format!(
                "one of {} is drawn, the source is {}",
                backends.len(),
                source.name()
            )
        }
        (Outcome::Drop, _, Some(reason)) => format!("the packet is dropped: {reason}"),
        (Outcome::Reject, _, _) => "no backend: the client is told that the port is closed".into(),
        _ => "the packet passes as it is".to_owned(),
    });
    Answer {
        outcome,
        frontend,
        backends,
        source,
        reason,
        steps,
    }
}

fn title(frontend: &Frontend, world: &World<'_>) -> String {
    match world.name(frontend.service) {
        Some(name) => name.to_string(),
        None => format!("of service id {}", frontend.service),
    }
}
