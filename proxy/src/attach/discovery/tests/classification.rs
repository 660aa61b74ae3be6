//! What each device is, as a table.

use std::net::IpAddr;

use rstest::rstest;

use super::super::{Claim, CniClaims, EndpointKind, Facts, NotPod, Scan, UplinkSign, classify};
use crate::{
    attach::netlink::{Address, Link, Route},
    model::ObjectKey,
};

const DEVICE: u32 = 10;
const PEER: u32 = 2;
const BRIDGE: u32 = 5;
const BOND: u32 = 6;
const NETNSID: i32 = 3;

const POD_ADDR: &str = "10.1.0.9";
const NODE_ADDR: &str = "10.0.0.1";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(ifindex: u32, addr: &str) -> Address {
    Address {
        ifindex,
        addr: ip(addr),
        global: true,
        secondary: false,
    }
}

fn claim(name: &str) -> Claim {
    Claim {
        pod: ObjectKey::new("default", name),
        uid: None,
    }
}

fn veth() -> Link {
    Link {
        ifindex: DEVICE,
        ifname: "veth0".into(),
        ethernet: true,
        up: true,
        kind: Some("veth".into()),
        peer: Some(PEER),
        netnsid: Some(NETNSID),
        ..Link::default()
    }
}

fn kind(kind: &str) -> Link {
    Link {
        kind: Some(kind.into()),
        ..veth()
    }
}

/// A node with one device to judge, a bridge and a bond, and the pod `web`, whose Pod object has
/// `POD_ADDR`.
struct Case {
    scan: Scan,
    facts: Facts,
    cni: CniClaims,
    waited: bool,
}

impl Case {
    fn new(device: Link) -> Self {
        let port_holder = |ifindex, kind: &str| Link {
            ifindex,
            ifname: kind.into(),
            kind: Some(kind.into()),
            ..Link::default()
        };
        let links = vec![
            device,
            port_holder(BRIDGE, "bridge"),
            port_holder(BOND, "bond"),
        ];
        let facts = Facts {
            complete: true,
            node_addrs: [ip(NODE_ADDR)].into(),
            pods: [(ObjectKey::new("default", "web"), vec![ip(POD_ADDR)])].into(),
        };
        let scan = Scan {
            links,
            ..Scan::default()
        };
        Self {
            scan,
            facts,
            cni: CniClaims::default(),
            waited: false,
        }
    }

    fn address(mut self, addr: &str) -> Self {
        self.scan.addresses.push(at(DEVICE, addr));
        self
    }

    fn inside(mut self, ifindex: u32, addr: &str) -> Self {
        let inside = self.scan.inside.entry(NETNSID).or_default();
        inside.push(at(ifindex, addr));
        self
    }

    fn route(mut self, prefix_len: u8, gateway: bool) -> Self {
        self.scan.routes.push(Route {
            ifindex: DEVICE,
            prefix_len,
            gateway,
        });
        self
    }

    fn cached(mut self, addr: &str, pod: &str) -> Self {
        self.cni.by_addr.insert(ip(addr), claim(pod));
        self
    }

    fn cached_ifname(mut self, ifname: &str, pod: &str) -> Self {
        self.cni.by_ifname.insert(ifname.into(), claim(pod));
        self
    }

    fn waited(mut self) -> Self {
        self.waited = true;
        self
    }

    fn kind(&self) -> EndpointKind {
        let endpoints = classify(&self.scan, &self.facts, &self.cni, |_| self.waited);
        endpoints
            .into_iter()
            .find(|endpoint| endpoint.ifindex == DEVICE)
            .unwrap()
            .kind
    }
}

fn pod(name: &str) -> EndpointKind {
    EndpointKind::Pod {
        claimed_by: claim(name),
    }
}

const fn uplink(why: UplinkSign) -> EndpointKind {
    EndpointKind::Uplink { why }
}

const fn not_pod(why: NotPod) -> EndpointKind {
    EndpointKind::NotPod { why }
}

