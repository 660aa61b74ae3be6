//! The IP headers themselves: IPv4 with options, IPv6 with a bounded walk over its extensions.

use crate::{
    family::{Addr4, Addr6, Ipv4, Ipv6, Ports},
    parse::{ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EXTENSION_HEADERS_MAX, Head, Header},
    plain::Plain,
    tables::Flow,
    wire::{Bytes, OFFSET_MASK, Sum},
};

/// Extension headers, by their number.
mod extension {
    pub(super) const HOP_BY_HOP: u32 = 0;
    pub(super) const ROUTING: u32 = 43;
    pub(super) const FRAGMENT: u32 = 44;
    pub(super) const AUTHENTICATION: u32 = 51;
    pub(super) const DESTINATION: u32 = 60;
}

// === impl Ipv4 ===

impl Header for Ipv4 {
    const SOURCE: u32 = 12;
    const DESTINATION: u32 = 16;
    const ETHERTYPE: u16 = ETHERTYPE_IPV4;
    const LENGTH: u32 = 20;

    #[inline(always)]
    fn head<B: Bytes>(bytes: &B, at: u32, limit: u32, quoted: bool, head: &mut Head<Self>) -> bool {
        let Some(words) = bytes.load::<[u32; 5]>(at) else {
            return false;
        };
        let [version, _, total_high, total_low] = words[0].to_ne_bytes();
        let [id_high, id_low, offset_high, offset_low] = words[1].to_ne_bytes();
        let header = u32::from(version & 0xf) * 4;
        if version >> 4 != 4 || header < 20 {
            return false;
        }
        let Some(end) = end(
            at,
            u32::from(total_high) << 8 | u32::from(total_low),
            limit,
            quoted,
        ) else {
            return false;
        };
        let payload = at + header;
        if payload > end {
            return false;
        }
        let fragment = u32::from(offset_high) << 8 | u32::from(offset_low);
        head.source = Addr4(words[3]);
        head.destination = Addr4(words[4]);
        head.proto = u32::from(words[2].to_ne_bytes()[1]);
        head.payload = payload;
        head.end = end;
        head.fragment_id = u32::from(id_high) << 8 | u32::from(id_low);
        head.fragment_offset = (fragment & 0x1fff) << 3;
        head.more_fragments = fragment >> 13 & 1;
        true
    }

    #[inline(always)]
    fn plain<B: Bytes>(bytes: &B) -> Option<Plain<Self>> {
        const FRAGMENT: u32 = u32::from_ne_bytes([0, 0, 0x3f, 0xff]);
        let words = bytes.load::<[u32; 7]>(ETHERNET)?;
        let [version, _, high, low] = words[0].to_ne_bytes();
        let total = u32::from(high) << 8 | u32::from(low);
        if version != 0x45 || words[1] & FRAGMENT != 0 || total < Self::LENGTH {
            return None;
        }
        if ETHERNET + total > bytes.length() {
            return None;
        }
        Some(Plain {
            source: Addr4(words[3]),
            destination: Addr4(words[4]),
            ports: Ports(words[5]),
            proto: words[2].to_ne_bytes()[1].into(),
            length: total - Self::LENGTH,
            before: words[2],
        })
    }

    #[inline(always)]
    fn write_plain<B: Bytes>(
        bytes: &mut B,
        before: u32,
        change: Sum,
        new: &Flow<Self>,
    ) -> Option<()> {
        let [ttl, proto, high, low] = before.to_ne_bytes();
        let checksum = change.apply(u16::from_ne_bytes([high, low]));
        let [high, low] = checksum.to_ne_bytes();
        let before = u32::from_ne_bytes([ttl, proto, high, low]);
        let words = [before, new.source.0, new.destination.0, new.ports.0];
        bytes.store(ETHERNET + Self::SOURCE - 4, words)
    }
}

// === impl Ipv6 ===

impl Header for Ipv6 {
    const SOURCE: u32 = 8;
    const DESTINATION: u32 = 24;
    const ETHERTYPE: u16 = ETHERTYPE_IPV6;
    const LENGTH: u32 = 40;

