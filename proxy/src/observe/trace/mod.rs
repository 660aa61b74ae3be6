//! What becomes of a packet on this node: the decision that the kernel runs, on the same tables.
//!
//! A new flow draws its backend at random, so the decision runs once for each slot of the
//! frontend's sets and the answer is the union. Nothing is written anywhere (`simulate`).

mod answer;
mod draw;
mod explain;
mod question;

use std::net::{IpAddr, SocketAddr};

use proxy_datapath::{
    family::{Family, Ipv4, Ipv6, Port, Ports},
    packet::{Packet, shape, tcp},
    tables::FlowKey,
    verdict::Verdict,
};

use self::draw::Draws;
pub use self::{
    answer::{Answer, FrontendKind, FrontendName, Outcome, SourceAddr},
    question::{Destination, Place, Question, Source},
};
use super::World;
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
        Destination::Icmp(_) => (shape::PORTLESS, Ports::default(), F::ICMP),
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
    let draws = draw::draw(packet, place, question.from.port.is_some(), family, world);
    let mut steps = vec![why, explain::hook(place, question.to).to_owned()];
    let frontend = draws
        .frontend
        .map(|frontend| FrontendName::new(&frontend, world));
    match (&frontend, &draws.frontend) {
        (Some(name), Some(found)) => {
            steps.push(format!("{} is frontend {name}", question.to));
            let outside = place == Place::Wire && !explain::is_pod(packet.key.source, family);
            steps.extend(explain::set(found, outside));
        }
        _ => steps.push(explain::no_frontend(question.to, packet, family)),
    }
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
    steps.push(explain::end(
        outcome,
        source,
        reason.as_deref(),
        backends.len(),
    ));
    Answer {
        outcome,
        frontend,
        backends,
        source,
        reason,
        steps,
    }
}
