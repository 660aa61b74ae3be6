//! The wire before the kernel makes a packet of it: what goes on to another node leaves from here.
//!
//! The decision is `from_net`'s. What this cannot do, it lets pass, and `from_net` finds the flow
//! that was made here: local backends, refusals, a neighbour that has yet to be asked for, and
//! whatever is counted as dropped.
#![expect(unsafe_code, reason = "packet bytes are reached through pointers")]

use core::{arch::asm, ffi::c_void, mem::offset_of};

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    helpers::generated::bpf_redirect,
    programs::XdpContext,
};
use proxy_datapath::{
    family::{Ipv4, Ipv6},
    net,
    packet::{Packet, Rewrite},
    parse::{ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, Layout, parse},
    plain,
    rewrite::rewrite,
    verdict::{Direction, code},
    wire::{Bytes, ChecksumFix, OFFSET_MASK, Sum, Wire},
};

use crate::{
    forward::ETHERTYPE,
    maps::{KernelTables, Scratch, Store, count},
    net::destination_of,
    packet::sctp_checksum_after,
    route::{FIB_DEVICE, FIB_LENGTH, FIB_MACS, fib, hop_limit, look_up, one_hop_less, params},
    stage::converge,
};

const PASS: u32 = xdp_action::XDP_PASS;
const DROP: u32 = xdp_action::XDP_DROP;

struct XdpBytes {
    xdp: *mut xdp_md,
}

#[inline(always)]
pub(crate) fn from_wire(ctx: &XdpContext) -> u32 {
    let bytes = XdpBytes { xdp: ctx.ctx };
    match bytes.load(ETHERTYPE) {
        Some(ETHERTYPE_IPV4) => run::<Ipv4>(bytes),
        Some(ETHERTYPE_IPV6) => run::<Ipv6>(bytes),
        _ => PASS,
    }
}

#[inline(always)]
fn run<F: Store + Header>(mut bytes: XdpBytes) -> u32 {
    let mut tables = KernelTables::new(bytes.context(), bytes.ifindex());
    match plain::attempt::<F, _, _>(&mut bytes, &mut tables, Direction::FromWire, 0) {
        plain::UNDECIDED => {}
        // Counted where it passes next.
        code::PASS => return PASS,
        code::TRANSLATE => {
            count(Direction::FromWire, code::TRANSLATE);
            return PASS;
        }
        verdict => {
            count(Direction::FromWire, verdict);
            return DROP;
        }
    }
    let Some(Scratch {
        packet,
        layout,
        new,
    }) = F::scratch(Direction::FromWire)
    else {
        return PASS;
    };
    packet.key.endpoint = 0;
    packet.tcp_flags = 0;
    parse(&bytes, packet, layout);
    let (packet, layout) = (converge(packet), converge(layout));
    if net::from_net(packet, &mut tables, new) != code::FORWARD {
        return PASS;
    }
    forward::<F>(&mut bytes, packet, layout, converge(new)).unwrap_or(PASS)
}

/// Sends a translated packet to its next hop, if nothing is in the way.
#[inline(always)]
fn forward<F: Store + Header>(
    bytes: &mut XdpBytes,
    packet: &Packet<F>,
    layout: &Layout,
    new: &Rewrite<F>,
) -> Option<u32> {
    let mut way = params::<F>(bytes.ifindex(), destination_of(packet, new));
    way[FIB_LENGTH] = layout.end.wrapping_sub(ETHERNET) << 16;
    // Another device may have no way to send what no socket buffer holds, or be a tunnel.
    if look_up(bytes.context(), &mut way) != fib::SUCCESS
        || way[FIB_DEVICE] != bytes.ifindex()
        || hop_limit::<F, _>(bytes)? <= 1
    {
        return None;
    }
    rewrite(bytes, packet, layout, new)?;
    one_hop_less::<F, _>(bytes)?;
    // Source and destination in the answer, the other way round in a packet.
    let [first, second, third] = [way[FIB_MACS], way[FIB_MACS + 1], way[FIB_MACS + 2]];
    let [smac_0, smac_1] = halves(first);
    let [smac_2, dmac_0] = halves(second);
    let [dmac_1, dmac_2] = halves(third);
    bytes.store(0, [dmac_0, dmac_1, dmac_2, smac_0, smac_1, smac_2])?;
    count(Direction::FromWire, code::FORWARD);
    // SAFETY: takes numbers only.
    Some(unsafe { bpf_redirect(way[FIB_DEVICE], 0) as u32 })
}

#[inline(always)]
const fn halves(word: u32) -> [u16; 2] {
    let [first, second, third, fourth] = word.to_ne_bytes();
    [
        u16::from_ne_bytes([first, second]),
        u16::from_ne_bytes([third, fourth]),
    ]
}

// === impl XdpBytes ===

impl XdpBytes {
    const fn context(&self) -> *mut c_void {
        self.xdp.cast()
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the program's context.
        unsafe { (*self.xdp).ingress_ifindex }
    }

    #[inline(always)]
    fn data(&self) -> usize {
        let data: usize;
        // VERIFIER: as in `SkbBytes::data`. SAFETY: reads a field of the program's context.
        unsafe {
            asm!(
                "{data} = *(u32 *)({xdp} + {offset})",
                data = lateout(reg) data,
                xdp = in(reg) self.xdp,
                offset = const offset_of!(xdp_md, data),
                options(pure, readonly, nostack),
            );
        }
        data
    }

    #[inline(always)]
    fn data_end(&self) -> usize {
        let end: usize;
        // SAFETY: as in `data`.
        unsafe {
            asm!(
                "{end} = *(u32 *)({xdp} + {offset})",
                end = lateout(reg) end,
                xdp = in(reg) self.xdp,
                offset = const offset_of!(xdp_md, data_end),
                options(pure, readonly, nostack),
            );
        }
        end
    }

    /// A pointer to `T` at `offset`, if the packet reaches that far.
    #[inline(always)]
    fn at<T: Wire>(&self, offset: u32) -> Option<*mut T> {
        // VERIFIER: as in `SkbBytes::at`.
        let start = self.data() + (offset & OFFSET_MASK) as usize;
        let mut end = start + size_of::<T>();
        // SAFETY: a move onto itself.
        unsafe { asm!("{0} = {0}", inout(reg) end, options(pure, nomem, nostack)) };
        if end > self.data_end() {
            None
        } else {
            Some(start as *mut T)
        }
    }
}

impl Bytes for XdpBytes {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.data_end().wrapping_sub(self.data()) as u32
    }

    #[inline(always)]
    fn load<T: Wire>(&self, offset: u32) -> Option<T> {
        let value = self.at::<T>(offset)?;
        // SAFETY: as in `SkbBytes::load`.
        Some(unsafe { *value })
    }

    #[inline(always)]
    fn store<T: Wire>(&mut self, offset: u32, value: T) -> Option<()> {
        let place = self.at::<T>(offset)?;
        // SAFETY: as in `load`.
        unsafe { *place = value };
        Some(())
    }

    /// What comes off a wire has its checksum.
    #[inline(always)]
    fn fix_checksum(&mut self, offset: u32, fix: ChecksumFix) -> Option<()> {
        let old: u16 = self.load(offset)?;
        if fix.optional && old == 0 {
            return Some(());
        }
        self.store(offset, fix.apply(old))
    }

    #[inline(always)]
    fn sctp_checksum_after(&self, checksum: u32, from: u32, to: u32, length: u32) -> u32 {
        sctp_checksum_after(checksum, from, to, length)
    }

    /// There are no books yet.
    #[inline(always)]
    fn note_change(&mut self, _change: Sum) {}
}
