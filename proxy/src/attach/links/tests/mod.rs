//! Links over agents that come and go, devices that do, and cgroups: with real ones, in network
//! namespaces and a bpf file system of the test's own, and programs that let everything pass.

mod roles;
mod wires;

use std::{
    fs,
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{Attached, Attachments, Device, Error, Method, Remnant, Role, cleanup, pinned, tcx};
use crate::{
    attach::{netlink::Routing, testing::Namespace},
    tables::{self, PinDir, Program, Programs, bpf_sys, testing::ScratchPins},
};

/// Two namespaces, devices between them, and a place for pins.
struct Node {
    host: Namespace,
    _pod: Namespace,
    scratch: ScratchPins,
}

/// A cgroup that is removed when this is dropped.
struct Cgroup(PathBuf);

static CGROUPS: AtomicU32 = AtomicU32::new(0);

// === impl Node ===

impl Node {
    fn new(devices: &[&str]) -> Option<Self> {
        let (host, pod) = (Namespace::new()?, Namespace::new()?);
        for device in devices {
            host.veth(device, &pod, &format!("{device}p"));
        }
        let scratch = ScratchPins::new();
        drop(scratch.pins.prepare().unwrap());
        Some(Self {
            host,
            _pod: pod,
            scratch,
        })
    }

    fn pins(&self) -> PinDir {
        self.scratch.pins.clone()
    }

    /// A new agent, with programs of its own.
    fn agent(&self, method: Method) -> Attachments {
        Attachments::new(self.pins(), Programs::scratch(), method)
    }

    fn device(&self, ifname: &str) -> Device {
        let links = self
            .host
            .enter(|| Routing::open().unwrap().links().unwrap());
        let link = links
            .into_iter()
            .find(|link| link.ifname == ifname)
            .unwrap();
        Device {
            ifindex: link.ifindex,
            ifname: link.ifname,
            role: Role::Pod,
        }
    }

    #[track_caller]
    fn reconcile(&self, agent: &mut Attachments, wanted: &[Device]) {
        let failures = self.host.enter(|| agent.reconcile(wanted)).unwrap();
        assert!(failures.is_empty(), "{failures:?}");
    }

    fn list(&self, agent: &Attachments) -> Vec<Attached> {
        self.host.enter(|| agent.list()).unwrap()
    }

    /// What `tc` says inside.
    fn tc(&self, arguments: &str) -> String {
        let words = arguments.split_whitespace();
        let output = self
            .host
            .enter(|| process::Command::new("tc").args(words).output())
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tc {arguments}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Link ids and program ids, by pin.
    fn links(&self) -> Vec<(String, u32, u32)> {
        let paths = tables::list(&self.pins().links()).unwrap();
        let named = paths.into_iter().map(|path| {
            let state = pinned::state(&path).unwrap().unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, state.id, state.program_id)
        });
        named.collect()
    }
}

// === impl Cgroup ===

impl Cgroup {
    fn new() -> Self {
        let number = CGROUPS.fetch_add(1, Ordering::Relaxed);
        let name = format!("sbl{}-{number}", process::id());
        let path = super::cgroup2_mount().unwrap().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A failing test must not be hidden by a second panic.
        let _ = fs::remove_dir(&self.0);
    }
}

fn both(device: &Device) -> [Attached; 2] {
    let mut programs = device.role.programs();
    programs.sort();
    programs.map(|program| Attached {
        device: device.clone(),
        program,
    })
}

#[test]
fn links_stay_the_same_when_another_agent_brings_other_programs() {
    let Some(node) = Node::new(&["va", "vb"]) else {
        return;
    };
    let devices = [node.device("va"), node.device("vb")];
    let mut first = node.agent(Method::Tcx);
    node.reconcile(&mut first, &devices);
    let before = node.links();
    assert_eq!(before.len(), 4, "{before:?}");
    assert_eq!(
        node.list(&first),
        [both(&devices[0]), both(&devices[1])].concat()
    );

    // Again without a change: nothing is done.
    node.reconcile(&mut first, &devices);
    assert_eq!(node.links(), before);

    drop(first);
    let mut second = node.agent(Method::Tcx);
    node.reconcile(&mut second, &devices);
    let after = node.links();
    let ids = |links: &[(String, u32, u32)]| -> Vec<(String, u32)> {
        links
            .iter()
            .map(|(name, id, _)| (name.clone(), *id))
            .collect()
    };
    assert_eq!(ids(&after), ids(&before), "no link is made anew");
    for (was, is) in before.iter().zip(&after) {
        assert_ne!(was.2, is.2, "{} has the program of the second agent", is.0);
    }
}

#[test]
fn devices_that_are_not_wanted_any_more_are_left_alone() {
    let Some(node) = Node::new(&["va", "vb"]) else {
        return;
    };
    let devices = [node.device("va"), node.device("vb")];
    let mut agent = node.agent(Method::Auto);
    node.reconcile(&mut agent, &devices);
    node.reconcile(&mut agent, &devices[1..]);
    assert_eq!(node.list(&agent), both(&devices[1]));
    node.reconcile(&mut agent, &[]);
    assert_eq!(node.list(&agent), []);
    assert_eq!(node.links(), []);
}

#[test]
fn a_device_that_vanished_is_forgotten_and_its_number_may_return() {
    let Some(node) = Node::new(&["va"]) else {
        return;
    };
    let device = node.device("va");
    let mut agent = node.agent(Method::Tcx);
    node.reconcile(&mut agent, std::slice::from_ref(&device));
    node.host.ip("link del va");
    assert_eq!(node.list(&agent), []);

    let failures = node
        .host
        .enter(|| agent.reconcile(std::slice::from_ref(&device)))
        .unwrap();
    assert!(failures.len() == 1 && failures[0].is_gone(), "{failures:?}");

    let index = device.ifindex;
    node.host.ip(&format!(
        "link add vc index {index} type veth peer name vcp"
    ));
    let successor = node.device("vc");
    assert_eq!(successor.ifindex, index);
    node.reconcile(&mut agent, std::slice::from_ref(&successor));
    assert_eq!(node.list(&agent), both(&successor));
    assert_eq!(node.links().len(), 2, "the pins of the old device are gone");

    node.host.ip("link del vc");
    node.reconcile(&mut agent, &[]);
    assert_eq!(node.links(), []);
}

#[test]
fn a_renamed_device_keeps_its_links() {
    let Some(node) = Node::new(&["va"]) else {
        return;
    };
    let device = node.device("va");
    let mut agent = node.agent(Method::Tcx);
    node.reconcile(&mut agent, std::slice::from_ref(&device));
    let before = node.links();
    node.host.ip("link set va down");
    node.host.ip("link set va name eth0.7");
    let renamed = node.device("eth0.7");
    assert_eq!(renamed.ifindex, device.ifindex);
    node.reconcile(&mut agent, std::slice::from_ref(&renamed));
    let after = node.links();
    assert_eq!(before.len(), after.len());
    for (was, is) in before.iter().zip(&after) {
        assert_eq!((was.1, was.2), (is.1, is.2));
        assert!(is.0.contains("_eth0-7_"), "{}", is.0);
    }
}

#[test]
fn a_link_that_somebody_removed_comes_back() {
    let Some(node) = Node::new(&["va"]) else {
        return;
    };
    let device = node.device("va");
    let mut agent = node.agent(Method::Tcx);
    node.reconcile(&mut agent, std::slice::from_ref(&device));
    let pin = tcx::pinned(&node.pins()).unwrap().pop().unwrap();
    pinned::release(&pin.path).unwrap();
    assert_eq!(node.list(&agent).len(), 1);
    node.reconcile(&mut agent, std::slice::from_ref(&device));
    assert_eq!(node.list(&agent), both(&device));
}

#[test]
fn filters_are_replaced_in_place_and_removed_with_their_qdisc() {
    let Some(node) = Node::new(&["va", "vb"]) else {
        return;
    };
    let devices = [node.device("va"), node.device("vb")];
    let mut first = node.agent(Method::Clsact);
    node.reconcile(&mut first, &devices);
    assert_eq!(
        node.list(&first),
        [both(&devices[0]), both(&devices[1])].concat()
    );
    drop(first);
    let mut second = node.agent(Method::Clsact);
    assert_eq!(node.list(&second).len(), 4, "filters outlive their agent");
    node.reconcile(&mut second, &devices);
    let shown = node.tc("filter show dev va ingress");
    assert_eq!(shown.matches("switchboard/from_pod").count(), 1, "{shown}");
    let id = bpf_sys::program_id(second.programs.fd(Program::FromPod)).unwrap();
    assert!(shown.contains(&format!(" id {id} ")), "{shown}");

    // Somebody else's filter keeps the qdisc.
    let pin = node.scratch.mount_point().join("other");
    bpf_sys::object_pin(second.programs.fd(Program::FromPod), &pin).unwrap();
    let pin = pin.display();
    node.tc(&format!(
        "filter add dev vb ingress prio 9 bpf da object-pinned {pin}"
    ));
    node.reconcile(&mut second, &[]);
    assert_eq!(node.list(&second), []);
    assert!(!node.tc("qdisc show dev va").contains("clsact"));
    assert!(node.tc("qdisc show dev vb").contains("clsact"));
    assert!(node.tc("filter show dev vb ingress").contains(" pref 9 "));
}

#[test]
fn an_agent_takes_over_from_the_other_method() {
    let Some(node) = Node::new(&["va"]) else {
        return;
    };
    let device = node.device("va");
    let mut shown = Vec::new();
    for method in [Method::Tcx, Method::Clsact, Method::Tcx] {
        let mut agent = node.agent(method);
        node.reconcile(&mut agent, std::slice::from_ref(&device));
        assert_eq!(
            node.list(&agent),
            both(&device),
            "attached once, by {method:?}"
        );
        shown.push((
            node.links().len(),
            node.tc("qdisc show dev va").contains("clsact"),
        ));
    }
    assert_eq!(shown, [(2, false), (0, true), (2, false)]);
}

#[test]
fn programs_of_sockets_stay_on_their_cgroup_and_follow_to_another() {
    let Some(node) = Node::new(&[]) else { return };
    let (cgroup, other) = (Cgroup::new(), Cgroup::new());
    node.agent(Method::Auto).attach_sockets(&cgroup.0).unwrap();
    let first = node.links();
    assert_eq!(first.len(), Program::SOCKET.len());
    node.agent(Method::Auto).attach_sockets(&cgroup.0).unwrap();
    let second = node.links();
    for (was, is) in first.iter().zip(&second) {
        assert_eq!(was.1, is.1, "{} is the same link", is.0);
        assert_ne!(was.2, is.2, "{} has the second agent's program", is.0);
    }
    node.agent(Method::Auto).attach_sockets(&other.0).unwrap();
    let third = node.links();
    assert_eq!(third.len(), Program::SOCKET.len());
    for (was, is) in second.iter().zip(&third) {
        assert_ne!(was.1, is.1, "{} is a link of another cgroup", is.0);
    }
    let error = node
        .agent(Method::Auto)
        .attach_sockets(node.pins().path())
        .unwrap_err();
    assert!(error.to_string().contains("--cgroup"), "{error}");
}

#[test]
fn cleanup_leaves_nothing_and_says_what_it_would_do() {
    let Some(node) = Node::new(&["va"]) else {
        return;
    };
    let cgroup = Cgroup::new();
    let device = node.device("va");
    let mut agent = node.agent(Method::Clsact);
    node.reconcile(&mut agent, std::slice::from_ref(&device));
    agent.attach_sockets(&cgroup.0).unwrap();

    let lock = node.pins().lock().unwrap();
    let refused = node
        .host
        .enter(|| cleanup(&node.pins(), false))
        .unwrap_err();
    let own = Some(process::id());
    assert!(
        matches!(&refused, Error::Pins(tables::Error::Locked { pid, .. }) if *pid == own),
        "{refused}"
    );

    let listed = node.host.enter(|| cleanup(&node.pins(), true)).unwrap();
    drop(lock);
    let filters = listed
        .iter()
        .filter(|found| matches!(found, Remnant::Filter { .. }));
    assert_eq!(
        (listed.len(), filters.count()),
        (8 + 2 + 3, 2),
        "{listed:?}"
    );
    assert_eq!(node.links().len(), 8, "a dry run removes nothing");

    assert_eq!(
        node.host.enter(|| cleanup(&node.pins(), false)).unwrap(),
        listed
    );
    assert_eq!(node.list(&agent), []);
    assert!(!node.pins().path().exists());
    assert_eq!(
        node.host.enter(|| cleanup(&node.pins(), false)).unwrap(),
        []
    );
}
