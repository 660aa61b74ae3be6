//! Random histories: after every operation the maps are sound, after every pass they are what is
//! desired, and what is desired depends on the objects alone.

use std::{fmt::Debug, str::FromStr};

use proptest::prelude::*;

use crate::{
    compile::{Limits, quarantine::REST_S, testing::TestNode},
    config::Algorithm,
    model::{
        Endpoint, Event, Kind, Node, Object, ObjectKey, ObjectRef, Pod, Protocol, Service,
        ServiceCidr, ServicePort, ServiceType, TrafficPolicy,
        testing::{
            apply, apply_service, apply_slice, delete, endpoint, key, port, service, slice,
            synced_cluster,
        },
    },
    plan::MapState,
};

const NAMES: [&str; 3] = ["a", "b", "c"];
const VIPS: [&str; 4] = ["10.96.0.1", "10.96.0.2", "fd00:96::1", "fd00:96::2"];
/// What Services ask for beside ClusterIPs: some of it is not theirs to have.
const OTHERS: [&str; 6] = [
    "192.0.2.1",
    "203.0.113.1",
    "2001:db8::1",
    "10.1.0.1",
    "10.96.0.2",
    "10.0.0.1",
];
const NODES: [&str; 4] = ["10.0.0.1", "10.0.0.2", "fd00::1", "10.1.0.2"];
const CIDRS: [&str; 3] = ["10.96.0.0/24", "203.0.113.0/24", "fd00:96::/112"];
const SOURCES: [&str; 3] = ["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"];
const PODS: [&str; 6] = [
    "10.1.0.1",
    "10.1.0.2",
    "10.1.0.10",
    "127.0.0.1",
    "fd00:10::1",
    "fd00:10::2",
];

#[derive(Clone, Debug)]
enum Step {
    Service {
        name: usize,
        service: Service,
    },
    Slice {
        name: usize,
        suffix: bool,
        port: u16,
        endpoints: Vec<Endpoint>,
    },
    DeleteService(usize),
    DeleteSlice {
        name: usize,
        suffix: bool,
    },
    Zone(Option<bool>),
    Node {
        primary: usize,
        local: Vec<usize>,
    },
    Pod(usize, bool),
    Cidr(usize, bool),
    Pass,
    /// Stops after so many operations; the agent goes on.
    Fail(usize),
    /// Stops after so many operations; another agent takes over.
    Crash(usize),
    Wait(u64),
}

fn an_endpoint() -> impl Strategy<Value = Endpoint> {
    (0..PODS.len(), any::<[bool; 3]>(), 0..3_u8, 0..3_u8).prop_map(|(pod, states, node, zone)| {
        let [ready, serving, terminating] = states;
        Endpoint {
            ready,
            serving,
            terminating,
            node: (node > 0).then(|| if node == 1 { "here" } else { "there" }.into()),
            zone_hints: (1..=zone).map(|zone| format!("z{zone}").into()).collect(),
            ..endpoint(PODS[pod])
        }
    })
}

