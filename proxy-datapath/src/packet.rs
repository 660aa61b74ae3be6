//! The parsed packet as values, and what a rewrite is.

use crate::{
    family::{Family, Ports},
    tables::{FlowKey, FragmentKey},
};

/// What a packet says about itself, as far as decisions care.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet<F: Family> {
    /// The tuple: the packet's own, or in an ICMP error the quoted one.
    pub key: FlowKey<F>,
    /// One of `shape`.
    pub shape: u32,
    /// TCP's flags, and SCTP's chunks that mean the same, as `tcp` has them; else `0`.
    pub tcp_flags: u32,
    /// The datagram's identification, for fragments.
    pub fragment_id: u32,
    /// Where in the datagram's payload this fragment begins and ends, in bytes.
    pub fragment_start: u32,
    pub fragment_end: u32,
}

/// What a decision can know of a packet.
pub mod shape {
    /// Nothing that is decided about: errors without a tuple, fragments of them. Also what is no
    /// valid packet at all: the stack drops it.
    pub const OTHER: u32 = 0;
    /// TCP, UDP or SCTP, whole.
    pub const WHOLE: u32 = 1;
    pub const FIRST_FRAGMENT: u32 = 2;
    /// No ports.
    pub const LATER_FRAGMENT: u32 = 3;
    /// A first fragment without a whole transport header.
    pub const TINY_FRAGMENT: u32 = 4;
    /// An ICMP error that quotes a TCP, UDP or SCTP packet.
    pub const ICMP_ERROR: u32 = 5;
    /// Headers that end too early or go on for too long.
    pub const UNPARSABLE: u32 = 6;
    /// Another protocol, or an ICMP message that is no error: no ports, and nothing quoted.
    pub const PORTLESS: u32 = 7;
}

/// TCP's flags, as the header's byte has them.
pub mod tcp {
    pub const FIN: u32 = 0x01;
    pub const SYN: u32 = 0x02;
    pub const RST: u32 = 0x04;
    pub const ACK: u32 = 0x10;
}

/// The tuple that takes the place of `Packet::key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrite<F: Family> {
    pub source: F::Addr,
    pub destination: F::Addr,
    pub ports: Ports,
}

// === impl Packet ===

impl<F: Family> Packet<F> {
    #[inline(always)]
    pub const fn fragment_key(&self) -> FragmentKey<F> {
        FragmentKey {
            endpoint: self.key.endpoint,
            source: self.key.source,
            destination: self.key.destination,
            id: self.fragment_id,
            proto: self.key.proto,
        }
    }
}

// === impl Rewrite ===

impl<F: Family> Rewrite<F> {
    /// No change.
    #[inline(always)]
    pub const fn of(key: &FlowKey<F>) -> Self {
        Self {
            source: key.source,
            destination: key.destination,
            ports: key.ports,
        }
    }
}
