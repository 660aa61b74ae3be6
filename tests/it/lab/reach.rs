//! A ClusterIP reaches every backend, whoever asks, in both families, and the reply comes back from
//! the frontend (services.md 44, 49–53).

use std::net::SocketAddr;

use tests::{
    lab::{Options, Place, Topology, TxOffload, device_of, socket_text},
    privileges,
};

use super::{TOPOLOGIES, VIPS, Web, assert_spread, ip, to_vips};

#[test]
fn every_client_reaches_near_and_far_backends_in_every_topology() {
    if !privileges::are_there() {
        return;
    }
    for topology in TOPOLOGIES {
        check_all_clients(&Web::new(Options::new(topology, 2)));
    }
}

/// Linux before 6.6 has no tcx.
#[test]
fn filters_of_clsact_serve_as_tcx_does_and_outlive_the_agent() {
    if !privileges::are_there() {
        return;
    }
    let options = Options::new(Topology::Bridge, 2);
    let mut web = Web::with_args(options, &["--attach", "clsact"]);
    check_all_clients(&web);
    web.lab.agent_mut(1).kill().unwrap();
    check_all_clients(&web);
    web.lab.agent_mut(1).start().unwrap();
    check_all_clients(&web);
    let agent = web.lab.agent_mut(1);
    agent.kill().unwrap();
    agent.cli(&["cleanup"]).unwrap();
    let device = device_of("client");
    let filters = web
        .lab
        .host(1)
        .run("tc", &["filter", "show", "dev", &device, "ingress"]);
    assert_eq!(filters.unwrap(), "", "filters stay behind");
}

/// The only kind of test that catches a wrong L4 checksum (prototype.md).
#[test]
fn checksums_are_right_where_no_device_makes_them() {
    if !privileges::are_there() {
        return;
    }
    for tx_offload in [TxOffload::OffAtNodes, TxOffload::Off] {
        for topology in [Topology::Ptp, Topology::Vxlan] {
            check_all_clients(&Web::new(Options {
                tx_offload,
                ..Options::new(topology, 2)
            }));
        }
    }
}

fn check_all_clients(web: &Web) {
    let clients = [
        web.client.clone(),
        web.client.unhooked(),
        web.lab.host(1).clone(),
    ];
    for (client, protocol) in clients
        .iter()
        .flat_map(|one| ["tcp", "udp"].map(|two| (one, two)))
    {
        for (to, vip) in to_vips(protocol, 80).iter().zip(VIPS) {
            let exchange = assert_spread(client, to, &["near", "far"]);
            let frontend: SocketAddr = socket_text(ip(vip), 80).parse().unwrap();
            assert_eq!(exchange.peer, Some(frontend), "{to}: getpeername");
            assert_source_is_kept(client, &exchange, to);
        }
    }
}

/// Nobody masquerades where the reply finds its way back without.
#[track_caller]
fn assert_source_is_kept(client: &Place, exchange: &tests::probe::Exchange, to: &str) {
    let seen = exchange.answer.as_ref().unwrap().client;
    let local = exchange.local.unwrap();
    assert_eq!(
        seen,
        local,
        "{} {to}: the server sees another client",
        client.name()
    );
}

#[test]
fn an_unconnected_socket_hears_from_the_frontend() {
    if !privileges::are_there() {
        return;
    }
    let web = Web::small();
    for client in [
        web.client.clone(),
        web.client.unhooked(),
        web.lab.host(1).clone(),
    ] {
        for (to, vip) in to_vips("udp", 80).iter().zip(VIPS) {
            let exchange = assert_spread(&client, &format!("{to} --unconnected"), &["near", "far"]);
            let frontend: SocketAddr = socket_text(ip(vip), 80).parse().unwrap();
            assert_eq!(exchange.from, Some(frontend), "{} {to}", client.name());
        }
    }
}

#[test]
fn an_ipv6_socket_reaches_an_ipv4_frontend_by_its_mapped_address() {
    if !privileges::are_there() {
        return;
    }
    let web = Web::small();
    for client in [
        web.client.clone(),
        web.client.unhooked(),
        web.lab.host(1).clone(),
    ] {
        for protocol in ["tcp", "udp", "udp --unconnected"] {
            let (protocol, rest) = protocol.split_once(' ').unwrap_or((protocol, ""));
            let to = format!("{protocol} [::ffff:10.96.0.10]:80 {rest}");
            let exchange = assert_spread(&client, &to, &["near", "far"]);
            if rest.is_empty() {
                let frontend = "[::ffff:10.96.0.10]:80".parse().unwrap();
                assert_eq!(exchange.peer, Some(frontend), "{} {to}", client.name());
            }
        }
    }
}

