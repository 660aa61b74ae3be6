//! What the kernel reports, in namespaces: `node` is where the agent would run.

use std::{fs, time::Duration};

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tempfile::TempDir;
use tokio::time::timeout;

use super::super::Scan;
use crate::attach::{
    netlink::{Monitor, Routing},
    testing::Namespace,
};

const DEADLINE: Duration = Duration::from_secs(20);
/// Without events for so long nothing is under way.
const QUIET: Duration = Duration::from_millis(300);

fn block_on<T>(body: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(body)
}

#[test]
fn changes_here_and_addresses_inside_pods_are_heard_of() {
    let (Some(node), Some(pod)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    for place in [&node, &pod] {
        // Link-local addresses would make events of their own.
        let setting = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
        place.enter(|| fs::write(setting, "1")).unwrap();
    }
    node.enter(|| {
        node.veth("vethweb", &pod, "eth0");
        block_on(async {
            let monitor = Monitor::open().unwrap();
            // Gives the pod's namespace its number.
            Routing::open().unwrap().links().unwrap();
            for (place, change) in [
                (&node, "link add cni0 type bridge"),
                (&node, "addr add 10.0.0.1/32 dev vethweb"),
                (&node, "route add 10.9.0.0/24 dev vethweb"),
                (&pod, "addr add 10.1.0.9/24 dev eth0"),
                (&pod, "addr del 10.1.0.9/24 dev eth0"),
            ] {
                while timeout(QUIET, monitor.changed()).await.is_ok() {}
                place.ip(change);
                let heard = timeout(DEADLINE, monitor.changed()).await;
                assert!(matches!(heard, Ok(Ok(()))), "{change}: {heard:?}");
            }
        });
    });
}

#[test]
fn lost_events_are_as_good_as_any() {
    let (Some(node), Some(dir)) = (Namespace::new(), TempDir::new().ok()) else {
        return;
    };
    let commands = dir.path().join("commands");
    let flood = (0..4000).map(|n| format!("route add 10.{}.{}.0/24 dev lo\n", n / 256, n % 256));
    fs::write(&commands, flood.collect::<String>()).unwrap();
    node.enter(|| {
        block_on(async {
            let monitor = Monitor::open().unwrap();
            // More than the socket has room for.
            node.ip(&format!("-batch {}", commands.display()));
            monitor.changed().await.unwrap();
            while timeout(QUIET, monitor.changed()).await.is_ok() {}
            node.ip("link add cni0 type bridge");
            let heard = timeout(DEADLINE, monitor.changed()).await;
            assert!(matches!(heard, Ok(Ok(()))), "{heard:?}");
        });
    });
}

#[test]
fn two_capabilities_are_enough_to_watch() {
    let (Some(node), Some(pod)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    node.veth("vethweb", &pod, "eth0");
    node.enter(|| {
        let enough = CapabilitySet::NET_ADMIN | CapabilitySet::NET_BROADCAST;
        let mut sets = capabilities(None).unwrap();
        sets.effective = enough;
        set_capabilities(None, sets).unwrap();
        block_on(async {
            assert!(Monitor::open().unwrap().hears_pods());
        });
        let scan = Scan::take(&mut Routing::open().unwrap()).unwrap();
        assert!(scan.inside.values().any(|inside| !inside.is_empty()));
    });
}
