//! Discovery against the kernel, in namespaces: `node` is where the agent would run.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tokio::{sync::watch, time::timeout};

use super::super::{
    CniClaims, Endpoint, EndpointKind, Facts, NotPod, Options, Scan, Snapshot, UplinkSign, Watcher,
    classify,
};
use crate::{
    attach::{
        netlink::{Monitor, Routing},
        testing::Namespace,
    },
    model::ObjectKey,
};

pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn facts(node: &[&str], pods: &[(&str, &[&str])]) -> Facts {
    let addrs = |addrs: &[&str]| addrs.iter().map(|addr| ip(addr)).collect();
    let pods = pods
        .iter()
        .map(|(name, of)| (ObjectKey::new("default", *name), addrs(of)));
    Facts {
        complete: true,
        node_addrs: node.iter().map(|addr| ip(addr)).collect(),
        pods: pods.collect(),
    }
}

fn look(node: &Namespace, facts: &Facts) -> BTreeMap<String, Endpoint> {
    let scan = node
        .enter(|| Scan::take(&mut Routing::open().unwrap()))
        .unwrap();
    let endpoints = classify(&scan, facts, &CniClaims::default(), |_| false);
    endpoints
        .into_iter()
        .map(|endpoint| (endpoint.ifname.to_string(), endpoint))
        .collect()
}

fn claimed(endpoint: &Endpoint) -> Option<&str> {
    match &endpoint.kind {
        EndpointKind::Pod { claimed_by } => Some(&claimed_by.pod.name),
        _ => None,
    }
}

/// Runs a watcher in the namespace, and beside it what `body` does with what it tells.
pub(super) fn watching<F: Future<Output = ()>>(
    node: &Namespace,
    options: Options,
    body: impl FnOnce(watch::Sender<Facts>, watch::Receiver<Snapshot>) -> F + Send,
) {
    node.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (facts, known) = watch::channel(Facts::default());
            let (watcher, snapshots) = Watcher::new(options, known).unwrap();
            tokio::select! {
                ended = watcher.run() => panic!("the watcher ended: {ended:?}"),
                () = body(facts, snapshots) => {}
            }
        });
    });
}

/// Waits until the device is as `wanted`; `None` stands for a device that is not there.
async fn until(
    snapshots: &mut watch::Receiver<Snapshot>,
    ifname: &str,
    wanted: impl Fn(Option<&Endpoint>) -> bool,
) {
    let device = |snapshot: &Snapshot| {
        snapshot
            .endpoints
            .iter()
            .find(|endpoint| *endpoint.ifname == *ifname)
            .cloned()
    };
    let waiting = snapshots.wait_for(|snapshot| wanted(device(snapshot).as_ref()));
    let in_time = timeout(DEADLINE, waiting)
        .await
        .map(|seen| seen.map(|_| ()).unwrap());
    assert!(
        in_time.is_ok(),
        "{ifname} is {:?}",
        device(&snapshots.borrow())
    );
}

pub(super) fn options(unclaimed_after: Duration) -> Options {
    Options {
        cni_cache: Vec::new(),
        unclaimed_after,
    }
}

