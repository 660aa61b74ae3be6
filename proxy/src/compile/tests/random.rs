//! Random histories: after every operation the maps are sound, after every pass they are what is
//! desired, and what is desired depends on the objects alone.

use proptest::prelude::*;

use crate::{
    compile::{Limits, quarantine::REST_S, testing::TestNode},
    model::{
        Endpoint, Kind, Node, Object, ObjectKey, Protocol, Service, TrafficPolicy,
        testing::{
            apply, apply_service, apply_slice, delete, endpoint, port, service, slice,
            synced_cluster,
        },
    },
    plan::MapState,
};

const NAMES: [&str; 3] = ["a", "b", "c"];
const VIPS: [&str; 4] = ["10.96.0.1", "10.96.0.2", "fd00:96::1", "fd00:96::2"];
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

fn a_service() -> impl Strategy<Value = Service> {
    (0..3_usize, 0..3_usize, any::<bool>(), 0..3_i64, 1..4_u8).prop_map(
        |(v4, v6, local, created_s, ports)| {
            let addrs = [VIPS.get(v4).filter(|_| v4 < 2), VIPS.get(v6 + 2)];
            let addrs: Vec<&str> = addrs.into_iter().flatten().copied().collect();
            let all = [port("x", Protocol::Udp, 53), port("x", Protocol::Tcp, 80)];
            let ports = all
                .into_iter()
                .enumerate()
                .filter(|(at, _)| ports >> at & 1 == 1);
            let policy = if local {
                TrafficPolicy::Local
            } else {
                TrafficPolicy::Cluster
            };
            Service {
                internal_traffic_policy: policy,
                created_s,
                ..service(&addrs, ports.map(|(_, port)| port).collect())
            }
        },
    )
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
            let key = ObjectKey::new("", "here");
            apply(
                cluster,
                Object::Node(
                    key,
                    Node {
                        zone,
                        ..Node::default()
                    },
                ),
            );
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
    fn any_history_keeps_every_frontend_sound_and_ends_as_a_fresh_start_would(
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
    }

    #[test]
    fn little_room_keeps_every_frontend_sound_and_nothing_is_lost_for_good(
        steps in proptest::collection::vec(a_step(), 1..60)
    ) {
        let limits = Limits { frontends: 3, backends: 6, slots: 5 };
        let mut node = TestNode::with_limits(synced_cluster(), limits);
        for step in &steps {
            take(&mut node, step);
        }
        for name in NAMES {
            delete(&mut node.cluster, Kind::Service, name);
        }
        node.pass();
        node.now_s += REST_S;
        assert_eq!(*node.compiler.desired(), MapState::default());

        let ports = vec![port("", Protocol::Tcp, 80)];
        apply_service(&mut node.cluster, "all", service(&["10.96.0.1", "fd00:96::1"], ports));
        let all = (1..=5).map(|last| endpoint(&format!("10.1.0.{last}"))).collect();
        apply_slice(&mut node.cluster, "all", "a", slice(&["/tcp=80"], all));
        node.pass();
        assert_eq!(node.diagnostics(), Vec::<String>::new());
        assert_eq!(node.backends().len(), 5);
    }
}
