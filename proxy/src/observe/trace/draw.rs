//! Every way that chance could decide over a packet.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use proxy_datapath::{
    family::{Family, proto},
    flow::from_pod,
    frontend::{Choice, Client, MAGLEV, origin, select},
    net::from_net,
    packet::{Packet, Rewrite, shape},
    tables::{Frontend, FrontendKey, Node},
    verdict::Verdict,
};

use super::{Place, SourceAddr};
use crate::{
    observe::{World, row::socket_addr, simulate::Simulation},
    plan::FamilyState,
};

/// What the node sends from where nobody knows: an address for such purposes (RFC 7600, RFC 6666).
const STAND_INS: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 0, 8)),
    IpAddr::V6(std::net::Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 8)),
];

/// For each backend the source that it sees, and every other verdict that was given.
#[derive(Debug, Default)]
pub(super) struct Draws {
    /// The frontend that was found.
    pub(super) frontend: Option<Frontend>,
    pub(super) backends: BTreeMap<SocketAddr, SourceAddr>,
    pub(super) others: BTreeSet<Verdict>,
}

/// Runs the decision once for each slot of the set that it chooses from, and once for a frontend
/// without any. `has_port` says whether the packet's source port is its own.
pub(super) fn draw<F: Family>(
    packet: &Packet<F>,
    place: Place,
    has_port: bool,
    family: &FamilyState<F>,
    world: &World<'_>,
) -> Draws {
    let stand_in = stand_in::<F>();
    let tables = || Simulation::new(family, &world.maps.slots).with_node(&stand_in);
    let mut draws = Draws::default();
    let mut whole = tables();
    draws.decide(packet, place, &mut whole);
    let Some((_, frontend)) = whole.matched() else {
        return draws;
    };
    draws.frontend = Some(frontend);
    let is_hashed = has_port && !has_socket(place, packet.key.proto);
    if frontend.flags & MAGLEV != 0 && is_hashed {
        return draws;
    }
    for drawn in 0..frontend.count.max(frontend.wire_count) {
        draws.decide(packet, place, &mut tables().drawing(drawn));
    }
    draws
}

/// Whether a socket draws, which does not know the tuple.
const fn has_socket(place: Place, proto: u32) -> bool {
    match place {
        Place::Pod => proto == proto::TCP,
        Place::Host => proto == proto::TCP || proto == proto::UDP,
        Place::Wire => false,
    }
}

fn stand_in<F: Family>() -> Node<F> {
    let addr = STAND_INS.into_iter().find_map(F::from_ip);
    Node {
        addr: addr.expect("there is one of each family"),
        snat_first: [1024, 0],
        snat_count: [1, 0],
    }
}

// === impl Draws ===

impl Draws {
    fn decide<F: Family>(
        &mut self,
        packet: &Packet<F>,
        place: Place,
        tables: &mut Simulation<'_, F>,
    ) {
        let mut rewrite = Rewrite::of(&packet.key);
        let code = match place {
            // The packet path's decision covers the pod's sockets: both select in the same way.
            Place::Pod => from_pod(packet, tables, &mut rewrite),
            Place::Host => from_host(packet, tables, &mut rewrite),
            Place::Wire => from_net(packet, tables, &mut rewrite),
        };
        let verdict = Verdict::from_code(code).expect("a decision gives one of its codes");
        let source = match verdict {
            Verdict::Hairpin => SourceAddr::Frontend,
            // Its own address, if it is the node that comes in from the wire.
            Verdict::Forward if rewrite.source == tables.sends_from() => SourceAddr::Node,
            Verdict::Forward | Verdict::Translate => SourceAddr::Kept,
            Verdict::Pass | Verdict::Reject | Verdict::Drop(_) => {
                self.others.insert(verdict);
                return;
            }
        };
        let backend = socket_addr(rewrite.destination, rewrite.ports.destination());
        self.backends.insert(backend, source);
    }

    /// What the backends see, taken together.
    pub(super) fn source(&self) -> Option<SourceAddr> {
        let mut sources = self.backends.values();
        let first = *sources.next()?;
        Some(if sources.all(|source| *source == first) {
            first
        } else {
            SourceAddr::Mixed
        })
    }
}

/// The decision of a socket of the host that dials, which keeps its own address.
fn from_host<F: Family>(
    packet: &Packet<F>,
    tables: &mut Simulation<'_, F>,
    rewrite: &mut Rewrite<F>,
) -> u32 {
    if packet.shape == shape::PORTLESS {
        return from_pod(packet, tables, rewrite);
    }
    let key = &packet.key;
    let dialled = FrontendKey::new(key.destination, key.ports.destination(), key.proto);
    let client = Client {
        addr: key.source,
        origin: origin::HOST,
        hash: 0,
    };
    let mut choice = Choice::default();
    let code = select(&dialled, &client, tables, &mut choice);
    rewrite.destination = choice.addr;
    rewrite.ports = key.ports.with_destination(choice.port);
    code
}
