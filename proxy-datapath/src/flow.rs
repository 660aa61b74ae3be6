//! The packet path of a pod: translated on the way out, translated back on the way in.
//!
//! A translated flow has two entries. `{client, frontend}` leads a pod's packets to the backend;
//! `{client, backend}`, the tuple as the rest of the network sees it, leads the replies back to the
//! frontend. A hairpin has both under keys that the pod sends, because client and backend are the
//! same pod: its packets carry the frontend's address as their source, so that the replies return.

use crate::{
    begin::create,
    family::{Family, proto},
    fragment::{later_fragment, remember_fragment},
    frontend::{address, backend, no_frontend, origin},
    packet::{Packet, Rewrite, shape, tcp},
    tables::{Flow, FlowKey, Flows, FrontendKey, port_proto},
    verdict::{DropReason, code},
};

/// `Flow::flags`: for packets that a pod sends, under their own tuple.
pub const FORWARD: u32 = 1 << 0;
/// For packets that a pod receives, under the tuple that it would answer with.
pub const REVERSE: u32 = 1 << 1;
/// Client and backend are the same pod.
pub const HAIRPIN: u32 = 1 << 2;
/// A FIN or RST has passed: a SYN begins a new flow.
pub const CLOSING: u32 = 1 << 3;
/// The backend's half of a hairpin: no backend's liveness ends it.
pub const REPLY: u32 = 1 << 4;
/// Leaves in this node's name, and comes back to it.
pub const MASQUERADED: u32 = 1 << 5;

/// A UDP flow that was silent for this long begins anew, as netfilter's streams do.
pub const UDP_IDLE_S: u32 = 120;
/// A TCP connection that was silent for this long makes way for another with its tuple.
pub const TCP_IDLE_S: u32 = 60;

/// Decides over a packet that a pod sends.
#[inline(always)]
pub fn from_pod<F: Family, T: Flows<F>>(
    packet: &Packet<F>,
    tables: &mut T,
    rewrite: &mut Rewrite<F>,
) -> u32 {
    match packet.shape {
        shape::WHOLE | shape::FIRST_FRAGMENT => {
            let verdict = forward(packet, origin::POD, tables, rewrite);
            remember_fragment(packet, tables, verdict)
        }
        shape::LATER_FRAGMENT => later_fragment(packet, tables, rewrite, FORWARD),
        shape::TINY_FRAGMENT => refuse_for_vip(packet, tables, DropReason::FragmentTiny),
        shape::ICMP_ERROR => icmp_error(&packet.key.swapped(), tables, rewrite, FORWARD),
        shape::UNPARSABLE => refuse_for_vip(packet, tables, DropReason::Unparsable),
        shape::PORTLESS => portless(packet, tables),
        _ => code::PASS,
    }
}

/// Decides over a packet that a pod is about to receive.
#[inline(always)]
pub fn to_pod<F: Family, T: Flows<F>>(
    packet: &Packet<F>,
    tables: &mut T,
    rewrite: &mut Rewrite<F>,
) -> u32 {
    match packet.shape {
        shape::WHOLE | shape::FIRST_FRAGMENT => {
            let verdict = established(&packet.key.swapped(), packet, tables, rewrite, REVERSE);
            remember_fragment(packet, tables, verdict)
        }
        shape::LATER_FRAGMENT => later_fragment(packet, tables, rewrite, REVERSE),
        shape::ICMP_ERROR => icmp_error(&packet.key, tables, rewrite, REVERSE),
        _ => code::PASS,
    }
}

