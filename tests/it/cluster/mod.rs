//! What holds in a cluster whose API server, etcd and controllers are the real ones.
//!
//! Services have selectors and the controller-manager writes their EndpointSlices; the lab plays
//! the kubelets. The agents have the rights of the DaemonSet: its account's and its capabilities.

mod daemonset;
mod fixture;
mod outage;

use fixture::Story;
use tests::control_plane::objects;

#[test]
fn pods_of_a_selector_answer_at_its_service() {
    let Some(mut story) = Story::begin("selector") else {
        return;
    };
    let client = story.add_client(1).expect("a client");
    story
        .add_pod(1, "near", "web")
        .expect("a pod on the client's node");
    story
        .add_pod(2, "far", "web")
        .expect("a pod on the other node");
    story
        .apply(&[objects::service("selector", "web", "web")])
        .expect("a service");
    let frontends = story.frontends("web").expect("its addresses");
    assert_eq!(frontends.len(), 2, "one frontend in each family");
    story.expect(&client, &frontends, &["far", "near"]);
}

#[test]
fn service_without_pods_refuses_and_scaling_up_serves() {
    let Some(mut story) = Story::begin("scale") else {
        return;
    };
    let client = story.add_client(1).expect("a client");
    story
        .apply(&[objects::service("scale", "web", "web")])
        .expect("a service");
    let frontends = story.frontends("web").expect("its addresses");
    story.expect(&client, &frontends, &["ECONNREFUSED"]);
    for (node, pod, answers) in [
        (2, "one", vec!["one"]),
        (1, "two", vec!["one", "two"]),
        (2, "three", vec!["one", "three", "two"]),
    ] {
        story.add_pod(node, pod, "web").expect("one more pod");
        story.expect(&client, &frontends, &answers);
    }
    for (pod, answers) in [
        ("one", vec!["three", "two"]),
        ("two", vec!["three"]),
        ("three", vec!["ECONNREFUSED"]),
    ] {
        story.delete_pod(pod).expect("one pod less");
        story.expect(&client, &frontends, &answers);
    }
}

#[test]
fn pod_that_is_not_ready_gets_nothing_new() {
    let Some(mut story) = Story::begin("readiness") else {
        return;
    };
    let client = story.add_client(1).expect("a client");
    for (node, pod) in [(1, "one"), (2, "two")] {
        story.add_pod(node, pod, "web").expect("a pod");
    }
    story
        .apply(&[objects::service("readiness", "web", "web")])
        .expect("a service");
    let frontends = story.frontends("web").expect("its addresses");
    story.expect(&client, &frontends, &["one", "two"]);
    story
        .set_ready("one", false)
        .expect("its readiness probe fails");
    story.expect(&client, &frontends, &["two"]);
    story
        .set_ready("one", true)
        .expect("its readiness probe succeeds again");
    story.expect(&client, &frontends, &["one", "two"]);
}

/// services.md 32, 35: pods that end serve on only while no other pod does.
#[test]
fn ending_pods_serve_until_the_last_is_gone() {
    let Some(mut story) = Story::begin("ending") else {
        return;
    };
    let client = story.add_client(1).expect("a client");
    for (node, pod) in [(1, "one"), (2, "two")] {
        story.add_pod(node, pod, "web").expect("a pod");
    }
    story
        .apply(&[objects::service("ending", "web", "web")])
        .expect("a service");
    let frontends = story.frontends("web").expect("its addresses");
    story.expect(&client, &frontends, &["one", "two"]);
    story
        .terminate_pod("one")
        .expect("the first pod begins to end");
    story.expect(&client, &frontends, &["two"]);
    story
        .terminate_pod("two")
        .expect("the second pod begins to end");
    story.expect(&client, &frontends, &["one", "two"]);
    story.delete_pod("one").expect("the first pod is gone");
    story.expect(&client, &frontends, &["two"]);
    story.delete_pod("two").expect("the second pod is gone");
    story.expect(&client, &frontends, &["ECONNREFUSED"]);
}

#[test]
fn deleted_service_is_forgotten_and_its_address_serves_the_next() {
    let Some(mut story) = Story::begin("deletion") else {
        return;
    };
    let client = story.add_client(1).expect("a client");
    story.add_pod(2, "one", "web").expect("a pod");
    story
        .add_pod(2, "two", "next")
        .expect("a pod of another service");
    story
        .apply(&[objects::service("deletion", "web", "web")])
        .expect("a service");
    let frontends = story.frontends("web").expect("its addresses");
    story.expect(&client, &frontends, &["one"]);
    story
        .kubectl(&["delete", "service", "web"])
        .expect("the service is deleted");
    story.expect_nobody(&client, &frontends);
    let mut next = objects::service("deletion", "next", "next");
    let addresses: Vec<String> = frontends.iter().map(|one| one.ip().to_string()).collect();
    next["spec"]["clusterIP"] = addresses[0].clone().into();
    next["spec"]["clusterIPs"] = addresses.into();
    story
        .apply(&[next])
        .expect("another service takes its addresses");
    story.expect(&client, &frontends, &["two"]);
}

/// The address by which every pod knows the API server. It serves TLS: that the connection is made,
/// and to whom, is what is seen.
#[test]
fn pods_reach_the_api_server_through_its_own_service() {
    let Some(mut story) = Story::begin("kubernetes") else {
        return;
    };
    let ip = [
        "-n",
        "default",
        "get",
        "service",
        "kubernetes",
        "-o",
        "jsonpath={.spec.clusterIP}",
    ];
    let ip = story
        .cluster()
        .plane
        .kubectl()
        .run(&ip)
        .expect("the service exists");
    for node in [1, 2] {
        let client = story.add_client(node).expect("a client");
        for client in [client.unhooked(), client] {
            let session = client
                .client(&format!("tcp {ip}:443"))
                .expect("a client process");
            let peer = session.opened.peer.map(|peer| peer.to_string());
            assert_eq!(
                peer,
                Some(format!("{ip}:443")),
                "{:?}",
                session.opened.error
            );
        }
    }
}
