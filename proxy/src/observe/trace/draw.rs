//! Every way that chance could decide over a packet.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use proxy_datapath::{
    family::Family,
    flow::from_pod,
    frontend::{Choice, select},
    packet::{Packet, Rewrite},
    tables::FrontendKey,
    verdict::Verdict,
};

use super::{Place, SourceAddr};
use crate::observe::{row::socket_addr, simulate::Simulation};

/// For each backend the source that it sees, and every other verdict that was given.
#[derive(Debug, Default)]
pub(super) struct Draws {
    pub(super) backends: BTreeMap<SocketAddr, SourceAddr>,
    pub(super) others: BTreeSet<Verdict>,
}

/// Runs the decision once for each of `count` slots, and once for a frontend without any.
pub(super) fn draw<'a, F: Family>(
    packet: &Packet<F>,
    place: Place,
    count: u32,
    tables: impl Fn(u32) -> Simulation<'a, F>,
) -> Draws {
    let mut draws = Draws::default();
    for drawn in 0..count.max(1) {
        let tables = &mut tables(drawn);
        match place {
            Place::Pod => draws.decide_packet(packet, tables),
            Place::Host | Place::Wire => draws.decide_dial(packet, tables),
        }
    }
    draws
}

// === impl Draws ===

impl Draws {
    /// The packet path's decision, which covers the pod's sockets: both select in the same way.
    fn decide_packet<F: Family>(&mut self, packet: &Packet<F>, tables: &mut Simulation<'_, F>) {
        let mut rewrite = Rewrite::of(&packet.key);
        let code = from_pod(packet, tables, &mut rewrite);
        let kept = rewrite.source == packet.key.source;
        let source = if kept {
            SourceAddr::Kept
        } else {
            SourceAddr::Frontend
        };
        self.record(
            code,
            socket_addr(rewrite.destination, rewrite.ports.destination()),
            source,
        );
    }

    /// The decision of a socket that dials, which keeps its own address.
    fn decide_dial<F: Family>(&mut self, packet: &Packet<F>, tables: &mut Simulation<'_, F>) {
        let key = &packet.key;
        let dialled = FrontendKey::new(key.destination, key.ports.destination(), key.proto);
        let mut choice = Choice::default();
        let code = select(&dialled, tables, &mut choice);
        self.record(
            code,
            socket_addr(choice.addr, choice.port),
            SourceAddr::Kept,
        );
    }

    fn record(&mut self, code: u32, backend: SocketAddr, source: SourceAddr) {
        let verdict = Verdict::from_code(code).expect("a decision gives one of its codes");
        if matches!(verdict, Verdict::Translate | Verdict::Hairpin) {
            self.backends.insert(backend, source);
        } else {
            self.others.insert(verdict);
        }
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
