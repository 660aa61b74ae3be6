//! What events do to the model, and which Services they touch.

use rstest::rstest;

use super::{
    Cluster, Event, Kind, Node, Object, ObjectKey, ObjectRef,
    testing::{
        apply, apply_service, apply_slice, delete, endpoint, hinted, key, port, service, slice,
        synced_cluster,
    },
};

/// Names of the Services that something changed for.
fn dirty(cluster: &mut Cluster) -> Vec<String> {
    cluster
        .take_dirty()
        .iter()
        .map(|key| key.name.to_string())
        .collect()
}

fn web() -> Cluster {
    let mut cluster = synced_cluster();
    let http = port("http", super::Protocol::Tcp, 80);
    apply_service(&mut cluster, "web", service(&["10.96.0.1"], vec![http]));
    apply_slice(
        &mut cluster,
        "web",
        "a",
        slice(&["http/tcp=80"], vec![endpoint("10.1.0.1")]),
    );
    cluster
}

fn slice_names(cluster: &Cluster, service: &str) -> Vec<String> {
    cluster
        .slices_by_name(&key(service))
        .map(|(name, _)| name.to_string())
        .collect()
}

#[test]
fn what_did_not_change_touches_nothing_127() {
    let mut cluster = web();
    assert_eq!(dirty(&mut cluster), ["web"]);
    let (service, slices) = (
        cluster.service(&key("web")).unwrap().clone(),
        cluster.slices(&key("web")).cloned().collect::<Vec<_>>(),
    );
    apply_service(&mut cluster, "web", service);
    apply_slice(&mut cluster, "web", "a", slices[0].clone());
    delete(&mut cluster, Kind::Service, "unknown");
    delete(&mut cluster, Kind::EndpointSlice, "unknown");
    assert_eq!(dirty(&mut cluster), Vec::<String>::new());
}

#[rstest]
#[case::of_the_service(Kind::Service, "web")]
#[case::of_its_slice(Kind::EndpointSlice, "web-a")]
fn deletion_touches_the_service(#[case] kind: Kind, #[case] name: &str) {
    let mut cluster = web();
    cluster.take_dirty();
    delete(&mut cluster, kind, name);
    assert_eq!(dirty(&mut cluster), ["web"]);
}

#[test]
fn slices_come_in_name_order_however_they_arrived() {
    let mut cluster = web();
    for suffix in ["c", "b", "0"] {
        apply_slice(&mut cluster, "web", suffix, slice(&[], Vec::new()));
    }
    assert_eq!(
        slice_names(&cluster, "web"),
        ["web-0", "web-a", "web-b", "web-c"]
    );
}

#[test]
fn a_slice_that_moves_to_another_service_touches_both() {
    let mut cluster = web();
    cluster.take_dirty();
    let mut moved = slice(&["http/tcp=80"], Vec::new());
    moved.service = "api".into();
    apply(&mut cluster, Object::EndpointSlice(key("web-a"), moved));
    assert_eq!(dirty(&mut cluster), ["api", "web"]);
    assert_eq!(slice_names(&cluster, "web"), Vec::<String>::new());
    assert_eq!(slice_names(&cluster, "api"), ["web-a"]);
    delete(&mut cluster, Kind::EndpointSlice, "web-a");
    assert_eq!(dirty(&mut cluster), ["api"]);
    assert_eq!(cluster.slices(&key("api")).count(), 0);
}

#[test]
fn slices_may_come_before_their_service() {
    let mut cluster = synced_cluster();
    apply_slice(&mut cluster, "web", "a", slice(&[], Vec::new()));
    assert_eq!(dirty(&mut cluster), ["web"]);
    assert_eq!(cluster.slices(&key("web")).count(), 1);
}

