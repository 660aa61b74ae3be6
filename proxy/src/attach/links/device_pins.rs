//! The pins of links on devices, and what their names say.
//!
//! They are `<ifindex>_<name>_<program>`. The number decides; the name is for people, and may be
//! that of a device that has been renamed since. A bpf file system allows no dots in names.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Device, Error, Role,
    pinned::{release, state},
};
use crate::tables::{PinDir, Program, bpf_sys::LinkPlace, list};

/// A pin of one of our programs on a device.
pub(super) struct Pin {
    pub(super) path: PathBuf,
    pub(super) device: Device,
    pub(super) program: Program,
}

/// Every pin of these programs, in the order of their paths.
pub(super) fn of(pins: &PinDir, programs: &[Program]) -> Result<Vec<Pin>, Error> {
    Ok(list(&pins.links())?
        .into_iter()
        .filter_map(|path| parse_pin(path, programs))
        .collect())
}

/// Where the link of a program on a device is to be pinned; one of that device's among `there` that
/// has another name is moved to it.
pub(super) fn path_for(
    pins: &PinDir,
    device: &Device,
    program: Program,
    there: &[Pin],
) -> Result<PathBuf, Error> {
    let path = pins.links().join(pin_name(device, program));
    for pin in there {
        if pin.device.ifindex == device.ifindex && pin.program == program && pin.path != path {
            adopt_renamed(pin, &path)?;
        }
    }
    Ok(path)
}

/// Whether the pin's link is attached to the device that it names.
pub(super) fn is_alive(pin: &Pin) -> Result<bool, Error> {
    let place = place_of(pin.program, pin.device.ifindex);
    Ok(state(&pin.path)?.is_some_and(|state| state.place == place))
}

/// What the kernel says of a link that attaches the program to the device.
pub(super) const fn place_of(program: Program, ifindex: u32) -> LinkPlace {
    match program {
        Program::FromWire => LinkPlace::Xdp { ifindex },
        _ => LinkPlace::Tcx {
            ifindex,
            attach_type: program.attach_type() as u32,
        },
    }
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

fn pin_name(device: &Device, program: Program) -> String {
    let name = device.ifname.replace('.', "-");
    format!("{}_{name}_{}", device.ifindex, program.name())
}

fn parse_pin(path: PathBuf, programs: &[Program]) -> Option<Pin> {
    let (ifindex, rest) = path.file_name()?.to_str()?.split_once('_')?;
    let ifindex = ifindex.parse().ok()?;
    let (program, ifname) = programs.iter().find_map(|program| {
        let ifname = rest.strip_suffix(program.name())?.strip_suffix('_')?;
        Some((*program, ifname.to_owned()))
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

    const PROGRAMS: [Program; 5] = [
        Program::FromPod,
        Program::ToPod,
        Program::FromNet,
        Program::ToNet,
        Program::FromWire,
    ];

    #[test]
    fn a_pin_tells_device_and_program() {
        for ifname in ["veth1", "v_from_pod", "_", "eth0-5"] {
            for program in PROGRAMS {
                let device = Device {
                    ifindex: 7,
                    ifname: ifname.to_owned(),
                    role: Role::of(program),
                };
                let path = Path::new("links").join(pin_name(&device, program));
                let pin = parse_pin(path, &PROGRAMS).unwrap();
                assert_eq!((pin.device, pin.program), (device, program));
            }
        }
    }

    #[test]
    fn other_files_are_no_pins_of_devices() {
        for name in [
            "cgroup_connect4",
            "7_veth1",
            "x_veth1_to_pod",
            "7_to_pod",
            "7_from_wire",
        ] {
            assert!(
                parse_pin(PathBuf::from(name), &PROGRAMS).is_none(),
                "{name}"
            );
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
