//! Pods come and go: the agent finds their devices by itself.

use tests::{lab::device_of, privileges};

use super::{Web, assert_spread};

#[test]
fn a_pod_that_is_plugged_in_later_is_served_and_serves() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::small();
    let late = web.add_server(1, "late", "app=web");
    web.lab.publish().unwrap();
    for client in [late.clone(), late.unhooked(), web.client.unhooked()] {
        for protocol in ["tcp", "udp"] {
            for to in super::to_vips(protocol, 80) {
                assert_spread(&client, &to, &["near", "far", "late"]);
            }
        }
    }
}

#[test]
fn a_device_that_disappears_is_forgotten_and_may_return() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::small();
    let device = device_of("guest");
    for _ in 0..2 {
        let guest = web.lab.add_pod(1, "guest", "").unwrap();
        web.lab.publish().unwrap();
        assert_spread(&guest.unhooked(), "udp 10.96.0.10:80", &["near", "far"]);
        web.lab.remove_pod("guest").unwrap();
        web.lab.publish().unwrap();
        let agent = web.lab.agent_mut(1);
        let gone = |name: &str| name != device;
        agent
            .wait_until("the end of the device", |status| {
                status
                    .endpoints
                    .iter()
                    .all(|endpoint| gone(&endpoint.ifname))
            })
            .unwrap();
        let links = std::fs::read_dir(agent.pin_dir().join("links")).unwrap();
        let names: Vec<_> = links.map(|entry| entry.unwrap().file_name()).collect();
        let stale = names
            .iter()
            .filter(|name| name.to_string_lossy().contains(&device));
        assert_eq!(stale.count(), 0, "pins stay behind: {names:?}");
    }
}

#[test]
fn the_uplink_has_the_programs_of_the_wire_and_none_of_a_pods() {
    if !privileges::are_there() {
        return;
    }
    // The node's uplink is a veth to another namespace, as a pod's device is.
    let web = Web::small();
    let links = std::fs::read_dir(web.lab.agent(1).pin_dir().join("links")).unwrap();
    let names = links.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut programs: Vec<_> = names
        .filter_map(|name| Some(name.split_once("_eth0_")?.1.to_owned()))
        .collect();
    programs.sort();
    assert_eq!(programs, ["from_net", "to_net"]);
}
