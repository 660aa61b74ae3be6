//! From a decision back to bytes: addresses, ports and checksums, each by its change.
//!
//! Addresses, ports and the IPv4 checksum are written directly; the transport checksum last, by the
//! kernel where it is the Internet checksum (`Bytes::fix_checksum`).

use crate::{
    family::{Ports, proto},
    packet::{Packet, Rewrite, shape},
    parse::{ETHERNET, Header, Layout},
    wire::{Bytes, ChecksumFix, Sum, Words},
};

/// Offset of the checksum in an IPv4 header.
const IPV4_CHECKSUM: u32 = 10;
/// Offset of the checksum in an ICMP header.
const ICMP_CHECKSUM: u32 = 2;

/// Writes the new tuple into the packet; `None` if it could not be written whole.
#[inline(always)]
pub fn rewrite<F: Header, B: Bytes>(
    bytes: &mut B,
    packet: &Packet<F>,
    layout: &Layout,
    new: &Rewrite<F>,
) -> Option<()> {
    if packet.shape == shape::ICMP_ERROR {
        return rewrite_error(bytes, packet, layout, new);
    }
    let key = &packet.key;
    let mut addresses = Sum::default();
    if new.source != key.source {
        bytes.store(ETHERNET + F::SOURCE, new.source)?;
        addresses = addresses.plus(Words::change(key.source, new.source));
    }
    if new.destination != key.destination {
        bytes.store(ETHERNET + F::DESTINATION, new.destination)?;
        addresses = addresses.plus(Words::change(key.destination, new.destination));
    }
    fix_header::<F, B>(bytes, ETHERNET, addresses)?;
    if packet.shape == shape::LATER_FRAGMENT {
        note_addresses::<F, B>(bytes, addresses);
        return Some(());
    }
    if new.ports != key.ports {
        bytes.store(layout.transport, new.ports)?;
    }
    if key.proto == proto::SCTP {
        note_addresses::<F, B>(bytes, addresses);
        return fix_sctp(bytes, packet, layout, new.ports);
    }
    let udp = key.proto == proto::UDP;
    let fix = ChecksumFix {
        body: Sum::of(key.ports.0, new.ports.0),
        pseudo_header: addresses,
        optional: udp,
        ipv6: F::NUMBER == 6,
    };
    bytes.fix_checksum(layout.transport + if udp { 6 } else { 16 }, fix)
}

/// Writes the new tuple into the packet that an ICMP error quotes, and its addresses into the outer
/// header where that has the same ones: an error from the far end comes from whom the pod dialled,
/// one from a router in between keeps the router's name.
#[inline(always)]
fn rewrite_error<F: Header, B: Bytes>(
    bytes: &mut B,
    packet: &Packet<F>,
    layout: &Layout,
    new: &Rewrite<F>,
) -> Option<()> {
    let key = &packet.key;
    let quoted = layout.quoted;
    let source = Words::change(key.source, new.source);
    let destination = Words::change(key.destination, new.destination);
    bytes.store(quoted + F::SOURCE, new.source)?;
    bytes.store(quoted + F::DESTINATION, new.destination)?;
    fix_header::<F, B>(bytes, quoted, source.plus(destination))?;
    bytes.store(layout.quoted_transport, new.ports)?;

    let mut outer = Sum::default();
    if bytes.load::<F::Addr>(ETHERNET + F::SOURCE)? == key.destination {
        bytes.store(ETHERNET + F::SOURCE, new.destination)?;
        outer = outer.plus(destination);
    }
    if bytes.load::<F::Addr>(ETHERNET + F::DESTINATION)? == key.source {
        bytes.store(ETHERNET + F::DESTINATION, new.source)?;
        outer = outer.plus(source);
    }
    fix_header::<F, B>(bytes, ETHERNET, outer)?;
    // ICMPv6 covers a pseudo-header; in ICMP the quoted header's own checksum makes up for its
    // addresses.
    let ports = Sum::of(key.ports.0, new.ports.0);
    let quoted_change = source.plus(destination).plus(ports);
    let mut body = ports.plus(fix_quoted(bytes, key.proto, layout, quoted_change)?);
    if F::NUMBER == 6 {
        body = body.plus(source).plus(destination);
    }
    let fix = ChecksumFix {
        body,
        pseudo_header: if F::NUMBER == 6 {
            outer
        } else {
            Sum::default()
        },
        optional: false,
        ipv6: F::NUMBER == 6,
    };
    bytes.fix_checksum(layout.transport + ICMP_CHECKSUM, fix)
}

/// Changes the checksum of the quoted transport header, if that much was quoted; returns by how
/// much it changed. These bytes are nobody's to finish later, so they are written directly.
#[inline(always)]
fn fix_quoted<B: Bytes>(bytes: &mut B, proto: u32, layout: &Layout, change: Sum) -> Option<Sum> {
    let at = layout.quoted_transport
        + match proto {
            proto::TCP => 16,
            proto::UDP => 6,
            _ => return Some(Sum::default()),
        };
    if at + 2 > layout.end {
        return Some(Sum::default());
    }
    let from: u16 = bytes.load(at)?;
    if from == 0 && proto == proto::UDP {
        return Some(Sum::default());
    }
    let to = change.apply(from);
    bytes.store(at, to)?;
    Some(Sum::of(from.into(), to.into()))
}

/// Makes up for changed addresses in an IPv4 header; IPv6's has no checksum.
#[inline(always)]
fn fix_header<F: Header, B: Bytes>(bytes: &mut B, at: u32, change: Sum) -> Option<()> {
    if F::NUMBER == 4 {
        let checksum: u16 = bytes.load(at + IPV4_CHECKSUM)?;
        bytes.store(at + IPV4_CHECKSUM, change.apply(checksum))?;
    }
    Some(())
}

/// IPv4's header checksum makes up for its addresses; IPv6 has none.
#[inline(always)]
fn note_addresses<F: Header, B: Bytes>(bytes: &mut B, change: Sum) {
    if F::NUMBER == 6 {
        bytes.note_change(change);
    }
}

/// SCTP's checksum covers its ports and no address. None is there yet in a packet of this machine
/// that a device is to finish, and the finisher wants to find zero.
#[inline(always)]
fn fix_sctp<F: Header, B: Bytes>(
    bytes: &mut B,
    packet: &Packet<F>,
    layout: &Layout,
    to: Ports,
) -> Option<()> {
    let from = packet.key.ports;
    let checksum: u32 = bytes.load(layout.transport + 8)?;
    if from == to || checksum == 0 {
        return Some(());
    }
    // It covers the whole message, whose length the first fragment does not know.
    if packet.shape == shape::FIRST_FRAGMENT {
        return None;
    }
    let length = layout.end.wrapping_sub(layout.transport) & 0xffff;
    let checksum = bytes.sctp_checksum_after(checksum, from.0, to.0, length);
    bytes.store(layout.transport + 8, checksum)
}