    #[inline(always)]
    fn head<B: Bytes>(bytes: &B, at: u32, limit: u32, quoted: bool, head: &mut Head<Self>) -> bool {
        let Some(words) = bytes.load::<[u32; 10]>(at) else {
            return false;
        };
        if words[0].to_ne_bytes()[0] >> 4 != 6 {
            return false;
        }
        let [length_high, length_low, next, _] = words[1].to_ne_bytes();
        let length = u32::from(length_high) << 8 | u32::from(length_low);
        let total = if length == 0 { 0 } else { length + 40 };
        let Some(end) = end(at, total, limit, quoted) else {
            return false;
        };
        if at + 40 > end {
            return false;
        }
        head.source = Addr6([words[2], words[3], words[4], words[5]]);
        head.destination = Addr6([words[6], words[7], words[8], words[9]]);
        head.end = end;
        walk(bytes, u32::from(next), at + 40, head);
        true
    }

    #[inline(always)]
    fn plain<B: Bytes>(bytes: &B) -> Option<Plain<Self>> {
        let words = bytes.load::<[u32; 12]>(ETHERNET)?;
        let [high, low, next, _] = words[1].to_ne_bytes();
        let length = u32::from(high) << 8 | u32::from(low);
        let end = ETHERNET + Self::LENGTH + length;
        if words[0].to_ne_bytes()[0] >> 4 != 6 || end > bytes.length() {
            return None;
        }
        Some(Plain {
            source: Addr6([words[2], words[3], words[4], words[5]]),
            destination: Addr6([words[6], words[7], words[8], words[9]]),
            ports: Ports(words[10]),
            proto: next.into(),
            length,
            before: words[1],
        })
    }

    #[inline(always)]
    fn write_plain<B: Bytes>(
        bytes: &mut B,
        _before: u32,
        _change: Sum,
        new: &Flow<Self>,
    ) -> Option<()> {
        let [a, b, c, d] = new.source.0;
        let [e, f, g, h] = new.destination.0;
        let words = [a, b, c, d, e, f, g, h, new.ports.0];
        bytes.store(ETHERNET + Self::SOURCE, words)
    }
}

/// Where the packet at `at` ends. A length of zero is a packet too long for its length field, which
/// only segmentation offload makes (IPv4 and IPv6 BIG TCP): it ends where its buffer does.
#[inline(always)]
const fn end(at: u32, total: u32, limit: u32, quoted: bool) -> Option<u32> {
    let end = at + total;
    if total == 0 || (quoted && end > limit) {
        Some(limit)
    } else if end > limit {
        None
    } else {
        Some(end)
    }
}

/// Finds the transport header behind at most `EXTENSION_HEADERS_MAX` extensions.
#[inline(always)]
fn walk<B: Bytes>(bytes: &B, first: u32, at: u32, head: &mut Head<Ipv6>) {
    let mut next = first;
    let mut offset = at - ETHERNET;
    let mut turn = 0;
    while turn < EXTENSION_HEADERS_MAX {
        if !is_extension(next) || head.fragment_offset != 0 {
            break;
        }
        let Some(word) = bytes.load::<u32>(ETHERNET + offset) else {
            head.unparsable = 1;
            return;
        };
        let [following, length, fragment_high, fragment_low] = word.to_ne_bytes();
        let length = u32::from(length);
        offset += match next {
            extension::FRAGMENT => {
                let Some(id) = bytes.load::<u32>(ETHERNET + offset + 4) else {
                    head.unparsable = 1;
                    return;
                };
                head.fragment_id = id;
                let fragment = u32::from(fragment_high) << 8 | u32::from(fragment_low);
                head.fragment_offset = fragment & 0xfff8;
                head.more_fragments = fragment & 1;
                8
            }
            extension::AUTHENTICATION => (length + 2) << 2,
            _ => (length + 1) << 3,
        };
        // VERIFIER: the same bound after every turn, or each way through the headers is followed on
        // its own ("BPF program is too large").
        if offset > OFFSET_MASK - 64 {
            head.unparsable = 1;
            return;
        }
        next = u32::from(following);
        turn += 1;
    }
    head.proto = next;
    head.payload = ETHERNET + offset;
    if (is_extension(next) && head.fragment_offset == 0) || head.payload > head.end {
        head.unparsable = 1;
    }
}

#[inline(always)]
const fn is_extension(next: u32) -> bool {
    matches!(
        next,
        extension::HOP_BY_HOP
            | extension::ROUTING
            | extension::FRAGMENT
            | extension::AUTHENTICATION
            | extension::DESTINATION
    )
}
