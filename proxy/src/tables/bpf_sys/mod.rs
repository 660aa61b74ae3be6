//! The part of bpf(2) that aya 0.14 lacks: batches, links updated in place, errors by errno.
//!
//! Nothing here knows a table. Every call returns the kernel's errno untouched, because callers
//! tell "not there" (`ENOENT`) from "not allowed" (`EPERM`), where aya makes a new object
//! out of both.

mod batch;
mod link;
#[cfg(test)]
pub(crate) mod scratch;

use std::{
    ffi::CString,
    fmt, io,
    mem::size_of_val,
    net::{Ipv4Addr, UdpSocket},
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    ptr,
};

use aya_obj::generated::{BPF_F_RDONLY, bpf_attr, bpf_cmd, bpf_map_info};

pub use self::{
    batch::{Page, Partial, delete_batch, lookup_batch, lookup_element, update_batch},
    link::{
        LinkPlace, LinkState, LinkTarget, XdpMode, link_create, link_detach, link_state,
        link_update, program_id,
    },
};

/// How a pinned map is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// What a map is, as far as two sides must agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapShape {
    /// A number of `bpf_map_type`.
    pub kind: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub flags: u32,
}

impl fmt::Display for MapShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            key_size,
            value_size,
            max_entries,
            flags,
        } = self;
        write!(
            f,
            "type {kind}, key {key_size} B, value {value_size} B, {max_entries} entries, \
             flags {flags:#x}"
        )
    }
}

/// Opens a pinned object: `NotFound` if nothing is pinned there, `PermissionDenied` if that is why.
pub fn object_get(path: &Path, access: Access) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.file_flags = match access {
        Access::Read => BPF_F_RDONLY,
        Access::Write => 0,
    };
    call_for_fd(bpf_cmd::BPF_OBJ_GET, &mut attr)
}

/// Pins an object at a path of a bpf file system where nothing is yet.
pub fn object_pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = fd_number(object);
    call(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

pub fn map_shape(map: BorrowedFd<'_>) -> io::Result<MapShape> {
    // SAFETY: `bpf_map_info` is made of integers, for which all zeros is a value.
    let mut info: bpf_map_info = unsafe { std::mem::zeroed() };
    object_info(map, &mut info)?;
    Ok(MapShape {
        kind: info.type_,
        key_size: info.key_size,
        value_size: info.value_size,
        max_entries: info.max_entries,
        flags: info.map_flags,
    })
}

/// The cookie of the calling thread's network namespace (`SO_NETNS_COOKIE`, Linux 5.14).
pub fn netns_cookie() -> io::Result<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut cookie = 0u64;
    let mut size = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes, which `cookie` has.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            ptr::from_mut(&mut cookie).cast(),
            &mut size,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(cookie)
    }
}

/// Fills `info`, a `bpf_*_info` struct of the object's kind, as far as the kernel knows it.
fn object_info<T: Copy>(object: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    let mut attr = zeroed();
    attr.info.bpf_fd = fd_number(object);
    attr.info.info_len = size_of_val(info) as u32;
    attr.info.info = ptr::from_mut(info) as u64;
    call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr).map(drop)
}

const fn zeroed() -> bpf_attr {
    // SAFETY: every member of the union is made of integers, for which all zeros is a value.
    unsafe { std::mem::zeroed() }
}

fn fd_number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<RawFd> {
    // SAFETY: `attr` is a whole `bpf_attr`; what it points at outlives the call in every caller.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as u32,
            ptr::from_mut(attr),
            size_of_val(attr),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as RawFd)
    }
}

fn call_for_fd(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let fd = call(command, attr)?;
    // SAFETY: the commands this is called with return a descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
