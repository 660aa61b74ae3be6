//! Sizes that clusters have.

use crate::{
    compile::testing::TestNode,
    model::{
        Cluster, EndpointSlice, Protocol,
        testing::{apply_service, apply_slice, endpoint, port, service, slice, synced_cluster},
    },
};

fn pods(first: u32, count: u32) -> EndpointSlice {
    let addr = |at: u32| format!("10.{}.{}.{}", 1 + (at >> 16), at >> 8 & 0xff, at & 0xff);
    slice(
        &["/tcp=8080"],
        (first..first + count)
            .map(|at| endpoint(&addr(at)))
            .collect(),
    )
}

fn add(cluster: &mut Cluster, at: u32, slices: u32, endpoints: u32) {
    let name = format!("service-{at:05}");
    let addr = format!("10.96.{}.{}", at >> 8, at & 0xff);
    apply_service(
        cluster,
        &name,
        service(&[&addr], vec![port("", Protocol::Tcp, 80)]),
    );
    for part in 0..slices {
        let first = (at * slices + part) * endpoints;
        apply_slice(cluster, &name, &part.to_string(), pods(first, endpoints));
    }
}

#[test]
fn a_hundred_thousand_endpoints_of_one_service_are_one_set() {
    let mut cluster = synced_cluster();
    add(&mut cluster, 0, 100, 1000);
    let mut node = TestNode::new(cluster);
    node.compile_only();
    let desired = node.compiler.desired();
    assert_eq!(
        desired.v4.frontends.values().next().map(|row| row.count),
        Some(100_000)
    );
    assert_eq!(
        (desired.slots.len(), desired.v4.backends.len()),
        (100_000, 100_000)
    );
    assert_eq!(node.diagnostics(), Vec::<String>::new());
}

#[test]
fn one_slice_that_changes_touches_its_own_service_only_125() {
    let mut cluster = synced_cluster();
    for at in 0..500 {
        add(&mut cluster, at, 1, 10);
    }
    let mut node = TestNode::new(cluster);
    assert_eq!(node.compile_only().v4.backends.len(), 5000);
    apply_slice(&mut node.cluster, "service-00250", "0", pods(2500, 9));
    let changes = node.compile_only();
    assert_eq!(changes.v4.frontends.len(), 1);
    assert_eq!(changes.v4.backends.len(), 1, "the one that is gone");
    assert_eq!(
        changes
            .slots
            .iter()
            .map(ExactSizeIterator::len)
            .sum::<usize>(),
        9
    );
}
