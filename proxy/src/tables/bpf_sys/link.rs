//! Links: a program's place at a hook, which holds for as long as it is pinned and takes another
//! program without a moment in between.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use aya_obj::generated::{bpf_attach_type, bpf_cmd, bpf_link_info, bpf_link_type, bpf_prog_info};

use super::{call, call_for_fd, fd_number, object_info, zeroed};

/// Where a program is attached.
#[derive(Clone, Copy, Debug)]
pub enum LinkTarget<'a> {
    /// A directory of the cgroup2 hierarchy.
    Cgroup(BorrowedFd<'a>),
    /// A device of the calling thread's network namespace.
    Device { ifindex: u32 },
    /// The same, before the kernel makes packets of what arrives there.
    Wire { ifindex: u32, mode: XdpMode },
}

/// Who runs an XDP program: one of them on a device at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    Driver,
    /// The kernel, on any device, once it has made a packet after all.
    Generic,
}

/// What a link is. One whose device or cgroup is gone stays, without effect, until it is unpinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    pub id: u32,
    pub program_id: u32,
    pub place: LinkPlace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPlace {
    /// `id` is the inode number of the cgroup's directory; `0` once it is gone.
    Cgroup {
        id: u64,
        attach_type: u32,
    },
    /// `ifindex` is `0` once the device is gone.
    Tcx {
        ifindex: u32,
        attach_type: u32,
    },
    /// `ifindex` is `0` once the device is gone.
    Xdp {
        ifindex: u32,
    },
    Other,
}

// === impl XdpMode ===

impl XdpMode {
    /// `XDP_FLAGS_DRV_MODE` and `XDP_FLAGS_SKB_MODE` of the kernel's UAPI.
    const fn flag(self) -> u32 {
        match self {
            Self::Driver => 1 << 2,
            Self::Generic => 1 << 1,
        }
    }
}

/// Attaches a program behind those that are there; on a wire, where none may be yet.
pub fn link_create(
    program: BorrowedFd<'_>,
    target: LinkTarget<'_>,
    attach_type: bpf_attach_type,
) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = fd_number(program);
    match target {
        LinkTarget::Cgroup(fd) => attr.link_create.__bindgen_anon_2.target_fd = fd_number(fd),
        LinkTarget::Device { ifindex } => {
            attr.link_create.__bindgen_anon_2.target_ifindex = ifindex;
        }
        LinkTarget::Wire { ifindex, mode } => {
            attr.link_create.__bindgen_anon_2.target_ifindex = ifindex;
            attr.link_create.flags = mode.flag();
        }
    }
    attr.link_create.attach_type = attach_type as u32;
    call_for_fd(bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

/// Puts another program in the link's place, atomically.
pub fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_update.link_fd = fd_number(link);
    attr.link_update.__bindgen_anon_1.new_prog_fd = fd_number(program);
    call(bpf_cmd::BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Detaches at once, whoever else holds the link.
pub fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_detach.link_fd = fd_number(link);
    call(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

/// The number by which `LinkState` names a program.
pub fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: `bpf_prog_info` is made of integers, for which all zeros is a value.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    object_info(program, &mut info)?;
    Ok(info.id)
}

pub fn link_state(link: BorrowedFd<'_>) -> io::Result<LinkState> {
    // SAFETY: `bpf_link_info` is made of integers, for which all zeros is a value.
    let mut info: bpf_link_info = unsafe { std::mem::zeroed() };
    object_info(link, &mut info)?;
    let place = if info.type_ == bpf_link_type::BPF_LINK_TYPE_CGROUP as u32 {
        // SAFETY: `type_` says that the kernel filled in this member.
        let cgroup = unsafe { info.__bindgen_anon_1.cgroup };
        LinkPlace::Cgroup {
            id: cgroup.cgroup_id,
            attach_type: cgroup.attach_type,
        }
    } else if info.type_ == bpf_link_type::BPF_LINK_TYPE_TCX as u32 {
        // SAFETY: `type_` says that the kernel filled in this member.
        let tcx = unsafe { info.__bindgen_anon_1.tcx };
        LinkPlace::Tcx {
            ifindex: tcx.ifindex,
            attach_type: tcx.attach_type,
        }
    } else if info.type_ == bpf_link_type::BPF_LINK_TYPE_XDP as u32 {
        // SAFETY: `type_` says that the kernel filled in this member.
        let xdp = unsafe { info.__bindgen_anon_1.xdp };
        LinkPlace::Xdp {
            ifindex: xdp.ifindex,
        }
    } else {
        LinkPlace::Other
    };
    Ok(LinkState {
        id: info.id,
        program_id: info.prog_id,
        place,
    })
}
