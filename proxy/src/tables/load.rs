//! From the object's bytes to pinned maps and loaded programs.
//!
//! Maps that are pinned already are used as they are, with all that they hold: that is what makes a
//! restart a matter of reading. aya 0.14 would do so whatever their layout, hence the comparison
//! here before it gets to see them.

use std::{io, os::fd::AsFd as _};

use aya::EbpfLoader;

use super::{
    Access, BpfTables, Error, PinDir, PinLock, Programs,
    bpf_sys::{self, MapShape},
};

/// The programs as `build.rs` compiled them.
pub static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/switchboard-ebpf"));

/// What the agent owns in the kernel, attached to nothing yet.
pub struct Datapath {
    pub tables: BpfTables,
    pub programs: Programs,
    /// Held for as long as the agent runs.
    pub lock: PinLock,
}

impl Datapath {
    /// Takes the pin directory, loads `object`'s programs for the network namespace of the calling
    /// thread, and opens the maps: those that are pinned, or new ones.
    pub fn load(object: &[u8], pins: &PinDir) -> Result<Self, Error> {
        let lock = pins.prepare()?;
        let names = check_pins(object, pins)?;
        let cookie = bpf_sys::netns_cookie()
            .map_err(Error::path("tell the network namespace of", "self"))?;
        let mut loader = EbpfLoader::new();
        loader.override_global("HOST_NETNS_COOKIE", &cookie, true);
        for name in &names {
            loader.map_pin_path(name, pins.map_named(name));
        }
        let mut ebpf = loader.load(object).map_err(Box::new)?;
        let programs = Programs::load(&mut ebpf)?;
        let tables = BpfTables::open_pinned(pins, Access::Write)?;
        Ok(Self {
            tables,
            programs,
            lock,
        })
    }
}

/// The names of the object's maps that are to be pinned, after comparing each with what is there.
fn check_pins(object: &[u8], pins: &PinDir) -> Result<Vec<String>, Error> {
    let object = aya_obj::Object::parse(object).map_err(Box::new)?;
    let mut names = Vec::new();
    for (name, map) in &object.maps {
        // Sections such as `.rodata` belong to one load of the programs.
        if name.starts_with('.') {
            continue;
        }
        let wanted = MapShape {
            kind: map.map_type(),
            key_size: map.key_size(),
            value_size: map.value_size(),
            max_entries: map.max_entries(),
            flags: map.map_flags(),
        };
        check_pin(name, &wanted, pins)?;
        names.push(name.clone());
    }
    Ok(names)
}

fn check_pin(name: &str, wanted: &MapShape, pins: &PinDir) -> Result<(), Error> {
    let path = pins.map_named(name);
    let pinned = match bpf_sys::object_get(&path, Access::Write) {
        Ok(pinned) => pinned,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::path("open the map at", path)(error)),
    };
    let found =
        bpf_sys::map_shape(pinned.as_fd()).map_err(Error::path("examine the map at", &path))?;
    if found == *wanted {
        return Ok(());
    }
    Err(Error::Layout {
        map: name.to_owned(),
        path,
        found: found.to_string(),
        wanted: wanted.to_string(),
    })
}
