//! The short way for the packets that there are most of: whole, TCP or UDP, no options, and of a
//! flow that goes on, or of none of ours.
//!
//! Nothing of the packet is kept but its flow's key, and the new tuple is written in one piece
//! (docs/decisions.md, "What a packet costs"). What needs more is left as it was, to be decided in
//! general (`flow`); what is decided here is decided there alike, which a test holds.

#[cfg(test)]
mod tests;

use crate::{
    family::{Family, Ports, proto},
    flow::{CLOSING, FORWARD, REVERSE, is_idle, note, serves},
    frontend::{address, concerns},
    packet::tcp,
    parse::{ETHERNET, Header},
    tables::{Flow, FlowKey, Flows},
    verdict::{Direction, DropReason, code},
    wire::{Bytes, ChecksumFix, Sum, Words},
};

/// No verdict: to be decided in general.
pub const UNDECIDED: u32 = u32::MAX;
/// Where TCP's flags stand in its header, and the checksums.
const TCP_FLAGS: u32 = 12;
const TCP_CHECKSUM: u32 = 16;
const UDP_CHECKSUM: u32 = 6;

/// The headers of a whole packet without options or extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain<F: Family> {
    pub source: F::Addr,
    pub destination: F::Addr,
    pub ports: Ports,
    pub proto: u32,
    /// Bytes after the IP header.
    pub length: u32,
    /// The word before the addresses, which in IPv4 has the checksum.
    pub before: u32,
}

/// A packet of the family's EtherType, from bytes to bytes: the short way if it is plain, else
/// `general`.
#[inline(always)]
pub fn run<F: Header, B: Bytes, T: Flows<F>>(
    bytes: &mut B,
    tables: &mut T,
    direction: Direction,
    endpoint: u32,
    general: impl FnOnce(&mut B, &mut T) -> u32,
) -> u32 {
    let verdict = attempt(bytes, tables, direction, endpoint);
    if verdict == UNDECIDED {
        general(bytes, tables)
    } else {
        verdict
    }
}

/// The short way alone: a verdict, and the packet as it then is, or `UNDECIDED`.
#[inline(always)]
pub fn attempt<F: Header, B: Bytes, T: Flows<F>>(
    bytes: &mut B,
    tables: &mut T,
    direction: Direction,
    endpoint: u32,
) -> u32 {
    let Some(packet) = F::plain(bytes) else {
        return UNDECIDED;
    };
    let tcp_flags = match packet.proto {
        proto::TCP if packet.length >= 20 => {
            match bytes.load::<u16>(ETHERNET + F::LENGTH + TCP_FLAGS) {
                Some(word) => u32::from(word.to_ne_bytes()[1]),
                None => return UNDECIDED,
            }
        }
        proto::UDP if packet.length >= 8 => 0,
        _ => return UNDECIDED,
    };
    match direction {
        Direction::FromPod | Direction::FromNet | Direction::FromWire => {
            forward(bytes, tables, &packet, tcp_flags, endpoint)
        }
        Direction::ToPod | Direction::ToNet => reverse(bytes, tables, &packet, tcp_flags, endpoint),
        Direction::Socket => UNDECIDED,
    }
}

/// What a pod sends, or what arrives on the wire (`endpoint` 0), where a reply to this node's name
/// is none of this.
#[inline(always)]
fn forward<F: Header, B: Bytes, T: Flows<F>>(
    bytes: &mut B,
    tables: &mut T,
    packet: &Plain<F>,
    tcp_flags: u32,
    endpoint: u32,
) -> u32 {
    let key = packet.key(endpoint);
    let udp = packet.proto == proto::UDP;
    let begins = udp || tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN;
    let now_s = tables.now_s();
    let Some(flow) = tables.flow(&key) else {
        let is_reply = endpoint == 0 && tables.address(&packet.destination) & address::NODE != 0;
        return if is_reply || (begins && concerns(&packet.destination, tables)) {
            UNDECIDED
        } else {
            code::PASS
        };
    };
    if flow.flags & !CLOSING != FORWARD {
        return UNDECIDED;
    }
    let ended = flow.flags & CLOSING != 0 || is_idle(flow, now_s);
    if begins && (!udp || ended) {
        return UNDECIDED;
    }
    note(flow, tcp_flags, now_s);
    let flow = *flow;
    if udp && !serves(&flow, proto::UDP, tables) {
        return UNDECIDED;
    }
    write(bytes, packet, &flow)
}

/// What a pod is about to receive, or what leaves the node.
#[inline(always)]
fn reverse<F: Header, B: Bytes, T: Flows<F>>(
    bytes: &mut B,
    tables: &mut T,
    packet: &Plain<F>,
    tcp_flags: u32,
    endpoint: u32,
) -> u32 {
    let key = packet.key(endpoint).swapped();
    let now_s = tables.now_s();
    let Some(flow) = tables.flow(&key) else {
        return code::PASS;
    };
    if flow.flags & !CLOSING != REVERSE {
        return UNDECIDED;
    }
    if packet.proto == proto::UDP && is_idle(flow, now_s) {
        return UNDECIDED;
    }
    note(flow, tcp_flags, now_s);
    let flow = *flow;
    write(bytes, packet, &flow)
}

/// Writes the tuple of the flow's entry into the packet.
#[inline(always)]
fn write<F: Header, B: Bytes>(bytes: &mut B, packet: &Plain<F>, new: &Flow<F>) -> u32 {
    let addresses = F::Addr::change(packet.source, new.source)
        .plus(F::Addr::change(packet.destination, new.destination));
    let udp = packet.proto == proto::UDP;
    let fix = ChecksumFix {
        body: Sum::of(packet.ports.0, new.ports.0),
        pseudo_header: addresses,
        optional: udp,
        ipv6: F::NUMBER == 6,
    };
    let checksum = if udp { UDP_CHECKSUM } else { TCP_CHECKSUM };
    let written = F::write_plain(bytes, packet.before, addresses, new)
        .and_then(|()| bytes.fix_checksum(ETHERNET + F::LENGTH + checksum, fix));
    match written {
        Some(()) => code::TRANSLATE,
        None => DropReason::RewriteFailed.code(),
    }
}

// === impl Plain ===

impl<F: Family> Plain<F> {
    #[inline(always)]
    const fn key(&self, endpoint: u32) -> FlowKey<F> {
        FlowKey {
            endpoint,
            source: self.source,
            destination: self.destination,
            ports: self.ports,
            proto: self.proto,
        }
    }
}
