//! What leads elsewhere: its addresses, its kind, and that changes are told at once.

use std::{net::IpAddr, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::{
    super::{CniClaims, Facts, Scan, Snapshot, Uplink, UplinkKind, classify, uplinks},
    kernel::{DEADLINE, facts, ip, options, watching},
};
use crate::attach::{
    links::{Device, Role},
    netlink::{Link, Route, Routing},
    testing::Namespace,
};

const NODE_ADDRS: [&str; 2] = ["10.0.0.2", "fd00::1"];

fn found(scan: &Scan, facts: &Facts) -> Vec<Uplink> {
    let endpoints = classify(scan, facts, &CniClaims::default(), |_| false);
    uplinks(scan, facts, &endpoints)
}

fn look(node: &Namespace, facts: &Facts) -> Vec<Uplink> {
    let scan = node.enter(|| Scan::take(&mut Routing::open().unwrap()));
    found(&scan.unwrap(), facts)
}

async fn until(seen: &mut watch::Receiver<Snapshot>, wanted: impl Fn(&Snapshot) -> bool) {
    let in_time = timeout(DEADLINE, seen.wait_for(wanted)).await;
    let in_time = in_time.map(|seen| seen.map(|_| ()).unwrap());
    assert!(in_time.is_ok(), "{:#?}", seen.borrow());
}

#[test]
fn addresses_of_the_node_come_first_and_what_only_the_link_knows_not_at_all() {
    let (Some(node), Some(router)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    node.veth("eth0", &router, "eth0");
    for address in [
        "10.0.0.1/24",
        "10.0.0.2/24",
        "10.7.0.1/24",
        "169.254.1.1/16 scope link",
        "fd00::3/64 nodad preferred_lft 0",
        "fd00::1/64 nodad",
        "fd00::2/64 nodad",
    ] {
        node.ip(&format!("addr add {address} dev eth0"));
    }
    let uplinks = look(&node, &facts(&NODE_ADDRS, &[]));
    assert_eq!(uplinks.len(), 1, "{uplinks:?}");
    let of = |v4| -> Vec<IpAddr> {
        let addrs = uplinks[0].addrs.iter().copied();
        addrs.filter(|addr| addr.is_ipv4() == v4).collect()
    };
    // 10.0.0.2 is secondary to the kernel, fd00::3 is deprecated.
    assert_eq!(of(true), ["10.0.0.2", "10.0.0.1", "10.7.0.1"].map(ip));
    assert_eq!(of(false), ["fd00::1", "fd00::2", "fd00::3"].map(ip));
    assert_eq!(
        (&*uplinks[0].ifname, uplinks[0].kind),
        ("eth0", UplinkKind::Ethernet)
    );
}

#[test]
fn bridge_with_the_nodes_address_is_the_uplink_and_its_port_is_not() {
    let (Some(node), Some(router)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    node.ip("link add lan type bridge");
    node.veth("port", &router, "eth0");
    node.ip("link set port master lan");
    node.ip("addr add 10.0.0.2/24 dev lan");
    node.ip("link add overlay type vxlan id 1 dstport 8472 local 10.0.0.2");
    node.ip("addr add 10.1.0.0/32 dev overlay");
    let facts = facts(&NODE_ADDRS, &[]);
    let kinds = || -> Vec<(String, UplinkKind)> {
        let uplinks = look(&node, &facts);
        let kinds = uplinks.iter().map(|up| (up.ifname.to_string(), up.kind));
        kinds.collect()
    };
    let lan = ("lan".to_owned(), UplinkKind::Ethernet);
    assert_eq!(kinds(), std::slice::from_ref(&lan));
    node.ip("link set overlay up");
    assert_eq!(kinds(), [lan, ("overlay".to_owned(), UplinkKind::Tunnel)]);
}

#[test]
fn only_what_is_of_no_kind_is_a_card() {
    let link = |ifindex, kind: Option<&str>| Link {
        ifindex,
        ifname: format!("eth{ifindex}"),
        kind: kind.map(str::to_owned),
        ethernet: true,
        up: true,
        ..Link::default()
    };
    let scan = Scan {
        links: vec![
            link(1, None),
            link(2, Some("veth")),
            link(3, Some("bond")),
            link(4, Some("vlan")),
            link(5, Some("tun")),
        ],
        routes: (1..=5)
            .map(|ifindex| Route {
                ifindex,
                prefix_len: 0,
                gateway: true,
            })
            .collect(),
        ..Scan::default()
    };
    let snapshot = Snapshot {
        uplinks: found(&scan, &facts(&[], &[])),
        ..Snapshot::default()
    };
    let of = |kinds: &[UplinkKind]| -> Vec<u32> {
        let devices = snapshot.uplinks_of(kinds).into_iter();
        devices.map(|device| device.ifindex).collect()
    };
    assert_eq!(of(&[UplinkKind::Card]), [1]);
    assert_eq!(of(&[UplinkKind::Ethernet]), [2, 3, 4, 5]);
}

#[test]
fn packets_without_an_ethernet_header_are_not_for_the_programs() {
    let link = |ifindex, kind: &str, ethernet| Link {
        ifindex,
        ifname: format!("{kind}{ifindex}"),
        kind: Some(kind.to_owned()),
        ethernet,
        up: true,
        ..Link::default()
    };
    let scan = Scan {
        links: vec![
            link(1, "wireguard", false),
            link(2, "geneve", true),
            link(3, "ipip", false),
        ],
        ..Scan::default()
    };
    let facts = facts(&[], &[]);
    let uplinks = found(&scan, &facts);
    let kinds: Vec<_> = uplinks.iter().map(|up| up.kind).collect();
    let headerless = UplinkKind::Headerless;
    assert_eq!(kinds, [headerless, UplinkKind::Tunnel, headerless]);
    let snapshot = Snapshot {
        uplinks,
        ..Snapshot::default()
    };
    let geneve = Device {
        ifindex: 2,
        ifname: "geneve2".to_owned(),
        role: Role::Uplink,
    };
    assert_eq!(snapshot.wanted(), [geneve]);
}

#[test]
fn addresses_that_come_and_go_are_told_at_once() {
    let (Some(node), Some(router)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    node.veth("eth0", &router, "eth0");
    node.ip("addr add 10.0.0.2/24 dev eth0");
    let hour = Duration::from_secs(3600);
    watching(&node, options(hour), async |known, mut seen| {
        known.send_replace(facts(&NODE_ADDRS, &[]));
        let has = |addr: &str| {
            let addr = ip(addr);
            move |seen: &Snapshot| {
                let is_uplinks = seen.uplinks.iter().any(|up| up.addrs.contains(&addr));
                is_uplinks && seen.local_addrs.contains(&addr)
            }
        };
        until(&mut seen, has("10.0.0.2")).await;
        assert!(seen.borrow().local_addrs.contains(&ip("127.0.0.1")));
        node.ip("addr add 10.0.0.9/32 dev eth0");
        until(&mut seen, has("10.0.0.9")).await;
        node.ip("addr del 10.0.0.9/32 dev eth0");
        let gone = |seen: &Snapshot| !seen.local_addrs.contains(&ip("10.0.0.9"));
        until(&mut seen, gone).await;
        node.ip("addr add 10.0.0.77/32 dev lo");
        let local = |seen: &Snapshot| seen.local_addrs.contains(&ip("10.0.0.77"));
        until(&mut seen, local).await;
        assert_eq!(seen.borrow().uplinks.len(), 1);
    });
}
