//! The programs of packets as tcx links, from Linux 6.6 on (e420bed02507).
//!
//! The pins are `<ifindex>_<name>_<program>`. The number decides; the name is for people, and may
//! be that of a device that has been renamed since. A bpf file system allows no dots in names.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Device, Error, Role,
    pinned::{Spot, hold, release, state},
};
use crate::tables::{
    PinDir, Program, Programs,
    bpf_sys::{LinkPlace, LinkTarget},
    list,
};

/// A pin of one of our programs on a device.
pub(super) struct Pin {
    pub(super) path: PathBuf,
    pub(super) device: Device,
    pub(super) program: Program,
}

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
        let attach_type = program.attach_type();
        let ifindex = device.ifindex;
        let spot = Spot {
            target: LinkTarget::Device { ifindex },
            place: LinkPlace::Tcx {
                ifindex,
                attach_type: attach_type as u32,
            },
            attach_type,
        };
        let path = pins.links().join(pin_name(device, program));
        for pin in there {
            if pin.device.ifindex == ifindex && pin.program == program && pin.path != path {
                adopt_renamed(pin, &path)?;
            }
        }
        hold(&path, programs.fd(program), &spot)?;
    }
    Ok(())
}

/// Every pin of ours, in the order of their paths.
pub(super) fn pinned(pins: &PinDir) -> Result<Vec<Pin>, Error> {
    Ok(list(&pins.links())?
        .into_iter()
        .filter_map(parse_pin)
        .collect())
}

/// Whether the pin's link is attached to the device that it names.
pub(super) fn is_alive(pin: &Pin) -> Result<bool, Error> {
    let attach_type = pin.program.attach_type() as u32;
    let place = LinkPlace::Tcx {
        ifindex: pin.device.ifindex,
        attach_type,
    };
    Ok(state(&pin.path)?.is_some_and(|state| state.place == place))
}

/// Gives the pin of a device that was renamed its new name, so that its link is found again. If the
/// number is another device's by now, the link is dead and goes.
fn adopt_renamed(pin: &Pin, path: &Path) -> Result<(), Error> {
    if is_alive(pin)? && !path.exists() {
        fs::rename(&pin.path, path).map_err(Error::at("rename the link at", &pin.path))
    } else {
        release(&pin.path)
    }
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

fn pin_name(device: &Device, program: Program) -> String {
    let name = device.ifname.replace('.', "-");
    format!("{}_{name}_{}", device.ifindex, program.name())
}

fn parse_pin(path: PathBuf) -> Option<Pin> {
    let (ifindex, rest) = path.file_name()?.to_str()?.split_once('_')?;
    let ifindex = ifindex.parse().ok()?;
    let (program, ifname) = Program::PACKET.into_iter().find_map(|program| {
        let ifname = rest.strip_suffix(program.name())?.strip_suffix('_')?;
        Some((program, ifname.to_owned()))
    })?;
    Some(Pin {
        path,
        device: Device {
            ifindex,
            ifname,
            role: Role::of(program),
        },
        program,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_tells_device_and_program() {
        for ifname in ["veth1", "v_from_pod", "_", "eth0-5"] {
            for program in Program::PACKET {
                let device = Device {
                    ifindex: 7,
                    ifname: ifname.to_owned(),
                    role: Role::of(program),
                };
                let path = Path::new("links").join(pin_name(&device, program));
                let pin = parse_pin(path).unwrap();
                assert_eq!((pin.device, pin.program), (device, program));
            }
        }
    }

    #[test]
    fn other_files_are_no_pins_of_devices() {
        for name in ["cgroup_connect4", "7_veth1", "x_veth1_to_pod", "7_to_pod"] {
            assert!(parse_pin(PathBuf::from(name)).is_none(), "{name}");
        }
    }

    #[test]
    fn tcx_begins_with_linux_6_6() {
        for release in ["6.6.0-1-amd64", "6.18.44-fc-v595\n", "7.0", "10.1.2"] {
            assert!(has_tcx(release), "{release}");
        }
        for release in ["6.5.13", "6.1.0-30-cloud", "5.15.0", "", "linux"] {
            assert!(!has_tcx(release), "{release}");
        }
    }

    #[test]
    fn dots_do_not_reach_the_file_system() {
        let device = Device {
            ifindex: 7,
            ifname: "eth0.100".to_owned(),
            role: Role::Pod,
        };
        assert_eq!(pin_name(&device, Program::ToPod), "7_eth0-100_to_pod");
    }
}
