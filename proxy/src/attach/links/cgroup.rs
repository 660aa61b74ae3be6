//! The programs of sockets, on a directory of the cgroup2 hierarchy.

use std::{
    fs::{self, File},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use super::{
    Error,
    pinned::{Spot, hold},
};
use crate::tables::{
    PinDir, Program, Programs,
    bpf_sys::{LinkPlace, LinkTarget},
};

/// `CGROUP2_SUPER_MAGIC` of the kernel's `include/uapi/linux/magic.h`.
const CGROUP2_MAGIC: u32 = 0x6367_7270;

/// How the pins of these programs begin.
pub(super) const PIN_PREFIX: &str = "cgroup_";

/// Where the cgroup2 hierarchy is mounted, wherever that is.
pub fn cgroup2_mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let dir = words.nth(1)?;
        (words.next()? == "cgroup2").then(|| PathBuf::from(dir))
    })
}

/// Attaches the programs of sockets to a cgroup and everything below it, or replaces them there.
pub(super) fn attach(pins: &PinDir, programs: &Programs, cgroup: &Path) -> Result<(), Error> {
    let dir = File::open(cgroup).map_err(Error::at("open the cgroup", cgroup))?;
    let kind = rustix::fs::fstatfs(&dir)
        .map_err(|error| Error::at("examine the cgroup", cgroup)(error.into()))?
        .f_type;
    if kind as u32 != CGROUP2_MAGIC {
        return Err(Error::NotCgroup2 {
            dir: cgroup.to_owned(),
            mount: cgroup2_mount(),
        });
    }
    // The kernel numbers cgroups by the inodes of their directories.
    let id = dir
        .metadata()
        .map_err(Error::at("examine the cgroup", cgroup))?
        .ino();
    for program in Program::SOCKET {
        let attach_type = program.attach_type();
        let spot = Spot {
            target: LinkTarget::Cgroup(dir.as_fd()),
            place: LinkPlace::Cgroup {
                id,
                attach_type: attach_type as u32,
            },
            attach_type,
        };
        let path = pins.links().join(format!("{PIN_PREFIX}{}", program.name()));
        hold(&path, programs.fd(program), &spot)?;
    }
    Ok(())
}
