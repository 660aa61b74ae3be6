//! What changes around the Services reaches their rows at once, and only theirs.

use expect_test::expect;
use rstest::rstest;

use crate::{
    compile::{Settings, testing::TestNode},
    config::proxy::{DetectLocal, NodePortAddresses},
    model::{
        Event, Kind, Node, Object, ObjectKey, ObjectRef, Pod, Protocol, Service, ServiceCidr,
        ServicePort, Uplink,
        testing::{
            apply, apply_service, apply_slice, delete, endpoint, key, port, service, slice,
            synced_cluster,
        },
    },
};

fn local_addrs(node: &mut TestNode, addrs: &[&str]) {
    let addrs = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
    node.cluster.handle(Event::LocalAddrs(addrs));
}

fn own_node(node: &mut TestNode, addrs: &[&str]) {
    let addrs = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
    let object = Node {
        addrs,
        ..Node::default()
    };
    let key = ObjectKey::new("", "here");
    apply(&mut node.cluster, Object::Node(key, object));
}

fn service_cidr(node: &mut TestNode, name: &str, cidr: &str) {
    let cidrs = vec![cidr.parse().unwrap()];
    let key = ObjectKey::new("", name);
    apply(
        &mut node.cluster,
        Object::ServiceCidr(key, ServiceCidr { cidrs }),
    );
}

fn pod(node: &mut TestNode, name: &str, addr: &str) {
    let pod = Pod {
        node: "here".into(),
        addrs: vec![addr.parse().unwrap()],
        host_network: false,
        finished: false,
    };
    apply(&mut node.cluster, Object::Pod(key(name), pod));
}

/// Service `web` with a ClusterIP and this ExternalIP.
fn external(addr: &str) -> Service {
    Service {
        external_ips: vec![addr.parse().unwrap()],
        ..service(&["10.96.0.1"], vec![port("", Protocol::Tcp, 80)])
    }
}

fn web(service: Service) -> TestNode {
    let mut node = TestNode::new(synced_cluster());
    apply_service(&mut node.cluster, "web", service);
    let endpoints = vec![endpoint("10.1.0.1"), endpoint("10.1.0.2")];
    apply_slice(
        &mut node.cluster,
        "web",
        "a",
        slice(&["/tcp=80"], endpoints),
    );
    node.pass();
    node
}

