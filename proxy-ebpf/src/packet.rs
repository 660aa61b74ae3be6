//! A packet's bytes in the kernel's buffer, as `parse` and `rewrite` want them.
#![expect(unsafe_code, reason = "packet bytes are reached through pointers")]

use core::{arch::asm, mem::offset_of};

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_csum_update, bpf_l4_csum_replace, bpf_skb_pull_data},
    programs::TcContext,
};
use proxy_datapath::{
    sctp,
    wire::{Bytes, ChecksumFix, OFFSET_MASK, Sum, Wire},
};

/// Bytes that must lie in one piece: every header of a packet and of one that an ICMP error quotes.
const HEADERS: u32 = 192;

/// `bpf_l4_csum_replace`: the words are in the pseudo-header.
const PSEUDO_HEADER: u64 = 1 << 4;
/// A checksum of zero means none, and one that becomes zero is written as its other form.
const ZERO_IS_NONE: u64 = 1 << 5;

pub(crate) struct SkbBytes {
    skb: *mut __sk_buff,
}

/// A global function: the verifier goes through its 600 turns once, and not once for every way that
/// leads here ("BPF program is too large").
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sctp_checksum_after(
    checksum: u32,
    from: u32,
    to: u32,
    length: u32,
) -> u32 {
    sctp::checksum_after(checksum, from, to, length)
}

// === impl SkbBytes ===

impl SkbBytes {
    #[inline(always)]
    pub(crate) const fn new(ctx: &TcContext) -> Self {
        Self { skb: ctx.skb.skb }
    }

    /// Sees to it that the headers lie in one piece.
    #[inline(always)]
    pub(crate) fn pull_headers(&mut self) {
        let linear = self.data_end().wrapping_sub(self.data()) as u32;
        let length = self.length();
        // A packet of several segments has its headers in one piece, and what follows may be
        // segments of their own, which a pull would tear apart.
        if self.is_single() && linear < HEADERS && linear < length {
            let wanted = if length < HEADERS { length } else { HEADERS };
            // SAFETY: `skb` is the program's context. On failure the loads below see what there is.
            unsafe { bpf_skb_pull_data(self.skb, wanted) };
        }
    }

    #[inline(always)]
    pub(crate) fn is_single(&self) -> bool {
        // SAFETY: `skb` is the program's context.
        let segment = unsafe { (*self.skb).gso_size };
        segment == 0
    }

    pub(crate) const fn skb(&self) -> *mut __sk_buff {
        self.skb
    }

    /// Index of the device that the program runs for.
    #[inline(always)]
    pub(crate) fn ifindex(&self) -> u32 {
        // SAFETY: `skb` is the program's context.
        unsafe { (*self.skb).ifindex }
    }

    /// Changes a checksum by words of the body and then by those of the pseudo-header: where the
    /// two cancel each other out, a checksum that is still to be computed looks like any other.
    #[inline(always)]
    fn fix_apart(&mut self, offset: u32, fix: ChecksumFix) -> Option<()> {
        let flags = if fix.optional { ZERO_IS_NONE } else { 0 };
        self.replace_checksum(offset, fix.body, flags)?;
        self.replace_checksum(offset, fix.pseudo_header, flags | PSEUDO_HEADER)?;
        if fix.ipv6 {
            // The kernel takes the pseudo-header's change out of a CHECKSUM_COMPLETE sum, as if a
            // header checksum had made up for it, which only IPv4 has. BPF_F_IPV6 says so too, but
            // only since Linux 6.16 (ead7f9b8de65); putting it back works everywhere.
            self.note_change(fix.pseudo_header);
        }
        Some(())
    }

    #[inline(always)]
    fn replace_checksum(&mut self, offset: u32, change: Sum, flags: u64) -> Option<()> {
        let words = change.0.into();
        // SAFETY: `skb` is the program's context; the kernel checks the offset.
        let failed = unsafe { bpf_l4_csum_replace(self.skb, offset, 0, words, flags) };
        (failed == 0).then_some(())
    }

    /// Whether a VLAN tag was taken off the packet: its EtherType is not the one in its bytes.
    #[inline(always)]
    pub(crate) fn is_tagged(&self) -> bool {
        // SAFETY: `skb` is the program's context.
        let tagged = unsafe { (*self.skb).vlan_present };
        tagged != 0
    }

