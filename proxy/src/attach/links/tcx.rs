//! The programs of packets as tcx links, from Linux 6.6 on (e420bed02507).

use std::fs;

use super::{
    Device, Error,
    device_pins::{self, Pin, path_for, place_of},
    pinned::{Spot, hold},
};
use crate::tables::{PinDir, Program, Programs, bpf_sys::LinkTarget};

/// Whether this kernel has tcx.
pub(super) fn is_supported() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    has_tcx(&release)
}

/// Attaches the two programs of a device's role, or replaces them there. `there` is what was pinned
/// before.
pub(super) fn attach(
    pins: &PinDir,
    programs: &Programs,
    device: &Device,
    there: &[Pin],
) -> Result<(), Error> {
    for program in device.role.programs() {
        let ifindex = device.ifindex;
        let spot = Spot {
            target: LinkTarget::Device { ifindex },
            place: place_of(program, ifindex),
            attach_type: program.attach_type(),
        };
        let path = path_for(pins, device, program, there)?;
        hold(&path, programs.fd(program), &spot)?;
    }
    Ok(())
}

/// Every pin of a tcx link of ours, in the order of their paths.
pub(super) fn pinned(pins: &PinDir) -> Result<Vec<Pin>, Error> {
    device_pins::of(pins, &Program::PACKET)
}

/// Whether a kernel of this release has tcx; one that does not tell is taken for older.
fn has_tcx(release: &str) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (6, 6),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcx_begins_with_linux_6_6() {
        for release in ["6.6.0-1-amd64", "6.18.44-fc-v595\n", "7.0", "10.1.2"] {
            assert!(has_tcx(release), "{release}");
        }
        for release in ["6.5.13", "6.1.0-30-cloud", "5.15.0", "", "linux"] {
            assert!(!has_tcx(release), "{release}");
        }
    }
}
