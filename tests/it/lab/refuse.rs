//! Frontends that have nobody to give a client to (services.md 65, 66, 70).

use tests::{lab::Options, lab::Topology, privileges};

use super::{VIPS, Web, assert_fails, assert_spread, to_vips};

#[test]
fn a_frontend_without_backends_refuses_at_once() {
    if !privileges::are_there() {
        return;
    }
    for topology in [Topology::Ptp, Topology::Bridge] {
        let mut web = Web::new(Options::new(topology, 1));
        for name in ["near", "far"] {
            web.lab.set_pod(name, "").unwrap();
        }
        web.lab.publish().unwrap();
        let clients = [
            web.client.clone(),
            web.client.unhooked(),
            web.lab.host(1).clone(),
        ];
        for client in &clients {
            for protocol in ["tcp", "udp"] {
                for to in to_vips(protocol, 80) {
                    assert_fails(client, &to, "ECONNREFUSED");
                }
            }
        }
    }
}

#[test]
fn a_local_frontend_without_local_backends_is_silent_and_one_with_serves_only_those() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::new(Options::new(Topology::Ptp, 2));
    let local = super::WEB.replace("app=web", "app=web internal=Local");
    web.lab.set(&local).unwrap();
    web.lab.publish().unwrap();
    let clients = [
        web.client.clone(),
        web.client.unhooked(),
        web.lab.host(1).clone(),
    ];
    for client in &clients {
        for protocol in ["tcp", "udp"] {
            for to in to_vips(protocol, 80) {
                assert_spread(client, &to, &["near"]);
            }
        }
    }
    web.lab.set_pod("near", "").unwrap();
    web.lab.publish().unwrap();
    for client in &clients {
        for protocol in ["tcp", "udp"] {
            for to in to_vips(protocol, 80) {
                let exchange = client.ask(&format!("{to} --timeout-ms 300")).unwrap();
                // Dropped, not refused: elsewhere the Service has backends. A socket hook has only
                // the error number to say so.
                assert!(!exchange.is_answered(), "{} {to}", client.name());
                assert!(
                    !exchange.failed_with("ECONNREFUSED"),
                    "{} {to}",
                    client.name()
                );
            }
        }
    }
}

#[test]
fn a_port_that_is_no_frontend_is_left_alone() {
    if !privileges::are_there() {
        return;
    }
    let web = Web::small();
    for client in [web.client.clone(), web.client.unhooked()] {
        for vip in VIPS {
            let to = tests::lab::socket_text(super::ip(vip), 81);
            let exchange = client.ask(&format!("tcp {to} --timeout-ms 300")).unwrap();
            // It goes to the router, which knows no such network.
            assert!(!exchange.is_answered(), "{exchange:?}");
        }
    }
}
