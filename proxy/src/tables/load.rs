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

#[cfg(test)]
mod tests {
    use std::{fs, process};

    use proxy_datapath::tables::{Frontends4, Table as _};

    use super::*;
    use crate::{
        plan::MapState,
        tables::{
            Tables as _,
            testing::{ScratchPins, pin_map, privileged},
        },
    };

    #[test]
    fn a_second_load_finds_the_maps_of_the_first() {
        if !privileged() {
            return;
        }
        let scratch = ScratchPins::new();
        let pins = &scratch.pins;
        let first = Datapath::load(OBJECT, pins).unwrap();
        assert_eq!(first.tables.dump().unwrap(), MapState::default());
        assert!(
            first
                .tables
                .counters()
                .unwrap()
                .iter()
                .all(|counter| counter.packets == 0)
        );
        let usage = first.tables.usage(&MapState::default()).unwrap();
        assert!(
            usage
                .iter()
                .all(|usage| usage.used == 0 && usage.capacity > 0),
            "{usage:?}"
        );

        let refused = Datapath::load(OBJECT, pins).err().unwrap();
        assert!(
            matches!(&refused, Error::Locked { pid, .. } if *pid == Some(process::id())),
            "{refused}"
        );

        let key = proxy_datapath::tables::FrontendKey::default();
        let value = proxy_datapath::tables::Frontend {
            service: 7,
            ..Default::default()
        };
        assert!(
            first
                .tables
                .v4
                .frontends
                .update(&[key], &[value])
                .is_empty()
        );
        drop(first);
        let second = Datapath::load(OBJECT, pins).unwrap();
        assert_eq!(
            second.tables.v4.frontends.lookup(&key).unwrap(),
            Some(value)
        );
    }

    #[test]
    fn maps_of_another_layout_are_refused_by_name() {
        if !privileged() {
            return;
        }
        let scratch = ScratchPins::new();
        let pins = &scratch.pins;
        drop(pins.prepare().unwrap());
        pin_map::<Frontends4>(pins, Frontends4::CAPACITY / 2);
        let refused = Datapath::load(OBJECT, pins).err().unwrap().to_string();
        for word in [
            "FRONTENDS4",
            "32768 entries",
            "65536 entries",
            "switchboard cleanup",
        ] {
            assert!(refused.contains(word), "{refused}");
        }
    }

    #[test]
    fn a_directory_elsewhere_is_refused_with_the_way_to_mount_one() {
        let dir = tempfile::tempdir().unwrap();
        let refused = PinDir::new(dir.path().join("switchboard"))
            .prepare()
            .unwrap_err();
        let command = format!("`mount -t bpf bpf {}`", dir.path().display());
        assert!(refused.to_string().contains(&command), "{refused}");
        assert!(!dir.path().join("switchboard").exists());
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        if !privileged() {
            return;
        }
        let scratch = ScratchPins::new();
        let pins = &scratch.pins;
        drop(pins.prepare().unwrap());
        fs::set_permissions(pins.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = pins.prepare().unwrap_err();
        assert!(
            matches!(refused, Error::Untrusted { owner: 0, .. }),
            "{refused}"
        );
    }

    #[test]
    fn maps_of_other_layouts_are_unpinned_and_ours_stay() {
        if !privileged() {
            return;
        }
        let scratch = ScratchPins::with_maps(16, 16);
        let pins = &scratch.pins;
        let lock = pins.lock().unwrap();
        let old = pins.maps().join("frontends4_v0");
        fs::rename(pins.map::<Frontends4>(), &old).unwrap();
        assert_eq!(pins.remove_other_layouts(&lock).unwrap(), [old]);
        assert_eq!(super::super::list(&pins.maps()).unwrap().len(), 23);
    }
}
