//! Passes over real maps, with sockets in a namespace of their own.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use proxy_datapath::{
    family::{Ipv4, Port, proto},
    tables::{SocketKey, SocketPeer, port_proto},
};
use rustix::{
    net::sockopt::socket_cookie,
    thread::{CapabilitySet, capabilities, set_capabilities},
};

use super::programmer::Programmer;
use crate::{
    attach::testing::Namespace,
    compile::Settings,
    model::{
        IpFamily, Kind, Protocol,
        testing::{
            apply_service, apply_slice, delete, endpoint, port, service, slice, synced_cluster,
        },
    },
    observe::NameFile,
    tables::{Access, BpfTables, testing::ScratchPins},
};

const BACKEND: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 9);

fn serve(programmer: &mut Programmer) {
    let endpoints = vec![endpoint(&BACKEND.to_string())];
    apply_slice(
        &mut programmer.cluster,
        "web",
        "a",
        slice(&["/udp=53"], endpoints),
    );
    assert!(programmer.pass());
}

/// A node with one UDP frontend, which leads to `BACKEND`.
fn programmer(pins: &ScratchPins) -> Programmer {
    let tables = BpfTables::open_pinned(&pins.pins, Access::Write).unwrap();
    let names = NameFile::new(pins.mount_point());
    let mut cluster = synced_cluster();
    let ports = vec![port("", Protocol::Udp, 53)];
    apply_service(&mut cluster, "web", service(&["10.96.0.1"], ports));
    let mut programmer = Programmer::new(cluster, tables, names, Settings::default()).unwrap();
    serve(&mut programmer);
    programmer
}

/// A socket that was led to the backend when it dialled the frontend.
fn led(programmer: &Programmer) -> UdpSocket {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect((BACKEND, 53)).unwrap();
    let cookie = socket_cookie(&socket).unwrap();
    let key = SocketKey::<Ipv4> {
        cookie: [cookie as u32, (cookie >> 32) as u32],
        addr: BACKEND.into(),
        port_proto: port_proto(Port::new(53), proto::UDP),
    };
    let backends = &programmer.compiler.desired().v4.backends;
    let peer = SocketPeer {
        backend: *backends.keys().next().unwrap(),
        ..SocketPeer::default()
    };
    let refused = programmer.tables.v4.sockets.update(&[key], &[peer]);
    assert!(refused.is_empty());
    socket
}

/// Removes the backend without the right to end its sockets.
fn fail_to_end_sockets(programmer: &mut Programmer) {
    delete(&mut programmer.cluster, Kind::EndpointSlice, "web-a");
    let all = capabilities(None).unwrap();
    let mut less = all;
    less.effective.remove(CapabilitySet::NET_ADMIN);
    set_capabilities(None, less).unwrap();
    for _ in 0..2 {
        assert!(!programmer.pass(), "something is left to do");
        assert!(programmer.sockets_error.is_some());
    }
    set_capabilities(None, all).unwrap();
}

fn with_programmer(body: impl FnOnce(Programmer) + Send) {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.ip(&format!("address add {BACKEND}/32 dev lo"));
    let pins = ScratchPins::with_maps(16, 64);
    namespace.enter(|| body(programmer(&pins)));
}

#[test]
fn a_socket_that_could_not_be_ended_is_ended_by_a_later_pass_111() {
    with_programmer(|mut programmer| {
        let socket = led(&programmer);
        fail_to_end_sockets(&mut programmer);
        assert!(socket.take_error().unwrap().is_none());

        assert_eq!(programmer.take_ended(), []);
        assert!(programmer.pass());
        assert_eq!(programmer.sockets_error, None);
        let ended = programmer.take_ended();
        let counts: Vec<_> = ended.iter().map(|one| (one.family, one.sockets)).collect();
        assert_eq!(counts, [(IpFamily::V4, 1)]);
        let error = socket.take_error().unwrap().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    });
}

#[test]
fn a_backend_that_came_back_meanwhile_keeps_its_sockets_115() {
    with_programmer(|mut programmer| {
        let socket = led(&programmer);
        fail_to_end_sockets(&mut programmer);
        // Its id may be given out again.
        programmer.clock -= Duration::from_secs(60);
        serve(&mut programmer);
        assert_eq!(programmer.sockets_error, None);
        assert!(socket.take_error().unwrap().is_none());
    });
}
