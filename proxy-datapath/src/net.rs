//! The wire: what arrives for a frontend, what comes back to this node's name, and what leaves as a
//! reply of a backend that the wire was led to.
//!
//! A flow from the wire has the same two entries as a pod's, under no pod's device (`endpoint` 0).
//! Where the backend is on this node, its client's address is kept and the reply is translated as
//! it leaves; where it is not, the flow is masqueraded, and the reply is translated as it arrives.

use crate::{
    family::Family,
    flow::{FORWARD, REVERSE, established, forward, icmp_error, portless, refuse_for_vip},
    fragment::{later_fragment, remember_fragment},
    frontend::{address, origin},
    packet::{Packet, Rewrite, shape},
    tables::Flows,
    verdict::{DropReason, code},
};

/// Decides over a packet that arrives at this node from elsewhere.
#[inline(always)]
pub fn from_net<F: Family, T: Flows<F>>(
    packet: &Packet<F>,
    tables: &mut T,
    rewrite: &mut Rewrite<F>,
) -> u32 {
    match packet.shape {
        shape::WHOLE | shape::FIRST_FRAGMENT => {
            let verdict = arrive(packet, tables, rewrite);
            remember_fragment(packet, tables, verdict)
        }
        shape::LATER_FRAGMENT => later_fragment(packet, tables, rewrite, FORWARD | REVERSE),
        shape::TINY_FRAGMENT => refuse_for_vip(packet, tables, DropReason::FragmentTiny),
        shape::ICMP_ERROR => match icmp_error(&packet.key, tables, rewrite, REVERSE) {
            code::PASS => icmp_error(&packet.key.swapped(), tables, rewrite, FORWARD),
            verdict => verdict,
        },
        shape::UNPARSABLE => refuse_for_vip(packet, tables, DropReason::Unparsable),
        shape::PORTLESS => portless(packet, tables),
        _ => code::PASS,
    }
}

/// Decides over a packet that leaves this node.
#[inline(always)]
pub fn to_net<F: Family, T: Flows<F>>(
    packet: &Packet<F>,
    tables: &mut T,
    rewrite: &mut Rewrite<F>,
) -> u32 {
    match packet.shape {
        shape::WHOLE | shape::FIRST_FRAGMENT => {
            let key = packet.key.swapped();
            let verdict = established(&key, packet, tables, rewrite, REVERSE);
            remember_fragment(packet, tables, verdict)
        }
        shape::LATER_FRAGMENT => later_fragment(packet, tables, rewrite, REVERSE),
        shape::ICMP_ERROR => icmp_error(&packet.key, tables, rewrite, REVERSE),
        _ => code::PASS,
    }
}

/// A frontend's, or a reply to this node's name.
#[inline(always)]
fn arrive<F: Family, T: Flows<F>>(
    packet: &Packet<F>,
    tables: &mut T,
    rewrite: &mut Rewrite<F>,
) -> u32 {
    let what = tables.address(&packet.key.destination);
    let is_known = tables
        .flow(&packet.key)
        .is_some_and(|flow| flow.flags & FORWARD != 0);
    if !is_known && what & address::NODE != 0 {
        let key = packet.key.swapped();
        let verdict = established(&key, packet, tables, rewrite, REVERSE);
        if verdict != code::PASS {
            return verdict;
        }
    }
    forward(packet, origin::WIRE, tables, rewrite)
}
