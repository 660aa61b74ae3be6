//! ICMP errors about a translated flow reach the client as errors about the frontend, the quoted
//! packet included: or its socket would not recognise them (services.md 52).

use tests::{
    lab::{Options, Topology},
    privileges,
};

use super::{Web, assert_fails, ip, to_vips};

#[test]
fn a_closed_port_of_the_backend_is_refused_to_the_client() {
    if !privileges::are_there() {
        return;
    }
    for topology in [Topology::Ptp, Topology::Vxlan] {
        let mut web = Web::new(Options::new(topology, 2));
        // Nobody listens on 8081.
        let closed = "service default/closed 10.96.0.14,fd00:96::14 \
                      tcp:80/tcp->8081 udp:80/udp->8081 app=web";
        web.lab.set(closed).unwrap();
        web.lab.publish().unwrap();
        for client in [
            web.client.clone(),
            web.client.unhooked(),
            web.lab.host(1).clone(),
        ] {
            for vip in ["10.96.0.14", "fd00:96::14"] {
                let to = tests::lab::socket_text(ip(vip), 80);
                // For UDP an ICMP error says so; its quote must name the frontend.
                assert_fails(&client, &format!("udp {to}"), "ECONNREFUSED");
                assert_fails(&client, &format!("tcp {to}"), "ECONNREFUSED");
            }
        }
    }
}

#[test]
fn a_narrow_path_is_learnt_for_the_frontend() {
    if !privileges::are_there() {
        return;
    }
    // Pods believe in the wire's MTU; the tunnel between the nodes has less.
    let options = Options {
        pod_mtu: Some(1500),
        ..Options::new(Topology::Vxlan, 2)
    };
    let mut web = Web::new(options);
    web.lab.set_pod("near", "").unwrap();
    web.lab.publish().unwrap();
    for client in [web.client.clone(), web.client.unhooked()] {
        for to in to_vips("udp", 80) {
            let mut session = client
                .client(&format!("{to} --dont-fragment --timeout-ms 500"))
                .unwrap();
            // The first is lost to the tunnel, whose error teaches the socket.
            let lost = session.ask_with(1_440).unwrap();
            assert!(
                !lost.is_answered(),
                "{to}: the path is not narrow: {lost:?}"
            );
            let refused = session.ask_with(1_440).unwrap();
            assert!(refused.failed_with("EMSGSIZE"), "{to}: {refused:?}");
            assert_eq!(session.ask_with(1_200).unwrap().name(), "far", "{to}");
        }
        for to in to_vips("tcp", 80) {
            let exchange = client.client(&to).unwrap().ask_with(200_000).unwrap();
            assert_eq!(exchange.name(), "far", "{to}: {exchange:?}");
        }
    }
}
