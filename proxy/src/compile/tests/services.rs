//! What Services and slices become.

use expect_test::expect;

use crate::{
    compile::testing::TestNode,
    model::{
        Cluster, Endpoint, Event, Kind, Node, Object, ObjectKey, Protocol, Service, TrafficPolicy,
        testing::{
            apply, apply_service, apply_slice, delete, endpoint, hinted, key, port, service, slice,
            synced_cluster,
        },
    },
};

/// Service `web` at 10.96.0.1:80/tcp with these endpoints.
fn web(endpoints: &[&str]) -> Cluster {
    let mut cluster = synced_cluster();
    apply_service(&mut cluster, "web", service(&["10.96.0.1"], vec![http()]));
    let endpoints = endpoints.iter().map(|addr| endpoint(addr)).collect();
    apply_slice(
        &mut cluster,
        "web",
        "a",
        slice(&["http/tcp=8080"], endpoints),
    );
    cluster
}

fn http() -> crate::model::ServicePort {
    port("http", Protocol::Tcp, 80)
}

fn lines(lines: Vec<String>) -> String {
    lines.join("\n")
}

#[test]
fn both_families_of_a_service_have_their_own_frontends_and_backends_6() {
    let mut cluster = synced_cluster();
    apply_service(
        &mut cluster,
        "web",
        service(&["10.96.0.1", "fd00:96::1"], vec![http()]),
    );
    apply_slice(
        &mut cluster,
        "web",
        "4",
        slice(&["http/tcp=8080"], vec![endpoint("10.1.0.1")]),
    );
    let six = slice(
        &["http/tcp=8080"],
        vec![endpoint("fd00:10::1"), endpoint("fd00:10::2")],
    );
    apply_slice(&mut cluster, "web", "6", six);
    let mut node = TestNode::new(cluster);
    node.pass();
    expect![[r#"
        10.96.0.1:80/tcp 10.1.0.1:8080
        [fd00:96::1]:80/tcp [fd00:10::1]:8080 [fd00:10::2]:8080"#]]
    .assert_eq(&lines(node.frontends()));
    let ports: Vec<_> = node.compiler.services().collect();
    assert_eq!(ports.len(), 1, "one service port with one id");
    assert_eq!((&*ports[0].port, ports[0].id), ("http", 1));
    assert_eq!(ports[0].frontends().count(), 2);
    assert_eq!(ports[0].backends(node.compiler.desired()).count(), 3);
}

#[test]
fn a_family_without_a_cluster_ip_is_invisible_6() {
    let mut node = TestNode::new(web(&["10.1.0.1", "fd00:10::1"]));
    node.pass();
    assert_eq!(node.frontends(), ["10.96.0.1:80/tcp 10.1.0.1:8080"]);
    assert_eq!(node.backends(), ["1 10.1.0.1:8080/tcp active"]);
}

#[test]
fn a_service_without_endpoints_rejects_65() {
    let mut node = TestNode::new(web(&[]));
    node.pass();
    assert_eq!(node.frontends(), ["10.96.0.1:80/tcp reject"]);
    delete(&mut node.cluster, Kind::EndpointSlice, "web-a");
    assert_eq!(node.pass(), []);
}

#[test]
fn a_local_policy_without_a_local_endpoint_drops_66() {
    let mut cluster = web(&["10.1.0.1"]);
    let local = TrafficPolicy::Local;
    let service = Service {
        internal_traffic_policy: local,
        ..service(&["10.96.0.1"], vec![http()])
    };
    apply_service(&mut cluster, "web", service);
    let mut node = TestNode::new(cluster);
    node.pass();
    assert_eq!(node.frontends(), ["10.96.0.1:80/tcp drop"]);
    assert_eq!(node.backends(), Vec::<String>::new());
}

#[test]
fn only_udp_keeps_backends_that_serve_but_are_not_chosen_110() {
    let state = |addr, ready, serving, terminating| Endpoint {
        ready,
        serving,
        terminating,
        ..endpoint(addr)
    };
    let mut cluster = synced_cluster();
    let ports = vec![
        port("dns", Protocol::Udp, 53),
        port("dns-tcp", Protocol::Tcp, 53),
    ];
    apply_service(&mut cluster, "web", service(&["10.96.0.1"], ports));
    let endpoints = vec![
        state("10.1.0.1", true, true, false),
        state("10.1.0.2", false, true, true),
        state("10.1.0.3", false, true, false),
        state("10.1.0.4", false, false, true),
    ];
    apply_slice(
        &mut cluster,
        "web",
        "a",
        slice(&["dns/udp=53", "dns-tcp/tcp=53"], endpoints),
    );
    let mut node = TestNode::new(cluster);
    node.pass();
    expect![[r#"
        10.96.0.1:53/tcp 10.1.0.1:53
        10.96.0.1:53/udp 10.1.0.1:53
        1 10.1.0.1:53/udp active
        2 10.1.0.2:53/udp terminating
        3 10.1.0.3:53/udp terminating
        4 10.1.0.1:53/tcp active"#]]
    .assert_eq(&lines([node.frontends(), node.backends()].concat()));
}

#[test]
fn a_zone_that_changes_is_followed_at_once_42() {
    let mut cluster = web(&[]);
    let endpoints = [("10.1.0.1", "|z1"), ("10.1.0.2", "|z2")].map(|(addr, hints)| Endpoint {
        addr: addr.parse().unwrap(),
        ..hinted(hints)
    });
    apply_slice(
        &mut cluster,
        "web",
        "a",
        slice(&["http/tcp=8080"], endpoints.to_vec()),
    );
    let mut node = TestNode::new(cluster);
    node.pass();
    assert_eq!(
        node.frontends(),
        ["10.96.0.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080"]
    );
    let here = ObjectKey::new("", "here");
    let zone = Node {
        zone: Some("z2".into()),
        ..Node::default()
    };
    apply(&mut node.cluster, Object::Node(here.clone(), zone.clone()));
    node.pass();
    assert_eq!(node.frontends(), ["10.96.0.1:80/tcp 10.1.0.2:8080"]);
    let addrs = vec!["192.0.2.1".parse().unwrap()];
    apply(
        &mut node.cluster,
        Object::Node(here, Node { addrs, ..zone }),
    );
    assert!(
        node.cluster.take_dirty().is_empty(),
        "nothing else of a Node matters"
    );
}

#[test]
fn endpoints_with_special_addresses_are_left_out_and_told() {
    let mut node = TestNode::new(web(&["127.0.0.1", "10.1.0.1"]));
    node.pass();
    assert_eq!(node.frontends(), ["10.96.0.1:80/tcp 10.1.0.1:8080"]);
    let told = "EndpointSlice default/web-a: endpoints are not used: 127.0.0.1 (loopback)";
    assert_eq!(node.diagnostics(), [told]);
    let good = slice(&["http/tcp=8080"], vec![endpoint("10.1.0.1")]);
    apply_slice(&mut node.cluster, "web", "a", good);
    assert_eq!(node.pass(), []);
    assert_eq!(node.diagnostics(), Vec::<String>::new());
}

#[test]
fn a_cluster_ip_with_a_special_address_is_not_captured() {
    let mut cluster = web(&["10.1.0.1"]);
    apply_service(&mut cluster, "web", service(&["127.0.0.1"], vec![http()]));
    let mut node = TestNode::new(cluster);
    node.pass();
    assert_eq!(node.frontends(), Vec::<String>::new());
    let told = "Service default/web: ClusterIP 127.0.0.1 is not used: loopback";
    assert_eq!(node.diagnostics(), [told]);
}

#[test]
fn the_older_of_two_services_has_the_frontend_until_it_goes_22() {
    let claim = |created_s| Service {
        created_s,
        ..service(
            &["10.96.0.1"],
            vec![http(), port("alone", Protocol::Tcp, 81)],
        )
    };
    let mut cluster = synced_cluster();
    for (name, created_s, addr) in [("old", 100, "10.1.0.1"), ("young", 200, "10.1.0.2")] {
        let mut service = claim(created_s);
        if name == "old" {
            service.ports.pop();
        }
        apply_service(&mut cluster, name, service);
        let ports = ["http/tcp=8080", "alone/tcp=8081"];
        apply_slice(&mut cluster, name, "a", slice(&ports, vec![endpoint(addr)]));
    }
    let mut node = TestNode::new(cluster);
    node.pass();
    let shared = [
        "10.96.0.1:80/tcp 10.1.0.1:8080",
        "10.96.0.1:81/tcp 10.1.0.2:8081",
    ];
    assert_eq!(node.frontends(), shared);
    let told = "Service default/young: 10.96.0.1:80/tcp belongs to Service default/old, \
                which came first";
    assert_eq!(node.diagnostics(), [told]);

    delete(&mut node.cluster, Kind::Service, "old");
    node.pass();
    let inherited = [
        "10.96.0.1:80/tcp 10.1.0.2:8080",
        "10.96.0.1:81/tcp 10.1.0.2:8081",
    ];
    assert_eq!(node.frontends(), inherited);
    assert_eq!(node.diagnostics(), Vec::<String>::new());

    let mut older = claim(50);
    older.ports.pop();
    apply_service(&mut node.cluster, "old", older);
    node.pass();
    assert_eq!(node.frontends(), shared);
}

#[test]
fn a_port_that_repeats_another_is_left_out_and_told() {
    let ports = vec![port("", Protocol::Tcp, 80), port("", Protocol::Tcp, 443), {
        port("again", Protocol::Tcp, 80)
    }];
    let mut cluster = synced_cluster();
    apply_service(&mut cluster, "web", service(&["10.96.0.1"], ports));
    let mut node = TestNode::new(cluster);
    node.pass();
    assert_eq!(node.frontends(), ["10.96.0.1:80/tcp reject"]);
    expect![[r#"
        Service default/web: port 443/tcp is not used: another port has its name or number
        Service default/web: port 80/tcp is not used: another port has its name or number"#]]
    .assert_eq(&lines(node.diagnostics()));
}

#[test]
fn nothing_is_done_before_every_first_list_is_complete_23() {
    let mut node = TestNode::new(web(&["10.1.0.1"]));
    node.pass();
    node.restart();
    let (service, slices) = (
        node.cluster.service(&key("web")).unwrap().clone(),
        node.cluster
            .slices(&key("web"))
            .cloned()
            .collect::<Vec<_>>(),
    );
    node.cluster = Cluster::new("here");
    assert_eq!(
        node.full_pass(),
        [],
        "an empty cluster is not known to be empty"
    );
    apply_service(&mut node.cluster, "web", service);
    assert_eq!(node.full_pass(), [], "the slices may yet come");
    apply_slice(&mut node.cluster, "web", "a", slices[0].clone());
    for kind in Kind::ALL {
        assert_eq!(node.full_pass(), [], "{kind:?} is not complete");
        node.cluster.handle(Event::Synced(kind));
    }
    assert_eq!(node.full_pass(), [], "the maps were right all along");
    assert_eq!(node.frontends(), ["10.96.0.1:80/tcp 10.1.0.1:8080"]);
}

#[test]
fn what_an_earlier_agent_left_is_removed_once_it_is_known_to_be_gone() {
    let mut cluster = web(&["10.1.0.1"]);
    apply_service(&mut cluster, "gone", service(&["10.96.0.2"], vec![http()]));
    let there = slice(&["http/tcp=8080"], vec![endpoint("10.1.0.9")]);
    apply_slice(&mut cluster, "gone", "a", there);
    let mut node = TestNode::new(cluster);
    node.pass();
    assert_eq!(node.frontends().len(), 2);
    delete(&mut node.cluster, Kind::Service, "gone");
    node.restart();
    node.full_pass();
    assert_eq!(node.frontends(), ["10.96.0.1:80/tcp 10.1.0.1:8080"]);
    assert_eq!(node.backends(), ["2 10.1.0.1:8080/tcp active"]);
    assert_eq!(node.actual.v4.addresses.len(), 1);
}