/// An established flow as it stands; a new one by its frontend.
#[inline(always)]
pub(crate) fn forward<F: Family, T: Flows<F>>(
    packet: &Packet<F>,
    origin: u32,
    tables: &mut T,
    rewrite: &mut Rewrite<F>,
) -> u32 {
    let key = &packet.key;
    let udp = key.proto == proto::UDP;
    let syn = packet.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN;
    let now_s = tables.now_s();
    let mut known = false;
    if let Some(flow) = tables.flow(key) {
        let before = *flow;
        if before.flags & FORWARD != 0 {
            follow(flow, packet, now_s, rewrite);
            if (!udp && !syn) || keeps_backend(&before, key.proto, tables, now_s) {
                return translated(before.flags);
            }
            known = true;
        } else {
            make_way(packet, &before, tables, now_s);
        }
    }
    *rewrite = Rewrite::of(key);
    // A packet in the middle of a TCP connection that has no entry is not ours to guess at:
    // netfilter may know it from a proxy before us.
    if key.proto == proto::TCP && !syn {
        return code::PASS;
    }
    let verdict = create(packet, origin, tables, rewrite);
    if known && !is_translated(verdict) {
        tables.remove_flow(key);
    }
    verdict
}

/// Whether the verdict sends the packet on with the tuple of the rewrite.
#[inline(always)]
pub(crate) const fn is_translated(verdict: u32) -> bool {
    matches!(verdict, code::TRANSLATE | code::HAIRPIN | code::FORWARD)
}

/// A packet of a protocol without ports: nothing answers it at a ClusterIP, which is no machine's
/// (services.md 72, 73, 77).
#[inline(always)]
pub(crate) fn portless<F: Family, T: Flows<F>>(packet: &Packet<F>, tables: &T) -> u32 {
    let key = FrontendKey {
        addr: packet.key.destination,
        port_proto: 0,
    };
    let what = tables.address(&key.addr);
    if what & address::CLUSTER_IP != 0 {
        code::REJECT
    } else if what == 0 {
        no_frontend(&key, tables)
    } else {
        code::PASS
    }
}

/// The pod dials a backend itself: a reply's entry with that tuple, left by a flow through a
/// frontend from the same port, gives way, and its flow begins anew if it goes on. What lives
/// stays, as far as can be told: TCP's end can be seen, and a UDP socket's last packet says whom
/// the answer is for.
#[inline(always)]
fn make_way<F: Family, T: Flows<F>>(
    packet: &Packet<F>,
    reply: &Flow<F>,
    tables: &mut T,
    now_s: u32,
) {
    if packet.key.proto == proto::TCP {
        let syn = packet.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN;
        let idle_s = now_s.saturating_sub(reply.last_seen_s);
        let over = reply.flags & CLOSING != 0
            || idle_s > TCP_IDLE_S
            || tables
                .flow(&forward_key(&packet.key, reply))
                .is_none_or(|flow| flow.flags & CLOSING != 0);
        if !syn || !over {
            return;
        }
    }
    forget(&packet.key, reply, tables);
}

/// Forgets a flow in both directions: its reply's entry and the one that leads there.
#[inline(always)]
pub(crate) fn forget<F: Family, T: Flows<F>>(key: &FlowKey<F>, reply: &Flow<F>, tables: &mut T) {
    tables.remove_flow(key);
    tables.remove_flow(&forward_key(key, reply));
}

/// The key under which a pod sends to the frontend that this entry leads back to.
#[inline(always)]
const fn forward_key<F: Family>(key: &FlowKey<F>, reply: &Flow<F>) -> FlowKey<F> {
    FlowKey {
        endpoint: key.endpoint,
        source: reply.destination,
        destination: reply.source,
        ports: reply.ports.swapped(),
        proto: key.proto,
    }
}

/// Whether a flow that a UDP packet or a SYN belongs to stays where it is. It begins anew when the
/// backend is gone (services.md 110, 111), when it was silent (UDP), or when the last connection
/// has ended or its backend takes no new ones (TCP).
#[inline(always)]
fn keeps_backend<F: Family, T: Flows<F>>(
    flow: &Flow<F>,
    proto: u32,
    tables: &T,
    now_s: u32,
) -> bool {
    if flow.flags & REPLY != 0 {
        return true;
    }
    if flow.flags & CLOSING != 0 || (proto == proto::UDP && is_idle(flow, now_s)) {
        return false;
    }
    serves(flow, proto, tables)
}

