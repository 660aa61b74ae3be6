//! What holds over real packets: the agents of a lab of network namespaces, their programs and
//! maps, and clients that only see who answers.
//!
//! A client *hooked* is translated at its socket where that is possible; one *unhooked* has only
//! its packets translated, as in a sandboxed runtime.

mod bad_input;
mod devices;
mod icmp;
mod reach;
mod refuse;
mod restart;
mod scenarios;
mod udp;
mod wire;
mod wiring;

use std::{collections::BTreeSet, net::IpAddr};

use tests::{
    lab::{Lab, Options, Place, Running, Topology, socket_text},
    probe::Exchange,
};

const TOPOLOGIES: [Topology; 3] = [Topology::Ptp, Topology::Bridge, Topology::Vxlan];
/// Of `WEB`.
const VIPS: [&str; 2] = ["10.96.0.10", "fd00:96::10"];
const WEB: &str =
    "service default/web 10.96.0.10,fd00:96::10 tcp:80/tcp->8080 udp:80/udp->8080 app=web";
/// So many draws miss one of three backends once in 10^15 runs.
const DRAWS_MAX: usize = 90;

/// A lab with agents, a client on node 1 and the backends of `WEB`: `near` on node 1, `far` on the
/// last node.
struct Web {
    lab: Lab,
    client: Place,
    servers: Vec<Running>,
}

// === impl Web ===

impl Web {
    fn new(options: Options) -> Self {
        Self::with_args(options, &[])
    }

    /// As `new`, with further arguments for the agents.
    fn with_args(options: Options, args: &[&str]) -> Self {
        let mut lab = Lab::new(options).unwrap();
        let client = lab.add_pod(1, "client", "").unwrap();
        let near = lab.add_pod(1, "near", "app=web").unwrap();
        let far = lab.add_pod(options.nodes, "far", "app=web").unwrap();
        let servers = [near, far].map(|pod| pod.serve_port(8080).unwrap()).into();
        lab.set(WEB).unwrap();
        lab.start_with(args).unwrap();
        Self {
            lab,
            client,
            servers,
        }
    }

    /// One node is enough.
    fn small() -> Self {
        Self::new(Options::new(Topology::Ptp, 1))
    }

    /// Makes a pod with a server on port 8080.
    fn add_server(&mut self, node: u8, name: &str, labels: &str) -> Place {
        let pod = self.lab.add_pod(node, name, labels).unwrap();
        self.servers.push(pod.serve_port(8080).unwrap());
        pod
    }
}

/// `PROTOCOL VIP:PORT` for both families.
fn to_vips(protocol: &str, port: u16) -> [String; 2] {
    VIPS.map(|vip| format!("{protocol} {}", socket_text(vip.parse().unwrap(), port)))
}

/// Asks with a new socket each time until all of these have answered and nobody else has.
#[track_caller]
fn assert_spread(client: &Place, to: &str, names: &[&str]) -> Exchange {
    let wanted: BTreeSet<_> = names.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for _ in 0..DRAWS_MAX {
        let exchange = client.ask(to).unwrap();
        let name = exchange.name().to_owned();
        assert!(
            wanted.contains(&*name),
            "{} {to}: {exchange:?}",
            client.name()
        );
        seen.insert(name);
        if seen.len() == wanted.len() {
            return exchange;
        }
    }
    panic!(
        "{} {to}: only {seen:?} of {wanted:?} answered",
        client.name()
    );
}

/// Asks once and expects this error.
#[track_caller]
fn assert_fails(client: &Place, to: &str, error: &str) {
    let exchange = client.ask(to).unwrap();
    assert!(
        exchange.failed_with(error),
        "{} {to}: {exchange:?}",
        client.name()
    );
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
