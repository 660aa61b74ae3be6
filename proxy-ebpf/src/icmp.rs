//! Turns a packet into the ICMP error that tells its sender why it does not go on. A refusal is
//! port unreachable, never a RST (services.md 65).
//!
//! The packet is cut to its headers, room is made before them, and it goes back where it came from,
//! in the name of the frontend that it was for.
#![expect(
    unsafe_code,
    reason = "changing a packet's size is a call into the kernel"
)]

use aya_ebpf::helpers::generated::{bpf_skb_adjust_room, bpf_skb_change_tail};
use proxy_datapath::{
    family::proto,
    packet::Packet,
    parse::{ETHERNET, Header, Layout},
    wire::{Bytes, Sum, Words},
};

use crate::packet::SkbBytes;

/// Room for the ICMP header.
const ICMP_HEADER: u32 = 8;
/// BPF_ADJ_ROOM_MAC: between the Ethernet and the IP header.
const AFTER_ETHERNET: u32 = 1;
/// The longest headers that are quoted, in words: more extension headers than anybody uses.
const QUOTED_WORDS_MAX: u32 = 40;
const HOP_LIMIT: u8 = 64;

/// What the error says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody answers there.
    NoPort,
    /// Longer than the way takes, which is so many bytes.
    TooLong(u32),
    /// It has come too far.
    HopLimit,
}

/// The type and code of an ICMP message, and the word after its checksum.
struct Message {
    kind: u8,
    code: u8,
    rest: u32,
}

/// Turns the packet around as the error; it has yet to be sent.
#[inline(always)]
pub(crate) fn send<F: Header>(
    bytes: &mut SkbBytes,
    packet: &Packet<F>,
    layout: &Layout,
    trouble: Trouble,
) -> Option<()> {
    let message = trouble.message::<F>();
    let ip_header = layout.transport.wrapping_sub(ETHERNET) & 0x7ff;
    let transport = match packet.key.proto {
        proto::TCP => 20,
        proto::UDP => 8,
        proto::SCTP => 12,
        // Eight bytes, or what there is of them.
        _ => match layout.end.wrapping_sub(layout.transport) {
            length if length < 8 => length & 4,
            _ => 8,
        },
    };
    let quoted = ip_header + transport;
    if quoted > QUOTED_WORDS_MAX * 4 {
        return None;
    }
    let pending = pending_checksum(bytes, packet, layout);

    // SAFETY: `skb` is the program's context; the kernel checks the length.
    let cut = unsafe { bpf_skb_change_tail(bytes.skb(), ETHERNET + quoted, 0) };
    if cut != 0 {
        return None;
    }
    let header = if F::NUMBER == 4 { 20 } else { 40 };
    let room = (header + ICMP_HEADER) as i32;
    // SAFETY: as above.
    let grown = unsafe { bpf_skb_adjust_room(bytes.skb(), room, AFTER_ETHERNET, 0) };
    if grown != 0 {
        return None;
    }

    let icmp = ETHERNET + header;
    let quoted_at = icmp + ICMP_HEADER;
    let (summed, transport_sum) = match pending {
        Some(sum) => (ip_header, sum),
        None => (quoted, Sum::default()),
    };
    let body = quoted_sum(bytes, quoted_at, summed)?.plus(transport_sum);
    let length = ICMP_HEADER + quoted;
    let source = packet.key.destination;
    let destination = packet.key.source;
    bytes.store(ETHERNET + F::SOURCE, source)?;
    bytes.store(ETHERNET + F::DESTINATION, destination)?;
    if F::NUMBER == 4 {
        write_ipv4::<F>(bytes, (20 + length) as u16, source, destination)?;
        write_icmp(bytes, icmp, &message, body)
    } else {
        bytes.store(ETHERNET, u32::from_ne_bytes([0x60, 0, 0, 0]))?;
        let [high, low] = (length as u16).to_be_bytes();
        let next = proto::ICMPV6 as u8;
        bytes.store(
            ETHERNET + 4,
            u32::from_ne_bytes([high, low, next, HOP_LIMIT]),
        )?;
        let pseudo = addresses(source, destination)
            .plus(Sum(u32::from_ne_bytes([0, 0, high, low])))
            .plus(Sum(u32::from_ne_bytes([0, 0, 0, next])));
        write_icmp(bytes, icmp, &message, body.plus(pseudo))
    }
}

