//! UDP has no connections: a flow whose backend is gone moves at once, on the same socket
//! (services.md 110–116), and datagrams may come in fragments.

use std::time::Duration;

use anyhow::ensure;
use tests::{
    lab::{Options, Topology, wait_for},
    privileges,
};

use super::{TOPOLOGIES, Web, to_vips};

/// The longest that a host's socket may outlive its backend.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The other of `WEB`'s two backends.
fn other_than(name: &str) -> &'static str {
    if name == "near" { "far" } else { "near" }
}

#[test]
fn a_connected_socket_of_a_pod_moves_when_its_backend_is_removed() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::new(Options::new(Topology::Ptp, 2));
    for client in [web.client.clone(), web.client.unhooked()] {
        for to in to_vips("udp", 80) {
            let mut session = client.client(&format!("{to} --source-port 4000")).unwrap();
            let first = session.ask().unwrap().name().to_owned();
            for _ in 0..5 {
                let name = session.ask().unwrap().name().to_owned();
                assert_eq!(name, first, "a flow keeps its backend");
            }
            web.lab.set_pod(&first, "").unwrap();
            web.lab.publish().unwrap();
            // Published means applied: the very next datagram goes to the other backend.
            let moved = session.ask().unwrap();
            assert_eq!(moved.name(), other_than(&first), "{to}: {moved:?}");
            web.lab.set_pod(&first, "app=web").unwrap();
            web.lab.publish().unwrap();
        }
    }
}

#[test]
fn a_connected_socket_of_the_host_is_ended_when_its_backend_is_removed() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::new(Options::new(Topology::Ptp, 2));
    for to in to_vips("udp", 80) {
        let mut session = web.lab.host(1).client(&to).unwrap();
        let first = session.ask().unwrap().name().to_owned();
        web.lab.set_pod(&first, "").unwrap();
        web.lab.publish().unwrap();
        wait_for("the end of the socket", END_TIMEOUT, || {
            let exchange = session.ask()?;
            // The kernel disconnects it: who waits hears ECONNABORTED, who sends EDESTADDRREQ.
            let ended = ["ECONNABORTED", "EDESTADDRREQ"].map(|error| exchange.failed_with(error));
            ensure!(ended.contains(&true), "{exchange:?}");
            Ok(())
        })
        .unwrap();
        session.reopen().unwrap();
        assert_eq!(session.ask().unwrap().name(), other_than(&first), "{to}");
        web.lab.set_pod(&first, "app=web").unwrap();
        web.lab.publish().unwrap();
    }
}

#[test]
fn a_terminating_backend_keeps_its_flows_and_gets_no_more() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::new(Options::new(Topology::Ptp, 2));
    let mut session = web.client.client("udp 10.96.0.10:80").unwrap();
    let first = session.ask().unwrap().name().to_owned();
    let other = other_than(&first);
    web.lab.set_pod(&first, "app=web terminating").unwrap();
    web.lab.publish().unwrap();
    assert_eq!(
        session.ask().unwrap().name(),
        first,
        "serving endpoints keep their flows"
    );
    super::assert_spread(&web.client, "udp 10.96.0.10:80", &[other]);
    for _ in 0..20 {
        assert_eq!(web.client.ask("udp 10.96.0.10:80").unwrap().name(), other);
    }
}

#[test]
fn a_flow_that_was_refused_finds_the_first_backend() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::small();
    web.lab.set_pod("near", "").unwrap();
    web.lab.set_pod("far", "").unwrap();
    web.lab.publish().unwrap();
    let mut session = web
        .client
        .client("udp 10.96.0.10:80 --source-port 4000")
        .unwrap();
    assert!(session.ask().unwrap().failed_with("ECONNREFUSED"));
    web.lab.set_pod("near", "app=web").unwrap();
    web.lab.publish().unwrap();
    assert_eq!(
        session.ask().unwrap().name(),
        "near",
        "the same socket, once there is a backend"
    );
}

#[test]
fn datagrams_in_fragments_arrive_whole_in_both_directions() {
    if !privileges::are_there() {
        return;
    }
    for topology in TOPOLOGIES {
        let web = Web::new(Options::new(topology, 2));
        for client in [web.client.clone(), web.lab.host(1).clone()] {
            for to in to_vips("udp", 80) {
                let mut session = client.client(&to).unwrap();
                for bytes in [4_000, 9_000] {
                    let exchange = session.ask_with(bytes).unwrap();
                    let received = exchange.answer.as_ref().map(|answer| answer.bytes);
                    assert_eq!(received, Some(bytes), "{topology:?} {to}: {exchange:?}");
                }
            }
        }
    }
}
