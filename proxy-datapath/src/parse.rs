//! From bytes to a `Packet`: Ethernet, IPv4 with options, IPv6 with extension headers, fragments,
//! transport headers, and the packet that an ICMP error quotes.
//!
//! What is no valid packet is `shape::OTHER`: the stack drops it, and better than we would.

use crate::{
    family::{Family, Ports, proto},
    packet::{Packet, shape, tcp},
    plain::Plain,
    tables::Flow,
    wire::{Bytes, Sum, Words},
};

/// Bytes of an Ethernet header.
pub const ETHERNET: u32 = 14;
/// Extension headers walked before a packet counts as unparsable.
pub const EXTENSION_HEADERS_MAX: u32 = 6;

/// EtherTypes as loaded.
pub const ETHERTYPE_IPV4: u16 = 0x0800u16.to_be();
pub const ETHERTYPE_IPV6: u16 = 0x86ddu16.to_be();

/// Where the parts of a packet begin, in bytes from the Ethernet header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub transport: u32,
    /// One past the packet's last byte; padding may follow.
    pub end: u32,
    /// In an ICMP error: the quoted IP and transport header.
    pub quoted: u32,
    pub quoted_transport: u32,
}

/// What an IP header says, of either family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head<F: Family> {
    pub source: F::Addr,
    pub destination: F::Addr,
    pub proto: u32,
    /// Where the payload begins and ends, from the Ethernet header.
    pub payload: u32,
    pub end: u32,
    pub fragment_id: u32,
    /// Bytes before this fragment in the datagram.
    pub fragment_offset: u32,
    /// `1` if more fragments follow.
    pub more_fragments: u32,
    /// `1` if the walk over the headers was given up.
    pub unparsable: u32,
}

/// An address family's header.
pub trait Header: Family<Addr: Words> {
    /// Offsets of the addresses in the header.
    const SOURCE: u32;
    const DESTINATION: u32;
    const ETHERTYPE: u16;
    /// Bytes of a header without options or extensions.
    const LENGTH: u32;

    /// Reads the header at `at`, which belongs to a packet that ends at `limit`. False if it is not
    /// a valid one. `quoted` headers may promise more than was quoted.
    fn head<B: Bytes>(bytes: &B, at: u32, limit: u32, quoted: bool, head: &mut Head<Self>) -> bool;
    /// Reads the headers of a packet that is whole and has none but the usual ones, and eight bytes
    /// of a transport header; `None` for any other.
    fn plain<B: Bytes>(bytes: &B) -> Option<Plain<Self>>;
    /// Writes a new tuple into such a packet. `before` is `Plain::before`, `change` that of the
    /// addresses.
    fn write_plain<B: Bytes>(
        bytes: &mut B,
        before: u32,
        change: Sum,
        new: &Flow<Self>,
    ) -> Option<()>;
}

/// Reads a packet whose EtherType is the family's.
#[inline(always)]
pub fn parse<F: Header, B: Bytes>(bytes: &B, packet: &mut Packet<F>, layout: &mut Layout) {
    let mut head = Head::default();
    packet.shape = shape::OTHER;
    if !F::head(bytes, ETHERNET, bytes.length(), false, &mut head) {
        return;
    }
    packet.key.source = head.source;
    packet.key.destination = head.destination;
    packet.key.proto = head.proto;
    packet.fragment_id = head.fragment_id;
    packet.fragment_start = head.fragment_offset;
    packet.fragment_end = head
        .fragment_offset
        .wrapping_add(head.end.wrapping_sub(head.payload) & 0xffff);
    layout.transport = head.payload;
    layout.end = head.end;
    packet.shape = if head.unparsable != 0 {
        shape::UNPARSABLE
    } else if head.proto == F::ICMP {
        icmp::<F, B>(bytes, &head, packet, layout)
    } else {
        transport(bytes, &head, packet)
    };
}

/// Reads ports and flags; the packet's shape.
#[inline(always)]
fn transport<F: Family, B: Bytes>(bytes: &B, head: &Head<F>, packet: &mut Packet<F>) -> u32 {
    let needed = match head.proto {
        proto::TCP => 20,
        proto::UDP => 8,
        proto::SCTP => 12,
        _ => return shape::PORTLESS,
    };
    if head.fragment_offset != 0 {
        return shape::LATER_FRAGMENT;
    }
    let (whole, short) = if head.more_fragments != 0 {
        (shape::FIRST_FRAGMENT, shape::TINY_FRAGMENT)
    } else {
        (shape::WHOLE, shape::UNPARSABLE)
    };
    if head.payload + needed > head.end {
        return short;
    }
    let Some(ports) = bytes.load::<Ports>(head.payload) else {
        return short;
    };
    packet.key.ports = ports;
    if head.proto == proto::SCTP {
        packet.tcp_flags = chunk_flags(bytes, head);
    }
    if head.proto == proto::TCP {
        let Some(word) = bytes.load::<u16>(head.payload + 12) else {
            return short;
        };
        packet.tcp_flags = u32::from(word.to_ne_bytes()[1]);
    }
    whole
}

/// An association begins with INIT and ends with ABORT or SHUTDOWN COMPLETE (RFC 9260, 3.2).
#[inline(always)]
fn chunk_flags<F: Family, B: Bytes>(bytes: &B, head: &Head<F>) -> u32 {
    if head.payload + 16 > head.end {
        return 0;
    }
    match bytes.load::<u16>(head.payload + 12).map(u16::to_ne_bytes) {
        Some([1, _]) => tcp::SYN,
        Some([6 | 14, _]) => tcp::RST,
        _ => 0,
    }
}

/// Reads the tuple that an ICMP error quotes.
#[inline(always)]
fn icmp<F: Header, B: Bytes>(
    bytes: &B,
    head: &Head<F>,
    packet: &mut Packet<F>,
    layout: &mut Layout,
) -> u32 {
    if head.fragment_offset != 0 || head.more_fragments != 0 {
        return shape::OTHER;
    }
    let Some(word) = bytes.load::<u16>(head.payload) else {
        return shape::OTHER;
    };
    let kind = word.to_ne_bytes()[0];
    let error = if F::NUMBER == 4 {
        // Destination unreachable, time exceeded, parameter problem.
        kind == 3 || kind == 11 || kind == 12
    } else {
        // Destination unreachable, packet too big, time exceeded, parameter problem.
        (1..=4).contains(&kind)
    };
    if !error {
        return shape::PORTLESS;
    }
    let mut quoted = Head::default();
    let at = head.payload + 8;
    if !F::head(bytes, at, head.end, true, &mut quoted)
        || quoted.unparsable != 0
        || quoted.fragment_offset != 0
        || !matches!(quoted.proto, proto::TCP | proto::UDP | proto::SCTP)
    {
        return shape::OTHER;
    }
    if quoted.payload + 4 > head.end {
        return shape::OTHER;
    }
    let Some(ports) = bytes.load::<Ports>(quoted.payload) else {
        return shape::OTHER;
    };
    packet.key.source = quoted.source;
    packet.key.destination = quoted.destination;
    packet.key.ports = ports;
    packet.key.proto = quoted.proto;
    layout.quoted = at;
    layout.quoted_transport = quoted.payload;
    shape::ICMP_ERROR
}
