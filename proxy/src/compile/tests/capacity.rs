//! What happens when a table is full.

use rstest::rstest;

use crate::{
    compile::{Limits, quarantine::REST_S, testing::TestNode},
    config::Algorithm,
    model::{
        Endpoint, Kind, Protocol, Service, TrafficPolicy,
        testing::{
            apply_service, apply_slice, delete, endpoint, port, service, slice, synced_cluster,
        },
    },
};

/// One Service of one TCP port with so many endpoints.
fn add(node: &mut TestNode, name: &str, addr: &str, endpoints: u8) {
    let ports = vec![port("", Protocol::Tcp, 80)];
    apply_service(&mut node.cluster, name, service(&[addr], ports));
    let endpoints = (1..=endpoints)
        .map(|last| endpoint(&format!("10.1.0.{last}")))
        .collect();
    apply_slice(&mut node.cluster, name, "a", slice(&["/tcp=80"], endpoints));
}

#[rstest]
#[case::frontends(
    Limits { frontends: 1, backends: 100, slots: 100, ..Limits::default() },
    "no room for 1 more frontends (ipv4), 0 are free"
)]
#[case::backends(
    Limits { frontends: 9, backends: 5, slots: 100, ..Limits::default() },
    "no room for 3 more backends (ipv4), 1 are free"
)]
#[case::slots(
    Limits { frontends: 9, backends: 100, slots: 5, ..Limits::default() },
    "no room for 3 more slots in a row, 2 are free"
)]
fn what_does_not_fit_is_told_and_fits_when_there_is_room(
    #[case] limits: Limits,
    #[case] reason: &str,
) {
    let mut node = TestNode::with_limits(synced_cluster(), limits);
    add(&mut node, "first", "10.96.0.1", 3);
    add(&mut node, "second", "10.96.0.2", 3);
    node.pass();
    let first = "10.96.0.1:80/tcp 10.1.0.1:80 10.1.0.2:80 10.1.0.3:80";
    assert_eq!(node.frontends(), [first]);
    assert_eq!(
        node.diagnostics(),
        [format!("Service default/second: port 80/tcp: {reason}")]
    );

    delete(&mut node.cluster, Kind::Service, "first");
    node.pass();
    if let Some(retry_at_s) = node.compiler.retry_at_s() {
        assert_eq!(retry_at_s, node.now_s + REST_S);
        node.now_s = retry_at_s;
        node.pass();
    }
    assert_eq!(
        node.frontends(),
        ["10.96.0.2:80/tcp 10.1.0.1:80 10.1.0.2:80 10.1.0.3:80"]
    );
    assert_eq!(node.diagnostics(), Vec::<String>::new());
    assert_eq!(node.compiler.retry_at_s(), None);
}

#[test]
fn a_service_that_outgrows_the_table_keeps_its_old_set() {
    let limits = Limits {
        frontends: 9,
        backends: 5,
        slots: 100,
        ..Limits::default()
    };
    let mut node = TestNode::with_limits(synced_cluster(), limits);
    add(&mut node, "web", "10.96.0.1", 2);
    add(&mut node, "other", "10.96.0.2", 1);
    node.pass();
    let before = node.frontends();
    add(&mut node, "web", "10.96.0.1", 9);
    assert_eq!(node.pass(), []);
    assert_eq!(node.frontends(), before);
    assert_eq!(node.diagnostics().len(), 1);

    add(&mut node, "other", "10.96.0.2", 2);
    node.pass();
    assert_eq!(
        node.frontends(),
        [
            "10.96.0.1:80/tcp 10.1.0.1:80 10.1.0.2:80",
            "10.96.0.2:80/tcp 10.1.0.1:80 10.1.0.2:80"
        ],
        "the others go on"
    );
    add(&mut node, "web", "10.96.0.1", 1);
    node.pass();
    assert_eq!(node.diagnostics(), Vec::<String>::new());
}

#[test]
fn many_ports_that_do_not_fit_are_one_diagnostic() {
    let limits = Limits {
        frontends: 2,
        backends: 100,
        slots: 100,
        ..Limits::default()
    };
    let mut node = TestNode::with_limits(synced_cluster(), limits);
    let ports = [80, 81, 82, 83, 84].map(|number| port(&number.to_string(), Protocol::Tcp, number));
    apply_service(
        &mut node.cluster,
        "web",
        service(&["10.96.0.1"], ports.to_vec()),
    );
    node.pass();
    assert_eq!(node.frontends().len(), 2);
    assert_eq!(
        node.diagnostics(),
        [
            "Service default/web: port 82/tcp: no room for 1 more frontends (ipv4), 0 are free; \
             3 of its ports do not fit"
        ]
    );
}

/// A Service whose ClusterIP has the endpoints of this node, and whose load balancer has all.
fn balanced(node: &mut TestNode, endpoint: Endpoint) {
    let service = Service {
        internal_traffic_policy: TrafficPolicy::Local,
        load_balancer_ips: vec!["192.0.2.1".parse().unwrap()],
        ..service(&["10.96.0.1"], vec![port("", Protocol::Tcp, 80)])
    };
    apply_service(&mut node.cluster, "web", service);
    let slice = slice(&["/tcp=80"], vec![endpoint]);
    apply_slice(&mut node.cluster, "web", "a", slice);
}

