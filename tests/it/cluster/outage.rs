//! What holds while API servers are away, and after they return.

use serde_json::{Value, json};
use tests::{control_plane::objects, lab::Place};

use super::fixture::{KNOWN_SERVERS, Story, UNKNOWN_SERVER, list};

const MAIN_SERVER: usize = KNOWN_SERVERS[0];
const SPARE_SERVER: usize = KNOWN_SERVERS[1];
/// At the load's pace, about a second's worth.
const REQUESTS: u64 = 400;

#[test]
fn traffic_goes_on_while_no_api_server_answers_and_later_changes_arrive() {
    let Some(mut story) = Story::begin("outage") else {
        return;
    };
    let client = story.add_client(1).expect("a client");
    for (node, pod) in [(1, "one"), (2, "two")] {
        story.add_pod(node, pod, "web").expect("a pod");
    }
    story
        .apply(&[objects::service("outage", "web", "web")])
        .expect("a service");
    let frontends = story.frontends("web").expect("its addresses");
    story.expect(&client, &frontends, &["one", "two"]);

    let loads = ["tcp", "udp"].map(|protocol| {
        let target = format!("{protocol} {}", frontends[0]);
        client.load(&target).expect("a load")
    });
    let go_on = || {
        for load in &loads {
            let tally = load.wait_for_more(REQUESTS).expect("requests go on");
            assert!(tally.errors.is_empty(), "{:?}", tally.errors);
        }
    };
    go_on();
    story
        .cluster()
        .plane
        .stop_api_server(MAIN_SERVER)
        .expect("the API server is killed");
    go_on();
    let agent = story.cluster().lab.agent_mut(1);
    agent.kill().expect("the agent is killed");
    agent
        .start_unsynced()
        .expect("the agent starts without an API server");
    go_on();
    story.expect(&client, &frontends, &["one", "two"]);
    story
        .cluster()
        .plane
        .resume()
        .expect("the API server returns");
    story
        .set_ready("two", false)
        .expect("a change after the outage");
    story
        .wait_for_slices("web", &["one"])
        .expect("the controller has seen it");
    story.expect(&client, &frontends, &["one"]);
    for load in loads {
        let tally = load.finish().expect("a tally");
        assert!(tally.errors.is_empty(), "{:?}", tally.errors);
    }
}

#[test]
fn agents_turn_to_the_next_api_server_they_know() {
    let Some(mut story) = Story::begin("failover") else {
        return;
    };
    let client = story.add_client(1).expect("a client");
    let one = story.add_pod(1, "one", "web").expect("a pod");
    let two = story.add_pod(2, "two", "web").expect("a pod");
    let mut service = objects::service("failover", "web", "web");
    // The controller-manager knows only one server, so the slices are written by hand.
    service["spec"]["selector"].take();
    let slices = |place: &Place| slices("failover", place);
    story.apply(&[service]).expect("a service");
    story.apply(&slices(&one)).expect("its slices");
    let frontends = story.frontends("web").expect("its addresses");
    story.expect(&client, &frontends, &["one"]);

    let plane = &mut story.cluster().plane;
    plane
        .start_api_server(SPARE_SERVER)
        .expect("another API server");
    plane
        .stop_api_server(MAIN_SERVER)
        .expect("the first is killed");
    let spare = plane.kubectl_to(SPARE_SERVER);
    spare
        .apply(&list(&slices(&two)))
        .expect("a change through the other server");
    story.expect(&client, &frontends, &["two"]);

    let plane = &mut story.cluster().plane;
    plane.resume().expect("the first returns");
    plane
        .stop_api_server(SPARE_SERVER)
        .expect("the other is killed");
    story
        .apply(&slices(&one))
        .expect("a change through the first server");
    story.expect(&client, &frontends, &["one"]);
}

/// An API server that starts has an empty watch cache, so it refuses a watch that begins before
/// its first list. What happened before that only a new list tells.
#[test]
fn watch_that_ends_in_410_gone_is_listed_again() {
    let Some(mut story) = Story::begin("gone") else {
        return;
    };
    let client = story.add_client(1).expect("a client");
    for (node, pod, app) in [(1, "one", "old"), (2, "two", "new")] {
        story.add_pod(node, pod, app).expect("a pod");
    }
    story
        .apply(&[objects::service("gone", "old", "old")])
        .expect("a service");
    let old = story.frontends("old").expect("its addresses");
    story.expect(&client, &old, &["one"]);

    let plane = &mut story.cluster().plane;
    plane
        .start_api_server(UNKNOWN_SERVER)
        .expect("an API server that the agents do not know");
    plane
        .stop_api_server(MAIN_SERVER)
        .expect("theirs is killed");
    let hidden = plane.kubectl_to(UNKNOWN_SERVER);
    // No agent has seen a later version than this one.
    let services = hidden
        .run(&["get", "--raw", "/api/v1/services"])
        .expect("a list");
    let services: Value = serde_json::from_str(&services).expect("a list in JSON");
    let version = services["metadata"]["resourceVersion"]
        .as_str()
        .expect("its version");
    story
        .kubectl_with(&hidden, &["delete", "service", "old"])
        .expect("a service is deleted");
    hidden
        .apply(&objects::service("gone", "new", "new").to_string())
        .expect("another is made");
    let plane = &mut story.cluster().plane;
    plane.resume().expect("the agents' server returns");
    let watch = format!("/api/v1/services?watch=1&timeoutSeconds=1&resourceVersion={version}");
    let event = plane
        .kubectl()
        .run(&["get", "--raw", &watch])
        .expect("a watch from back then");
    assert!(
        event.contains("\"code\":410"),
        "the watch ends otherwise: {event}"
    );
    plane
        .stop_api_server(UNKNOWN_SERVER)
        .expect("the unknown server is killed");

    let new = story.frontends("new").expect("the new service's addresses");
    story
        .wait_for_slices("new", &["two"])
        .expect("the controller has seen it");
    story.expect(&client, &new, &["two"]);
    story.expect_nobody(&client, &old);
}

/// One slice in each family, as the EndpointSlice controller would write them.
fn slices(namespace: &str, pod: &Place) -> Vec<Value> {
    let number = objects::POD_PORT;
    let port =
        |name: &str, protocol: &str| json!({"name": name, "protocol": protocol, "port": number});
    [("IPv4", pod.addr4()), ("IPv6", pod.addr6())]
        .map(|(family, address)| {
            json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "namespace": namespace,
                    "name": format!("web-{}", family.to_lowercase()),
                    "labels": {"kubernetes.io/service-name": "web"},
                },
                "addressType": family,
                "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
                "ports": [port("web", "TCP"), port("web-udp", "UDP")],
            })
        })
        .into()
}
