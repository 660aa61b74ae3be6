//! Where one stage of a program ends for the verifier.
#![expect(unsafe_code, reason = "a pointer is hidden from the compiler")]

use core::arch::asm;

/// Makes the compiler read a stage's result from memory.
///
/// VERIFIER: what is read from a map's value is any value at all, so that the many ways through a
/// stage become one where the next begins; else each is followed to the end ("BPF program is too
/// large").
#[inline(always)]
pub(crate) fn converge<T>(value: &mut T) -> &mut T {
    let mut pointer: *mut T = value;
    // SAFETY: a move onto itself, with all of memory as a possible side effect.
    unsafe { asm!("{0} = {0}", inout(reg) pointer, options(nostack, preserves_flags)) };
    // SAFETY: the pointer that came in.
    unsafe { &mut *pointer }
}