/// The sum of the quoted transport header once its checksum is filled in, if it is not yet.
///
/// A packet made on this machine carries its pseudo-header's sum where the checksum goes
/// (CHECKSUM_PARTIAL), for the device to finish. If a device finishes it inside our error, the
/// quoted bytes from the transport header on sum to the complement of what stood there; computed
/// with that, the error's own checksum is right afterwards. If none does, the receiver trusts the
/// packet without looking.
#[inline(always)]
fn pending_checksum<F: Header>(
    bytes: &SkbBytes,
    packet: &Packet<F>,
    layout: &Layout,
) -> Option<Sum> {
    let offset = match packet.key.proto {
        proto::TCP => 16,
        proto::UDP => 6,
        _ => return None,
    };
    let field: u16 = bytes.load(layout.transport + offset)?;
    let [_, _, high, low] = layout.end.wrapping_sub(layout.transport).to_be_bytes();
    let pseudo = addresses(packet.key.source, packet.key.destination)
        .plus(Sum(u32::from_ne_bytes([0, 0, high, low])))
        .plus(Sum(u32::from_ne_bytes([0, 0, 0, packet.key.proto as u8])));
    let complement = pseudo.fold();
    if field == !complement {
        Some(Sum(complement.into()))
    } else {
        None
    }
}

/// The sum of two addresses' words.
#[inline(always)]
fn addresses<A: Words + Default>(source: A, destination: A) -> Sum {
    // From all zeros, whose complement is all ones and adds nothing.
    A::change(A::default(), source).plus(A::change(A::default(), destination))
}

/// The sum of `length` bytes at `at`, a multiple of four.
#[inline(always)]
fn quoted_sum(bytes: &SkbBytes, at: u32, length: u32) -> Option<Sum> {
    let mut sum = Sum::default();
    let mut word = 0;
    while word < QUOTED_WORDS_MAX {
        if word * 4 >= length {
            break;
        }
        sum = sum.plus(Sum(bytes.load(at + word * 4)?));
        word += 1;
    }
    Some(sum)
}

#[inline(always)]
fn write_ipv4<F: Header>(
    bytes: &mut SkbBytes,
    total: u16,
    source: F::Addr,
    destination: F::Addr,
) -> Option<()> {
    let [high, low] = total.to_be_bytes();
    let first = u32::from_ne_bytes([0x45, 0, high, low]);
    // Don't fragment.
    let second = u32::from_ne_bytes([0, 0, 0x40, 0]);
    let third = u32::from_ne_bytes([HOP_LIMIT, proto::ICMP as u8, 0, 0]);
    let checksum = Sum(first)
        .plus(Sum(second))
        .plus(Sum(third))
        .plus(addresses(source, destination))
        .fold();
    bytes.store(ETHERNET, first)?;
    bytes.store(ETHERNET + 4, second)?;
    bytes.store(ETHERNET + 8, third)?;
    bytes.store(ETHERNET + 10, checksum)
}

/// Writes the ICMP header before a body with the given sum.
#[inline(always)]
fn write_icmp(bytes: &mut SkbBytes, at: u32, message: &Message, body: Sum) -> Option<()> {
    let head = u32::from_ne_bytes([message.kind, message.code, 0, 0]);
    let sum = Sum(head).plus(Sum(message.rest)).plus(body);
    bytes.store(at, [head, message.rest])?;
    bytes.store(at + 2, sum.fold())
}

// === impl Trouble ===

impl Trouble {
    #[inline(always)]
    const fn message<F: Header>(self) -> Message {
        let ([kind, code], rest) = match (self, F::NUMBER) {
            (Self::NoPort, 4) => ([3, 3], 0),
            (Self::NoPort, _) => ([1, 4], 0),
            // IPv4 has the length in the low half only, IPv6 in the whole word.
            (Self::TooLong(mtu), 4) => ([3, 4], (mtu & 0xffff).to_be()),
            (Self::TooLong(mtu), _) => ([2, 0], mtu.to_be()),
            (Self::HopLimit, 4) => ([11, 0], 0),
            (Self::HopLimit, _) => ([3, 0], 0),
        };
        Message { kind, code, rest }
    }
}
