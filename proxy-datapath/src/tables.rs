//! The contract between the agent and the programs: every map's name, key, value and capacity,
//! and the traits through which a decision reads and writes them.
//!
//! ABI rules: whole `u32` words only, no padding (asserted by size), no `bool`, no `enum`.
//! Padding would be worse than waste: a key with uninitialised bytes never matches itself.

use crate::{
    family::{Addr4, Addr6, Family, Ipv4, Ipv6, Port, Ports},
    snat::Walk,
};

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
        /// Id of the node it is on, for tunnels; `0` if that is not known.
        pub node: u32,
    } size 24, 36;

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
        /// `uplink::ETHERNET` and others.
        pub flags: u32,
    } size 8, 20;

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
    LpmTrie,
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
/// Each frontend with an address of its own, and as many addresses of the node as anybody has.
pub const ADDRESSES_MAX: u32 = FRONTENDS_MAX + 4_096;
/// 1,000 load balancers of 16 ranges and 4 ports.
pub const SOURCES_MAX: u32 = 65_536;
/// Clients of Services with affinity.
pub const AFFINITIES_MAX: u32 = 65_536;
/// Uplinks and tunnel devices of a node.
pub const UPLINKS_MAX: u32 = 256;
/// `range::PODS`, and ranges of ClusterIPs: a cluster has one or two of each family.
pub const RANGES_MAX: u32 = 16;
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
pub const COUNTERS_MAX: u32 = 256;

const _: () = assert!(SLOTS_MAX >= 2 * BACKENDS_MAX);

tables! {
    Frontends4: Hash "FRONTENDS4", FrontendKey<Ipv4> => Frontend, FRONTENDS_MAX, "What clients dial, IPv4. Written by the agent; read by every program on the first packet of a flow. Full: the Service that does not fit is not programmed and is named in `status`; the others stay.";
    Frontends6: Hash "FRONTENDS6", FrontendKey<Ipv6> => Frontend, FRONTENDS_MAX, "What clients dial, IPv6. As FRONTENDS4.";
    Addresses4: Hash "ADDRESSES4", Addr4 => u32, ADDRESSES_MAX, "What an address is, IPv4: a frontend's, a ClusterIP, one of this node's. Written by the agent; read before anything else on the first packet of a flow, and for packets whose ports cannot be known. Full: as FRONTENDS4.";
    Addresses6: Hash "ADDRESSES6", Addr6 => u32, ADDRESSES_MAX, "What an address is, IPv6. As ADDRESSES4.";
    Sources4: LpmTrie "SOURCES4", SourceKey<Ipv4> => u32, SOURCES_MAX, "The sources that a load balancer's addresses admit, IPv4: value 1. Written by the agent before the frontend that asks; read on the first packet of a flow. Full: the Service keeps its old ranges and is named in `status`.";
    Sources6: LpmTrie "SOURCES6", SourceKey<Ipv6> => u32, SOURCES_MAX, "The sources that a load balancer's addresses admit, IPv6. As SOURCES4.";
    Affinities4: LruHash "AFFINITIES4", AffinityKey<Ipv4> => Affinity, AFFINITIES_MAX, "The backend that a client was given last, IPv4. Written and read by the programs on the first packet of a flow. Full: the client unseen for longest is forgotten.";
    Affinities6: LruHash "AFFINITIES6", AffinityKey<Ipv6> => Affinity, AFFINITIES_MAX, "The backend that a client was given last, IPv6. As AFFINITIES4.";
    Nodes4: Array "NODE4", u32 => Node<Ipv4>, 1, "What this node sends from, IPv4. Written by the agent; read where a flow of the host or one to masquerade begins.";
    Nodes6: Array "NODE6", u32 => Node<Ipv6>, 1, "What this node sends from, IPv6. As NODE4.";
    Ranges4: Array "RANGES4", u32 => Prefix<Ipv4>, RANGES_MAX, "Ranges of addresses by their place, IPv4: the cluster's pods, then those that ClusterIPs come from. Written by the agent; read on the first packet of a flow. Full: the ranges that do not fit are named in `status`.";
    Ranges6: Array "RANGES6", u32 => Prefix<Ipv6>, RANGES_MAX, "Ranges of addresses by their place, IPv6. As RANGES4.";
    Uplinks4: Hash "UPLINKS4", u32 => Uplink<Ipv4>, UPLINKS_MAX, "The devices that lead to other nodes by index, IPv4. Written by the agent; read where a masqueraded flow begins. Full: no masquerading through the devices that do not fit.";
    Uplinks6: Hash "UPLINKS6", u32 => Uplink<Ipv6>, UPLINKS_MAX, "The devices that lead to other nodes by index, IPv6. As UPLINKS4.";
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
            // The kernel has no other tries.
            Self::Hash | Self::LpmTrie => NO_PREALLOC,
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