fn some<T>(of: &'static [&str], most: usize) -> impl Strategy<Value = Vec<T>>
where
    T: Debug + FromStr<Err: Debug> + 'static,
{
    let parse = |places: Vec<usize>| places.iter().map(|at| of[*at].parse().unwrap()).collect();
    proptest::collection::vec(0..of.len(), 0..=most).prop_map(parse)
}

fn a_policy() -> impl Strategy<Value = TrafficPolicy> {
    prop_oneof![Just(TrafficPolicy::Cluster), Just(TrafficPolicy::Local)]
}

/// What a Service has beside ClusterIPs, which few have.
fn more(service: Service) -> impl Strategy<Value = Service> {
    let sources = prop_oneof![
        3 => Just(None),
        2 => some(&SOURCES, 2).prop_map(Some),
    ];
    let algorithm = prop_oneof![6 => Just(None), 1 => Just(Some(Algorithm::Maglev))];
    let addrs = (some(&OTHERS, 2), some(&OTHERS, 2));
    (addrs, a_policy(), sources, algorithm, 0..3_u16).prop_map(
        move |((external_ips, load_balancer_ips), policy, source_ranges, algorithm, node_port)| {
            let ports = service.ports.iter().map(|port| ServicePort {
                node_port: if node_port > 0 { 30_000 + node_port } else { 0 },
                ..port.clone()
            });
            Service {
                service_type: ServiceType::LoadBalancer,
                external_ips,
                load_balancer_ips,
                external_traffic_policy: policy,
                source_ranges,
                algorithm,
                affinity_timeout_s: (node_port == 2).then_some(60),
                ports: ports.collect(),
                ..service.clone()
            }
        },
    )
}

fn a_service() -> impl Strategy<Value = Service> {
    let plain = (0..3_usize, 0..3_usize, a_policy(), 0..3_i64, 1..4_u8).prop_map(
        |(v4, v6, internal_traffic_policy, created_s, ports)| {
            let addrs = [VIPS.get(v4).filter(|_| v4 < 2), VIPS.get(v6 + 2)];
            let addrs: Vec<&str> = addrs.into_iter().flatten().copied().collect();
            let all = [port("x", Protocol::Udp, 53), port("x", Protocol::Tcp, 80)];
            let ports = all
                .into_iter()
                .enumerate()
                .filter(|(at, _)| ports >> at & 1 == 1);
            Service {
                internal_traffic_policy,
                created_s,
                ..service(&addrs, ports.map(|(_, port)| port).collect())
            }
        },
    );
    plain.prop_flat_map(|service| prop_oneof![Just(service.clone()), more(service)])
}

fn a_scene() -> impl Strategy<Value = Step> {
    let local = proptest::collection::vec(0..NODES.len(), 0..3);
    prop_oneof![
        (0..NODES.len(), local).prop_map(|(primary, local)| Step::Node { primary, local }),
        (0..3_usize, any::<bool>()).prop_map(|(pod, lives)| Step::Pod(pod, lives)),
        (0..CIDRS.len(), any::<bool>()).prop_map(|(cidr, exists)| Step::Cidr(cidr, exists)),
    ]
}

fn a_step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    let endpoints = proptest::collection::vec(an_endpoint(), 0..6);
    prop_oneof![
        4 => (name(), a_service()).prop_map(|(name, service)| Step::Service { name, service }),
        6 => (name(), any::<bool>(), 8080..8082_u16, endpoints).prop_map(
            |(name, suffix, port, endpoints)| Step::Slice { name, suffix, port, endpoints }
        ),
        1 => name().prop_map(Step::DeleteService),
        1 => (name(), any::<bool>()).prop_map(|(name, suffix)| Step::DeleteSlice { name, suffix }),
        1 => any::<Option<bool>>().prop_map(Step::Zone),
        3 => a_scene(),
        4 => Just(Step::Pass),
        2 => (0..12_usize).prop_map(Step::Fail),
        2 => (0..12_usize).prop_map(Step::Crash),
        2 => (1..5_u64).prop_map(Step::Wait),
    ]
}

const fn suffix_of(suffix: bool) -> &'static str {
    if suffix { "1" } else { "2" }
}

fn take(node: &mut TestNode, step: &Step) {
    let cluster = &mut node.cluster;
    match step {
        Step::Service { name, service } => apply_service(cluster, NAMES[*name], service.clone()),
        Step::Slice {
            name,
            suffix,
            port,
            endpoints,
        } => {
            let ports = [format!("x/udp={port}"), format!("x/tcp={port}")];
            let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
            let slice = slice(&ports, endpoints.clone());
            apply_slice(cluster, NAMES[*name], suffix_of(*suffix), slice);
        }
        Step::DeleteService(name) => delete(cluster, Kind::Service, NAMES[*name]),
        Step::DeleteSlice { name, suffix } => {
            let name = format!("{}-{}", NAMES[*name], suffix_of(*suffix));
            delete(cluster, Kind::EndpointSlice, &name);
        }
        Step::Zone(zone) => {
            let zone = zone.map(|first| if first { "z1" } else { "z2" }.into());
            let addrs = cluster.node().map(|node| node.addrs.clone());
            let node = Node {
                zone,
                addrs: addrs.unwrap_or_default(),
                ..Node::default()
            };
            apply(cluster, Object::Node(ObjectKey::new("", "here"), node));
        }
        Step::Node { primary, local } => {
            let zone = cluster.node().and_then(|node| node.zone.clone());
            let node = Node {
                zone,
                addrs: vec![NODES[*primary].parse().unwrap()],
                ..Node::default()
            };
            apply(cluster, Object::Node(ObjectKey::new("", "here"), node));
            let local = local.iter().map(|at| NODES[*at].parse().unwrap());
            cluster.handle(Event::LocalAddrs(local.collect()));
        }
        Step::Pod(pod, true) => {
            let object = Pod {
                node: "here".into(),
                addrs: vec![PODS[*pod].parse().unwrap()],
                host_network: false,
                finished: false,
            };
            apply(cluster, Object::Pod(key(PODS[*pod]), object));
        }
        Step::Pod(pod, false) => delete(cluster, Kind::Pod, PODS[*pod]),
        Step::Cidr(cidr, exists) => {
            let key = ObjectKey::new("", format!("c{cidr}"));
            if *exists {
                let cidrs = vec![CIDRS[*cidr].parse().unwrap()];
                apply(cluster, Object::ServiceCidr(key, ServiceCidr { cidrs }));
            } else {
                let object = ObjectRef::new(Kind::ServiceCidr, key);
                cluster.handle(Event::Delete(object));
            }
        }
        Step::Pass => drop(node.pass()),
        Step::Fail(done) => drop(node.pass_up_to(*done)),
        Step::Crash(done) => {
            node.pass_up_to(*done);
            node.restart();
        }
        Step::Wait(seconds) => node.now_s += seconds,
    }
}

