//! The programs on the wire: what arrives through an uplink, and what leaves.
//!
//! A packet in this node's name that comes in from outside is a martian to the stack, and so is a
//! reply to the client in the name of a frontend that the node has as an address. Such packets go to
//! their next hop from here; the kernel finds the neighbour.
#![expect(
    unsafe_code,
    reason = "routes, sockets and redirects are calls into the kernel"
)]

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{__sk_buff, bpf_redir_neigh, bpf_sock},
    helpers::generated::{
        bpf_fib_lookup, bpf_redirect_neigh, bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release,
    },
    programs::TcContext,
};
use proxy_datapath::{
    family::{Family, Ipv4, Ipv6, proto},
    net,
    packet::{Packet, Rewrite},
    parse::{ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, Layout, parse},
    rewrite::rewrite,
    tables::FlowKey,
    verdict::{Direction, DropReason, code},
    wire::{Bytes, Sum},
};

use crate::{
    forward::{converge, ethertype, finish},
    icmp::{self, Trouble},
    maps::{KernelTables, Scratch, Store},
    packet::SkbBytes,
};

/// Results of `bpf_fib_lookup`.
mod fib {
    pub(super) const SUCCESS: i64 = 0;
    /// The kernel will ask for the neighbour.
    pub(super) const NO_NEIGHBOUR: i64 = 7;
    /// The packet is longer than the way takes.
    pub(super) const TOO_LONG: i64 = 8;
}

/// `bpf_fib_lookup`'s parameters in words: family, protocol and source port; destination port and
/// length, or the way's MTU; device; class; source and destination; table; MAC addresses. After the
/// look-up, destination and family are the next hop's.
type Fib = [u32; 16];
const FIB_LENGTH: usize = 1;
const FIB_DEVICE: usize = 2;
const FIB_SOURCE: usize = 4;
const FIB_DESTINATION: usize = 8;

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
/// TCP_LISTEN: the socket has no tuple of its own.
const LISTEN: u32 = 10;
/// BPF_F_CURRENT_NETNS: that of the device.
const CURRENT_NETNS: u64 = u64::MAX;

#[inline(always)]
pub(crate) fn from_net(ctx: &TcContext) -> i32 {
    let bytes = SkbBytes::new(ctx);
    match ethertype(&bytes) {
        Some(ETHERTYPE_IPV4) => run::<Ipv4, true>(bytes),
        Some(ETHERTYPE_IPV6) => run::<Ipv6, true>(bytes),
        _ => crate::forward::NEXT,
    }
}

#[inline(always)]
pub(crate) fn to_net(ctx: &TcContext) -> i32 {
    let bytes = SkbBytes::new(ctx);
    match ethertype(&bytes) {
        Some(ETHERTYPE_IPV4) => run::<Ipv4, false>(bytes),
        Some(ETHERTYPE_IPV6) => run::<Ipv6, false>(bytes),
        _ => crate::forward::NEXT,
    }
}

/// One packet of one family, in one direction.
#[inline(always)]
fn run<F: Store + Header, const ARRIVES: bool>(mut bytes: SkbBytes) -> i32 {
    let direction = if ARRIVES {
        Direction::FromNet
    } else {
        Direction::ToNet
    };
    let Some(Scratch {
        packet,
        layout,
        new,
    }) = F::scratch(direction)
    else {
        return crate::forward::NEXT;
    };
    bytes.pull_headers();
    // As on a pod's path, nothing is cleared that is set before it is read.
    packet.key.endpoint = 0;
    packet.tcp_flags = 0;
    parse(&bytes, packet, layout);
    let (packet, layout) = (converge(packet), converge(layout));

    let mut tables = KernelTables::new(bytes.skb().cast());
    let verdict = if ARRIVES {
        net::from_net(packet, &mut tables, new)
    } else {
        net::to_net(packet, &mut tables, new)
    };
    let new = converge(new);
    match verdict {
        code::TRANSLATE if rewrite(&mut bytes, packet, layout, new).is_none() => {
            finish(&mut bytes, direction, DropReason::RewriteFailed.code())
        }
        code::FORWARD if ARRIVES => forward::<F>(&mut bytes, packet, layout, new),
        code::REJECT if icmp::send::<F>(&mut bytes, packet, layout, Trouble::NoPort).is_none() => {
            finish(&mut bytes, direction, DropReason::RewriteFailed.code())
        }
        _ => finish(&mut bytes, direction, verdict),
    }
}

