//! The contract between the agent and the programs: every map's name, key, value and capacity,
//! and the traits through which a decision reads and writes them.
//!
//! ABI rules: whole `u32` words only, no padding (asserted by size), no `bool`, no `enum`.
//! Padding would be worse than waste: a key with uninitialised bytes never matches itself.

use crate::family::{Addr4, Addr6, Family, Ipv4, Ipv6, Port, Ports};

/// Raised whenever a type or a map below changes its layout or meaning. It is part of every pinned
/// map's file name, so that an agent never opens a map laid out by another version.
pub const ABI_VERSION: u32 = 1;

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
        /// Id of the service port it belongs to.
        pub service: u32,
    } size 16, 28;

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

/// A frontend's backends: the slots `base .. base + count`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Frontend {
    /// The first slot of the set.
    pub base: u32,
    /// How many slots; `0` refuses, as `flags` say.
    pub count: u32,
    /// `frontend::NO_LOCAL_BACKEND`.
    pub flags: u32,
    /// Id of the service port it belongs to.
    pub service: u32,
}

const _: () = assert!(size_of::<Frontend>() == 16);

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

// SAFETY: `repr(C)`, four `u32` words.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Frontend {}
// SAFETY: `repr(C)`, three `u32` words.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Fragment {}
// SAFETY: `repr(transparent)` over one `u32` word.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Addr4 {}
// SAFETY: `repr(transparent)` over four `u32` words.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Addr6 {}

// --- maps -------------------------------------------------------------------------------------

/// A map: what both sides must agree on, for one address family where it has two.
pub trait Table {
    type Key;
    type Value;
    /// The kernel's name, at most 15 bytes; the pin's file name is this in lower case, `_v` and
    /// `ABI_VERSION`.
    const NAME: &'static str;
    const KIND: Kind;
    const CAPACITY: u32;
    /// One sentence for docs/maps.md: who writes, who reads, what happens when it is full.
    const ABOUT: &'static str;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Hash,
    LruHash,
    Array,
    PerCpuArray,
}

