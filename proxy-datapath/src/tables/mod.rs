//! The contract between the agent and the programs: every map's name, key, value and capacity,
//! and the traits through which a decision reads and writes them.
//!
//! ABI rules: whole `u32` words only, no padding (asserted by size), no `bool`, no `enum`.
//! Padding would be worse than waste: a key with uninitialised bytes never matches itself.

mod list;

use crate::{
    family::{Family, Ipv4, Ipv6, Port, Ports},
    snat::Walk,
};
pub use list::*;

/// Raised whenever a type or a map below changes its layout or meaning. It is part of every pinned
/// map's file name, so that an agent never opens a map laid out by another version.
pub const ABI_VERSION: u32 = 2;

macro_rules! abi_type {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident<F: Family> {
            $($(#[$field_meta:meta])* pub $field:ident: $ty:ty,)*
        } size $v4:literal, $v6:literal;
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(C)]
        pub struct $name<F: Family> { $($(#[$field_meta])* pub $field: $ty,)* }

        const _: () = assert!(size_of::<$name<Ipv4>>() == $v4 && align_of::<$name<Ipv4>>() == 4);
        const _: () = assert!(size_of::<$name<Ipv6>>() == $v6 && align_of::<$name<Ipv6>>() == 4);

        // SAFETY: `repr(C)`, made of `u32` words only; the sizes above leave no room for padding.
        #[cfg(feature = "user")]
        unsafe impl<F: Family> aya::Pod for $name<F> {}
    )*};
}

abi_type! {
    /// What a client dials.
    pub struct FrontendKey<F: Family> {
        pub addr: F::Addr,
        /// The port in wire order in the low half as loaded, the protocol number in the high half.
        pub port_proto: u32,
    } size 8, 20;

    /// A flow as one of its packets has it.
    pub struct FlowKey<F: Family> {
        /// Index of the pod's device: what one pod sends says nothing of another's flows, whatever
        /// source address it gives itself.
        pub endpoint: u32,
        pub source: F::Addr,
        pub destination: F::Addr,
        pub ports: Ports,
        /// Protocol number.
        pub proto: u32,
    } size 20, 44;

    /// What becomes of the packets of a flow: the whole tuple they leave with.
    pub struct Flow<F: Family> {
        pub source: F::Addr,
        pub destination: F::Addr,
        pub ports: Ports,
        /// `flow::FORWARD`, `flow::REVERSE` and others.
        pub flags: u32,
        /// The backend's id, for liveness; the address above decides where packets go.
        pub backend: u32,
        /// When a packet last passed, in seconds of the monotonic clock, at most one behind.
        pub last_seen_s: u32,
    } size 24, 48;

    /// An address and port that answers for one service port.
    pub struct Backend<F: Family> {
        pub addr: F::Addr,
        /// The port in wire order in the low half as loaded, the protocol number in the high half.
        pub port_proto: u32,
        /// `backend::GONE`, `ACTIVE` or `TERMINATING`.
        pub state: u32,
        /// `backend::HERE` and others.
        pub flags: u32,
        /// Id of the service port it belongs to.
        pub service: u32,
    } size 20, 32;

    /// A client of a service port, for affinity (services.md 83).
    pub struct AffinityKey<F: Family> {
        pub client: F::Addr,
        /// Id of the service port.
        pub service: u32,
    } size 8, 20;

    /// Sources that a service port admits: a prefix of this, as a longest-prefix match has it
    /// (services.md 80).
    pub struct SourceKey<F: Family> {
        /// Bits that count: 32 for the service port, and those of the range.
        pub prefix_length: u32,
        /// Id of the service port.
        pub service: u32,
        pub addr: F::Addr,
    } size 12, 24;

    /// What this node sends from; one element.
    pub struct Node<F: Family> {
        /// The node's primary address (services.md 121); zero if it has none.
        pub addr: F::Addr,
        /// Ports for masquerading: two runs of consecutive ports, the first of each and how many.
        pub snat_first: [u32; 2],
        pub snat_count: [u32; 2],
    } size 20, 32;

    /// A range of addresses.
    pub struct Prefix<F: Family> {
        /// With zeros where the mask has them.
        pub addr: F::Addr,
        /// Zero for the range that has no address.
        pub mask: F::Addr,
    } size 8, 32;

    /// A device that leads to other nodes, by its index.
    pub struct Uplink<F: Family> {
        /// The address that masqueraded packets leave with; zero if it has none.
        pub addr: F::Addr,
    } size 4, 16;

    /// A datagram whose fragments follow each other.
    pub struct FragmentKey<F: Family> {
        /// As in `FlowKey`.
        pub endpoint: u32,
        pub source: F::Addr,
        pub destination: F::Addr,
        /// The identification as loaded: 16 bits (IPv4) or 32 (IPv6).
        pub id: u32,
        pub proto: u32,
    } size 20, 44;

    /// A socket, by cookie, and one side of a translation made at it.
    pub struct SocketKey<F: Family> {
        /// The socket's cookie, low and high word.
        pub cookie: [u32; 2],
        pub addr: F::Addr,
        /// As in `FrontendKey`, and `socket::TO_BACKEND` for the way out.
        pub port_proto: u32,
    } size 16, 28;

    /// The other side of a translation made at a socket.
    pub struct SocketPeer<F: Family> {
        pub addr: F::Addr,
        /// As in `FrontendKey`.
        pub port_proto: u32,
        pub backend: u32,
    } size 12, 24;
}

/// What a frontend does with a new flow: two sets of slots, one for clients in the cluster and one
/// for those on the wire, which differ where traffic must stay on the node it came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Frontend {
    /// The set for this node's pods and processes, and for pods elsewhere: its first slot.
    pub base: u32,
    /// How many slots; `0` refuses, as `flags` say.
    pub count: u32,
    /// The same for everybody else.
    pub wire_base: u32,
    pub wire_count: u32,
    /// `frontend::ANSWERED` and others.
    pub flags: u32,
    /// Id of the service port it belongs to.
    pub service: u32,
    /// How long a client stays with its backend after its last new flow, in the unit of
    /// `Flows::now_s`; `0` for no affinity.
    pub affinity: u32,
}

const _: () = assert!(size_of::<Frontend>() == 28);

/// The backend that a client was given last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Affinity {
    pub backend: u32,
    /// When its last flow began, as in `Flow`.
    pub used_s: u32,
}

