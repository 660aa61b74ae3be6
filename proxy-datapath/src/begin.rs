//! A new flow: its backend, the tuple that it leaves with, and its two entries.

use crate::{
    family::{Family, proto},
    flow::{
        CLOSING, FORWARD, HAIRPIN, MASQUERADED, REPLY, REVERSE, TCP_IDLE_S, UDP_IDLE_S, translated,
    },
    frontend::{Choice, Client, backend, origin, select, tuple_hash},
    packet::{Packet, Rewrite},
    snat::masquerade,
    tables::{Flow, FlowKey, Flows, FrontendKey},
    verdict::{DropReason, code},
};

/// Gives a new flow a backend and remembers both directions; the reply's entry comes first, so that
/// no packet leaves whose answer could not be translated.
#[inline(always)]
pub(crate) fn create<F: Family, T: Flows<F>>(
    packet: &Packet<F>,
    origin: u32,
    tables: &mut T,
    rewrite: &mut Rewrite<F>,
) -> u32 {
    let key = &packet.key;
    let dialled = FrontendKey::new(key.destination, key.ports.destination(), key.proto);
    let client = Client {
        addr: key.source,
        origin,
        hash: tuple_hash::<F>(&key.source, key.ports.source().wire().into(), key.proto),
    };
    let mut choice = Choice::default();
    let verdict = select(&dialled, &client, tables, &mut choice);
    if verdict != code::TRANSLATE {
        return verdict;
    }
    let hairpin = choice.addr == key.source && origin == origin::POD;
    let mut reply = Flow {
        source: key.destination,
        destination: key.source,
        ports: key.ports.swapped(),
        flags: if hairpin {
            FORWARD | HAIRPIN | REPLY
        } else {
            REVERSE
        },
        backend: choice.id,
        last_seen_s: tables.now_s(),
    };
    rewrite.source = key.source;
    rewrite.destination = choice.addr;
    rewrite.ports = key.ports.with_destination(choice.port);
    if hairpin {
        create_hairpin(key, &mut reply, tables, rewrite)
    } else {
        let is_remote = origin == origin::WIRE && choice.flags & backend::HERE == 0;
        create_between(key, is_remote, &mut reply, tables, rewrite)
    }
}

/// Client and backend are one pod.
#[inline(always)]
fn create_hairpin<F: Family, T: Flows<F>>(
    key: &FlowKey<F>,
    reply: &mut Flow<F>,
    tables: &mut T,
    rewrite: &mut Rewrite<F>,
) -> u32 {
    rewrite.source = key.destination;
    let answers = leaving(key, rewrite).swapped();
    if !tables.insert_flow(&answers, reply) {
        return DropReason::FlowNotStored.code();
    }
    remember_forward(key, reply, rewrite, FORWARD | HAIRPIN, tables)
}

/// Client and backend are two. The client's address is kept where the reply finds back to this node
/// by itself; its port, unless another frontend's flow has the same one to the same backend, whose
/// answers could not be told apart.
#[inline(always)]
fn create_between<F: Family, T: Flows<F>>(
    key: &FlowKey<F>,
    is_remote: bool,
    reply: &mut Flow<F>,
    tables: &mut T,
    rewrite: &mut Rewrite<F>,
) -> u32 {
    let mut outside = leaving(key, rewrite);
    let mut flags = FORWARD;
    if is_remote || is_taken(&outside, reply, tables) {
        if is_remote {
            flags |= MASQUERADED;
            reply.flags |= MASQUERADED;
        }
        let verdict = masquerade(&mut outside, is_remote, reply, tables);
        if verdict != code::TRANSLATE {
            return verdict;
        }
        rewrite.source = outside.source;
        rewrite.ports = outside.ports;
    } else if !tables.insert_flow(&outside, reply) {
        return DropReason::FlowNotStored.code();
    }
    remember_forward(key, reply, rewrite, flags, tables)
}

/// `flow` has stored the replies' entry, and is made the other one.
#[inline(always)]
fn remember_forward<F: Family, T: Flows<F>>(
    key: &FlowKey<F>,
    flow: &mut Flow<F>,
    rewrite: &Rewrite<F>,
    flags: u32,
    tables: &mut T,
) -> u32 {
    flow.source = rewrite.source;
    flow.destination = rewrite.destination;
    flow.ports = rewrite.ports;
    flow.flags = flags;
    if !tables.insert_flow(key, flow) {
        return DropReason::FlowNotStored.code();
    }
    translated(flags)
}

/// The flow as it leaves.
#[inline(always)]
const fn leaving<F: Family>(key: &FlowKey<F>, rewrite: &Rewrite<F>) -> FlowKey<F> {
    FlowKey {
        endpoint: key.endpoint,
        source: rewrite.source,
        destination: rewrite.destination,
        ports: rewrite.ports,
        proto: key.proto,
    }
}

/// Whether a flow through another frontend lives on under the key that these replies would have.
#[inline(always)]
fn is_taken<F: Family, T: Flows<F>>(key: &FlowKey<F>, reply: &Flow<F>, tables: &mut T) -> bool {
    let Some(other) = tables.flow(key) else {
        return false;
    };
    let idle_s = reply.last_seen_s.saturating_sub(other.last_seen_s);
    let limit_s = if key.proto == proto::UDP {
        UDP_IDLE_S
    } else {
        TCP_IDLE_S
    };
    let same_frontend = other.source == reply.source && other.ports == reply.ports;
    !same_frontend && other.flags & CLOSING == 0 && idle_s <= limit_s
}