#[test]
fn an_object_that_becomes_invalid_is_gone_and_says_why() {
    let mut cluster = web();
    let node = Object::Node(ObjectKey::new("", "here"), Node::default());
    apply(&mut cluster, node);
    cluster.take_dirty();
    let object = ObjectRef::new(Kind::Service, key("web"));
    let problems = vec!["clusterIP is no address".to_owned()];
    cluster.handle(Event::Invalid {
        object: object.clone(),
        problems,
    });
    assert_eq!(cluster.service(&key("web")), None);
    assert_eq!(dirty(&mut cluster), ["web"]);
    let told: Vec<String> = cluster
        .diagnostics()
        .map(|found| format!("{}: {}", found.object, found.reason))
        .collect();
    assert_eq!(told, ["Service default/web: clusterIP is no address"]);
    cluster.handle(Event::Delete(object));
    assert_eq!(cluster.diagnostics().count(), 0);
}

#[test]
fn a_missing_node_object_is_told_once_it_is_known_to_be_missing() {
    let mut cluster = Cluster::new("here");
    assert_eq!(cluster.diagnostics().count(), 0);
    cluster.handle(Event::Synced(Kind::Node));
    let told: Vec<String> = cluster
        .diagnostics()
        .map(|found| found.object.to_string())
        .collect();
    assert_eq!(told, ["Node here"]);
    for name in ["there", "here"] {
        apply(
            &mut cluster,
            Object::Node(ObjectKey::new("", name), Node::default()),
        );
        assert_eq!(cluster.diagnostics().count(), usize::from(name == "there"));
    }
}

#[test]
fn only_the_zone_of_our_own_node_touches_services_with_hints_42() {
    let mut cluster = web();
    apply_slice(
        &mut cluster,
        "near",
        "a",
        slice(&["http/tcp=80"], vec![hinted("|z1")]),
    );
    cluster.take_dirty();
    let in_zone = |zone: &str| Node {
        zone: Some(zone.into()),
        ..Node::default()
    };
    for (name, node, touched) in [
        ("there", in_zone("z1"), 0),
        ("here", in_zone("z1"), 1),
        (
            "here",
            Node {
                addrs: vec!["192.0.2.1".parse().unwrap()],
                ..in_zone("z1")
            },
            0,
        ),
        ("here", in_zone("z2"), 1),
    ] {
        apply(
            &mut cluster,
            Object::Node(ObjectKey::new("", name), node.clone()),
        );
        assert_eq!(cluster.take_dirty().len(), touched, "{name} {node:?}");
    }
    cluster.handle(Event::Delete(ObjectRef::new(
        Kind::Node,
        ObjectKey::new("", "here"),
    )));
    assert_eq!(cluster.take_dirty().len(), 1);
}

#[test]
fn every_kind_must_be_complete_before_the_cluster_is() {
    let mut cluster = Cluster::new("here");
    for kind in Kind::ALL {
        assert!(!cluster.is_synced() && !cluster.has_synced(kind));
        cluster.handle(Event::Synced(kind));
    }
    assert!(cluster.is_synced());
}

#[test]
fn the_nodes_addresses_are_its_objects_until_somebody_looks() {
    let mut cluster = synced_cluster();
    assert_eq!(cluster.local_addrs(), [] as [std::net::IpAddr; 0]);
    let addrs: Vec<std::net::IpAddr> = vec!["192.0.2.1".parse().unwrap()];
    let node = Node {
        addrs: addrs.clone(),
        ..Node::default()
    };
    apply(&mut cluster, Object::Node(ObjectKey::new("", "here"), node));
    assert_eq!(cluster.local_addrs(), addrs);
    cluster.handle(Event::LocalAddrs(Vec::new()));
    assert_eq!(cluster.local_addrs(), [] as [std::net::IpAddr; 0]);
}

#[test]
fn names_that_repeat_are_kept_once() {
    let mut cluster = synced_cluster();
    for suffix in ["a", "b"] {
        let mut found = hinted("here|z1");
        found.node = Some("here".into());
        apply_slice(&mut cluster, "web", suffix, slice(&[], vec![found]));
    }
    let names: Vec<*const u8> = cluster
        .slices(&key("web"))
        .flat_map(|slice| &slice.endpoints)
        .flat_map(|endpoint| endpoint.node.iter().chain(&endpoint.node_hints))
        .map(|name| name.as_ptr())
        .collect();
    assert_eq!(names, [names[0]; 4]);
}
