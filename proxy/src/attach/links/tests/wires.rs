//! `from_wire` on uplinks: in generic mode on any device, in the driver's only where it does that.

use std::{os::fd::OwnedFd, slice};

use super::{super::*, Node, both};
use crate::{
    attach::netlink::Routing,
    tables::bpf_sys::{self, LinkTarget, XdpMode},
};

fn uplink(node: &Node, ifname: &str) -> Device {
    Device {
        role: Role::Uplink,
        ..node.device(ifname)
    }
}

fn on_wire(device: &Device) -> Attached {
    Attached {
        device: device.clone(),
        program: Program::FromWire,
    }
}

fn wires(node: &Node, agent: &mut Attachments, wanted: &[Device], xdp: Xdp) -> Vec<DeviceError> {
    let reconciled = node.host.enter(|| agent.reconcile_wires(wanted, xdp));
    reconciled.unwrap()
}

#[track_caller]
fn assert_attached(node: &Node, agent: &mut Attachments, device: &Device, xdp: Xdp) {
    let failures = wires(node, agent, slice::from_ref(device), xdp);
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(node.list(agent), [on_wire(device)]);
}

fn is_generic(node: &Node, device: &Device) -> bool {
    let links = node.host.enter(|| Routing::open().unwrap().links());
    let mut links = links.unwrap().into_iter();
    let link = links.find(|link| link.ifindex == device.ifindex);
    link.unwrap().generic_xdp
}

/// Somebody else's program on the device.
fn other(node: &Node, device: &Device) -> OwnedFd {
    let programs = Programs::scratch();
    let target = LinkTarget::Wire {
        ifindex: device.ifindex,
        mode: XdpMode::Generic,
    };
    let program = programs.fd(Program::FromWire);
    let attach_type = Program::FromWire.attach_type();
    let link = node
        .host
        .enter(|| bpf_sys::link_create(program, target, attach_type));
    link.unwrap()
}

#[test]
fn the_wires_link_stays_the_same_when_another_agent_brings_its_program() {
    let Some(node) = Node::new(&["va"]) else {
        return;
    };
    let device = uplink(&node, "va");
    assert_attached(&node, &mut node.agent(Method::Auto), &device, Xdp::Generic);
    let before = node.links();
    assert_eq!(before[0].0, format!("{}_va_from_wire", device.ifindex));
    assert_attached(&node, &mut node.agent(Method::Auto), &device, Xdp::Generic);
    let after = node.links();
    assert_eq!((before.len(), before[0].1), (1, after[0].1));
    assert_ne!(before[0].2, after[0].2, "the second agent's program");
}

#[test]
fn a_wire_that_is_renamed_keeps_its_link_and_one_that_vanished_is_forgotten() {
    let Some(node) = Node::new(&["va"]) else {
        return;
    };
    let mut agent = node.agent(Method::Auto);
    assert_attached(&node, &mut agent, &uplink(&node, "va"), Xdp::Generic);
    let before = node.links();
    node.host.ip("link set va down");
    node.host.ip("link set va name vb");
    let renamed = uplink(&node, "vb");
    assert_attached(&node, &mut agent, &renamed, Xdp::Generic);
    assert_eq!(before[0].1, node.links()[0].1);

    node.host.ip("link del vb");
    assert_eq!(node.list(&agent), []);
    let failures = wires(&node, &mut agent, slice::from_ref(&renamed), Xdp::Generic);
    assert!(failures.len() == 1 && failures[0].is_gone(), "{failures:?}");
    let failures = wires(&node, &mut agent, &[], Xdp::Generic);
    assert!(
        failures.is_empty() && node.links().is_empty(),
        "{failures:?}"
    );
}

#[test]
fn another_mode_takes_the_place_of_the_one_before() {
    let Some(node) = Node::new(&["va"]) else {
        return;
    };
    let device = uplink(&node, "va");
    for (xdp, generic) in [
        (Xdp::Generic, true),
        (Xdp::Driver, false),
        (Xdp::Generic, true),
        (Xdp::Auto, false),
    ] {
        assert_attached(&node, &mut node.agent(Method::Auto), &device, xdp);
        assert_eq!(is_generic(&node, &device), generic, "{xdp:?}");
    }
    let mut agent = node.agent(Method::Auto);
    let failures = wires(&node, &mut agent, slice::from_ref(&device), Xdp::Off);
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(node.links(), []);
}

#[test]
fn a_device_that_refuses_is_left_alone_unless_its_driver_was_asked_for() {
    let Some(node) = Node::new(&["va"]) else {
        return;
    };
    node.host.ip("link add da type bridge");
    let devices = [uplink(&node, "da"), uplink(&node, "va")];
    // No driver runs programs for the one, and the other is taken.
    let taken = other(&node, &devices[1]);
    let mut agent = node.agent(Method::Auto);
    assert_eq!(wires(&node, &mut agent, &devices, Xdp::Driver).len(), 2);
    let failures = wires(&node, &mut agent, &devices, Xdp::Auto);
    assert!(failures.is_empty(), "{failures:?}");

    // Not asked again, until it has been unwanted.
    drop(taken);
    wires(&node, &mut agent, &devices, Xdp::Auto);
    assert_eq!(node.list(&agent), []);
    wires(&node, &mut agent, &[], Xdp::Auto);
    wires(&node, &mut agent, &devices, Xdp::Auto);
    assert_eq!(node.list(&agent), [on_wire(&devices[1])]);
}

#[test]
fn programs_of_both_hooks_share_an_uplink_and_are_cleaned_up_together() {
    for method in [Method::Tcx, Method::Clsact] {
        let Some(node) = Node::new(&["va"]) else {
            return;
        };
        let device = uplink(&node, "va");
        let mut agent = node.agent(method);
        node.reconcile(&mut agent, slice::from_ref(&device));
        wires(&node, &mut agent, slice::from_ref(&device), Xdp::Generic);
        let mut wanted = both(&device).to_vec();
        wanted.push(on_wire(&device));
        assert_eq!(node.list(&agent), wanted, "{method:?}");
        // Each knows its own.
        node.reconcile(&mut agent, &[]);
        assert_eq!(node.list(&agent), [on_wire(&device)], "{method:?}");
        node.host.enter(|| cleanup(&node.pins(), false)).unwrap();
        assert_eq!(node.list(&agent), [], "{method:?}");
        assert!(!is_generic(&node, &device));
    }
}
