//! `from_wire` as an XDP link.
//!
//! Nothing depends on it, since `from_net` does the same with what it does not see: a device that
//! refuses it loses time and no packet, and a link may go before another comes.

use std::io;

use tracing::info;

use super::{
    Attachments, Device, DeviceError, Error, contains,
    device_pins::{self, Pin, path_for, place_of},
    pinned::{Spot, hold, release},
};
use crate::{
    attach::netlink::Routing,
    tables::{
        PinDir, Program,
        bpf_sys::{LinkTarget, XdpMode},
    },
};

/// Who runs `from_wire`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Xdp {
    /// The drivers that do.
    #[default]
    Auto,
    Off,
    /// The driver, and a device whose driver does not is a failure.
    Driver,
    /// The kernel, whatever the driver does.
    Generic,
}

impl Attachments {
    /// Makes these the only devices with `from_wire`. With `Auto`, one that refuses is left alone
    /// until it is no longer wanted; with `Off`, none has it.
    pub fn reconcile_wires(
        &mut self,
        wires: &[Device],
        xdp: Xdp,
    ) -> Result<Vec<DeviceError>, Error> {
        let (wires, mode) = match xdp {
            Xdp::Off => (&[][..], XdpMode::Driver),
            Xdp::Auto | Xdp::Driver => (wires, XdpMode::Driver),
            Xdp::Generic => (wires, XdpMode::Generic),
        };
        let there = pinned(&self.pins)?;
        let mut failures = Vec::new();
        for pin in &there {
            if !contains(wires, pin.device.ifindex) {
                failures.extend(DeviceError::of(&pin.device, release(&pin.path)));
            }
        }
        self.refused.retain(|ifindex| contains(wires, *ifindex));
        for device in wires {
            if self.refused.contains(&device.ifindex) {
                continue;
            }
            let result = self.attach_wire(device, mode, &there);
            let Some(failure) = DeviceError::of(device, result) else {
                continue;
            };
            match failure.refusal() {
                Some(reason) if xdp == Xdp::Auto => {
                    let device = &failure.device;
                    info!(device = %device.ifname, "left to from_net: {}: {reason}", failure.source);
                    self.refused.insert(device.ifindex);
                    failures.extend(self.forget_wire(device));
                }
                _ => failures.push(failure),
            }
        }
        Ok(failures)
    }

    /// Takes away what an earlier agent had there, which cannot be replaced.
    fn forget_wire(&self, device: &Device) -> Option<DeviceError> {
        let released =
            path_for(&self.pins, device, Program::FromWire, &[]).and_then(|path| release(&path));
        DeviceError::of(device, released)
    }

    fn attach_wire(&self, device: &Device, mode: XdpMode, there: &[Pin]) -> Result<(), Error> {
        let ifindex = device.ifindex;
        let program = Program::FromWire;
        let path = path_for(&self.pins, device, program, there)?;
        let links = Routing::open()?.links()?;
        let Some(link) = links.iter().find(|link| link.ifindex == ifindex) else {
            // The kernel would call it an invalid argument.
            let gone = io::Error::from_raw_os_error(libc::ENODEV);
            return Err(Error::at("attach the program for", path)(gone));
        };
        // A link cannot be asked for its mode, nor given another.
        if link.generic_xdp != (mode == XdpMode::Generic) {
            release(&path)?;
        }
        let spot = Spot {
            target: LinkTarget::Wire { ifindex, mode },
            place: place_of(program, ifindex),
            attach_type: program.attach_type(),
        };
        hold(&path, self.programs.fd(program), &spot).map(drop)
    }
}

/// Every pin of `from_wire`, in the order of their paths.
pub(super) fn pinned(pins: &PinDir) -> Result<Vec<Pin>, Error> {
    device_pins::of(pins, &[Program::FromWire])
}