#[rstest]
#[case::pod_by_address(Case::new(veth()).inside(PEER, POD_ADDR), pod("web"))]
#[case::pod_in_a_bridge(
    Case::new(Link { master: Some(BRIDGE), ..veth() }).inside(PEER, POD_ADDR),
    pod("web")
)]
#[case::pod_whose_address_is_on_another_device_inside(
    Case::new(veth()).inside(PEER + 1, POD_ADDR),
    pod("web")
)]
#[case::netkit_pod(Case::new(kind("netkit")).inside(PEER, POD_ADDR), pod("web"))]
#[case::pod_that_routes_for_others(
    Case::new(veth()).inside(PEER, POD_ADDR).route(16, true),
    pod("web")
)]
#[case::host_end_with_a_gateway_address_of_a_pod(
    Case::new(veth()).inside(PEER, POD_ADDR).address("10.1.0.1").route(32, false),
    pod("web")
)]
#[case::pod_by_cni_cache(
    Case::new(veth()).inside(PEER, "10.1.0.77").cached("10.1.0.77", "fresh"),
    pod("fresh")
)]
#[case::pod_by_cni_cache_without_an_address_inside(
    Case::new(veth()).cached_ifname("veth0", "vm"),
    pod("vm")
)]
#[case::stale_cni_cache(
    Case::new(veth()).inside(PEER, POD_ADDR).cached(POD_ADDR, "long-gone"),
    pod("web")
)]
#[case::no_address_yet(Case::new(veth()), EndpointKind::Pending)]
#[case::only_a_link_local_address(
    Case::new(veth()).inside(PEER, "fe80::1"),
    EndpointKind::Pending
)]
#[case::address_of_nobody(Case::new(veth()).inside(PEER, "172.17.0.2"), EndpointKind::Pending)]
#[case::address_of_nobody_for_too_long(
    Case::new(veth()).inside(PEER, "172.17.0.2").waited(),
    EndpointKind::Unclaimed
)]
#[case::claimed_after_too_long(Case::new(veth()).inside(PEER, POD_ADDR).waited(), pod("web"))]
#[case::node_address(
    Case::new(veth()).address(NODE_ADDR).inside(PEER, POD_ADDR),
    uplink(UplinkSign::NodeAddress(ip(NODE_ADDR)))
)]
#[case::default_route(
    Case::new(veth()).route(0, false).inside(PEER, POD_ADDR),
    uplink(UplinkSign::DefaultRoute)
)]
#[case::gateway(Case::new(veth()).route(24, true), uplink(UplinkSign::Gateway))]
#[case::real_device_with_a_default_route(
    Case::new(Link { kind: None, netnsid: None, ..veth() }).route(0, true),
    uplink(UplinkSign::DefaultRoute)
)]
#[case::bridge_with_the_node_address(
    Case::new(Link { netnsid: None, ..kind("bridge") }).address(NODE_ADDR),
    uplink(UplinkSign::NodeAddress(ip(NODE_ADDR)))
)]
#[case::real_device(
    Case::new(Link { kind: None, netnsid: None, ..veth() }),
    not_pod(NotPod::NoPeerNamespace)
)]
#[case::veth_within_the_node(
    Case::new(Link { netnsid: None, ..veth() }),
    not_pod(NotPod::NoPeerNamespace)
)]
#[case::macvlan_over_a_device_elsewhere(
    Case::new(kind("macvlan")).inside(PEER, POD_ADDR),
    not_pod(NotPod::NoPeerNamespace)
)]
#[case::bridge(
    Case::new(Link { netnsid: None, ..kind("bridge") }).route(24, true),
    not_pod(NotPod::Bridge)
)]
#[case::overlay(Case::new(kind("vxlan")), uplink(UplinkSign::Tunnel))]
#[case::overlay_that_is_down(
    Case::new(Link { up: false, ..kind("vxlan") }).route(24, true),
    not_pod(NotPod::Tunnel)
)]
#[case::second_real_device(
    Case::new(Link { kind: None, netnsid: None, ..veth() }).address("192.168.7.1"),
    uplink(UplinkSign::OwnAddress(ip("192.168.7.1")))
)]
#[case::real_device_without_a_global_address(
    Case::new(Link { kind: None, netnsid: None, ..veth() }).address("fe80::1"),
    not_pod(NotPod::NoPeerNamespace)
)]
#[case::vlan_of_a_real_device(
    Case::new(Link { netnsid: None, ..kind("vlan") }).address("192.168.7.1"),
    uplink(UplinkSign::OwnAddress(ip("192.168.7.1")))
)]
#[case::real_device_in_a_bridge(
    Case::new(Link { kind: None, netnsid: None, master: Some(BRIDGE), ..veth() })
        .address("192.168.7.1"),
    not_pod(NotPod::NoPeerNamespace)
)]
#[case::dummy(
    Case::new(Link { netnsid: None, ..kind("dummy") }).address("169.254.25.10"),
    not_pod(NotPod::NoPeerNamespace)
)]
#[case::bridge_of_pods_with_their_gateways_address(
    Case::new(Link { netnsid: None, ..kind("bridge") }).address("10.1.0.1").route(24, false),
    not_pod(NotPod::Bridge)
)]
#[case::loopback_with_the_node_address(
    Case::new(Link { loopback: true, kind: None, netnsid: None, ..veth() }).address(NODE_ADDR),
    not_pod(NotPod::Loopback)
)]
#[case::part_of_a_bond(
    Case::new(Link { master: Some(BOND), ..veth() }).inside(PEER, POD_ADDR),
    not_pod(NotPod::BondPort)
)]
#[case::namespace_about_to_go(
    Case::new(Link { netnsid: Some(-1), ..veth() }),
    not_pod(NotPod::PeerNamespaceGone)
)]
fn device_is_what_its_signs_say(#[case] case: Case, #[case] expected: EndpointKind) {
    assert_eq!(case.kind(), expected);
}

#[test]
fn cni_cache_names_the_pod_before_its_object_has_an_address() {
    let mut case = Case::new(veth())
        .inside(PEER, "10.1.0.77")
        .cached("10.1.0.77", "fresh");
    case.facts
        .pods
        .insert(ObjectKey::new("default", "fresh"), Vec::new());
    assert_eq!(case.kind(), pod("fresh"));
}

#[test]
fn pod_has_the_addresses_of_its_own_device_only() {
    let case = Case::new(veth())
        .inside(1, "127.0.0.1")
        .inside(PEER, POD_ADDR)
        .inside(PEER, "fd00:1::9")
        .inside(PEER, "fe80::1")
        .inside(PEER + 1, "192.168.0.9");
    let endpoints = classify(&case.scan, &case.facts, &case.cni, |_| false);
    let device = endpoints
        .iter()
        .find(|endpoint| endpoint.ifindex == DEVICE)
        .unwrap();
    assert_eq!(device.addrs, [ip(POD_ADDR), ip("fd00:1::9")].into());
}
