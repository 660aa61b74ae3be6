//! Flows of the client outside over time: agents that restart, addresses that are added, narrow
//! paths, fragments, ports that two flows want.

use std::time::Duration;

use anyhow::ensure;
use tests::{
    lab::{Load, Options, Topology, socket_text, wait_for},
    privileges,
    probe::Exchange,
};

use super::stage::{BACKENDS, Backend, FRONTENDS, Frontend, PROTOCOLS, Policy, Stage};

/// Of each load, at its pace: a second.
const REQUESTS_PER_PHASE: u64 = 50;
const PACE: &str = "--interval-us 20000";
/// The longest that the kernel's news of an address may take.
const AT_ONCE: Duration = Duration::from_secs(5);

/// What the client outside dials, for every backend in both families.
fn dials(stage: &Stage, frontend: Frontend, protocol: &str) -> Vec<(&'static Backend, String)> {
    let backends = BACKENDS.iter();
    let both = backends.flat_map(|backend| [true, false].map(|v4| (backend, v4)));
    let dial = |(backend, v4)| {
        let addr = frontend.addr(&stage.lab, backend, Policy::Cluster, v4);
        (backend, format!("{protocol} {addr}"))
    };
    both.map(dial).collect()
}

#[track_caller]
fn assert_answered(exchange: &Exchange, backend: &Backend, to: &str) {
    assert_eq!(exchange.name(), backend.name, "{to}: {exchange:?}");
}

#[test]
fn nothing_from_outside_is_lost_while_the_agent_is_killed_and_started_again() {
    if !privileges::are_there() {
        return;
    }
    let mut stage = Stage::new(Options::new(Topology::Ptp, 2), &[]);
    let outside = stage.lab.outside().clone();
    let mut loads = Vec::new();
    for protocol in PROTOCOLS {
        for (_, to) in dials(&stage, Frontend::LoadBalancer, protocol) {
            let load = outside.load(&format!("{to} {PACE}")).unwrap();
            loads.push((to, load));
        }
    }
    let progress = |loads: &[(String, Load)]| {
        for (_, load) in loads {
            load.wait_for_more(REQUESTS_PER_PHASE).unwrap();
        }
    };
    progress(&loads);
    stage.lab.agent_mut(1).kill().unwrap();
    progress(&loads);
    stage.lab.agent_mut(1).start().unwrap();
    progress(&loads);
    for (to, load) in loads {
        let tally = load.finish().unwrap();
        assert_eq!(tally.sent, tally.answered, "{to}: {tally:?}");
    }
}

#[test]
fn node_ports_are_served_on_an_address_that_is_added_and_no_longer_once_it_is_gone_90_94() {
    if !privileges::are_there() {
        return;
    }
    let args = ["--nodeport-addresses", "all"];
    let stage = Stage::new(Options::new(Topology::Ptp, 2), &args);
    let host = stage.lab.host(1).clone();
    let outside = stage.lab.outside().clone();
    let backend = &BACKENDS[0];
    let port = Frontend::NodePort
        .addr(&stage.lab, backend, Policy::Cluster, true)
        .port();
    for (address, device) in [("10.0.0.77", "eth0"), ("172.16.0.77", "lo")] {
        let prefix = format!("{address}/32");
        let change = |what: &str| host.run("ip", &["addr", what, &prefix, "dev", device]);
        stage.lab.route_to_node(&[&prefix], 1).unwrap();
        let to = format!("tcp {address}:{port} --timeout-ms 300");
        let until = |what: &str, wanted: bool| {
            wait_for(what, AT_ONCE, || {
                let exchange = outside.ask(&to)?;
                ensure!(exchange.is_answered() == wanted, "{to}: {exchange:?}");
                Ok(())
            })
            .unwrap();
        };
        assert!(!outside.ask(&to).unwrap().is_answered(), "{to}");
        change("add").unwrap();
        until("the node port on the address", true);
        change("del").unwrap();
        until("the end of the node port", false);
    }
}

#[test]
fn a_strict_reverse_path_filter_lets_the_answers_through() {
    if !privileges::are_there() {
        return;
    }
    for topology in [Topology::Ptp, Topology::Vxlan] {
        let stage = Stage::new(Options::new(topology, 2), &[]);
        let strict = ["all", "eth0"].map(|of| format!("net/ipv4/conf/{of}/rp_filter"));
        let strict = strict.each_ref().map(|key| (key.as_str(), "1"));
        stage.lab.host(1).set_sysctls(&strict).unwrap();
        for (frontend, protocol) in FRONTENDS
            .iter()
            .flat_map(|one| PROTOCOLS.map(|two| (*one, two)))
        {
            for (backend, to) in dials(&stage, frontend, protocol) {
                assert_answered(&stage.lab.outside().ask(&to).unwrap(), backend, &to);
            }
        }
    }
}

