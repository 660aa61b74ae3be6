//! Numbers stay, and are not used again too early.

use rstest::rstest;

use crate::{
    compile::{quarantine::REST_S, testing::TestNode},
    model::{
        Kind, Protocol,
        testing::{
            apply_service, apply_slice, delete, endpoint, port, service, slice, synced_cluster,
        },
    },
    plan::{FamilyOp, Op},
};

fn endpoints(node: &mut TestNode, addrs: &[&str]) {
    let endpoints = addrs.iter().map(|addr| endpoint(addr)).collect();
    apply_slice(
        &mut node.cluster,
        "web",
        "a",
        slice(&["/tcp=80"], endpoints),
    );
}

fn web(addrs: &[&str]) -> TestNode {
    let mut cluster = synced_cluster();
    apply_service(
        &mut cluster,
        "web",
        service(&["10.96.0.1"], vec![port("", Protocol::Tcp, 80)]),
    );
    let mut node = TestNode::new(cluster);
    endpoints(&mut node, addrs);
    node.pass();
    node
}

/// The set of the only frontend.
fn base(node: &TestNode) -> u32 {
    node.actual.v4.frontends.values().next().unwrap().base
}

#[test]
fn a_backend_keeps_its_id_while_others_come_and_go() {
    let mut node = web(&["10.1.0.2", "10.1.0.4"]);
    endpoints(&mut node, &["10.1.0.1", "10.1.0.4"]);
    node.pass();
    assert_eq!(
        node.backends(),
        ["2 10.1.0.4:80/tcp active", "3 10.1.0.1:80/tcp active"]
    );
}

#[test]
fn an_id_and_a_range_are_used_again_only_after_a_rest() {
    let mut node = web(&["10.1.0.1"]);
    let first = base(&node);
    endpoints(&mut node, &["10.1.0.2"]);
    node.pass();
    node.now_s += REST_S - 1;
    endpoints(&mut node, &["10.1.0.3"]);
    node.pass();
    assert_eq!(node.backends(), ["3 10.1.0.3:80/tcp active"]);
    assert_ne!(base(&node), first);
    node.now_s += 1;
    endpoints(&mut node, &["10.1.0.4"]);
    node.pass();
    assert_eq!(node.backends(), ["1 10.1.0.4:80/tcp active"]);
    assert_eq!(base(&node), first);
}

#[test]
fn the_rest_does_not_begin_while_the_maps_hold_the_old_set() {
    let mut node = web(&["10.1.0.1"]);
    let first = base(&node);
    endpoints(&mut node, &["10.1.0.2"]);
    let stuck = node.pass_up_to(2);
    assert!(matches!(
        stuck[..],
        [
            Op::V4(FamilyOp::Backend {
                id: 2,
                value: Some(_)
            }),
            Op::Slot { backend: 2, .. }
        ]
    ));
    node.now_s += 100 * REST_S;
    endpoints(&mut node, &["10.1.0.3"]);
    node.pass();
    assert_eq!(node.backends(), ["3 10.1.0.3:80/tcp active"]);
    assert_ne!(base(&node), first);
}

#[test]
fn a_set_rests_for_frontends_that_have_moved_on_as_well() {
    let mut node = web(&["10.1.0.1"]);
    let first = base(&node);
    let moved = service(&["10.96.0.9"], vec![port("", Protocol::Tcp, 80)]);
    apply_service(&mut node.cluster, "web", moved);
    node.pass_up_to(2);
    assert_eq!(
        node.frontends().len(),
        2,
        "the old frontend could not be removed"
    );
    endpoints(&mut node, &["10.1.0.2"]);
    node.pass_up_to(3);
    assert_eq!(
        node.frontends(),
        [
            "10.96.0.1:80/tcp 10.1.0.1:80",
            "10.96.0.9:80/tcp 10.1.0.2:80"
        ]
    );
    node.now_s += 100 * REST_S;
    endpoints(&mut node, &["10.1.0.3"]);
    node.pass();
    assert_ne!(base(&node), first);
}

#[test]
fn what_an_earlier_agent_left_rests_before_it_is_used_again() {
    let mut node = web(&["10.1.0.1"]);
    let first = base(&node);
    delete(&mut node.cluster, Kind::Service, "web");
    node.restart();
    node.full_pass_up_to(0);
    node.now_s += 100 * REST_S;
    let http = || vec![port("", Protocol::Tcp, 80)];
    apply_service(&mut node.cluster, "next", service(&["10.96.0.2"], http()));
    let one = slice(&["/tcp=80"], vec![endpoint("10.1.0.7")]);
    apply_slice(&mut node.cluster, "next", "a", one.clone());
    node.pass();
    assert_ne!(base(&node), first);
    assert_eq!(node.backends(), ["2 10.1.0.7:80/tcp active"]);

    node.now_s += REST_S;
    apply_service(&mut node.cluster, "last", service(&["10.96.0.3"], http()));
    apply_slice(&mut node.cluster, "last", "a", one);
    node.pass();
    let ids: Vec<u32> = node.compiler.services().map(|port| port.id).collect();
    assert_eq!(
        ids,
        [2, 1],
        "in the order of names: `next` has the id that was left"
    );
    assert_eq!(node.backends()[0], "1 10.1.0.7:80/tcp active");
}

