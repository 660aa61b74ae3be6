//! The two address families, as one trait, so that every decision is written once.
//!
//! Addresses and ports are kept exactly as loaded from the wire: words of wire-order bytes.
//! They are compared, hashed and written back without a byte swap, and a key made of whole words
//! costs half of one made of two `u16` ports (docs/decisions.md, "Keys are made of words").

use core::{
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::tables::Prefix;

/// An address family: IPv4 or IPv6.
pub trait Family:
    Copy + Clone + fmt::Debug + Default + Eq + Ord + Hash + Send + Sync + 'static
{
    /// An address in wire order.
    type Addr: Copy
        + Clone
        + fmt::Debug
        + Default
        + Eq
        + Ord
        + Hash
        + Send
        + Sync
        + Into<IpAddr>
        + 'static;

    /// `4` or `6`, as map names and texts end.
    const NUMBER: u8;
    /// The protocol number of the family's ICMP.
    const ICMP: u32;

    /// The address as this family's, or `None` if it belongs to the other one.
    fn from_ip(ip: IpAddr) -> Option<Self::Addr>;
    /// Whether a range has the address; one with an empty mask has none.
    fn within(addr: &Self::Addr, range: &Prefix<Self>) -> bool;
    /// A word that depends on every bit of the address.
    fn mix(addr: &Self::Addr) -> u32;
    /// The address from the first word on, as the kernel's structures for both families have it.
    fn words(addr: Self::Addr) -> [u32; 4];
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6;

/// An IPv4 address, wire order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Addr4(pub u32);

/// An IPv6 address, wire order, four words.
#[derive(Clone, Copy, Debug, Default, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::derived_hash_with_manual_eq, reason = "equal words hash alike")]
#[repr(transparent)]
pub struct Addr6(pub [u32; 4]);

/// A port, wire order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Port(u16);

/// Source and destination port as the first word of a TCP, UDP or SCTP header: wire order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Ports(pub u32);

/// Protocol numbers of the Internet Protocol that Switchboard knows.
pub mod proto {
    pub const ICMP: u32 = 1;
    pub const TCP: u32 = 6;
    pub const UDP: u32 = 17;
    pub const ICMPV6: u32 = 58;
    pub const SCTP: u32 = 132;
}

// === impl Ipv4 ===

impl Family for Ipv4 {
    type Addr = Addr4;

    const NUMBER: u8 = 4;
    const ICMP: u32 = proto::ICMP;

    fn from_ip(ip: IpAddr) -> Option<Addr4> {
        match ip {
            IpAddr::V4(ip) => Some(ip.into()),
            IpAddr::V6(_) => None,
        }
    }

    #[inline(always)]
    fn within(addr: &Addr4, range: &Prefix<Self>) -> bool {
        range.mask.0 != 0 && addr.0 & range.mask.0 == range.addr.0
    }

    #[inline(always)]
    fn mix(addr: &Addr4) -> u32 {
        stir(addr.0)
    }

    #[inline(always)]
    fn words(addr: Addr4) -> [u32; 4] {
        [addr.0, 0, 0, 0]
    }
}

// === impl Ipv6 ===

impl Family for Ipv6 {
    type Addr = Addr6;

    const NUMBER: u8 = 6;
    const ICMP: u32 = proto::ICMPV6;

    fn from_ip(ip: IpAddr) -> Option<Addr6> {
        match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(ip.into()),
        }
    }

    #[inline(always)]
    fn within(addr: &Addr6, range: &Prefix<Self>) -> bool {
        let [first, second, third, fourth] = addr.0;
        let mask = range.mask.0;
        let differs = (first & mask[0] ^ range.addr.0[0])
            | (second & mask[1] ^ range.addr.0[1])
            | (third & mask[2] ^ range.addr.0[2])
            | (fourth & mask[3] ^ range.addr.0[3]);
        mask[0] != 0 && differs == 0
    }

    #[inline(always)]
    fn mix(addr: &Addr6) -> u32 {
        let [first, second, third, fourth] = addr.0;
        stir(stir(stir(stir(first) ^ second) ^ third) ^ fourth)
    }

    #[inline(always)]
    fn words(addr: Addr6) -> [u32; 4] {
        addr.0
    }
}

/// Spreads a word's bits over the whole word, one to one: multiplications by odd numbers and
/// shifts, as hash tables finish theirs.
#[inline(always)]
pub const fn stir(word: u32) -> u32 {
    let word = (word ^ word >> 16).wrapping_mul(0x85eb_ca6b);
    let word = (word ^ word >> 13).wrapping_mul(0xc2b2_ae35);
    word ^ word >> 16
}

// === impl Addr4 ===

impl From<Ipv4Addr> for Addr4 {
    fn from(ip: Ipv4Addr) -> Self {
        Self(u32::from_ne_bytes(ip.octets()))
    }
}

impl From<Addr4> for IpAddr {
    fn from(addr: Addr4) -> Self {
        Self::V4(Ipv4Addr::from(addr.0.to_ne_bytes()))
    }
}

impl fmt::Display for Addr4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

// === impl Addr6 ===

impl Addr6 {
    /// The IPv4 address inside `::ffff:a.b.c.d`, which an IPv6 socket uses to speak IPv4.
    #[inline(always)]
    pub const fn v4_mapped(self) -> Option<Addr4> {
        const MARK: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
        match self.0 {
            [0, 0, MARK, v4] => Some(Addr4(v4)),
            _ => None,
        }
    }
}

// LLVM compares an array of four words as one of 128 bits, aligns the copies it makes to 16 bytes
// for that, and then has no instruction for such a copy on BPF: "unsupported memcpy alignment".
impl PartialEq for Addr6 {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let [a, b, c, d] = self.0;
        let [e, f, g, h] = other.0;
        (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) == 0
    }
}