#[test]
fn the_source_port_is_kept() {
    if !privileges::are_there() {
        return;
    }
    let web = Web::small();
    for (protocol, port) in [("tcp", 4001), ("udp", 4002)] {
        for to in to_vips(protocol, 80) {
            let client = web.client.unhooked();
            let exchange = client.ask(&format!("{to} --source-port {port}")).unwrap();
            let seen = exchange.answer.as_ref().map(|answer| answer.client.port());
            assert_eq!(seen, Some(port), "{to}: {exchange:?}");
        }
    }
}

/// The translated flow is over, but its entries are still there when the client takes the same port
/// for the backend itself.
#[test]
fn a_backend_is_reached_by_its_own_address_from_a_port_that_was_translated() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::small();
    web.lab.set_pod("far", "").unwrap();
    web.lab.publish().unwrap();
    let near = web.lab.pod("near").clone();
    let client = web.client.unhooked();
    for (protocol, port) in [("tcp", 4001), ("udp", 4002)] {
        let options = format!("--source-port {port} --timeout-ms 500");
        let addrs = [near.addr4(), near.addr6()];
        for (frontend, addr) in to_vips(protocol, 80).into_iter().zip(addrs) {
            let backend = format!("{protocol} {}", socket_text(addr, 8080));
            for to in [&frontend, &backend, &frontend, &backend] {
                let exchange = client.ask(&format!("{to} {options}")).unwrap();
                assert_eq!(exchange.name(), "near", "{to}: {exchange:?}");
            }
        }
    }
}

#[test]
fn protocols_with_the_same_port_are_independent() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::small();
    web.add_server(1, "other", "app=other");
    // The same address and port as WEB, each protocol with a backend of its own.
    web.lab
        .set("service default/web 10.96.0.10,fd00:96::10 80/tcp->8080 app=web")
        .unwrap();
    web.lab
        .set("service default/other 10.96.0.11,fd00:96::11 80/udp->8080 app=other")
        .unwrap();
    web.lab.publish().unwrap();
    for client in [web.client.clone(), web.client.unhooked()] {
        assert_spread(&client, "tcp 10.96.0.10:80", &["near", "far"]);
        assert_spread(&client, "udp 10.96.0.11:80", &["other"]);
        assert!(
            !client
                .ask("udp 10.96.0.10:80 --timeout-ms 300")
                .unwrap()
                .is_answered()
        );
        assert!(
            !client
                .ask("tcp 10.96.0.11:80 --timeout-ms 300")
                .unwrap()
                .is_answered()
        );
    }
}

#[test]
fn a_pod_reaches_itself_through_its_frontend() {
    if !privileges::are_there() {
        return;
    }
    for topology in TOPOLOGIES {
        let mut web = Web::new(Options::new(topology, 1));
        // A frontend's address as the source must pass a strict reverse path filter, too.
        let strict = [("net/ipv4/conf/all/rp_filter", "1")];
        web.lab.host(1).set_sysctls(&strict).unwrap();
        let alone = web.add_server(1, "alone", "app=alone");
        let service = "service default/alone 10.96.0.12,fd00:96::12 \
                       tcp:80/tcp->8080 udp:80/udp->8080 app=alone";
        web.lab.set(service).unwrap();
        web.lab.publish().unwrap();
        for client in [alone.clone(), alone.unhooked()] {
            for vip in ["10.96.0.12", "fd00:96::12"] {
                for protocol in ["tcp", "udp"] {
                    let to = format!("{protocol} {}", socket_text(ip(vip), 80));
                    assert_spread(&client, &to, &["alone"]);
                }
            }
        }
        // On the packet path the frontend's own address is the source, or the pod would drop it.
        let exchange = alone.unhooked().ask("tcp 10.96.0.12:80").unwrap();
        assert_eq!(
            exchange.answer.unwrap().client.ip(),
            ip("10.96.0.12"),
            "{topology:?}"
        );
    }
}

#[test]
fn backends_that_are_the_nodes_own_processes_answer() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::new(Options::new(Topology::Ptp, 2));
    for node in [1, 2] {
        let host = web.lab.host(node).clone();
        web.servers.push(host.serve_port(9090).unwrap());
        let line = format!(
            "pod host-{node} {} {} on=n{node} hostnetwork app=host",
            host.addr4(),
            host.addr6()
        );
        web.lab.set(&line).unwrap();
    }
    let service = "service default/host 10.96.0.13,fd00:96::13 \
                   tcp:80/tcp->9090 udp:80/udp->9090 app=host";
    web.lab.set(service).unwrap();
    web.lab.publish().unwrap();
    for client in [
        web.client.clone(),
        web.client.unhooked(),
        web.lab.host(1).clone(),
    ] {
        for vip in ["10.96.0.13", "fd00:96::13"] {
            for protocol in ["tcp", "udp"] {
                let to = format!("{protocol} {}", socket_text(ip(vip), 80));
                assert_spread(&client, &to, &["n1", "n2"]);
            }
        }
    }
}
