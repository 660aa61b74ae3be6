//! Maps and programs made from nothing, for tests that need the kernel but not the object.

use std::{
    ffi::c_char,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    ptr,
};

use aya_obj::generated::{bpf_attach_type, bpf_cmd, bpf_prog_type};

use super::{MapShape, call, call_for_fd, fd_number, zeroed};

pub(crate) fn map(name: &str, shape: &MapShape) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.__bindgen_anon_1.map_type = shape.kind;
    attr.__bindgen_anon_1.key_size = shape.key_size;
    attr.__bindgen_anon_1.value_size = shape.value_size;
    attr.__bindgen_anon_1.max_entries = shape.max_entries;
    attr.__bindgen_anon_1.map_flags = shape.flags;
    let mut bytes = [0; 16];
    for (to, from) in bytes[..15].iter_mut().zip(name.bytes()) {
        *to = from as c_char;
    }
    attr.__bindgen_anon_1.map_name = bytes;
    call_for_fd(bpf_cmd::BPF_MAP_CREATE, &mut attr)
}

/// Writes an entry of a map that has a value for each possible CPU.
///
/// # Safety
/// `values` are as many as there are possible CPUs, and the map's keys are four bytes.
pub(crate) unsafe fn update_per_cpu(
    map: BorrowedFd<'_>,
    key: u32,
    values: &[u64],
) -> io::Result<()> {
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = fd_number(map);
    attr.__bindgen_anon_2.key = ptr::from_ref(&key) as u64;
    attr.__bindgen_anon_2.__bindgen_anon_1.value = values.as_ptr() as u64;
    call(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// A program that returns `value` and does nothing else.
pub(crate) fn program(
    kind: bpf_prog_type,
    attach_type: bpf_attach_type,
    value: i32,
) -> io::Result<OwnedFd> {
    // `r0 = value; exit`
    let code: [u64; 2] = [0xb7 | (value as u32 as u64) << 32, 0x95];
    let mut attr = zeroed();
    attr.__bindgen_anon_3.prog_type = kind as u32;
    attr.__bindgen_anon_3.insn_cnt = code.len() as u32;
    attr.__bindgen_anon_3.insns = code.as_ptr() as u64;
    attr.__bindgen_anon_3.license = c"GPL".as_ptr() as u64;
    attr.__bindgen_anon_3.expected_attach_type = attach_type as u32;
    call_for_fd(bpf_cmd::BPF_PROG_LOAD, &mut attr)
}