impl From<Ipv6Addr> for Addr6 {
    fn from(ip: Ipv6Addr) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(ip.octets().chunks_exact(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Self(words)
    }
}

impl From<Addr6> for IpAddr {
    fn from(addr: Addr6) -> Self {
        let mut octets = [0; 16];
        for (bytes, word) in octets.chunks_exact_mut(4).zip(addr.0) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Self::V6(Ipv6Addr::from(octets))
    }
}

impl fmt::Display for Addr6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

// === impl Port ===

impl Port {
    #[inline(always)]
    pub const fn new(host: u16) -> Self {
        Self(host.to_be())
    }

    /// From the wire's own bytes, read as one native `u16`.
    #[inline(always)]
    pub const fn from_wire(wire: u16) -> Self {
        Self(wire)
    }

    #[inline(always)]
    pub const fn wire(self) -> u16 {
        self.0
    }

    #[inline(always)]
    pub const fn host(self) -> u16 {
        u16::from_be(self.0)
    }
}

// === impl Ports ===

impl Ports {
    #[inline(always)]
    pub const fn new(source: Port, destination: Port) -> Self {
        if cfg!(target_endian = "little") {
            Self(source.0 as u32 | (destination.0 as u32) << 16)
        } else {
            Self((source.0 as u32) << 16 | destination.0 as u32)
        }
    }

    #[inline(always)]
    pub const fn source(self) -> Port {
        Port(if cfg!(target_endian = "little") {
            self.0 as u16
        } else {
            (self.0 >> 16) as u16
        })
    }

    #[inline(always)]
    pub const fn destination(self) -> Port {
        Port(if cfg!(target_endian = "little") {
            (self.0 >> 16) as u16
        } else {
            self.0 as u16
        })
    }

    /// The same ports as a packet in the other direction has them.
    #[inline(always)]
    pub const fn swapped(self) -> Self {
        Self(self.0.rotate_right(16))
    }

    #[inline(always)]
    pub const fn with_source(self, port: Port) -> Self {
        Self::new(port, self.destination())
    }

    #[inline(always)]
    pub const fn with_destination(self, port: Port) -> Self {
        Self::new(self.source(), port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_hold_the_bytes_of_the_wire() {
        assert_eq!(
            Addr4::from(Ipv4Addr::new(10, 96, 0, 1)).0.to_ne_bytes(),
            [10, 96, 0, 1]
        );
        assert_eq!(
            Ports::new(Port::new(0x1234), Port::new(80)).0.to_ne_bytes(),
            [0x12, 0x34, 0, 80]
        );
        assert_eq!(Port::new(8080).host(), 8080);
    }

    #[test]
    fn swapped_ports_trade_places() {
        let ports = Ports::new(Port::new(4000), Port::new(80));
        assert_eq!(ports.swapped(), Ports::new(Port::new(80), Port::new(4000)));
        assert_eq!(ports.swapped().swapped(), ports);
    }

    #[test]
    fn only_v4_mapped_addresses_speak_ipv4() {
        let mapped: Ipv6Addr = "::ffff:10.96.0.1".parse().unwrap();
        let plain: Ipv6Addr = "fd00:96::1".parse().unwrap();
        assert_eq!(
            Addr6::from(mapped).v4_mapped(),
            Some(Ipv4Addr::new(10, 96, 0, 1).into())
        );
        assert_eq!(Addr6::from(plain).v4_mapped(), None);
    }

    #[test]
    fn addresses_survive_the_round_trip() {
        for ip in ["10.1.0.5", "fd00:10:1::5"] {
            let ip: IpAddr = ip.parse().unwrap();
            let back = match ip {
                IpAddr::V4(_) => Ipv4::from_ip(ip).map(IpAddr::from),
                IpAddr::V6(_) => Ipv6::from_ip(ip).map(IpAddr::from),
            };
            assert_eq!(back, Some(ip));
        }
    }
}
