//! Masquerading: a flow whose replies could otherwise miss this node leaves in the node's name,
//! from a port that no other flow to the same backend has (services.md 57).
//!
//! Ports are tried in the order of a permutation of the whole range, which begins and strides at
//! random: a port is found as long as there is one, and nobody can guess which.

use crate::{
    family::{Family, Port, Ports, proto},
    flow::{CLOSING, forget},
    tables::{Flow, FlowKey, Flows, Node},
    verdict::{DropReason, code},
};

/// What a step of the walk says.
pub const GO_ON: u32 = 0;
pub const STOP: u32 = 1;

/// Primes above the number of ports: each is a stride that visits every port once.
const STRIDES: [u32; 4] = [65_537, 65_539, 65_543, 65_551];
/// Ports of a flow's tuple that a socket of this node may have before we give up.
const OWN_SOCKETS_MAX: u32 = 16;

/// How long a UDP flow without answers keeps its port when others want it, as netfilter has it for
/// flows without replies.
const UDP_PORT_S: u32 = 30;
/// How long a connection that has ended keeps its port: what is still on its way arrives by then.
const CLOSED_PORT_S: u32 = 5;

/// A search for a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk<F: Family> {
    /// The flow as it leaves; its source port is what is sought.
    key: FlowKey<F>,
    /// What the replies' entry will hold.
    reply: Flow<F>,
    /// Where in the range we are, how far each step goes, and how long the range is.
    place: u32,
    stride: u32,
    length: u32,
    range: Range,
    /// The ports of the tuple that is ours; `0` until one is.
    pub found: u32,
}

/// Two runs of ports: the first of each, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    first: [u32; 2],
    count: [u32; 2],
}

/// Finds a source for a flow as it leaves, at this node's address if it `is_remote`, else at its
/// own, and stores its replies' entry. `leaving` becomes the tuple that was found.
#[inline(always)]
pub(crate) fn masquerade<F: Family, T: Flows<F>>(
    leaving: &mut FlowKey<F>,
    is_remote: bool,
    reply: &Flow<F>,
    tables: &mut T,
) -> u32 {
    if is_remote {
        let Some(addr) = tables.masquerade_address(leaving.destination) else {
            return DropReason::NoSnatAddress.code();
        };
        leaving.source = addr;
    }
    let mut turn = 0;
    while turn < OWN_SOCKETS_MAX {
        let random = [tables.random(), tables.random()];
        let Some(ports) = tables.node().map(Range::of) else {
            break;
        };
        let found = tables.walk(ports.length(), |walk| {
            walk.begin(leaving, reply, ports, random);
        });
        if found == 0 {
            break;
        }
        leaving.ports = Ports(found);
        if !is_remote || !tables.is_own_socket(leaving) {
            return code::TRANSLATE;
        }
        tables.remove_flow(leaving);
        turn += 1;
    }
    DropReason::NoSnatPort.code()
}

/// `Flows::walk` for tables in memory.
#[cfg(any(test, feature = "user"))]
pub fn walk<F: Family, T: Flows<F>>(
    tables: &mut T,
    turns: u32,
    begin: impl FnOnce(&mut Walk<F>),
) -> u32 {
    let mut walk = Walk::default();
    begin(&mut walk);
    for _ in 0..turns {
        if walk.step(tables) == STOP {
            break;
        }
    }
    walk.found
}

// === impl Range ===

impl Range {
    #[inline(always)]
    const fn of<F: Family>(node: &Node<F>) -> Self {
        Self {
            first: node.snat_first,
            count: [node.snat_count[0] & 0xffff, node.snat_count[1] & 0xffff],
        }
    }

    #[inline(always)]
    const fn length(self) -> u32 {
        self.count[0] + self.count[1]
    }
}

// === impl Walk ===

impl<F: Family> Walk<F> {
    #[inline(always)]
    const fn begin(&mut self, key: &FlowKey<F>, reply: &Flow<F>, range: Range, random: [u32; 2]) {
        self.key = *key;
        self.reply = *reply;
        self.range = range;
        self.length = range.length();
        self.place = ((random[0] as u64 * self.length as u64) >> 32) as u32;
        self.stride = match random[1] & 3 {
            0 => STRIDES[0],
            1 => STRIDES[1],
            2 => STRIDES[2],
            _ => STRIDES[3],
        };
        self.found = 0;
    }

    /// Tries the next port.
    #[inline(always)]
    pub fn step<T: Flows<F>>(&mut self, tables: &mut T) -> u32 {
        if self.length == 0 {
            return STOP;
        }
        let [first, second] = self.range.first;
        let port = if self.place < self.range.count[0] {
            first + self.place
        } else {
            second + (self.place - self.range.count[0])
        };
        self.place = (self.place + self.stride) % self.length;
        self.key.ports = self.key.ports.with_source(Port::new(port as u16));
        if tables.claim_flow(&self.key, &self.reply) || self.take_over(tables) {
            self.found = self.key.ports.0;
            STOP
        } else {
            GO_ON
        }
    }

    /// Takes the port of a flow that is over. Entries stay until there is no room, and ports would
    /// run out long before.
    #[inline(always)]
    fn take_over<T: Flows<F>>(&self, tables: &mut T) -> bool {
        let Some(other) = tables.flow(&self.key) else {
            return false;
        };
        let other = *other;
        let idle_s = self.reply.last_seen_s.saturating_sub(other.last_seen_s);
        let over = if self.key.proto == proto::UDP {
            idle_s > UDP_PORT_S
        } else {
            other.flags & CLOSING != 0 && idle_s > CLOSED_PORT_S
        };
        if !over {
            return false;
        }
        forget(&self.key, &other, tables);
        tables.claim_flow(&self.key, &self.reply)
    }
}