/// Whether a UDP flow was silent for so long that it begins anew.
#[inline(always)]
pub(crate) const fn is_idle<F: Family>(flow: &Flow<F>, now_s: u32) -> bool {
    now_s.saturating_sub(flow.last_seen_s) > UDP_IDLE_S
}

/// Whether the flow's backend is still the one it was, and takes this protocol's flows on.
#[inline(always)]
pub(crate) fn serves<F: Family, T: Flows<F>>(flow: &Flow<F>, proto: u32, tables: &T) -> bool {
    let udp = proto == proto::UDP;
    let Some(found) = tables.backend(flow.backend) else {
        return false;
    };
    let same = found.addr == flow.destination
        && found.port_proto == port_proto(flow.ports.destination(), proto);
    same && (found.state == backend::ACTIVE || (udp && found.state != backend::GONE))
}

/// Follows the entry of a flow, if there is one for this direction.
#[inline(always)]
pub(crate) fn established<F: Family, T: Flows<F>>(
    key: &FlowKey<F>,
    packet: &Packet<F>,
    tables: &mut T,
    rewrite: &mut Rewrite<F>,
    direction: u32,
) -> u32 {
    let now_s = tables.now_s();
    match tables.flow(key) {
        Some(flow) if flow.flags & direction != 0 => {
            let flags = flow.flags;
            // What a backend sends long after is no answer.
            if key.proto == proto::UDP && is_idle(flow, now_s) {
                return code::PASS;
            }
            follow(flow, packet, now_s, rewrite);
            translated(flags)
        }
        _ => code::PASS,
    }
}

/// Takes the translation of an entry and notes the packet in it.
#[inline(always)]
const fn follow<F: Family>(
    flow: &mut Flow<F>,
    packet: &Packet<F>,
    now_s: u32,
    rewrite: &mut Rewrite<F>,
) {
    rewrite.source = flow.source;
    rewrite.destination = flow.destination;
    rewrite.ports = flow.ports;
    note(flow, packet.tcp_flags, now_s);
}

/// Notes a packet in the flow's entry. The time is written once a second, so that the entry's cache
/// line is not made dirty by every packet.
#[inline(always)]
pub(crate) const fn note<F: Family>(flow: &mut Flow<F>, tcp_flags: u32, now_s: u32) {
    if flow.last_seen_s != now_s {
        flow.last_seen_s = now_s;
    }
    if tcp_flags & (tcp::FIN | tcp::RST) != 0 {
        flow.flags |= CLOSING;
    }
}

#[inline(always)]
pub(crate) const fn translated(flags: u32) -> u32 {
    if flags & HAIRPIN != 0 {
        code::HAIRPIN
    } else if flags & MASQUERADED != 0 {
        code::FORWARD
    } else {
        code::TRANSLATE
    }
}

/// An ICMP error follows the flow whose packet it quotes (services.md 52, 77); `rewrite` is the
/// quoted packet's new tuple. `key` is the flow's, in the direction of the error's sender.
#[inline(always)]
pub(crate) fn icmp_error<F: Family, T: Flows<F>>(
    key: &FlowKey<F>,
    tables: &mut T,
    rewrite: &mut Rewrite<F>,
    direction: u32,
) -> u32 {
    let Some(flow) = tables.flow(key) else {
        return code::PASS;
    };
    if flow.flags & direction == 0 {
        return code::PASS;
    }
    rewrite.source = flow.destination;
    rewrite.destination = flow.source;
    rewrite.ports = flow.ports.swapped();
    translated(flow.flags)
}

/// A packet whose ports cannot be known is dropped if it may be for a frontend.
#[inline(always)]
pub(crate) fn refuse_for_vip<F: Family, T: Flows<F>>(
    packet: &Packet<F>,
    tables: &T,
    reason: DropReason,
) -> u32 {
    if tables.address(&packet.key.destination) & (address::FRONTEND | address::NODE_PORT) != 0 {
        reason.code()
    } else {
        code::PASS
    }
}
