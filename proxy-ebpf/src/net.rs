//! The programs on the wire: what arrives through an uplink, and what leaves.
//!
//! A packet in this node's name that comes in from outside is a martian to the stack, and so is a
//! reply to the client in the name of a frontend that the node has as an address. Such packets go
//! to their next hop from here; the kernel finds the neighbour.
#![expect(unsafe_code, reason = "redirecting is a call into the kernel")]

use aya_ebpf::{
    bindings::bpf_redir_neigh, helpers::generated::bpf_redirect_neigh, programs::TcContext,
};
use proxy_datapath::{
    family::{Family, Ipv4, Ipv6},
    net,
    packet::{Packet, Rewrite, shape},
    parse::{ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, Layout, parse},
    plain,
    rewrite::rewrite,
    verdict::{Direction, DropReason, code},
    wire::Bytes,
};

use crate::{
    forward::{NEXT, ethertype, finish},
    icmp::{self, Trouble},
    maps::{KernelTables, Scratch, Store},
    packet::SkbBytes,
    route::{
        FIB_DESTINATION, FIB_DEVICE, FIB_LENGTH, fib, hop_limit, look_up, one_hop_less, params,
    },
    stage::converge,
};

#[inline(always)]
pub(crate) fn from_net(ctx: &TcContext) -> i32 {
    let bytes = SkbBytes::new(ctx);
    match ethertype(&bytes) {
        Some(ETHERTYPE_IPV4) => run::<Ipv4, true>(bytes),
        Some(ETHERTYPE_IPV6) => run::<Ipv6, true>(bytes),
        _ => NEXT,
    }
}

#[inline(always)]
pub(crate) fn to_net(ctx: &TcContext) -> i32 {
    let bytes = SkbBytes::new(ctx);
    match ethertype(&bytes) {
        Some(ETHERTYPE_IPV4) => run::<Ipv4, false>(bytes),
        Some(ETHERTYPE_IPV6) => run::<Ipv6, false>(bytes),
        _ => NEXT,
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
    let mut tables = KernelTables::new(bytes.skb().cast(), bytes.ifindex());
    let verdict = plain::attempt::<F, _, _>(&mut bytes, &mut tables, direction, 0);
    if verdict != plain::UNDECIDED {
        return finish(&mut bytes, direction, verdict);
    }
    let Some(Scratch {
        packet,
        layout,
        new,
    }) = F::scratch(direction)
    else {
        return NEXT;
    };
    bytes.pull_headers();
    // As on a pod's path, nothing is cleared that is set before it is read.
    packet.key.endpoint = 0;
    packet.tcp_flags = 0;
    parse(&bytes, packet, layout);
    let (packet, layout) = (converge(packet), converge(layout));

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
    // One of several segments is as long as its way takes; the kernel sees to that.
    if bytes.is_single() {
        way[FIB_LENGTH] = bytes.length().wrapping_sub(ETHERNET) << 16;
    }
    let found = look_up(bytes.skb().cast(), &mut way);
    if found == fib::TOO_LONG {
        let mtu = way[FIB_LENGTH] >> 16;
        return complain(bytes, packet, layout, Trouble::TooLong(mtu));
    }
    if found != fib::SUCCESS && found != fib::NO_NEIGHBOUR {
        return finish(bytes, direction, DropReason::NoRoute.code());
    }
    let Some(hops) = hop_limit::<F, _>(bytes) else {
        return finish(bytes, direction, DropReason::RewriteFailed.code());
    };
    if hops <= 1 {
        return complain(bytes, packet, layout, Trouble::HopLimit);
    }
    if rewrite(bytes, packet, layout, new).is_none() || one_hop_less::<F, _>(bytes).is_none() {
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
pub(crate) const fn destination_of<F: Family>(packet: &Packet<F>, new: &Rewrite<F>) -> F::Addr {
    if packet.shape == shape::ICMP_ERROR {
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
    let is_error = packet.shape == shape::ICMP_ERROR;
    if is_error || icmp::send::<F>(bytes, packet, layout, trouble).is_none() {
        return finish(bytes, Direction::FromNet, DropReason::HopLimit.code());
    }
    finish(bytes, Direction::FromNet, code::REJECT)
}