macro_rules! tables {
    ($(
        $(#[$meta:meta])*
        $name:ident: $kind:ident $map:literal, $key:ty => $value:ty, $capacity:expr, $about:literal;
    )*) => {$(
        $(#[$meta])*
        pub struct $name;

        impl Table for $name {
            type Key = $key;
            type Value = $value;
            const NAME: &'static str = $map;
            const KIND: Kind = Kind::$kind;
            const CAPACITY: u32 = $capacity;
            const ABOUT: &'static str = $about;
        }
    )*

    /// Calls `$callback!` once for every table's type, for code that lists them all.
    #[macro_export]
    macro_rules! for_each_table { ($callback:ident) => { $($callback!($name);)* }; }
    };
}

/// 65,536 service ports of one family: 10,000 Services of six ports. 64 Ki x (8 + 16 + 48 of
/// kernel overhead) = 4.5 MiB.
pub const FRONTENDS_MAX: u32 = 65_536;
/// 10,000 service ports x 10 endpoints, twice over, or one Service of 100,000 endpoints and as
/// many besides. 256 Ki x 16 B = 4 MiB (IPv4), x 32 B = 8 MiB (IPv6).
pub const BACKENDS_MAX: u32 = 262_144;
/// Every backend in one set, and a second copy of each set while it is replaced; both families
/// share the slots. 512 Ki x 8 B = 4 MiB.
pub const SLOTS_MAX: u32 = 524_288;
/// Two entries a flow: 256 Ki translated flows at once per family.
pub const FLOWS_MAX: u32 = 524_288;
/// Datagrams in flight as fragments. A datagram lives for 30 s at the most.
pub const FRAGMENTS_MAX: u32 = 8_192;
/// Translated sockets of pods and host: one entry each, two for UDP.
pub const SOCKETS_MAX: u32 = 131_072;
/// `verdict::CODES` x `verdict::DIRECTIONS`, rounded up.
pub const COUNTERS_MAX: u32 = 128;

const _: () = assert!(SLOTS_MAX >= 2 * BACKENDS_MAX);

tables! {
    Frontends4: Hash "FRONTENDS4", FrontendKey<Ipv4> => Frontend, FRONTENDS_MAX, "What clients dial, IPv4. Written by the agent; read by every program on the first packet of a flow. Full: the Service that does not fit is not programmed and is named in `status`; the others stay.";
    Frontends6: Hash "FRONTENDS6", FrontendKey<Ipv6> => Frontend, FRONTENDS_MAX, "What clients dial, IPv6. As FRONTENDS4.";
    Vips4: Hash "VIPS4", Addr4 => u32, FRONTENDS_MAX, "The addresses that frontends have, IPv4: value 1. Written by the agent; read only for packets whose ports cannot be known. Full: as FRONTENDS4.";
    Vips6: Hash "VIPS6", Addr6 => u32, FRONTENDS_MAX, "The addresses that frontends have, IPv6. As VIPS4.";
    Slots: Array "SLOTS", u32 => u32, SLOTS_MAX, "Backend ids; a frontend's set is a contiguous range. Written by the agent before the frontend that points there; read on the first packet of a flow. Full: the Service keeps its old set and is named in `status`.";
    Backends4: Array "BACKENDS4", u32 => Backend<Ipv4>, BACKENDS_MAX, "Backends by id, IPv4. Written by the agent; read on the first packet of a flow and for the liveness of UDP flows. Full: the Service keeps its old set and is named in `status`.";
    Backends6: Array "BACKENDS6", u32 => Backend<Ipv6>, BACKENDS_MAX, "Backends by id, IPv6. As BACKENDS4.";
    Flows4: LruHash "FLOWS4", FlowKey<Ipv4> => Flow<Ipv4>, FLOWS_MAX, "Translated flows, IPv4: `{client, frontend}` for the way out, `{client, backend}` for the reply. Written and read by `from_pod` and `to_pod`. Full: the flow unused for longest is forgotten.";
    Flows6: LruHash "FLOWS6", FlowKey<Ipv6> => Flow<Ipv6>, FLOWS_MAX, "Translated flows, IPv6. As FLOWS4.";
    Fragments4: LruHash "FRAGMENTS4", FragmentKey<Ipv4> => Fragment, FRAGMENTS_MAX, "Ports of translated datagrams that come in fragments, IPv4. Full: the oldest is forgotten, and its later fragments are dropped and counted.";
    Fragments6: LruHash "FRAGMENTS6", FragmentKey<Ipv6> => Fragment, FRAGMENTS_MAX, "Ports of translated datagrams that come in fragments, IPv6. As FRAGMENTS4.";
    Sockets4: LruHash "SOCKETS4", SocketKey<Ipv4> => SocketPeer<Ipv4>, SOCKETS_MAX, "Sockets translated when they connected or sent, IPv4. Written by the socket hooks; read by them, and by the agent to end UDP sockets whose backend is gone. Full: the entry unused for longest is forgotten, and getpeername then names the backend.";
    Sockets6: LruHash "SOCKETS6", SocketKey<Ipv6> => SocketPeer<Ipv6>, SOCKETS_MAX, "Sockets translated when they connected or sent, IPv6. As SOCKETS4.";
    Counters: PerCpuArray "COUNTERS", u32 => u64, COUNTERS_MAX, "Packets by direction and verdict code. Written by the programs; read by the agent.";
}

// === impl Kind ===

impl Kind {
    /// The map's flags. Hashes that the agent writes are not allocated in advance: their entries
    /// are few against their capacity.
    pub const fn flags(self) -> u32 {
        /// `BPF_F_NO_PREALLOC` of the kernel's UAPI.
        const NO_PREALLOC: u32 = 1;
        match self {
            Self::Hash => NO_PREALLOC,
            Self::LruHash | Self::Array | Self::PerCpuArray => 0,
        }
    }
}

// --- what decisions need ----------------------------------------------------------------------

/// The tables that choose a backend: all that a socket hook needs.
pub trait Services<F: Family> {
    fn frontend(&self, key: &FrontendKey<F>) -> Option<Frontend>;
    fn slot(&self, index: u32) -> Option<u32>;
    fn backend(&self, id: u32) -> Option<Backend<F>>;
    /// Whether any frontend has this address.
    fn is_vip(&self, addr: &F::Addr) -> bool;
    /// A uniformly random word.
    fn random(&mut self) -> u32;
}

/// The tables that remember flows and fragments: what the packet path needs besides.
pub trait Flows<F: Family>: Services<F> {
    fn flow(&mut self, key: &FlowKey<F>) -> Option<&mut Flow<F>>;
    /// False if there was no room.
    fn insert_flow(&mut self, key: &FlowKey<F>, flow: &Flow<F>) -> bool;
    fn remove_flow(&mut self, key: &FlowKey<F>);
    fn fragment(&self, key: &FragmentKey<F>) -> Option<Fragment>;
    fn insert_fragment(&mut self, key: &FragmentKey<F>, fragment: &Fragment) -> bool;
    /// Seconds of the monotonic clock; a second is 2^30 ns, which needs no division.
    fn now_s(&self) -> u32;
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
