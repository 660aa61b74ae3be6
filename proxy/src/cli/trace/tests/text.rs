//! What `trace` writes, where it writes it, and which questions it cannot answer.

use expect_test::expect;

use super::*;
use crate::{
    cli::testing::FakeAgent,
    observe::{Names, Query, testing},
};

#[test]
fn programs_read_every_field_of_the_answer() {
    let dir = directory(&[("cluster.yaml", CLUSTER)]);
    expect![[r#"
        {
          "outcome": "translate",
          "frontend": {
            "namespace": "default",
            "name": "echo",
            "port": "http",
            "kind": "ClusterIP"
          },
          "backends": [
            "10.1.1.9:8080",
            "10.1.2.9:8080"
          ],
          "source": "mixed",
          "reason": null,
          "steps": [
            "10.1.1.9 is pod default/echo-1 of node node-1",
            "a pod's TCP is decided over when its socket connects, or else by from_pod",
            "10.96.0.10:80/tcp is frontend default/echo:http (ClusterIP)",
            "one of 2 is drawn, the source is mixed"
          ]
        }
    "#]]
    .assert_eq(
        &trace(
            dir.path(),
            &["--from", "10.1.1.9", "--to", "10.96.0.10:80/tcp"],
        )
        .out,
    );
    expect![[r#"
        {
          "outcome": "reject",
          "frontend": null,
          "backends": [],
          "source": null,
          "reason": null,
          "steps": [
            "10.1.1.9 is pod default/echo-1 of node node-1",
            "a pod's TCP is decided over when its socket connects, or else by from_pod",
            "10.96.0.10:81/tcp is no port of the Service that has the ClusterIP",
            "nobody answers: the client is told that it is refused"
          ]
        }
    "#]]
    .assert_eq(
        &trace(
            dir.path(),
            &["--from", "10.1.1.9", "--to", "10.96.0.10:81/tcp"],
        )
        .out,
    );
}

#[test]
fn people_read_how_it_came_about() {
    let dir = directory(&[("cluster.yaml", CLUSTER)]);
    let dir = dir.path().to_str().unwrap();
    let read = |question: [&str; 4]| {
        let words = ["trace", "--manifests", dir, "--node", "node-1"];
        run(&words.into_iter().chain(question).collect::<Vec<_>>()).out
    };
    expect![[r#"
        1. 10.1.1.5 is pod default/client of node node-1
        2. a pod's TCP is decided over when its socket connects, or else by from_pod
        3. 10.96.0.21:80/tcp is frontend default/local:http (ClusterIP)
        4. internalTrafficPolicy is Local: only backends on this node
        5. the packet is dropped: no-local-backend

        Outcome:   drop
        Frontend:  default/local:http (ClusterIP)
        Reason:    no-local-backend
    "#]]
    .assert_eq(&read(["--from", "10.1.1.5", "--to", "10.96.0.21:80/tcp"]));
    expect![[r#"
        1. 192.0.2.7 is no pod and no address of node node-1: it is on the wire
        2. what arrives from elsewhere is decided over by from_net, on its device
        3. 10.96.0.10:80/tcp is frontend default/echo:http (ClusterIP)
        4. one of 2 is drawn, the source is mixed

        Outcome:   translate
        Frontend:  default/echo:http (ClusterIP)
        Source:    mixed
        Backend:   10.1.1.9:8080
        Backend:   10.1.2.9:8080
    "#]]
    .assert_eq(&read(["--from", "192.0.2.7", "--to", "10.96.0.10:80/tcp"]));
}

#[test]
fn a_bad_file_is_reported_and_the_rest_is_served() {
    let broken = "kind: Service\nmetadata: [\n";
    let dir = directory(&[("a.yaml", broken), ("cluster.yaml", CLUSTER)]);
    let ran = trace(
        dir.path(),
        &["--from", "10.1.1.5", "--to", "10.96.0.20:80/tcp"],
    );
    assert!(ran.out.contains(r#""outcome": "reject""#), "{}", ran.out);
    assert!(ran.err.starts_with("a.yaml:"), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

#[test]
fn a_node_without_an_object_is_said() {
    let dir = directory(&[("cluster.yaml", CLUSTER)]);
    let dir = dir.path().to_str().unwrap();
    let question = [
        "--from",
        "10.1.2.9",
        "--to",
        "10.96.0.12:80/tcp",
        "-o",
        "json",
    ];
    let words: Vec<&str> = ["trace", "--manifests", dir, "--node", " NODE-2 "]
        .into_iter()
        .chain(question)
        .collect();
    let ran = run(&words);
    assert!(ran.out.contains(r#""source": "frontend""#), "{}", ran.out);
    expect![[r#"
        Node node-2: does not exist: this node has no zone and no addresses
    "#]]
    .assert_eq(&ran.err);
}

#[test]
fn the_configuration_may_name_the_node() {
    let dir = directory(&[("cluster.yaml", CLUSTER), ("config", "nodeName: node-2\n")]);
    let (objects, config) = (dir.path(), dir.path().join("config"));
    let ran = run(&[
        "trace",
        "--manifests",
        objects.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
        "--from=10.1.2.9",
        "--to=10.96.0.12:80/tcp",
        "-ojson",
    ]);
    assert!(ran.out.contains(r#""source": "frontend""#), "{}", ran.out);
}

#[test]
fn a_question_over_two_families_fails() {
    let dir = directory(&[("cluster.yaml", CLUSTER)]);
    let ran = trace(
        dir.path(),
        &["--from", "10.1.1.5", "--to", "[fd00:96::a]:80/tcp"],
    );
    assert_eq!(ran.out, "");
    expect!["10.1.1.5 and [fd00:96::a]:80/tcp are of different address families"]
        .assert_eq(&ran.ending.unwrap_err().to_string());
}

#[rstest]
#[case::not_named(&[])]
#[case::blank(&["--node", " "])]
fn offline_the_node_must_be_named(#[case] node: &[&str]) {
    let dir = directory(&[]);
    let dir = dir.path().to_str().unwrap();
    let question = ["--from", "10.1.1.5", "--to", "10.96.0.20:80/tcp"];
    let words = ["trace", "--manifests", dir].into_iter().chain(question);
    let ran = run(&words.chain(node.iter().copied()).collect::<Vec<_>>());
    expect!["which node? say --node NAME"].assert_eq(&ran.ending.unwrap_err().to_string());
}

#[test]
fn a_directory_that_is_not_there_fails() {
    let ran = trace(
        Path::new("/nowhere"),
        &["--from", "10.1.1.5", "--to", "10.96.0.20:80/tcp"],
    );
    let error = format!("{:#}", ran.ending.unwrap_err());
    assert!(
        error.starts_with("read the objects in /nowhere: "),
        "{error}"
    );
}

#[test]
fn the_agent_is_asked_where_there_is_no_directory() {
    let agent = FakeAgent::start(|query| {
        if let Query::Trace(question, reply) = query {
            let maps = testing::maps();
            let answer = answer(&question, &World::pinned(&maps, Names::new()));
            reply
                .send(answer.map_err(|error| error.to_string()))
                .unwrap();
        }
    });
    let words = [
        "trace",
        "--from",
        "10.1.0.5",
        "--to",
        "10.96.0.9:80/tcp",
        "--at",
        "pod",
    ];
    expect![[r#"
        1. the packet is taken to meet the node at pod
        2. a pod's TCP is decided over when its socket connects, or else by from_pod
        3. 10.96.0.9:80/tcp is frontend unknown (ClusterIP)
        4. nobody answers: the client is told that it is refused

        Outcome:   reject
        Frontend:  unknown (ClusterIP)
    "#]]
    .assert_eq(&agent.run(&words).out);
    let error = agent.run(&words[..5]).ending.unwrap_err();
    expect!["only a running agent knows what 10.1.0.5 is to this node: say --at pod|host|wire"]
        .assert_eq(&error.to_string());
}
