//! The programs at their hooks: on a cgroup for sockets, on devices for packets.
//!
//! What is attached is read from the kernel each time and never remembered, so that a link which
//! somebody removed comes back with the next `reconcile`. Everything outlives the agent; a later
//! one takes it over without a moment in between.

mod cgroup;
mod cleanup;
mod clsact;
mod device_pins;
mod pinned;
mod tcx;
#[cfg(test)]
mod tests;
mod xdp;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use self::{
    clsact::Clsact,
    device_pins::{Pin, is_alive},
};
use crate::{
    attach::netlink,
    tables::{self, PinDir, Program, Programs},
};

pub use self::{
    cgroup::cgroup2_mount,
    cleanup::{Remnant, cleanup},
    xdp::Xdp,
};

/// How programs of packets are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// tcx where the kernel has it.
    #[default]
    Auto,
    Tcx,
    Clsact,
}

/// What a device is to us, which says what programs belong on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Pod,
    Uplink,
}

/// A network device of this namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    pub ifindex: u32,
    pub ifname: String,
    pub role: Role,
}

/// A program of ours on a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attached {
    pub device: Device,
    pub program: Program,
}

/// The hooks of this node, and the programs that belong there.
pub struct Attachments {
    pins: PinDir,
    programs: Programs,
    /// Never `Auto`.
    method: Method,
    /// Whether what another agent attached by the other method has been looked for.
    other_method_gone: bool,
    /// The cards that would not have `from_wire`.
    refused: BTreeSet<u32>,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error("cannot {operation} {}", path.display())]
    At {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },

    #[error("{} is not in a cgroup2 hierarchy; {}", dir.display(), cgroup_advice(mount.as_deref()))]
    NotCgroup2 {
        dir: PathBuf,
        mount: Option<PathBuf>,
    },

    #[error(transparent)]
    Netlink(#[from] netlink::Error),

    #[error(transparent)]
    Pins(#[from] tables::Error),
}

/// A device that could not be attached to, or detached from.
#[derive(Debug, Error)]
#[error("device {} (index {})", device.ifname, device.ifindex)]
pub struct DeviceError {
    pub device: Device,
    pub source: Error,
}

// === impl Role ===

impl Role {
    /// In the order in which they are attached, replies first: what the other program translates,
    /// this one must translate back.
    const fn programs(self) -> [Program; 2] {
        match self {
            Self::Pod => [Program::ToPod, Program::FromPod],
            Self::Uplink => [Program::ToNet, Program::FromNet],
        }
    }

    /// Whose program of packets it is.
    const fn of(program: Program) -> Self {
        match program {
            Program::FromNet | Program::ToNet | Program::FromWire => Self::Uplink,
            _ => Self::Pod,
        }
    }
}

// === impl Attachments ===

impl Attachments {
    /// Nothing is attached yet. Whoever calls this holds the lock of `pins`.
    pub fn new(pins: PinDir, programs: Programs, method: Method) -> Self {
        let method = match method {
            Method::Auto if tcx::is_supported() => Method::Tcx,
            Method::Auto => Method::Clsact,
            method => method,
        };
        Self {
            pins,
            programs,
            method,
            other_method_gone: false,
            refused: BTreeSet::new(),
        }
    }

    /// The method that is used, which is not `Auto`.
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Attaches the programs of sockets to a directory of the cgroup2 hierarchy and all below it.
    pub fn attach_sockets(&self, cgroup: &Path) -> Result<(), Error> {
        cgroup::attach(&self.pins, &self.programs, cgroup)
    }

    /// Makes these the only devices with our programs, and gives each those of its role: attaches
    /// what is missing, replaces programs of an earlier agent, detaches the rest. A device that
    /// fails does not stop the others.
    pub fn reconcile(&mut self, wanted: &[Device]) -> Result<Vec<DeviceError>, Error> {
        let failures = match self.method {
            Method::Clsact => self.reconcile_clsact(wanted),
            _ => self.reconcile_tcx(wanted),
        }?;
        if !self.other_method_gone && failures.is_empty() {
            self.forget_other_method()?;
            self.other_method_gone = true;
        }
        Ok(failures)
    }

    /// What is attached to devices, by whichever method.
    pub fn list(&self) -> Result<Vec<Attached>, Error> {
        let mut attached = Vec::new();
        let tcx = tcx::pinned(&self.pins)?;
        for pin in tcx.into_iter().chain(xdp::pinned(&self.pins)?) {
            if is_alive(&pin)? {
                attached.push(Attached {
                    device: pin.device,
                    program: pin.program,
                });
            }
        }
        attached.extend(Clsact::open()?.attached()?);
        attached.sort();
        Ok(attached)
    }

    fn reconcile_tcx(&self, wanted: &[Device]) -> Result<Vec<DeviceError>, Error> {
        let there = tcx::pinned(&self.pins)?;
        let mut failures = Vec::new();
        for device in wanted {
            let result = tcx::attach(&self.pins, &self.programs, device, &there);
            failures.extend(DeviceError::of(device, result));
        }
        // A device whose role changed has both for a moment, and what one has translated the other
        // leaves alone.
        let is_wanted = |pin: &&Pin| {
            let same = |device: &&Device| device.ifindex == pin.device.ifindex;
            wanted
                .iter()
                .filter(same)
                .any(|device| device.role == pin.device.role)
        };
        for pin in there.iter().filter(|pin| !is_wanted(pin)) {
            failures.extend(DeviceError::of(&pin.device, pinned::release(&pin.path)));
        }
        Ok(failures)
    }

    fn reconcile_clsact(&self, wanted: &[Device]) -> Result<Vec<DeviceError>, Error> {
        let mut clsact = Clsact::open()?;
        let mut failures = Vec::new();
        for device in wanted {
            let result = clsact.attach(&self.programs, device);
            failures.extend(DeviceError::of(device, result));
        }
        for attached in clsact.attached()? {
            let device = attached.device;
            if !contains(wanted, device.ifindex) {
                failures.extend(DeviceError::of(&device, clsact.detach(device.ifindex)));
            }
        }
        Ok(failures)
    }

    /// Detaches what an agent before us attached by the other method; until here both worked, and
    /// what one has translated the other leaves alone.
    fn forget_other_method(&self) -> Result<(), Error> {
        if self.method == Method::Clsact {
            let pins = tcx::pinned(&self.pins)?;
            return pins.iter().try_for_each(|pin| pinned::release(&pin.path));
        }
        let mut clsact = Clsact::open()?;
        let attached = clsact.attached()?;
        attached
            .iter()
            .try_for_each(|attached| clsact.detach(attached.device.ifindex))
    }
}

// === impl Error ===

impl Error {
    fn at(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::At {
            operation,
            path,
            source,
        }
    }
}

// === impl DeviceError ===

impl DeviceError {
    /// Whether the device has vanished, of which discovery will tell.
    pub fn is_gone(&self) -> bool {
        match &self.source {
            Error::At { source, .. } => source.raw_os_error() == Some(libc::ENODEV),
            Error::Netlink(source) => source.errno() == Some(libc::ENODEV),
            _ => false,
        }
    }

    /// Why the device would not have a program; `None` if it is gone.
    fn refusal(&self) -> Option<&io::Error> {
        match &self.source {
            Error::At { source, .. } if !self.is_gone() => Some(source),
            _ => None,
        }
    }

    fn of(device: &Device, result: Result<(), Error>) -> Option<Self> {
        result.err().map(|source| Self {
            device: device.clone(),
            source,
        })
    }
}

fn contains(devices: &[Device], ifindex: u32) -> bool {
    devices.iter().any(|device| device.ifindex == ifindex)
}

fn cgroup_advice(mount: Option<&Path>) -> String {
    match mount {
        Some(mount) => format!(
            "it is mounted at {}: pass that to --cgroup",
            mount.display()
        ),
        None => "mount one with `mount -t cgroup2 none /sys/fs/cgroup`".to_owned(),
    }
}
