//! Frontends of every kind, and which endpoints each of them chooses from.

use expect_test::{Expect, expect};
use rstest::rstest;

use crate::{
    compile::{Settings, testing::TestNode},
    config::{Algorithm, proxy::ExternalIps},
    model::{
        Cluster, Endpoint, Protocol, Service, ServicePort, ServiceType, TrafficPolicy,
        testing::{
            apply_service, apply_slice, delete, endpoint, hinted, port, service, slice,
            synced_cluster,
        },
    },
};

const LOCAL: TrafficPolicy = TrafficPolicy::Local;

fn http(node_port: u16) -> ServicePort {
    ServicePort {
        node_port,
        ..port("http", Protocol::Tcp, 80)
    }
}

/// A Service of every kind of frontend at once.
fn balanced() -> Service {
    let parse = |addr: &str| addr.parse().unwrap();
    Service {
        service_type: ServiceType::LoadBalancer,
        external_ips: vec![parse("203.0.113.1")],
        load_balancer_ips: vec![parse("192.0.2.1")],
        ..service(&["10.96.0.1"], vec![http(30080)])
    }
}

/// One endpoint here and one there.
fn endpoints() -> Vec<Endpoint> {
    let at = |addr, node: &str| Endpoint {
        node: Some(node.into()),
        ..endpoint(addr)
    };
    vec![at("10.1.0.1", "here"), at("10.1.0.2", "there")]
}

fn cluster(service: Service, endpoints: Vec<Endpoint>) -> Cluster {
    let mut cluster = synced_cluster();
    apply_service(&mut cluster, "web", service);
    let ports = ["http/tcp=8080"];
    apply_slice(&mut cluster, "web", "a", slice(&ports, endpoints));
    cluster
}

fn check(service: Service, endpoints: Vec<Endpoint>, expected: &Expect) {
    let mut node = TestNode::new(cluster(service, endpoints));
    node.pass();
    expected.assert_eq(&node.frontends().join("\n"));
    assert_eq!(node.diagnostics(), Vec::<String>::new());
    node.restart();
    assert_eq!(node.full_pass(), [], "a restart knows what it finds");
}

#[rstest]
#[case::cluster_46(balanced(), expect![[r#"
    0.0.0.0:30080/tcp 10.1.0.1:8080 10.1.0.2:8080
    10.96.0.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080
    192.0.2.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080
    203.0.113.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080"#]])]
#[case::external_local_47_48(
    Service { external_traffic_policy: LOCAL, ..balanced() },
    expect![[r#"
        0.0.0.0:30080/tcp 10.1.0.1:8080 10.1.0.2:8080 | 10.1.0.1:8080
        10.96.0.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080
        192.0.2.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080 | 10.1.0.1:8080
        203.0.113.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080 | 10.1.0.1:8080"#]],
)]
#[case::internal_local_45_48(
    Service { internal_traffic_policy: LOCAL, ..balanced() },
    expect![[r#"
        0.0.0.0:30080/tcp 10.1.0.1:8080 10.1.0.2:8080
        10.96.0.1:80/tcp 10.1.0.1:8080
        192.0.2.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080
        203.0.113.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080"#]],
)]
#[case::without_node_port_19(
    Service { ports: vec![http(0)], ..balanced() },
    expect![[r#"
        10.96.0.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080
        192.0.2.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080
        203.0.113.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080"#]],
)]
#[case::the_external_policy_of_a_cluster_ip_is_not_meant_26(
    Service { external_traffic_policy: LOCAL, ..service(&["10.96.0.1"], vec![http(30080)]) },
    expect![[r#"
        0.0.0.0:30080/tcp 10.1.0.1:8080 10.1.0.2:8080
        10.96.0.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080"#]],
)]
fn each_frontend_has_the_endpoints_of_its_policy_37(
    #[case] service: Service,
    #[case] expected: Expect,
) {
    check(service, endpoints(), &expected);
}

