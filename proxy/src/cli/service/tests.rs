//! What the lists and blocks of Services look like.

use expect_test::expect;

use super::*;
use crate::{
    cli::testing::FakeAgent,
    observe::{Names, Query, testing},
};

/// Two of the tables' three services have names.
fn agent() -> FakeAgent {
    FakeAgent::start(|query| {
        if let Query::Services(reply) = query {
            let maps = testing::maps();
            let mut views = views(&World::pinned(&maps, Names::new()));
            views.retain(|view| view.id != 3);
            for view in &mut views {
                let namespace = if view.id == 1 {
                    "default"
                } else {
                    "kube-system"
                };
                view.namespace = Some(namespace.to_owned());
                view.name = Some(format!("echo-{}", view.id));
                view.port = Some(if view.id == 1 { "http" } else { "" }.to_owned());
                view.service_type = Some("ClusterIP".to_owned());
                view.frontends[0].backends.iter_mut().for_each(|backend| {
                    backend.node = Some("node-1".to_owned());
                });
            }
            reply.send(views).unwrap();
        }
    })
}

#[test]
fn the_list_is_of_one_namespace() {
    expect![[r#"
        NAMESPACE   NAME     PORT   PROTOCOL   KIND        FRONTEND          BACKENDS
        default     echo-1   http   tcp        ClusterIP   10.96.0.10:80     2
        default     echo-1   http   tcp        ClusterIP   [fd00:96::a]:80   1
    "#]]
    .assert_eq(&agent().run(&["service", "list"]).out);
}

#[test]
fn the_wide_list_of_all_namespaces_names_every_backend() {
    let out = agent().run(&["service", "list", "-A", "-o", "wide"]).out;
    let last = out.lines().map(|line| line.rsplit("   ").next().unwrap());
    expect![[r#"
        ADDRESSES
        10.1.0.9:8080,10.1.1.7:8080 (terminating),10.1.1.9:8080
        [fd00:10:1::9]:8080
        <none>
    "#]]
    .assert_eq(&last.map(|cell| format!("{cell}\n")).collect::<String>());
}

#[test]
fn an_empty_namespace_is_said_on_standard_error() {
    let ran = agent().run(&["service", "list", "-n", "nowhere", "-o", "json"]);
    assert_eq!(ran.out, "[]\n");
    expect![[r#"
        switchboard: no Service ports in namespace nowhere; -A shows them all
    "#]]
    .assert_eq(&ran.err);
}

#[test]
fn one_service_is_shown_with_its_backends_and_their_nodes() {
    expect![[r#"
        Namespace:  default
        Name:       echo-1
        Type:       ClusterIP
        Port:       http tcp
        Id:         1
        Frontend:   10.96.0.10:80 ClusterIP
          10.1.0.9:8080 active on node-1
          10.1.1.7:8080 terminating on node-1
          10.1.1.9:8080 active on node-1
        Frontend:   [fd00:96::a]:80 ClusterIP
          [fd00:10:1::9]:8080 active on <none>
    "#]]
    .assert_eq(&agent().run(&["service", "get", "echo-1"]).out);
}

#[test]
fn a_service_may_be_named_with_its_namespace() {
    let agent = agent();
    let long = agent
        .run(&["service", "get", "kube-system/echo-2", "-o", "json"])
        .out;
    let short = agent
        .run(&[
            "service",
            "get",
            "-n",
            "kube-system",
            "echo-2",
            "-o",
            "json",
        ])
        .out;
    assert_eq!(long, short);
    expect![[r#"
        [
          {
            "namespace": "kube-system",
            "name": "echo-2",
            "port": "",
            "protocol": "tcp",
            "type": "ClusterIP",
            "internalTrafficPolicy": null,
            "externalTrafficPolicy": null,
            "id": 2,
            "affinityS": null,
            "sourceRanges": [],
            "frontends": [
              {
                "address": "10.96.0.9:80",
                "kind": "ClusterIP",
                "refuses": "reject",
                "backends": [],
                "wire": null
              }
            ]
          }
        ]
    "#]]
    .assert_eq(&long);
}

#[test]
fn a_service_that_is_not_served_is_an_error() {
    let error = agent()
        .run(&["service", "get", "echo-9"])
        .ending
        .unwrap_err();
    expect!["Service default/echo-9 is not served here; `switchboard status` says if something is wrong with it"].assert_eq(&error.to_string());
}
