//! Every map: its name, key, value, kind and capacity.

use super::{
    Affinity, AffinityKey, Backend, Flow, FlowKey, Fragment, FragmentKey, Frontend, FrontendKey,
    Node, Prefix, SocketKey, SocketPeer, SourceKey, Uplink,
};
use crate::family::{Addr4, Addr6, Ipv4, Ipv6};

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
/// many besides. 256 Ki x 24 B = 6 MiB (IPv4), x 32 B = 8 MiB (IPv6).
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
