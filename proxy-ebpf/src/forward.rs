//! The packet path's frame: bytes to values, the decision, values to bytes, the return code.
#![expect(unsafe_code, reason = "redirecting is a call into the kernel")]

use aya_ebpf::{helpers::generated::bpf_redirect, programs::TcContext};
use proxy_datapath::{
    family::{Ipv4, Ipv6},
    flow,
    parse::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, parse},
    plain,
    rewrite::rewrite,
    verdict::{Direction, DropReason, code},
    wire::Bytes,
};

use crate::{
    icmp::{self, Trouble},
    maps::{KernelTables, Scratch, Store, count},
    packet::SkbBytes,
    stage::converge,
};

/// To the next program of the hook, or the stack: TCX_NEXT, TC_ACT_UNSPEC.
pub(crate) const NEXT: i32 = -1;
/// TCX_DROP, TC_ACT_SHOT.
const DROP: i32 = 2;
/// Offset of the EtherType in an Ethernet header.
pub(crate) const ETHERTYPE: u32 = 12;

#[inline(always)]
pub(crate) fn from_pod(ctx: &TcContext) -> i32 {
    let bytes = SkbBytes::new(ctx);
    match ethertype(&bytes) {
        Some(ETHERTYPE_IPV4) => run::<Ipv4, true>(bytes),
        Some(ETHERTYPE_IPV6) => run::<Ipv6, true>(bytes),
        _ => NEXT,
    }
}

#[inline(always)]
pub(crate) fn to_pod(ctx: &TcContext) -> i32 {
    let bytes = SkbBytes::new(ctx);
    match ethertype(&bytes) {
        Some(ETHERTYPE_IPV4) => run::<Ipv4, false>(bytes),
        Some(ETHERTYPE_IPV6) => run::<Ipv6, false>(bytes),
        _ => NEXT,
    }
}

/// A packet of a VLAN is never taken for an untagged one.
#[inline(always)]
pub(crate) fn ethertype(bytes: &SkbBytes) -> Option<u16> {
    if bytes.is_tagged() {
        None
    } else {
        bytes.load(ETHERTYPE)
    }
}

/// One packet of one family, in one direction.
#[inline(always)]
fn run<F: Store + Header, const FROM_POD: bool>(mut bytes: SkbBytes) -> i32 {
    let direction = if FROM_POD {
        Direction::FromPod
    } else {
        Direction::ToPod
    };
    let endpoint = bytes.ifindex();
    let mut tables = KernelTables::new(bytes.skb().cast(), endpoint);
    let verdict = plain::run::<F, _, _>(
        &mut bytes,
        &mut tables,
        direction,
        endpoint,
        general::<F, FROM_POD>,
    );
    finish(&mut bytes, direction, verdict)
}

/// Every kind of packet, stage by stage.
#[inline(always)]
fn general<F: Store + Header, const FROM_POD: bool>(
    bytes: &mut SkbBytes,
    tables: &mut KernelTables,
) -> u32 {
    let direction = if FROM_POD {
        Direction::FromPod
    } else {
        Direction::ToPod
    };
    let Some(Scratch {
        packet,
        layout,
        new,
    }) = F::scratch(direction)
    else {
        return code::PASS;
    };
    bytes.pull_headers();
    // What an earlier packet left here is not cleared: a field is read only where this packet's
    // shape, or its verdict, says that it was set.
    packet.key.endpoint = bytes.ifindex();
    packet.tcp_flags = 0;
    parse(bytes, packet, layout);
    let (packet, layout) = (converge(packet), converge(layout));

    let mut verdict = if FROM_POD {
        flow::from_pod(packet, tables, new)
    } else {
        flow::to_pod(packet, tables, new)
    };
    let new = converge(new);
    let translates = verdict == code::TRANSLATE || verdict == code::HAIRPIN;
    if translates && rewrite(bytes, packet, layout, new).is_none() {
        verdict = DropReason::RewriteFailed.code();
    }
    if FROM_POD
        && verdict == code::REJECT
        && icmp::send::<F>(bytes, packet, layout, Trouble::NoPort).is_none()
    {
        verdict = DropReason::RewriteFailed.code();
    }
    verdict
}

/// The only place where a verdict becomes a return code, and is counted.
#[inline(always)]
pub(crate) fn finish(bytes: &mut SkbBytes, direction: Direction, verdict: u32) -> i32 {
    count(direction, verdict);
    match verdict {
        code::PASS | code::TRANSLATE => NEXT,
        code::HAIRPIN | code::REJECT => send_back(bytes),
        _ => DROP,
    }
}

/// Sends the packet out of the device it came from, to whom it came from. Not through the stack:
/// that would refuse a source address that it has no route back to (rp_filter).
#[inline(always)]
fn send_back(bytes: &mut SkbBytes) -> i32 {
    let Some([to_0, to_1, to_2, from_0, from_1, from_2]) = bytes.load::<[u16; 6]>(0) else {
        return DROP;
    };
    if bytes
        .store(0, [from_0, from_1, from_2, to_0, to_1, to_2])
        .is_none()
    {
        return DROP;
    }
    // SAFETY: takes numbers only.
    unsafe { bpf_redirect(bytes.ifindex(), 0) as i32 }
}