/// Sends a translated packet to its next hop.
#[inline(always)]
fn forward<F: Store + Header>(
    bytes: &mut SkbBytes,
    packet: &Packet<F>,
    layout: &Layout,
    new: &Rewrite<F>,
) -> i32 {
    let direction = Direction::FromNet;
    let destination = destination_of(packet, new);
    let mut way = params::<F>(bytes.ifindex(), destination);
    let found = look_up(bytes.skb(), &mut way);
    if found == fib::TOO_LONG {
        let mtu = way[FIB_LENGTH] >> 16;
        return complain(bytes, packet, layout, Trouble::TooLong(mtu));
    }
    if found != fib::SUCCESS && found != fib::NO_NEIGHBOUR {
        return finish(bytes, direction, DropReason::NoRoute.code());
    }
    let Some(hops) = hop_limit::<F>(bytes) else {
        return finish(bytes, direction, DropReason::RewriteFailed.code());
    };
    if hops <= 1 {
        return complain(bytes, packet, layout, Trouble::HopLimit);
    }
    if rewrite(bytes, packet, layout, new).is_none() || one_hop_less::<F>(bytes).is_none() {
        return finish(bytes, direction, DropReason::RewriteFailed.code());
    }
    finish(bytes, direction, code::FORWARD);
    let mut hop = [
        way[0] & 0xff,
        way[FIB_DESTINATION],
        way[FIB_DESTINATION + 1],
        way[FIB_DESTINATION + 2],
        way[FIB_DESTINATION + 3],
    ];
    const { assert!(size_of::<[u32; 5]>() == size_of::<bpf_redir_neigh>()) };
    // SAFETY: `hop` is laid out as a `bpf_redir_neigh`: family and address.
    unsafe {
        bpf_redirect_neigh(
            way[FIB_DEVICE],
            hop.as_mut_ptr().cast(),
            size_of::<bpf_redir_neigh>() as i32,
            0,
        ) as i32
    }
}

/// Whom the packet itself is for once it is rewritten: an error goes to the quoted packet's sender.
#[inline(always)]
fn destination_of<F: Family>(packet: &Packet<F>, new: &Rewrite<F>) -> F::Addr {
    if packet.shape == proxy_datapath::packet::shape::ICMP_ERROR {
        new.source
    } else {
        new.destination
    }
}

/// Tells the sender why its packet does not go on.
#[inline(always)]
fn complain<F: Store + Header>(
    bytes: &mut SkbBytes,
    packet: &Packet<F>,
    layout: &Layout,
    trouble: Trouble,
) -> i32 {
    let is_error = packet.shape == proxy_datapath::packet::shape::ICMP_ERROR;
    if is_error || icmp::send::<F>(bytes, packet, layout, trouble).is_none() {
        return finish(bytes, Direction::FromNet, DropReason::HopLimit.code());
    }
    finish(bytes, Direction::FromNet, code::REJECT)
}

#[inline(always)]
fn params<F: Store>(ifindex: u32, destination: F::Addr) -> Fib {
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
fn look_up(skb: *mut __sk_buff, way: &mut Fib) -> i64 {
    const { assert!(size_of::<Fib>() == size_of::<aya_ebpf::bindings::bpf_fib_lookup>()) };
    // SAFETY: `skb` is the program's context, and `way` is laid out as the parameters.
    unsafe {
        bpf_fib_lookup(
            skb.cast(),
            way.as_mut_ptr().cast(),
            size_of::<Fib>() as i32,
            0,
        )
    }
}

/// The address to masquerade with on the way to `destination`: that of the device which leads there,
/// else the node's.
#[inline(always)]
pub(crate) fn route_source<F: Store>(ctx: *mut c_void, destination: F::Addr) -> Option<F::Addr> {
    let skb: *mut __sk_buff = ctx.cast();
    // SAFETY: the program's context.
    let ifindex = unsafe { (*skb).ifindex };
    let mut way = params::<F>(ifindex, destination);
    way[FIB_SOURCE] = 0;
    let none = F::Addr::default();
    look_up(skb, &mut way);
    // SAFETY: copied out at once.
    let uplink = unsafe { F::uplinks().get(&way[FIB_DEVICE]) }.copied();
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
fn hop_limit<F: Family>(bytes: &SkbBytes) -> Option<u32> {
    let [first, second] = bytes.load::<u16>(hops_at::<F>())?.to_ne_bytes();
    Some(u32::from(if F::NUMBER == 4 { first } else { second }))
}

/// Counts this node as a hop.
#[inline(always)]
fn one_hop_less<F: Family>(bytes: &mut SkbBytes) -> Option<()> {
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