#[test]
fn without_a_local_endpoint_the_wire_is_dropped_and_the_cluster_served_67() {
    let service = Service {
        external_traffic_policy: LOCAL,
        ..balanced()
    };
    let expected = expect![[r#"
        0.0.0.0:30080/tcp 10.1.0.2:8080 | drop
        10.96.0.1:80/tcp 10.1.0.2:8080
        192.0.2.1:80/tcp 10.1.0.2:8080 | drop
        203.0.113.1:80/tcp 10.1.0.2:8080 | drop"#]];
    check(service, endpoints().split_off(1), &expected);
}

#[test]
fn without_any_endpoint_every_frontend_rejects_everybody_65() {
    let service = Service {
        external_traffic_policy: LOCAL,
        internal_traffic_policy: LOCAL,
        ..balanced()
    };
    let expected = expect![[r#"
        0.0.0.0:30080/tcp reject
        10.96.0.1:80/tcp reject
        192.0.2.1:80/tcp reject
        203.0.113.1:80/tcp reject"#]];
    check(service, Vec::new(), &expected);
}

#[test]
fn topology_narrows_external_traffic_of_the_whole_cluster_and_not_local_traffic_43() {
    let endpoints =
        [("10.1.0.1", "here|z2"), ("10.1.0.2", "here|z1")].map(|(addr, hints)| Endpoint {
            addr: addr.parse().unwrap(),
            node: Some("here".into()),
            node_hints: [].into(),
            ..hinted(hints)
        });
    let service = Service {
        external_traffic_policy: LOCAL,
        ..balanced()
    };
    let mut cluster = cluster(service, endpoints.to_vec());
    let zone = crate::model::Node {
        zone: Some("z1".into()),
        ..Default::default()
    };
    let key = crate::model::ObjectKey::new("", "here");
    crate::model::testing::apply(&mut cluster, crate::model::Object::Node(key, zone));
    let mut node = TestNode::new(cluster);
    node.pass();
    expect![[r#"
        0.0.0.0:30080/tcp 10.1.0.2:8080 | 10.1.0.1:8080 10.1.0.2:8080
        10.96.0.1:80/tcp 10.1.0.2:8080
        192.0.2.1:80/tcp 10.1.0.2:8080 | 10.1.0.1:8080 10.1.0.2:8080
        203.0.113.1:80/tcp 10.1.0.2:8080 | 10.1.0.1:8080 10.1.0.2:8080"#]]
    .assert_eq(&node.frontends().join("\n"));
}

#[test]
fn a_family_without_a_cluster_ip_has_no_other_frontend_either_6() {
    let parse = |addr: &str| addr.parse().unwrap();
    let service = Service {
        external_ips: vec![parse("2001:db8::1")],
        load_balancer_ips: vec![parse("192.0.2.1"), parse("2001:db8::2")],
        ..balanced()
    };
    let expected = expect![[r#"
        0.0.0.0:30080/tcp 10.1.0.1:8080 10.1.0.2:8080
        10.96.0.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080
        192.0.2.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080"#]];
    check(service, endpoints(), &expected);
}

#[test]
fn a_stand_alone_load_balancer_has_the_families_of_its_addresses() {
    let service = Service {
        cluster_ips: Vec::new(),
        load_balancer_ips: vec!["2001:db8::2".parse().unwrap()],
        external_ips: Vec::new(),
        ..balanced()
    };
    let expected = expect![[r#"
        [2001:db8::2]:80/tcp reject
        [::]:30080/tcp reject"#]];
    check(service, endpoints(), &expected);
}

#[test]
fn the_older_service_has_a_node_port_that_two_claim_22() {
    let with = |addr: &str, created_s| Service {
        created_s,
        ..service(&[addr, "fd00:96::1"], vec![http(30080)])
    };
    let mut cluster = synced_cluster();
    apply_service(&mut cluster, "young", with("10.96.0.2", 200));
    let mut old = with("10.96.0.1", 100);
    old.cluster_ips[1] = "fd00:96::2".parse().unwrap();
    apply_service(&mut cluster, "old", old);
    let mut node = TestNode::new(cluster);
    node.pass();
    let owners = |node: &TestNode| -> Vec<String> {
        let ports = node.compiler.services();
        ports
            .filter(|port| port.frontends().any(|addr| addr.port() == 30080))
            .map(|port| port.service.name.to_string())
            .collect()
    };
    assert_eq!(owners(&node), ["old"]);
    let told = "Service default/young: nodePort 30080/tcp belongs to Service default/old, \
                which came first";
    assert_eq!(node.diagnostics(), [told]);
    delete(&mut node.cluster, crate::model::Kind::Service, "old");
    node.pass();
    assert_eq!(owners(&node), ["young"]);
    assert_eq!(node.diagnostics(), Vec::<String>::new());
}

#[test]
fn two_ports_of_a_service_do_not_share_a_node_port() {
    let mut service = balanced();
    service.ports.push(ServicePort {
        node_port: 30080,
        ..port("other", Protocol::Tcp, 81)
    });
    let mut node = TestNode::new(cluster(service, endpoints()));
    node.pass();
    let told = "Service default/web: nodePort 30080/tcp is not used: another port has it";
    assert_eq!(node.diagnostics(), [told]);
}

#[rstest]
#[case::switched_off_21(false, &[], &["ExternalIP 203.0.113.1 is not used: external addresses are switched off"])]
#[case::not_in_the_list_21(true, &["198.51.100.0/24"], &["ExternalIP 203.0.113.1 is not used: it is in no range that is allowed"])]
#[case::in_the_list_21(true, &["203.0.113.0/24"], &[])]
fn external_addresses_need_permission_and_others_do_not(
    #[case] enabled: bool,
    #[case] allowed: &[&str],
    #[case] told: &[&str],
) {
    let settings = Settings {
        external_ips: ExternalIps {
            enabled,
            allowed: allowed.iter().map(|range| range.parse().unwrap()).collect(),
        },
        ..Settings::default()
    };
    let mut node = TestNode::with_settings(cluster(balanced(), endpoints()), settings);
    node.pass();
    let told: Vec<String> = told
        .iter()
        .map(|told| format!("Service default/web: {told}"))
        .collect();
    assert_eq!(node.diagnostics(), told);
    assert_eq!(node.frontends().len(), 4 - told.len());
}

#[test]
fn affinity_is_every_frontends_and_can_be_switched_88() {
    let sticky = Service {
        affinity_timeout_s: Some(125),
        ..balanced()
    };
    let mut node = TestNode::new(cluster(sticky, endpoints()));
    node.pass();
    let all_end = |node: &TestNode, end| node.frontends().iter().all(|line| line.ends_with(end));
    assert!(all_end(&node, " affinity 117"), "{:?}", node.frontends());
    apply_service(&mut node.cluster, "web", balanced());
    let ops = node.pass();
    assert_eq!(ops.len(), 4, "the frontends, and no slot: {ops:?}");
    assert!(all_end(&node, "10.1.0.2:8080"), "{:?}", node.frontends());
}

#[rstest]
#[case::of_the_service(Some(Algorithm::Maglev), Algorithm::Random, "maglev of 1021")]
#[case::configured(None, Algorithm::Maglev, "maglev of 1021")]
#[case::of_the_service_before(
    Some(Algorithm::Random),
    Algorithm::Maglev,
    "10.1.0.1:8080 10.1.0.2:8080"
)]
fn the_algorithm_is_the_services_or_the_configured_one(
    #[case] annotation: Option<Algorithm>,
    #[case] configured: Algorithm,
    #[case] expected: &str,
) {
    let service = Service {
        algorithm: annotation,
        ..service(&["10.96.0.1"], vec![http(0)])
    };
    let settings = Settings {
        algorithm: configured,
        ..Settings::default()
    };
    let mut node = TestNode::with_settings(cluster(service, endpoints()), settings);
    node.pass();
    assert_eq!(node.frontends(), [format!("10.96.0.1:80/tcp {expected}")]);
    node.restart();
    assert_eq!(node.full_pass(), []);
}

#[test]
fn a_backend_is_here_by_its_node_or_its_address() {
    let mut endpoints = endpoints();
    endpoints.push(endpoint("10.0.0.1"));
    let mut cluster = cluster(balanced(), endpoints);
    let addrs = vec!["10.0.0.1".parse().unwrap()];
    cluster.handle(crate::model::Event::LocalAddrs(addrs));
    let mut node = TestNode::new(cluster);
    node.pass();
    expect![[r#"
        1 10.0.0.1:8080/tcp active here
        2 10.1.0.1:8080/tcp active here
        3 10.1.0.2:8080/tcp active"#]]
    .assert_eq(&node.backends().join("\n"));
}