#[test]
fn a_change_that_is_taken_back_before_the_pass_writes_nothing_128() {
    let mut node = web(&["10.1.0.1", "10.1.0.2"]);
    endpoints(&mut node, &["10.1.0.1", "10.1.0.3"]);
    endpoints(&mut node, &["10.1.0.1", "10.1.0.2"]);
    assert_eq!(node.pass(), []);
}

#[test]
fn an_unchanged_set_is_not_written_again() {
    let mut node = web(&["10.1.0.1", "10.1.0.2"]);
    endpoints(&mut node, &["10.1.0.2", "10.1.0.1"]);
    assert_eq!(node.pass(), [], "the order in a slice means nothing");
    assert_eq!(node.full_pass(), []);
}

#[test]
fn a_port_that_moves_keeps_its_set_and_its_id() {
    let mut node = web(&["10.1.0.1"]);
    let moved = service(&["10.96.0.1"], vec![port("", Protocol::Tcp, 81)]);
    apply_service(&mut node.cluster, "web", moved);
    let ops = node.pass();
    assert!(
        matches!(
            ops[..],
            [
                Op::V4(FamilyOp::Frontend { value: Some(_), .. }),
                Op::V4(FamilyOp::Frontend { value: None, .. })
            ]
        ),
        "{ops:?}"
    );
}

#[test]
fn a_restart_changes_no_number_and_writes_nothing() {
    let mut node = web(&["10.1.0.1", "10.1.0.2"]);
    apply_service(
        &mut node.cluster,
        "aaa",
        service(
            &["10.96.0.2", "fd00:96::2"],
            vec![port("", Protocol::Udp, 80)],
        ),
    );
    node.pass();
    let before: Vec<u32> = node.compiler.services().map(|port| port.id).collect();
    assert_eq!(
        before,
        [2, 1],
        "in the order of names, numbered as they came"
    );
    node.restart();
    assert_eq!(node.full_pass(), []);
    let after: Vec<u32> = node.compiler.services().map(|port| port.id).collect();
    assert_eq!(after, before);
}

#[test]
fn frontends_that_changed_hands_while_no_agent_ran_are_sorted_out() {
    let mut node = web(&["10.1.0.1"]);
    apply_service(
        &mut node.cluster,
        "web",
        service(&["10.96.0.9"], vec![port("", Protocol::Tcp, 80)]),
    );
    apply_service(
        &mut node.cluster,
        "heir",
        service(&["10.96.0.1"], vec![port("", Protocol::Tcp, 80)]),
    );
    node.restart();
    node.full_pass();
    assert_eq!(
        node.frontends(),
        ["10.96.0.1:80/tcp reject", "10.96.0.9:80/tcp 10.1.0.1:80"]
    );
    let ids: Vec<u32> = node.compiler.services().map(|port| port.id).collect();
    assert_eq!(ids, [1, 2], "the heir is known by its frontend");
}

/// Service `web` has moved from one address to another, and the agent was killed in between.
fn crashed_while_moving(from: &str, to: &str) -> TestNode {
    let mut node = web(&["10.1.0.1"]);
    let http = || vec![port("", Protocol::Tcp, 80)];
    apply_service(&mut node.cluster, "web", service(&[from], http()));
    node.pass();
    apply_service(&mut node.cluster, "web", service(&[to], http()));
    node.pass_up_to(2);
    assert_eq!(node.frontends().len(), 2);
    node.restart();
    node
}

#[rstest]
#[case::upwards("10.96.0.2", "10.96.0.3")]
#[case::downwards("10.96.0.3", "10.96.0.2")]
fn two_frontends_that_share_a_set_after_a_crash_keep_it(#[case] from: &str, #[case] to: &str) {
    let mut node = crashed_while_moving(from, to);
    let ops = node.full_pass();
    assert_eq!(ops.len(), 2, "the frontend and its address go: {ops:?}");
    assert_eq!(node.frontends(), [format!("{to}:80/tcp 10.1.0.1:80")]);
    assert_eq!(node.actual.clone().covered(), *node.compiler.desired());
}

#[rstest]
#[case::upwards("10.96.0.2", "10.96.0.3")]
#[case::downwards("10.96.0.3", "10.96.0.2")]
fn a_shared_set_rests_for_all_that_share_it(#[case] from: &str, #[case] to: &str) {
    let mut node = crashed_while_moving(from, to);
    let first = base(&node);
    node.full_pass_up_to(0);
    endpoints(&mut node, &["10.1.0.2"]);
    node.pass_up_to(3);
    assert_eq!(
        node.frontends().len(),
        2,
        "the old frontend could not be removed"
    );
    node.now_s += 100 * REST_S;
    endpoints(&mut node, &["10.1.0.3"]);
    node.pass();
    assert_ne!(base(&node), first);
}

#[test]
fn everything_is_free_again_when_everything_is_gone() {
    let mut node = web(&["10.1.0.1", "10.1.0.2"]);
    delete(&mut node.cluster, Kind::Service, "web");
    node.pass();
    assert_eq!(node.services_rows(), Default::default());
    node.now_s += REST_S;
    apply_service(
        &mut node.cluster,
        "next",
        service(&["10.96.0.1"], vec![port("", Protocol::Tcp, 80)]),
    );
    let slice = slice(&["/tcp=80"], vec![endpoint("10.1.0.7")]);
    apply_slice(&mut node.cluster, "next", "a", slice);
    node.pass();
    assert_eq!(node.backends(), ["1 10.1.0.7:80/tcp active"]);
    assert_eq!(
        (base(&node), node.compiler.services().next().unwrap().id),
        (0, 1)
    );
}
