//! Switchboard's programs in the kernel.
#![no_std]
#![no_main]

use aya_ebpf::bindings::TC_ACT_PIPE;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

#[classifier]
fn from_pod(_context: TcContext) -> i32 {
    TC_ACT_PIPE
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // An endless loop, so that the verifier refuses a program that can reach it.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