#[test]
fn a_set_that_no_frontend_has_room_to_read_is_not_written() {
    let limits = Limits {
        frontends: 1,
        ..Limits::default()
    };
    let mut node = TestNode::with_limits(synced_cluster(), limits);
    balanced(&mut node, endpoint("10.1.0.1"));
    node.pass();
    assert_eq!(node.frontends(), ["10.96.0.1:80/tcp drop"]);
    assert_eq!(node.actual.slots.len(), 0);
}

#[test]
fn a_set_is_left_with_its_last_frontend_even_if_the_next_one_does_not_fit() {
    let limits = Limits {
        backends: 3,
        ..Limits::default()
    };
    let mut node = TestNode::with_limits(synced_cluster(), limits);
    balanced(&mut node, endpoint("10.1.0.1"));
    node.pass();
    assert_eq!(node.compiler.desired().slots.len(), 1);
    let alone = Service {
        internal_traffic_policy: TrafficPolicy::Local,
        ..service(&["10.96.0.1"], vec![port("", Protocol::Tcp, 80)])
    };
    apply_service(&mut node.cluster, "web", alone);
    let here = |addr| Endpoint {
        node: Some("here".into()),
        ..endpoint(addr)
    };
    let endpoints = ["10.1.0.1", "10.1.0.2", "10.1.0.3"].map(here).to_vec();
    apply_slice(
        &mut node.cluster,
        "web",
        "a",
        slice(&["/tcp=80"], endpoints),
    );
    node.pass();
    assert_eq!(node.diagnostics().len(), 1);
    assert_eq!(node.frontends(), ["10.96.0.1:80/tcp drop"]);
    assert_eq!(node.compiler.desired().slots.len(), 0);
}

#[test]
fn source_ranges_that_do_not_fit_leave_the_old_ones() {
    let limits = Limits {
        sources: 1,
        ..Limits::default()
    };
    let mut node = TestNode::with_limits(synced_cluster(), limits);
    let guarded = |ranges: &[&str]| Service {
        load_balancer_ips: vec!["192.0.2.1".parse().unwrap()],
        source_ranges: Some(ranges.iter().map(|range| range.parse().unwrap()).collect()),
        ..service(&["10.96.0.1"], vec![port("", Protocol::Tcp, 80)])
    };
    apply_service(&mut node.cluster, "web", guarded(&["10.0.0.0/8"]));
    node.pass();
    apply_service(
        &mut node.cluster,
        "web",
        guarded(&["10.0.0.0/8", "172.16.0.0/12", "100.64.0.0/10"]),
    );
    assert_eq!(node.pass(), []);
    assert_eq!(node.sources(), ["192.0.2.1:80/tcp 10.0.0.0/8"]);
    assert_eq!(
        node.diagnostics(),
        [
            "Service default/web: port 80/tcp: no room for 2 more source ranges (ipv4), \
             0 are free"
        ]
    );
}

#[test]
fn a_maglev_table_is_as_large_as_there_is_room() {
    let limits = Limits {
        slots: 2000,
        ..Limits::default()
    };
    let mut node = TestNode::with_limits(synced_cluster(), limits);
    let maglev = |addr| Service {
        algorithm: Some(Algorithm::Maglev),
        ..service(&[addr], vec![port("", Protocol::Tcp, 80)])
    };
    for (name, addr) in [("first", "10.96.0.1"), ("second", "10.96.0.2")] {
        apply_service(&mut node.cluster, name, maglev(addr));
        let endpoints = ["10.1.0.1", "10.1.0.2"].map(endpoint).to_vec();
        apply_slice(&mut node.cluster, name, "a", slice(&["/tcp=80"], endpoints));
    }
    node.pass();
    assert_eq!(
        node.frontends(),
        [
            "10.96.0.1:80/tcp maglev of 1021",
            "10.96.0.2:80/tcp maglev of 509"
        ]
    );
    assert_eq!(
        node.diagnostics(),
        [
            "Service default/second: port 80/tcp: no room for 1021 more slots in a row for a full \
             Maglev table, 979 are free"
        ]
    );
    assert_eq!(node.full_pass(), []);
    delete(&mut node.cluster, Kind::Service, "first");
    node.pass();
    node.now_s = node.compiler.retry_at_s().unwrap();
    node.pass();
    assert_eq!(node.frontends(), ["10.96.0.2:80/tcp maglev of 1021"]);
    assert_eq!(node.diagnostics(), Vec::<String>::new());
}

#[test]
fn a_full_family_does_not_keep_the_other_back() {
    let limits = Limits {
        frontends: 9,
        backends: 3,
        slots: 100,
        ..Limits::default()
    };
    let mut node = TestNode::with_limits(synced_cluster(), limits);
    let ports = vec![port("", Protocol::Tcp, 80)];
    apply_service(
        &mut node.cluster,
        "web",
        service(&["10.96.0.1", "fd00:96::1"], ports),
    );
    let addrs = ["10.1.0.1", "10.1.0.2", "10.1.0.3", "fd00:10::1"];
    apply_slice(
        &mut node.cluster,
        "web",
        "a",
        slice(&["/tcp=80"], addrs.map(endpoint).to_vec()),
    );
    node.pass();
    assert_eq!(node.frontends(), ["[fd00:96::1]:80/tcp [fd00:10::1]:80"]);
    assert_eq!(node.diagnostics().len(), 1);
}
