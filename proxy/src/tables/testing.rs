//! What privileged tests share: a bpf file system of their own, and maps in it.

use std::{
    env, fs,
    io::{self, Write as _},
    os::fd::AsFd as _,
    path::Path,
    thread,
};

use proxy_datapath::{
    family::{Ipv4, Ipv6},
    tables::{Counters, Slots, Table},
};
use rustix::{
    mount::{MountFlags, UnmountFlags},
    thread::{CapabilitySet, capabilities},
};

use super::{
    FamilyTables, PinDir,
    bpf_sys::{self, MapShape, scratch},
    map::kind_number,
};

/// Whether this process may use bpf(2) and mount. If not, the running test is skipped, which is
/// said in the form that `cargo xtask test` counts; with `REQUIRE_PRIVILEGED=1` it fails.
pub(crate) fn privileged() -> bool {
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN;
    let ours = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    if ours.contains(needed) {
        return true;
    }
    let reason = "it mounts a bpf file system, which takes CAP_SYS_ADMIN and CAP_NET_ADMIN";
    let forced = env::var("REQUIRE_PRIVILEGED").is_ok_and(|value| value == "1");
    assert!(
        !forced,
        "cannot run, and REQUIRE_PRIVILEGED=1 forbids to skip: {reason}"
    );
    let thread = thread::current();
    // The test harness would keep back what a passing test prints.
    let _ = writeln!(
        io::stderr(),
        "skipped: {}: {reason}",
        thread.name().unwrap_or("a test")
    );
    false
}

/// A mounted bpf file system and a pin directory in it, both gone when this is dropped.
pub(crate) struct ScratchPins {
    mount: tempfile::TempDir,
    pub(crate) pins: PinDir,
}

impl ScratchPins {
    pub(crate) fn new() -> Self {
        let mount = tempfile::tempdir().unwrap();
        let none: Option<&std::ffi::CStr> = None;
        rustix::mount::mount("bpf", mount.path(), "bpf", MountFlags::empty(), none).unwrap();
        let pins = PinDir::new(mount.path().join("switchboard"));
        Self { mount, pins }
    }

    /// With every map pinned, small but for what the caller says. There is room for as many
    /// addresses and source ranges as frontends.
    pub(crate) fn with_maps(frontends_max: u32, backends_max: u32) -> Self {
        let scratch = Self::new();
        drop(scratch.pins.prepare().unwrap());
        let pins = &scratch.pins;
        family_maps::<Ipv4>(pins, frontends_max, backends_max);
        family_maps::<Ipv6>(pins, frontends_max, backends_max);
        pin_map::<Slots>(pins, 2 * backends_max);
        pin_map::<Counters>(pins, Counters::CAPACITY);
        scratch
    }

    pub(crate) fn mount_point(&self) -> &Path {
        self.mount.path()
    }
}

impl Drop for ScratchPins {
    fn drop(&mut self) {
        let done = rustix::mount::unmount(self.mount.path(), UnmountFlags::DETACH);
        if let Err(error) = done {
            eprintln!("cannot unmount {}: {error}", self.mount.path().display());
        }
    }
}

fn family_maps<F: FamilyTables>(pins: &PinDir, frontends_max: u32, backends_max: u32) {
    pin_map::<F::Frontends>(pins, frontends_max);
    pin_map::<F::Addresses>(pins, frontends_max);
    pin_map::<F::Sources>(pins, frontends_max);
    pin_map::<F::Affinities>(pins, 1024);
    pin_map::<F::Nodes>(pins, F::Nodes::CAPACITY);
    pin_map::<F::Ranges>(pins, F::Ranges::CAPACITY);
    pin_map::<F::Uplinks>(pins, F::Uplinks::CAPACITY);
    pin_map::<F::Backends>(pins, backends_max);
    pin_map::<F::Flows>(pins, 1024);
    pin_map::<F::Fragments>(pins, 1024);
    pin_map::<F::Sockets>(pins, 1024);
}

pub(crate) fn pin_map<T: Table>(pins: &PinDir, max_entries: u32) {
    let shape = MapShape {
        kind: kind_number(T::KIND),
        key_size: size_of::<T::Key>() as u32,
        value_size: size_of::<T::Value>() as u32,
        max_entries,
        flags: T::KIND.flags(),
    };
    let path = pins.map::<T>();
    match fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}"),
    }
    let map = scratch::map(T::NAME, &shape).unwrap();
    bpf_sys::object_pin(map.as_fd(), &path).unwrap();
}
