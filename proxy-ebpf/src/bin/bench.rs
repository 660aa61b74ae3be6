//! What `cargo xtask bench packets` wraps around the programs that it measures.
//!
//! BPF_PROG_TEST_RUN repeats a program on one buffer, so a program that rewrites would see its own
//! output from the second time on. `reset` and `reset_xdp` write the whole frame anew, with the
//! next port, and then go on to the program in slot 0 of their hook's array; `pass` and `pass_xdp`
//! in that slot show what the wrapper costs.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    clippy::missing_const_for_fn,
    reason = "entry points are called by the kernel"
)]

use core::arch::asm;

use aya_ebpf::{
    bindings::xdp_action,
    macros::{classifier, map, xdp},
    maps::{Array, ProgramArray},
    programs::{TcContext, XdpContext},
};

/// Words of a frame: more than the headers, and the same for both families.
const WORDS: usize = 10;
/// TCX_NEXT.
const NEXT: i32 = -1;
/// TC_ACT_SHOT: the frame was too short, or slot 0 is empty.
const DROP: i32 = 2;

/// What `reset` writes, and the port that changes from frame to frame.
#[repr(C)]
struct Template {
    frame: [u64; WORDS],
    /// Counts the packets; its low bits are the port.
    next: u64,
    port_offset: u32,
    /// One less than the number of flows, which is a power of two.
    flow_mask: u32,
}

#[map]
static TEMPLATE: Array<Template> = Array::with_max_entries(1, 0);

#[map]
static PROGRAMS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// An array holds programs of one type.
#[map]
static XDP_PROGRAMS: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[classifier]
fn reset(ctx: TcContext) -> i32 {
    if write(ctx.data(), ctx.data_end()).is_some() {
        // SAFETY: the program in the slot is of the same type.
        unsafe { PROGRAMS.tail_call(&ctx, 0) };
    }
    DROP
}

#[classifier]
fn pass(_ctx: TcContext) -> i32 {
    NEXT
}

#[xdp]
fn reset_xdp(ctx: XdpContext) -> u32 {
    if write(ctx.data(), ctx.data_end()).is_some() {
        // SAFETY: the program in the slot is of the same type.
        unsafe { XDP_PROGRAMS.tail_call(&ctx, 0) };
    }
    xdp_action::XDP_DROP
}

#[xdp]
fn pass_xdp(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Writes the next frame over the packet's bytes.
#[inline(always)]
fn write(start: usize, end: usize) -> Option<()> {
    let template = TEMPLATE.get_ptr_mut(0)?;
    // SAFETY: the kernel keeps the value for as long as the program runs, and runs one at a time.
    let template = unsafe { &mut *template };
    if start + size_of::<[u64; WORDS]>() > end {
        return None;
    }
    // SAFETY: within the packet, as was just checked; the kernel's loads need no alignment.
    unsafe { *(start as *mut [u64; WORDS]) = template.frame };
    let port = (template.next as u32 & template.flow_mask) as u16;
    // VERIFIER: the mask bounds the offset.
    let place = start + (template.port_offset & 0x3f) as usize;
    if place + size_of::<u16>() > end {
        return None;
    }
    // SAFETY: within the packet, as was just checked.
    unsafe { *(place as *mut u16) = port.to_be() };
    let next: *mut u64 = &mut template.next;
    // A locked addition empties the CPU's store buffer. Without it the program would pay for
    // reading words that were just written in other pieces, which no packet off a wire is.
    // SAFETY: adds one to a word of the map's value.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) next, in(reg) 1_u64) };
    Some(())
}

/// Never reached; the verifier refuses the endless loop.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