#[test]
fn routed_pod_is_found_by_the_addresses_inside_its_namespace() {
    let (Some(node), Some(pod)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    node.veth("vethweb", &pod, "eth0");
    node.ip("addr add 10.1.0.1/32 dev vethweb");
    node.ip("route add 10.1.0.9/32 dev vethweb scope host");
    pod.ip("addr add 10.1.0.9/24 dev eth0");
    pod.ip("addr add fd00:1::9/64 dev eth0 nodad");

    let seen = look(
        &node,
        &facts(&["10.0.0.1"], &[("web", &["10.1.0.9", "fd00:1::9"])]),
    );
    assert_eq!(claimed(&seen["vethweb"]), Some("web"));
    assert_eq!(
        seen["vethweb"].addrs,
        [ip("10.1.0.9"), ip("fd00:1::9")].into()
    );
    assert!(seen["vethweb"].netnsid.is_some());
    assert_eq!(
        seen["lo"].kind,
        EndpointKind::NotPod {
            why: NotPod::Loopback
        }
    );
}

#[test]
fn bridged_pod_is_found_and_the_overlay_is_an_uplink() {
    let (Some(node), Some(pod)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    node.ip("link add cni0 type bridge");
    node.ip("addr add 10.1.0.1/24 dev cni0");
    node.ip("link set cni0 up");
    node.ip("link add flannel1 type vxlan id 1 dstport 8472 local 127.0.0.1 nolearning");
    node.ip("addr add 10.1.0.0/32 dev flannel1");
    node.ip("link set flannel1 up");
    node.ip("route add 10.1.2.0/24 via 10.1.2.0 dev flannel1 onlink");
    node.veth("vethweb", &pod, "eth0");
    node.ip("link set vethweb master cni0");
    pod.ip("addr add 10.1.0.9/24 dev eth0");
    pod.ip("route add default via 10.1.0.1");

    let seen = look(&node, &facts(&["10.0.0.1"], &[("web", &["10.1.0.9"])]));
    assert_eq!(claimed(&seen["vethweb"]), Some("web"));
    assert_eq!(
        seen["cni0"].kind,
        EndpointKind::NotPod {
            why: NotPod::Bridge
        }
    );
    assert_eq!(
        seen["flannel1"].kind,
        EndpointKind::Uplink {
            why: UplinkSign::Tunnel
        }
    );
}

#[test]
fn veth_that_leads_out_of_the_node_is_an_uplink() {
    let (Some(node), Some(router)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    for (n, uplink) in ["byaddr", "bydefault", "bygateway", "bygateway6"]
        .iter()
        .enumerate()
    {
        node.veth(uplink, &router, uplink);
        node.ip(&format!("addr add 10.{n}.0.1/24 dev {uplink}"));
        node.ip(&format!("addr add fd00:{n}::1/64 dev {uplink} nodad"));
        router.ip(&format!("addr add 10.{n}.0.254/24 dev {uplink}"));
    }
    node.ip("route add default via 10.1.0.254");
    node.ip("route add 10.9.0.0/24 nexthop via 10.2.0.254 nexthop via 10.2.0.253");
    node.ip("-6 route add fd00:9::/64 via fd00:3::254");

    let seen = look(&node, &facts(&["10.0.0.1"], &[("web", &["10.1.0.9"])]));
    let why = |ifname: &str| match seen[ifname].kind {
        EndpointKind::Uplink { why } => why,
        ref kind => panic!("{ifname} is {kind}"),
    };
    assert_eq!(why("byaddr"), UplinkSign::NodeAddress(ip("10.0.0.1")));
    assert_eq!(why("bydefault"), UplinkSign::DefaultRoute);
    assert_eq!(why("bygateway"), UplinkSign::Gateway);
    assert_eq!(why("bygateway6"), UplinkSign::Gateway);
}

#[test]
fn namespace_that_is_gone_has_no_addresses_and_hides_no_others() {
    let (Some(node), Some(pod)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    node.veth("vethweb", &pod, "eth0");
    pod.ip("addr add 10.1.0.9/24 dev eth0");
    node.enter(|| {
        let mut routing = Routing::open().unwrap();
        let links = routing.links().unwrap();
        let netnsid = links.iter().find_map(|link| link.netnsid).unwrap();
        assert_eq!(routing.addresses_in(netnsid + 1).unwrap(), []);
        let inside = routing.addresses_in(netnsid).unwrap();
        assert!(inside.iter().any(|address| address.addr == ip("10.1.0.9")));
    });
}

#[test]
fn device_is_attached_at_once_and_its_addresses_follow() {
    let (Some(node), Some(pod)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    watching(
        &node,
        options(Duration::from_secs(3600)),
        async |known, mut seen| {
            known.send_replace(facts(&[], &[("web", &["10.1.0.9"])]));
            until(&mut seen, "lo", |lo| lo.is_some()).await;

            node.veth("vethweb", &pod, "eth0");
            until(&mut seen, "vethweb", |veth| {
                veth.is_some_and(|veth| veth.kind == EndpointKind::Pending && veth.addrs.is_empty())
            })
            .await;

            pod.ip("addr add 10.1.0.9/24 dev eth0");
            until(&mut seen, "vethweb", |veth| {
                veth.and_then(claimed) == Some("web")
            })
            .await;

            pod.ip("addr add fd00:1::9/64 dev eth0 nodad");
            let both = [ip("10.1.0.9"), ip("fd00:1::9")].into();
            until(&mut seen, "vethweb", |veth| {
                veth.is_some_and(|veth| veth.addrs == both)
            })
            .await;

            pod.ip("addr del 10.1.0.9/24 dev eth0");
            let one = [ip("fd00:1::9")].into();
            until(&mut seen, "vethweb", |veth| {
                veth.is_some_and(|veth| veth.addrs == one)
            })
            .await;

            node.ip("link del vethweb");
            until(&mut seen, "vethweb", |veth| veth.is_none()).await;
        },
    );
}

#[test]
fn device_that_nothing_claims_is_left_alone_until_something_does() {
    let (Some(node), Some(pod)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    node.veth("veth0", &pod, "eth0");
    pod.ip("addr add 10.1.0.9/24 dev eth0");
    watching(
        &node,
        options(Duration::from_millis(200)),
        async |known, mut seen| {
            let is = |kind: EndpointKind| {
                move |veth: Option<&Endpoint>| veth.is_some_and(|veth| veth.kind == kind)
            };
            until(&mut seen, "veth0", is(EndpointKind::Pending)).await;

            let began = Instant::now();
            known.send_replace(facts(&[], &[]));
            until(&mut seen, "veth0", is(EndpointKind::Unclaimed)).await;
            assert!(began.elapsed() >= Duration::from_millis(200));

            known.send_replace(facts(&[], &[("web", &["10.1.0.9"])]));
            until(&mut seen, "veth0", |veth| {
                veth.and_then(claimed) == Some("web")
            })
            .await;

            known.send_replace(facts(&[], &[]));
            until(&mut seen, "veth0", is(EndpointKind::Pending)).await;
            until(&mut seen, "veth0", is(EndpointKind::Unclaimed)).await;
        },
    );
}

#[test]
fn without_the_capability_to_listen_addresses_are_polled() {
    let (Some(node), Some(pod)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    node.veth("vethweb", &pod, "eth0");
    pod.ip("addr add 10.1.0.9/24 dev eth0");
    // `enter` has a thread of its own, and capabilities are a thread's.
    node.enter(|| {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_BROADCAST);
        set_capabilities(None, sets).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            assert!(!Monitor::open().unwrap().hears_pods());
            let (known, receiver) = watch::channel(facts(&[], &[("web", &["10.1.0.9"])]));
            let options = options(Duration::from_secs(3600));
            let (watcher, mut seen) = Watcher::new(options, receiver).unwrap();
            tokio::select! {
                ended = watcher.run() => panic!("the watcher ended: {ended:?}"),
                () = async {
                    until(&mut seen, "vethweb", |veth| veth.and_then(claimed) == Some("web")).await;
                    pod.ip("addr add 10.1.0.10/24 dev eth0");
                    let two = [ip("10.1.0.9"), ip("10.1.0.10")].into();
                    until(&mut seen, "vethweb", |veth| veth.is_some_and(|veth| veth.addrs == two))
                        .await;
                    drop(known);
                } => {}
            }
        });
    });
}
