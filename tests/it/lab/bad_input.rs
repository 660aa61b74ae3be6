//! Bad objects are named in `status` and in the log, and everything else goes on.

use tests::privileges;

use super::{Web, assert_spread};

/// File, what `status` must name, and a part of the reason.
const BAD: [(&str, &str, &str, &str); 4] = [
    (
        "malformed.yaml",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: [unclosed\n",
        "malformed.yaml:",
        "",
    ),
    (
        "taken.yaml",
        "apiVersion: v1\n\
         kind: Service\n\
         metadata: {namespace: default, name: thief, creationTimestamp: 2026-02-01T00:00:00Z}\n\
         spec: {clusterIP: 10.96.0.10, ports: [{name: tcp, port: 80, protocol: TCP}]}\n",
        "Service default/thief",
        "10.96.0.10",
    ),
    (
        "loopback.yaml",
        "apiVersion: discovery.k8s.io/v1\n\
         kind: EndpointSlice\n\
         metadata:\n  \
           namespace: default\n  \
           name: web-loopback\n  \
           labels: {kubernetes.io/service-name: web}\n\
         addressType: IPv4\n\
         ports: [{name: tcp, port: 8080}]\n\
         endpoints: [{addresses: [127.0.0.1]}, {addresses: [169.254.1.1]}]\n",
        "EndpointSlice default/web-loopback",
        "127.0.0.1",
    ),
    (
        "family.yaml",
        "apiVersion: discovery.k8s.io/v1\n\
         kind: EndpointSlice\n\
         metadata:\n  \
           namespace: default\n  \
           name: web-family\n  \
           labels: {kubernetes.io/service-name: web}\n\
         addressType: IPv4\n\
         ports: [{name: tcp, port: 8080}]\n\
         endpoints: [{addresses: [\"fd00:1:1::99\"]}]\n",
        "EndpointSlice default/web-family",
        "fd00:1:1::99",
    ),
];

#[test]
fn bad_objects_are_diagnosed_and_the_others_served() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::small();
    for (file, text, _, _) in BAD {
        web.lab.set_file(file, text);
    }
    web.lab
        .set("service default/late 10.96.0.20 80/tcp->8080 app=web")
        .unwrap();
    web.lab.publish().unwrap();
    let agent = web.lab.agent(1);
    let (status, log) = (agent.status().unwrap(), agent.log());
    for (_, _, object, reason) in BAD {
        let found = status
            .diagnostics
            .iter()
            .any(|problem| problem.object.contains(object) && problem.reason.contains(reason));
        assert!(found, "{object} is not in {:#?}", status.diagnostics);
        assert!(log.contains(object), "{object} is not in the log:\n{log}");
    }
    for to in [
        "tcp 10.96.0.10:80",
        "udp 10.96.0.10:80",
        "tcp 10.96.0.20:80",
    ] {
        assert_spread(&web.client, to, &["near", "far"]);
        assert_spread(&web.client.unhooked(), to, &["near", "far"]);
    }
    for (file, ..) in BAD {
        web.lab.set_file(file, "");
    }
    web.lab.publish().unwrap();
    let diagnostics = web.lab.agent(1).status().unwrap().diagnostics;
    assert_eq!(diagnostics, [], "what is repaired is no longer named");
}