    #[inline(always)]
    fn data(&self) -> usize {
        let data: usize;
        // VERIFIER: one load from the context as it is, and not from an address that LLVM keeps for
        // later ("dereference of modified ctx ptr"). SAFETY: reads a field of the program's context.
        unsafe {
            asm!(
                "{data} = *(u32 *)({skb} + {offset})",
                data = lateout(reg) data,
                skb = in(reg) self.skb,
                offset = const offset_of!(__sk_buff, data),
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
                "{end} = *(u32 *)({skb} + {offset})",
                end = lateout(reg) end,
                skb = in(reg) self.skb,
                offset = const offset_of!(__sk_buff, data_end),
                options(pure, readonly, nostack),
            );
        }
        end
    }

    /// A pointer to `T` at `offset`, if the packet reaches that far.
    #[inline(always)]
    fn at<T: Wire>(&self, offset: u32) -> Option<*mut T> {
        // VERIFIER: the mask bounds the offset, or "R1 offset is outside of the packet".
        let start = self.data() + (offset & OFFSET_MASK) as usize;
        let mut end = start + size_of::<T>();
        // VERIFIER: hidden from LLVM, which else subtracts from both sides of the comparison
        // ("pointer arithmetic on pkt_end prohibited"). SAFETY: a move onto itself. Not a comment:
        // one line's info would stand where the next one's does ("Invalid line_info").
        unsafe { asm!("{0} = {0}", inout(reg) end, options(pure, nomem, nostack)) };
        if end > self.data_end() {
            None
        } else {
            Some(start as *mut T)
        }
    }
}

impl Bytes for SkbBytes {
    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: `skb` is the program's context.
        unsafe { (*self.skb).len }
    }

    #[inline(always)]
    fn load<T: Wire>(&self, offset: u32) -> Option<T> {
        let value = self.at::<T>(offset)?;
        // SAFETY: in bounds, any bytes are a valid `Wire` value, and a program's loads need no
        // alignment where the kernel says HAVE_EFFICIENT_UNALIGNED_ACCESS.
        Some(unsafe { *value })
    }

    #[inline(always)]
    fn store<T: Wire>(&mut self, offset: u32, value: T) -> Option<()> {
        let place = self.at::<T>(offset)?;
        // SAFETY: as in `load`.
        unsafe { *place = value };
        Some(())
    }

    /// With one call into the kernel, since those cost more than all else: the words of the body
    /// and of the pseudo-header at once.
    ///
    /// A checksum that is still to be computed (CHECKSUM_PARTIAL) the kernel leaves alone then,
    /// because a body's words are summed later; by this it is told apart. What stands in its place
    /// is the pseudo-header's sum, and that is nobody's to keep books about.
    #[inline(always)]
    fn fix_checksum(&mut self, offset: u32, fix: ChecksumFix) -> Option<()> {
        let before: u16 = self.load(offset)?;
        if fix.optional && before == 0 {
            return Some(());
        }
        let both = fix.body.plus(fix.pseudo_header);
        if both.is_nothing() {
            return self.fix_apart(offset, fix);
        }
        let flags = if fix.optional { ZERO_IS_NONE } else { 0 };
        self.replace_checksum(offset, both, flags)?;
        let after: u16 = self.load(offset)?;
        if after == before {
            return self.store(offset, fix.pseudo_header.added_to(before));
        }
        if !fix.ipv6 {
            // A CHECKSUM_COMPLETE sum covers the IP header, whose own checksum has made up for the
            // addresses already. IPv6's has none.
            self.note_change(fix.pseudo_header.negated());
        }
        Some(())
    }

    #[inline(always)]
    fn sctp_checksum_after(&self, checksum: u32, from: u32, to: u32, length: u32) -> u32 {
        sctp_checksum_after(checksum, from, to, length)
    }

    #[inline(always)]
    fn note_change(&mut self, change: Sum) {
        // SAFETY: `skb` is the program's context; without CHECKSUM_COMPLETE it does nothing.
        unsafe { bpf_csum_update(self.skb, change.0) };
    }
}