#[test]
fn long_answers_and_requests_fit_a_path_that_is_narrow_52() {
    if !privileges::are_there() {
        return;
    }
    for topology in [Topology::Ptp, Topology::Vxlan] {
        let stage = Stage::new(Options::new(topology, 2), &[]);
        let outside = stage.lab.outside();
        for (backend, to) in dials(&stage, Frontend::LoadBalancer, "tcp") {
            let exchange = outside.client(&to).unwrap().ask_with(200_000).unwrap();
            assert_answered(&exchange, backend, &to);
        }
        for (backend, to) in dials(&stage, Frontend::LoadBalancer, "udp") {
            let narrow = topology == Topology::Vxlan && backend.name == "pod-there";
            let to = format!("{to} --dont-fragment --timeout-ms 500");
            let mut session = outside.client(&to).unwrap();
            if narrow {
                // The first is lost to the tunnel, whose error teaches the socket.
                assert!(!session.ask_with(1_440).unwrap().is_answered(), "{to}");
                let refused = session.ask_with(1_440).unwrap();
                assert!(refused.failed_with("EMSGSIZE"), "{to}: {refused:?}");
            }
            assert_answered(&session.ask_with(1_200).unwrap(), backend, &to);
        }
    }
}

#[test]
fn datagrams_in_fragments_arrive_whole_from_outside() {
    if !privileges::are_there() {
        return;
    }
    let stage = Stage::new(Options::new(Topology::Ptp, 2), &[]);
    let mut dials = dials(&stage, Frontend::LoadBalancer, "udp");
    // What is for the node itself is none of ours.
    let own = [(&BACKENDS[2], 1), (&BACKENDS[3], 2)];
    for (backend, node) in own {
        let host = stage.lab.host(node);
        for addr in [host.addr4(), host.addr6()] {
            let to = socket_text(addr, backend.port());
            dials.push((backend, format!("udp {to}")));
        }
    }
    for (backend, to) in dials {
        let mut session = stage.lab.outside().client(&to).unwrap();
        for bytes in [4_000, 9_000] {
            let exchange = session.ask_with(bytes).unwrap();
            assert_answered(&exchange, backend, &to);
            assert_eq!(exchange.answer.unwrap().bytes, bytes, "{to}");
        }
    }
}

#[test]
fn two_frontends_of_one_backend_serve_the_same_client_port_at_once() {
    if !privileges::are_there() {
        return;
    }
    let stage = Stage::new(Options::new(Topology::Ptp, 2), &[]);
    let outside = stage.lab.outside();
    for (protocol, port) in [("tcp", 4001), ("udp", 4002)] {
        let frontends = FRONTENDS.map(|frontend| dials(&stage, frontend, protocol));
        for row in 0..frontends[0].len() {
            let mut sessions = frontends.each_ref().map(|dials| {
                let (backend, to) = &dials[row];
                let session = outside.client(&format!("{to} --source-port {port}"));
                (*backend, to, session.unwrap())
            });
            for _ in 0..3 {
                for (backend, to, session) in &mut sessions {
                    assert_answered(&session.ask().unwrap(), backend, to);
                }
            }
        }
    }
}

#[test]
fn a_frontend_without_backends_is_refused_to_the_client_outside_65() {
    if !privileges::are_there() {
        return;
    }
    let mut stage = Stage::new(Options::new(Topology::Ptp, 2), &[]);
    let empty = "{\"apiVersion\": \"v1\", \"kind\": \"Service\", \
                 \"metadata\": {\"namespace\": \"default\", \"name\": \"empty\"}, \
                 \"spec\": {\"type\": \"LoadBalancer\", \"clusterIP\": \"10.96.1.99\", \
                 \"ports\": [{\"name\": \"tcp\", \"port\": 80}, \
                 {\"name\": \"udp\", \"port\": 80, \"protocol\": \"UDP\"}]}, \
                 \"status\": {\"loadBalancer\": {\"ingress\": [{\"ip\": \"203.0.113.250\"}]}}}";
    stage.lab.set_file("empty.json", empty);
    stage.lab.publish().unwrap();
    for protocol in PROTOCOLS {
        let to = format!("{protocol} 203.0.113.250:80");
        super::super::assert_fails(stage.lab.outside(), &to, "ECONNREFUSED");
    }
}