/// The backends without their ids.
fn backends(node: &TestNode) -> Vec<String> {
    let lines = node.backends();
    let mut lines: Vec<String> = lines
        .iter()
        .filter_map(|line| Some(line.split_once(' ')?.1.to_owned()))
        .collect();
    lines.sort_unstable();
    lines
}

proptest! {
    #[test]
    fn any_history_ends_as_a_fresh_start_would_and_keeps_every_frontend_sound_126(
        steps in proptest::collection::vec(a_step(), 1..60)
    ) {
        let mut node = TestNode::new(synced_cluster());
        for step in &steps {
            take(&mut node, step);
        }
        node.pass();
        assert_eq!(node.full_pass(), [], "a pass over everything finds nothing to do");
        let ids: Vec<u32> = node.compiler.services().map(|port| port.id).collect();
        node.restart();
        assert_eq!(node.full_pass(), [], "nor does an agent that starts");
        assert_eq!(*node.compiler.desired(), node.actual);
        assert!(node.compiler.services().map(|port| port.id).eq(ids), "service ids stay");

        let mut fresh = TestNode::new(std::mem::take(&mut node.cluster));
        fresh.full_pass();
        assert_eq!(fresh.frontends(), node.frontends());
        assert_eq!(fresh.diagnostics(), node.diagnostics());
        assert_eq!(backends(&fresh), backends(&node));
        assert_eq!(fresh.addresses(), node.addresses());
        assert_eq!(fresh.sources(), node.sources());
        assert_eq!(fresh.actual.v4.ranges, node.actual.v4.ranges);
        assert_eq!(fresh.actual.v6.ranges, node.actual.v6.ranges);
        assert_eq!(fresh.actual.v4.nodes, node.actual.v4.nodes);
    }

    #[test]
    fn little_room_keeps_every_frontend_sound_and_nothing_is_lost_for_good(
        steps in proptest::collection::vec(a_step(), 1..60)
    ) {
        let limits = Limits { frontends: 3, backends: 6, slots: 5, addresses: 5, sources: 2 };
        let mut node = TestNode::with_limits(synced_cluster(), limits);
        for step in &steps {
            take(&mut node, step);
        }
        for name in NAMES {
            delete(&mut node.cluster, Kind::Service, name);
        }
        for cidr in 0..CIDRS.len() {
            take(&mut node, &Step::Cidr(cidr, false));
        }
        node.cluster.handle(Event::LocalAddrs(Vec::new()));
        node.pass();
        node.now_s += REST_S;
        assert_eq!(node.services_rows(), MapState::default());

        let ports = vec![port("", Protocol::Tcp, 80)];
        apply_service(&mut node.cluster, "all", service(&["10.96.0.1", "fd00:96::1"], ports));
        let all = (1..=5).map(|last| endpoint(&format!("10.1.0.{last}"))).collect();
        apply_slice(&mut node.cluster, "all", "a", slice(&["/tcp=80"], all));
        node.pass();
        assert_eq!(node.diagnostics(), Vec::<String>::new());
        assert_eq!(node.backends().len(), 5);
    }
}
