//! The kernel's routes and sockets, and a packet's hop limit: what it takes to send one on.
#![expect(unsafe_code, reason = "routes and sockets are calls into the kernel")]

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{bpf_fib_lookup as FibLookup, bpf_sock},
    helpers::generated::{bpf_fib_lookup, bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release},
};
use proxy_datapath::{
    family::{Family, proto},
    parse::ETHERNET,
    tables::FlowKey,
    wire::{Bytes, Sum},
};

use crate::maps::Store;

/// Results of `bpf_fib_lookup`.
pub(crate) mod fib {
    pub(crate) const SUCCESS: i64 = 0;
    /// The kernel will ask for the neighbour.
    pub(crate) const NO_NEIGHBOUR: i64 = 7;
    /// The packet is longer than the way takes.
    pub(crate) const TOO_LONG: i64 = 8;
}

/// `bpf_fib_lookup`'s parameters in words: family, protocol and source port; destination port and
/// length, or the way's MTU; device; class; source and destination; table; MAC addresses. After the
/// look-up, destination and family are the next hop's.
pub(crate) type Fib = [u32; 16];
pub(crate) const FIB_LENGTH: usize = 1;
pub(crate) const FIB_DEVICE: usize = 2;
pub(crate) const FIB_DESTINATION: usize = 8;
pub(crate) const FIB_MACS: usize = 13;

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
/// TCP_LISTEN: the socket has no tuple of its own.
const LISTEN: u32 = 10;
/// BPF_F_CURRENT_NETNS: that of the device.
const CURRENT_NETNS: u64 = u64::MAX;

#[inline(always)]
pub(crate) fn params<F: Store>(ifindex: u32, destination: F::Addr) -> Fib {
    let mut way = [0; 16];
    way[0] = if F::NUMBER == 4 { AF_INET } else { AF_INET6 };
    way[FIB_DEVICE] = ifindex;
    let [first, second, third, fourth] = F::words(destination);
    way[FIB_DESTINATION] = first;
    way[FIB_DESTINATION + 1] = second;
    way[FIB_DESTINATION + 2] = third;
    way[FIB_DESTINATION + 3] = fourth;
    way
}

#[inline(always)]
pub(crate) fn look_up(ctx: *mut c_void, way: &mut Fib) -> i64 {
    const { assert!(size_of::<Fib>() == size_of::<FibLookup>()) };
    // SAFETY: `ctx` is the program's context, and `way` is laid out as the parameters.
    unsafe { bpf_fib_lookup(ctx, way.as_mut_ptr().cast(), size_of::<Fib>() as i32, 0) }
}

/// The address to masquerade with on the way to `destination`: that of the device which leads
/// there, else the node's.
#[inline(always)]
pub(crate) fn source<F: Store>(
    ctx: *mut c_void,
    ifindex: u32,
    destination: F::Addr,
) -> Option<F::Addr> {
    let mut way = params::<F>(ifindex, destination);
    let none = F::Addr::default();
    look_up(ctx, &mut way);
    // SAFETY: copied out at once.
    let uplink = unsafe { F::uplinks().get(way[FIB_DEVICE]) }.copied();
    let own = uplink
        .map(|uplink| uplink.addr)
        .filter(|addr| *addr != none);
    own.or_else(|| F::nodes().get(0).map(|node| node.addr))
        .filter(|addr| *addr != none)
}

/// Whether this node has a connection, or a connected UDP socket, with this tuple.
#[inline(always)]
pub(crate) fn is_own_socket<F: Store>(ctx: *mut c_void, key: &FlowKey<F>) -> bool {
    // As the answer would arrive.
    let from = F::words(key.destination);
    let to = F::words(key.source);
    let ports = key.ports.swapped().0;
    let mut tuple = [0u32; 9];
    let size = if F::NUMBER == 4 {
        tuple[0] = from[0];
        tuple[1] = to[0];
        tuple[2] = ports;
        12
    } else {
        tuple = [
            from[0], from[1], from[2], from[3], to[0], to[1], to[2], to[3], ports,
        ];
        36
    };
    let tuple = ptr::from_mut(&mut tuple).cast();
    let socket: *mut bpf_sock = match key.proto {
        // SAFETY: the program's context and a tuple of the size that goes with its family.
        proto::TCP => unsafe { bpf_sk_lookup_tcp(ctx, tuple, size, CURRENT_NETNS, 0) },
        // SAFETY: as above.
        proto::UDP => unsafe { bpf_sk_lookup_udp(ctx, tuple, size, CURRENT_NETNS, 0) },
        _ => return false,
    };
    if socket.is_null() {
        return false;
    }
    // SAFETY: a socket that is held until the release below.
    let state = unsafe { (*socket).state };
    // SAFETY: as above.
    let peer = unsafe { (*socket).dst_port };
    // SAFETY: the reference that the look-up took.
    unsafe { bpf_sk_release(socket.cast()) };
    if key.proto == proto::TCP {
        state != LISTEN
    } else {
        peer != 0
    }
}

/// The word that has the hop limit, at which place: the time to live and the protocol before the
/// checksum (IPv4), the next header and the hop limit (IPv6).
#[inline(always)]
const fn hops_at<F: Family>() -> u32 {
    ETHERNET + if F::NUMBER == 4 { 8 } else { 6 }
}

#[inline(always)]
pub(crate) fn hop_limit<F: Family, B: Bytes>(bytes: &B) -> Option<u32> {
    let [first, second] = bytes.load::<u16>(hops_at::<F>())?.to_ne_bytes();
    Some(u32::from(if F::NUMBER == 4 { first } else { second }))
}

/// Counts this node as a hop.
#[inline(always)]
pub(crate) fn one_hop_less<F: Family, B: Bytes>(bytes: &mut B) -> Option<()> {
    let at = hops_at::<F>();
    let old: u16 = bytes.load(at)?;
    let [first, second] = old.to_ne_bytes();
    if F::NUMBER == 6 {
        return bytes.store(at, u16::from_ne_bytes([first, second.wrapping_sub(1)]));
    }
    let new = u16::from_ne_bytes([first.wrapping_sub(1), second]);
    let checksum: u16 = bytes.load(ETHERNET + 10)?;
    let change = Sum::of(old.into(), new.into());
    bytes.store(at, new)?;
    bytes.store(ETHERNET + 10, change.apply(checksum))
}