const _: () = assert!(size_of::<Affinity>() == 8);

/// What the first fragment of a datagram taught about the later ones, which carry no ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Fragment {
    pub ports: Ports,
    /// Bytes of the datagram that the first fragment covers: a later one may not start before.
    pub covered: u32,
    /// When it passed, as in `Flow`: identifications are used again.
    pub seen_s: u32,
}

const _: () = assert!(size_of::<Fragment>() == 12);

// SAFETY: `repr(C)`, seven `u32` words.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Frontend {}
// SAFETY: `repr(C)`, two `u32` words.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Affinity {}
// SAFETY: `repr(C)`, three `u32` words.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Fragment {}
// SAFETY: `repr(transparent)` over one `u32` word.
#[cfg(feature = "user")]
unsafe impl aya::Pod for crate::family::Addr4 {}
// SAFETY: `repr(transparent)` over four `u32` words.
#[cfg(feature = "user")]
unsafe impl aya::Pod for crate::family::Addr6 {}

/// The tables that choose a backend: all that a socket hook needs.
pub trait Services<F: Family> {
    fn frontend(&self, key: &FrontendKey<F>) -> Option<Frontend>;
    fn slot(&self, index: u32) -> Option<u32>;
    fn backend(&self, id: u32) -> Option<Backend<F>>;
    /// What the address is: `address::FRONTEND` and others; `0` for none of ours.
    fn address(&self, addr: &F::Addr) -> u32;
    fn node(&self) -> Option<&Node<F>>;
    /// One of the ranges: `range::PODS`, or from `range::SERVICES` on those of ClusterIPs up to the
    /// first empty one.
    fn range(&self, index: u32) -> Option<&Prefix<F>>;
    /// Whether a service port with source ranges admits this source (services.md 80).
    fn admits(&self, service: u32, source: F::Addr) -> bool;
    fn affinity(&self, key: &AffinityKey<F>) -> Option<Affinity>;
    /// Without room the client's next flow is a new client's.
    fn insert_affinity(&mut self, key: &AffinityKey<F>, affinity: &Affinity);
    /// A uniformly random word.
    fn random(&mut self) -> u32;
    /// Seconds of the monotonic clock; a second is 2^30 ns, which needs no division.
    fn now_s(&self) -> u32;
}

/// The tables that remember flows and fragments: what the packet path needs besides.
pub trait Flows<F: Family>: Services<F> {
    fn flow(&mut self, key: &FlowKey<F>) -> Option<&mut Flow<F>>;
    /// False if there was no room.
    fn insert_flow(&mut self, key: &FlowKey<F>, flow: &Flow<F>) -> bool;
    fn remove_flow(&mut self, key: &FlowKey<F>);
    fn fragment(&self, key: &FragmentKey<F>) -> Option<Fragment>;
    fn insert_fragment(&mut self, key: &FragmentKey<F>, fragment: &Fragment) -> bool;
    /// As `insert_flow`, but false if the key is there already.
    fn claim_flow(&mut self, key: &FlowKey<F>, flow: &Flow<F>) -> bool;
    /// The node's address toward this destination, for packets that must come back to this node;
    /// `None` if nothing leads there.
    fn masquerade_address(&self, destination: F::Addr) -> Option<F::Addr>;
    /// Whether a socket of this node has a connection with this tuple.
    fn is_own_socket(&self, key: &FlowKey<F>) -> bool;
    /// Has `begin` set up a walk, then calls `Walk::step` until it says `snat::STOP`, `turns` times
    /// at the most; what it found.
    fn walk(&mut self, turns: u32, begin: impl FnOnce(&mut Walk<F>)) -> u32;
}

// === impl FrontendKey ===

impl<F: Family> FrontendKey<F> {
    #[inline(always)]
    pub const fn new(addr: F::Addr, port: Port, proto: u32) -> Self {
        Self {
            addr,
            port_proto: port_proto(port, proto),
        }
    }

    pub const fn port(&self) -> Port {
        port_of(self.port_proto)
    }

    pub const fn proto(&self) -> u32 {
        proto_of(self.port_proto)
    }
}

// === impl Backend ===

impl<F: Family> Backend<F> {
    pub const fn port(&self) -> Port {
        port_of(self.port_proto)
    }

    pub const fn proto(&self) -> u32 {
        proto_of(self.port_proto)
    }
}

// === impl FlowKey ===

impl<F: Family> FlowKey<F> {
    /// The key of the same flow as its other end sends it.
    #[inline(always)]
    pub const fn swapped(&self) -> Self {
        Self {
            endpoint: self.endpoint,
            source: self.destination,
            destination: self.source,
            ports: self.ports.swapped(),
            proto: self.proto,
        }
    }
}

/// A port as loaded from the wire and a protocol number in one word.
#[inline(always)]
pub const fn port_proto(port: Port, proto: u32) -> u32 {
    port.wire() as u32 | proto << 16
}

#[inline(always)]
pub const fn port_of(port_proto: u32) -> Port {
    Port::from_wire(port_proto as u16)
}

#[inline(always)]
pub const fn proto_of(port_proto: u32) -> u32 {
    port_proto >> 16 & 0xff
}
