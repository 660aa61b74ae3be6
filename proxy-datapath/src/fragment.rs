//! Fragments: the first one is translated like a whole packet and leaves its ports behind for the
//! later ones, which have none (policy.md I4). A fragment is never guessed.

use crate::{
    family::Family,
    flow::{FORWARD, REVERSE, established, is_translated, refuse_for_vip},
    frontend::address,
    packet::{Packet, Rewrite, shape},
    tables::{FlowKey, Flows, Fragment, FragmentKey},
    verdict::{DropReason, code},
};

/// The fragments of a datagram follow each other within this time (RFC 8200, 4.5, allows 60 s);
/// after it, the same identification is another datagram's.
pub const FRAGMENT_S: u32 = 30;

/// After the decision: a translated first fragment leaves behind what the later ones lack
/// (policy.md I4).
#[inline(always)]
pub(crate) fn remember_fragment<F: Family, T: Flows<F>>(
    packet: &Packet<F>,
    tables: &mut T,
    verdict: u32,
) -> u32 {
    if packet.shape != shape::FIRST_FRAGMENT || !is_translated(verdict) {
        return verdict;
    }
    let key = packet.fragment_key();
    let seen_s = tables.now_s();
    if first_fragment(&key, tables).is_some_and(|known| known.ports != packet.key.ports) {
        return DropReason::FragmentOverlap.code();
    }
    let fragment = Fragment {
        ports: packet.key.ports,
        covered: packet.fragment_end,
        seen_s,
    };
    if tables.insert_fragment(&key, &fragment) {
        verdict
    } else {
        DropReason::FlowNotStored.code()
    }
}

/// What the first fragment of a datagram left behind, if it is the same datagram.
#[inline(always)]
fn first_fragment<F: Family, T: Flows<F>>(key: &FragmentKey<F>, tables: &T) -> Option<Fragment> {
    let known = tables.fragment(key)?;
    (tables.now_s().saturating_sub(known.seen_s) <= FRAGMENT_S).then_some(known)
}

/// A fragment without ports follows its first one; it is never guessed. `directions` are those in
/// which a flow may pass here: `FORWARD`, `REVERSE` or both.
#[inline(always)]
pub(crate) fn later_fragment<F: Family, T: Flows<F>>(
    packet: &Packet<F>,
    tables: &mut T,
    rewrite: &mut Rewrite<F>,
    directions: u32,
) -> u32 {
    let Some(first) = first_fragment(&packet.fragment_key(), tables) else {
        if directions & FORWARD != 0 {
            return without_first(packet, tables);
        }
        return code::PASS;
    };
    if packet.fragment_start < first.covered {
        return DropReason::FragmentOverlap.code();
    }
    let own = FlowKey {
        ports: first.ports,
        ..packet.key
    };
    let mut verdict = code::PASS;
    if directions & FORWARD != 0 {
        verdict = established(&own, packet, tables, rewrite, FORWARD);
    }
    if verdict == code::PASS && directions & REVERSE != 0 {
        verdict = established(&own.swapped(), packet, tables, rewrite, REVERSE);
    }
    // The first fragment was translated, and so must this one be.
    if verdict == code::PASS {
        return DropReason::FragmentWithoutFirst.code();
    }
    verdict
}

/// A fragment that belongs to no known flow of a frontend's. One for this node itself is most
/// likely part of what the node is sent besides node ports; if it is not, it is lost there as well.
#[inline(always)]
fn without_first<F: Family, T: Flows<F>>(packet: &Packet<F>, tables: &T) -> u32 {
    if tables.address(&packet.key.destination) & address::NODE != 0 {
        code::PASS
    } else {
        refuse_for_vip(packet, tables, DropReason::FragmentWithoutFirst)
    }
}
