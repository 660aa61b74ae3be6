//! Each kind of row as its line and its JSON.

use std::net::{Ipv4Addr, Ipv6Addr};

use expect_test::{Expect, expect};
use proxy_datapath::{
    family::{Ipv4, Ipv6, Ports},
    flow,
    socket::TO_BACKEND,
    tables::{
        Affinity, AffinityKey, Flow, FlowKey, Fragment, FragmentKey, SocketKey, SocketPeer,
        port_proto,
    },
    verdict::{Direction, DropReason, Verdict},
};

use super::*;
use crate::{
    observe::{dump, testing},
    tables,
};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 5);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
const BACKEND: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 9);

#[track_caller]
fn check(row: &Row, line: &str, json: &Expect) {
    assert_eq!(row.to_string(), line);
    let found = serde_json::to_string_pretty(row).unwrap();
    json.assert_eq(&format!("{found}\n"));
}

fn ports(source: u16, destination: u16) -> Ports {
    Ports::new(Port::new(source), Port::new(destination))
}

#[test]
fn a_flow_is_both_of_its_tuples() {
    let key = FlowKey::<Ipv4> {
        endpoint: 4,
        source: CLIENT.into(),
        destination: VIP.into(),
        ports: ports(40, 53),
        proto: proto::UDP,
    };
    let flow = Flow {
        source: CLIENT.into(),
        destination: BACKEND.into(),
        ports: ports(40, 5353),
        flags: flow::REVERSE | flow::HAIRPIN,
        backend: 7,
        last_seen_s: 90,
    };
    check(
        &Row::flow(&key, &flow, 100),
        "flow 10.1.0.5:40 > 10.96.0.10:53 udp => 10.1.0.5:40 > 10.1.0.9:5353 reverse,hairpin backend=7 idle=10s",
        &expect![[r#"
            {
              "table": "flow",
              "source": "10.1.0.5:40",
              "destination": "10.96.0.10:53",
              "protocol": "udp",
              "newSource": "10.1.0.5:40",
              "newDestination": "10.1.0.9:5353",
              "flags": [
                "reverse",
                "hairpin"
              ],
              "backend": 7,
              "idleS": 10
            }
        "#]],
    );
}

#[test]
fn a_socket_remembers_either_side() {
    let key = |flag| SocketKey::<Ipv4> {
        cookie: [2, 1],
        addr: BACKEND.into(),
        port_proto: port_proto(Port::new(8080), proto::TCP) | flag,
    };
    let peer = SocketPeer {
        addr: VIP.into(),
        port_proto: port_proto(Port::new(80), proto::TCP),
        backend: 7,
    };
    check(
        &Row::socket(&key(0), &peer),
        "socket 4294967298 10.1.0.9:8080/tcp frontend 10.96.0.10:80 backend=7",
        &expect![[r#"
        {
          "table": "socket",
          "cookie": 4294967298,
          "address": "10.1.0.9:8080",
          "protocol": "tcp",
          "toBackend": false,
          "peer": "10.96.0.10:80",
          "backend": 7
        }
    "#]],
    );
    let line = Row::socket(&key(TO_BACKEND), &peer).to_string();
    expect!["socket 4294967298 10.1.0.9:8080/tcp backend 10.96.0.10:80 backend=7"].assert_eq(&line);
}

#[test]
fn a_fragment_names_its_datagram() {
    let key = FragmentKey::<Ipv6> {
        endpoint: 4,
        source: Ipv6Addr::LOCALHOST.into(),
        destination: Ipv6Addr::UNSPECIFIED.into(),
        id: 0x0102_0304_u32.to_be(),
        proto: proto::UDP,
    };
    let fragment = Fragment {
        ports: ports(4000, 53),
        covered: 1448,
        seen_s: 1,
    };
    check(
        &Row::fragment(&key, &fragment),
        "fragment ::1 > :: udp id=16909060 ports=4000>53 covered=1448",
        &expect![[r#"
        {
          "table": "fragment",
          "source": "::1",
          "destination": "::",
          "protocol": "udp",
          "id": 16909060,
          "sourcePort": 4000,
          "destinationPort": 53,
          "covered": 1448
        }
    "#]],
    );
}

#[test]
fn a_counter_has_names() {
    let counter = tables::Counter {
        direction: Direction::FromPod,
        verdict: Verdict::Drop(DropReason::FragmentTiny),
        packets: 3,
    };
    check(
        &Row::counter(counter),
        "counter from_pod fragment-tiny 3",
        &expect![[r#"
        {
          "table": "counter",
          "direction": "from_pod",
          "verdict": "fragment-tiny",
          "packets": 3
        }
    "#]],
    );
}

#[test]
fn a_frontend_says_what_the_wire_gets_where_that_differs() {
    let rows = dump::frontends(&testing::exposed_maps());
    let [node_port, _, _, balanced, ..] = &rows[..] else {
        panic!("{rows:?}")
    };
    check(
        node_port,
        "frontend 0.0.0.0:30080/tcp service=1 kind=NodePort backends=1-2 wire=1 wire-local",
        &expect![[r#"
            {
              "table": "frontend",
              "address": "0.0.0.0:30080",
              "protocol": "tcp",
              "service": 1,
              "kind": "NodePort",
              "backends": [
                1,
                2
              ],
              "refuses": null,
              "wire": {
                "backends": [
                  1
                ],
                "refuses": null
              },
              "affinityS": null,
              "flags": [
                "wire-local"
              ],
              "name": null
            }
        "#]],
    );
    expect!["frontend 10.96.0.10:443/tcp service=3 drop"].assert_eq(&balanced.to_string());
}

#[test]
fn an_affinity_is_a_client_of_a_service_port() {
    let key = AffinityKey::<Ipv4> {
        client: CLIENT.into(),
        service: 3,
    };
    let affinity = Affinity {
        backend: 7,
        used_s: 90,
    };
    check(
        &Row::affinity(&key, &affinity, 100),
        "affinity 10.1.0.5 service=3 backend=7 idle=10s",
        &expect![[r#"
            {
              "table": "affinity",
              "client": "10.1.0.5",
              "service": 3,
              "backend": 7,
              "idleS": 10,
              "name": null
            }
        "#]],
    );
}