#[test]
fn node_ports_follow_the_nodes_addresses_at_once_94() {
    let ports = vec![ServicePort {
        node_port: 30080,
        ..port("", Protocol::Tcp, 80)
    }];
    let cluster = synced_cluster();
    let settings = Settings {
        node_port_addresses: NodePortAddresses {
            primary: false,
            cidrs: vec!["10.0.0.0/24".parse().unwrap()],
            ..NodePortAddresses::default()
        },
        ..Settings::default()
    };
    let mut node = TestNode::with_settings(cluster, settings);
    apply_service(&mut node.cluster, "web", service(&["10.96.0.1"], ports));
    own_node(&mut node, &["10.0.0.1"]);
    node.pass();
    expect![[r#"
        10.0.0.1 node node-port
        10.96.0.1 frontend cluster-ip"#]]
    .assert_eq(&node.addresses().join("\n"));
    local_addrs(
        &mut node,
        &["10.0.0.1", "10.0.0.2", "172.17.0.1", "127.0.0.1"],
    );
    let ops = node.pass();
    assert_eq!(ops.len(), 2, "two addresses and nothing else: {ops:?}");
    local_addrs(&mut node, &["10.0.0.2", "172.17.0.1"]);
    node.pass();
    expect![[r#"
        10.0.0.2 node node-port
        10.96.0.1 frontend cluster-ip
        172.17.0.1 node"#]]
    .assert_eq(&node.addresses().join("\n"));
}

#[test]
fn an_address_is_whatever_any_of_its_owners_makes_it() {
    let mut node = web(external("10.0.0.1"));
    own_node(&mut node, &["10.0.0.1"]);
    local_addrs(&mut node, &["10.0.0.1"]);
    node.pass();
    let all = [
        "10.0.0.1 frontend node node-port",
        "10.96.0.1 frontend cluster-ip",
    ];
    assert_eq!(node.addresses(), all);
    apply_service(
        &mut node.cluster,
        "web",
        service(&["10.96.0.1"], Vec::new()),
    );
    node.pass();
    let rest = ["10.0.0.1 node node-port", "10.96.0.1 cluster-ip"];
    assert_eq!(
        node.addresses(),
        rest,
        "a ClusterIP without ports is one (72)"
    );
    delete(&mut node.cluster, Kind::Service, "web");
    local_addrs(&mut node, &[]);
    node.pass();
    assert_eq!(node.addresses(), Vec::<String>::new());
}

#[test]
fn ranges_of_cluster_ips_count_as_soon_as_they_change_75() {
    let mut node = web(external("203.0.113.1"));
    service_cidr(&mut node, "kubernetes", "10.96.0.0/16");
    assert_eq!(node.pass().len(), 1);
    assert_eq!(node.actual.v4.ranges.len(), 1);
    service_cidr(&mut node, "more", "203.0.113.0/24");
    node.pass();
    assert_eq!(node.actual.v4.ranges.len(), 2);
    assert_eq!(node.frontends().len(), 1);
    let told = "Service default/web: ExternalIP 203.0.113.1 is not used: it is in 203.0.113.0/24, \
                which ClusterIPs come from";
    assert_eq!(node.diagnostics(), [told]);
    let more = ObjectRef::new(Kind::ServiceCidr, ObjectKey::new("", "more"));
    node.cluster.handle(Event::Delete(more));
    node.pass();
    assert_eq!(
        (node.frontends().len(), node.actual.v4.ranges.len()),
        (2, 1)
    );
    assert_eq!(node.diagnostics(), Vec::<String>::new());
}

#[test]
fn nobody_takes_a_pods_address_while_the_pod_lives() {
    let mut node = web(external("10.1.0.1"));
    assert_eq!(node.frontends().len(), 2);
    pod(&mut node, "one", "10.1.0.1");
    node.pass();
    let told = "Service default/web: ExternalIP 10.1.0.1 is not used: it is a pod's";
    assert_eq!(node.diagnostics(), [told]);
    assert_eq!(node.backends()[0], "1 10.1.0.1:80/tcp active here");
    delete(&mut node.cluster, Kind::Pod, "one");
    node.pass();
    assert_eq!(node.frontends().len(), 2);
    assert_eq!(node.backends()[0], "1 10.1.0.1:80/tcp active");
}

#[test]
fn nobody_takes_another_services_cluster_ip() {
    let mut node = web(external("10.96.0.10"));
    let dns = service(&["10.96.0.10"], vec![port("dns", Protocol::Udp, 53)]);
    apply_service(&mut node.cluster, "dns", dns);
    node.pass();
    assert_eq!(
        node.frontends(),
        [
            "10.96.0.10:53/udp reject",
            "10.96.0.1:80/tcp 10.1.0.1:80 10.1.0.2:80"
        ]
    );
    let told = "Service default/web: ExternalIP 10.96.0.10 is not used: it is another Service's \
                ClusterIP";
    assert_eq!(node.diagnostics(), [told]);
    delete(&mut node.cluster, Kind::Service, "dns");
    node.pass();
    assert_eq!(node.frontends().len(), 2);
    assert_eq!(node.diagnostics(), Vec::<String>::new());
}

#[rstest]
#[case::loopback("127.0.0.1", "loopback")]
#[case::metadata("169.254.169.254", "link-local")]
#[case::group("224.0.0.1", "multicast")]
#[case::pods(
    "10.1.9.9",
    "it is in 10.1.0.0/16, which pods have their addresses from"
)]
fn nobody_takes_an_address_that_is_no_services(#[case] addr: &str, #[case] why: &str) {
    let settings = Settings {
        detect_local: DetectLocal {
            cluster_cidrs: vec!["10.1.0.0/16".parse().unwrap()],
            ..DetectLocal::default()
        },
        ..Settings::default()
    };
    let as_external = external(addr);
    let as_balanced = Service {
        external_ips: Vec::new(),
        load_balancer_ips: as_external.external_ips.clone(),
        ..as_external.clone()
    };
    for (service, what) in [
        (as_external, "ExternalIP"),
        (as_balanced, "load-balancer address"),
    ] {
        let mut node = TestNode::with_settings(synced_cluster(), settings.clone());
        apply_service(&mut node.cluster, "web", service);
        node.pass();
        assert_eq!(node.frontends(), ["10.96.0.1:80/tcp reject"]);
        let told = format!("Service default/web: {what} {addr} is not used: {why}");
        assert_eq!(node.diagnostics(), [told]);
    }
}

#[test]
fn a_service_may_have_the_nodes_address_but_not_its_servers_ports() {
    let mut service = external("10.0.0.1");
    service.ports.push(port("kubelet", Protocol::Tcp, 10_250));
    service.ports.push(port("other", Protocol::Udp, 10_250));
    let mut node = web(service);
    assert_eq!(node.frontends().len(), 6);
    local_addrs(&mut node, &["10.0.0.1"]);
    node.pass();
    assert_eq!(node.frontends().len(), 5);
    let told = "Service default/web: ExternalIP 10.0.0.1:10250/tcp is not used: it is a port of \
                the node's own servers";
    assert_eq!(node.diagnostics(), [told]);
}

#[test]
fn source_ranges_are_rows_of_the_load_balancers_addresses_78() {
    let parse = |addr: &str| addr.parse().unwrap();
    let guarded = Service {
        load_balancer_ips: vec![parse("192.0.2.1")],
        source_ranges: Some(vec!["10.0.0.0/8".parse().unwrap()]),
        ..external("203.0.113.1")
    };
    let mut node = web(guarded.clone());
    let reach = "10.1.0.1:80 10.1.0.2:80";
    assert_eq!(
        node.frontends(),
        [
            format!("10.96.0.1:80/tcp {reach}"),
            format!("192.0.2.1:80/tcp {reach} guarded"),
            format!("203.0.113.1:80/tcp {reach}")
        ]
    );
    assert_eq!(node.sources(), ["192.0.2.1:80/tcp 10.0.0.0/8"]);
    own_node(&mut node, &["10.0.0.1"]);
    node.pass();
    let both = [
        "192.0.2.1:80/tcp 10.0.0.0/8",
        "192.0.2.1:80/tcp 192.0.2.1/32",
    ];
    assert_eq!(node.sources(), both, "81");
    node.restart();
    assert_eq!(node.full_pass(), []);
    let nobody = Service {
        source_ranges: Some(Vec::new()),
        ..guarded.clone()
    };
    apply_service(&mut node.cluster, "web", nobody);
    node.pass();
    assert_eq!(node.sources(), Vec::<String>::new());
    assert!(
        node.frontends()[1].ends_with("guarded"),
        "nobody is admitted"
    );
    let open = Service {
        source_ranges: None,
        ..guarded
    };
    apply_service(&mut node.cluster, "web", open);
    node.pass();
    assert!(!node.frontends()[1].ends_with("guarded"));
}

#[test]
fn an_address_that_is_external_and_a_load_balancers_is_guarded_78() {
    let service = external("192.0.2.1");
    let mut node = web(Service {
        load_balancer_ips: service.external_ips.clone(),
        source_ranges: Some(vec!["10.0.0.0/8".parse().unwrap()]),
        ..service
    });
    assert_eq!(node.sources(), ["192.0.2.1:80/tcp 10.0.0.0/8"]);
    apply_service(&mut node.cluster, "web", external("192.0.2.1"));
    node.pass();
    assert_eq!(node.sources(), Vec::<String>::new());
}

#[test]
fn uplinks_are_rows_of_both_families() {
    let mut node = web(external("203.0.113.1"));
    let addrs = ["10.0.0.1", "10.0.0.9"].map(|addr| addr.parse().unwrap());
    let uplinks = vec![Uplink {
        ifindex: 2,
        addrs: addrs.to_vec(),
    }];
    node.cluster.handle(Event::Uplinks(uplinks));
    assert_eq!(node.pass().len(), 2);
    let addr: std::net::IpAddr = node.actual.v4.uplinks[&2].addr.into();
    assert_eq!(addr, addrs[0]);
    assert_eq!(node.actual.v6.uplinks[&2], Default::default());
    node.cluster.handle(Event::Uplinks(Vec::new()));
    node.pass();
    assert_eq!(node.actual.v4.uplinks.len(), 0);
}
