//! The lab itself, without agents: where these fail, no other lab test says anything.

use tests::{
    lab::{Lab, Options, socket_text},
    privileges,
};

use super::TOPOLOGIES;

#[test]
fn pods_reach_each_other_and_the_outside_without_an_agent() {
    if !privileges::are_there() {
        return;
    }
    for topology in TOPOLOGIES {
        let mut lab = Lab::new(Options::new(topology, 2)).unwrap();
        let near = lab.add_pod(1, "near").unwrap();
        let beside = lab.add_pod(1, "beside").unwrap();
        let far = lab.add_pod(2, "far").unwrap();
        let servers = [&beside, &far, lab.outside(), lab.host(1), lab.host(2)];
        let _running = servers.map(|place| place.serve_port(8080).unwrap());
        for server in servers {
            for addr in [server.addr4(), server.addr6()] {
                for protocol in ["tcp", "udp"] {
                    let to = format!("{protocol} {}", socket_text(addr, 8080));
                    let exchange = near.ask(&to).unwrap();
                    assert_eq!(
                        exchange.name(),
                        server.name(),
                        "{topology:?} {to}: {exchange:?}"
                    );
                }
            }
        }
    }
}
