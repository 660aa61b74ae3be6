//! Takes away all that an agent leaves behind in the kernel, without an agent.

use std::{fmt, fs, path::PathBuf};

use super::{Error, clsact::Clsact, pinned};
use crate::tables::{PinDir, Program, list};

/// One thing to take away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remnant {
    Link(PathBuf),
    Filter {
        ifindex: u32,
        ifname: String,
        program: Program,
    },
    Map(PathBuf),
    Directory(PathBuf),
}

/// Removes, or with `dry_run` only finds, everything that is pinned below `pins` and our filters on
/// the devices of this network namespace. Refuses while an agent runs.
pub fn cleanup(pins: &PinDir, dry_run: bool) -> Result<Vec<Remnant>, Error> {
    let _lock = match dry_run || !pins.path().exists() {
        true => None,
        false => Some(pins.lock()?),
    };
    let remnants = find(pins)?;
    if !dry_run {
        for remnant in &remnants {
            remove(remnant)?;
        }
    }
    Ok(remnants)
}

/// In the order in which they go: programs first, so that none runs on maps that nobody sees.
fn find(pins: &PinDir) -> Result<Vec<Remnant>, Error> {
    let mut remnants = Vec::new();
    let pinned = pins.path().exists();
    if pinned {
        pins.check_file_system()?;
        remnants.extend(list(&pins.links())?.into_iter().map(Remnant::Link));
    }
    for found in Clsact::open()?.attached()? {
        let (ifindex, ifname) = (found.device.ifindex, found.device.ifname);
        remnants.push(Remnant::Filter {
            ifindex,
            ifname,
            program: found.program,
        });
    }
    if pinned {
        remnants.extend(list(&pins.maps())?.into_iter().map(Remnant::Map));
        let dirs = [pins.links(), pins.maps(), pins.path().to_owned()];
        remnants.extend(
            dirs.into_iter()
                .filter(|dir| dir.exists())
                .map(Remnant::Directory),
        );
    }
    Ok(remnants)
}

fn remove(remnant: &Remnant) -> Result<(), Error> {
    match remnant {
        Remnant::Link(path) => pinned::release(path),
        // Both filters of the device go at once.
        Remnant::Filter { ifindex, .. } => Clsact::open()?.detach(*ifindex),
        Remnant::Map(path) => fs::remove_file(path).map_err(Error::at("unpin the map at", path)),
        Remnant::Directory(path) => {
            fs::remove_dir(path).map_err(Error::at("remove the directory", path))
        }
    }
}

impl fmt::Display for Remnant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(path) => write!(f, "link {}", path.display()),
            Self::Filter {
                ifname, program, ..
            } => {
                write!(f, "filter {} of device {ifname}", program.name())
            }
            Self::Map(path) => write!(f, "map {}", path.display()),
            Self::Directory(path) => write!(f, "directory {}", path.display()),
        }
    }
}
