//! Bad objects are named in `status` and in the log, and everything else goes on.

use std::{collections::BTreeSet, fmt::Write};

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

/// More endpoints than any cluster has in one Service: what matters is that the others go on.
#[test]
fn a_service_of_100k_endpoints_is_programmed_while_the_others_are_served() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::small();
    web.lab.set_file("many.yaml", &many_endpoints());
    web.lab.publish().unwrap();
    let agent = web.lab.agent(1);
    let services = agent.services().unwrap();
    let many = services
        .iter()
        .find(|service| service.name.as_deref() == Some("many"));
    assert_eq!(many.unwrap().frontends[0].backends.len(), 100_000);
    assert_spread(&web.client, "tcp 10.96.0.10:80", &["near", "far"]);
    assert_spread(
        &web.client.unhooked(),
        "udp 10.96.0.10:80",
        &["near", "far"],
    );
}

#[test]
fn a_service_that_finds_the_table_full_is_named_and_the_others_are_served() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::small();
    // The Services of the test are older, and so are in the table.
    web.lab.set_file("ports.yaml", &many_ports());
    web.lab.publish().unwrap();
    let diagnostics = web.lab.agent(1).status().unwrap().diagnostics;
    // 66 x 1,000 ports, and room for 65,536: the last of them does not fit.
    let named: BTreeSet<_> = diagnostics.iter().map(|problem| &problem.object).collect();
    assert_eq!(named.len(), 1, "{named:?}");
    assert!(diagnostics[0].reason.contains("no room"), "{diagnostics:?}");
    assert_spread(&web.client, "tcp 10.96.0.10:80", &["near", "far"]);
    web.lab.set_file("ports.yaml", "");
    web.lab.publish().unwrap();
    // What is added while the table is full waits until the removals have made room.
    let agent = web.lab.agent_mut(1);
    let repaired = agent.wait_until("the repair", |status| status.diagnostics.is_empty());
    repaired.unwrap();
}

/// Services of a thousand ports each, one more than there is room for.
fn many_ports() -> String {
    let ports: Vec<_> = (1..=1_000)
        .map(|port| format!("{{name: p{port}, port: {port}}}"))
        .collect();
    let ports = ports.join(", ");
    let services = (0..66).map(|number| {
        format!(
            "apiVersion: v1\nkind: Service\n\
             metadata: {{namespace: default, name: ports-{number}, \
             creationTimestamp: 2026-06-01T00:00:00Z}}\n\
             spec: {{clusterIP: 10.96.1.{number}, ports: [{ports}]}}\n"
        )
    });
    services.collect::<Vec<_>>().join("---\n")
}

/// A Service with a hundred slices of a thousand endpoints each.
fn many_endpoints() -> String {
    let mut text = String::from(
        "apiVersion: v1\nkind: Service\nmetadata: {namespace: default, name: many}\n\
         spec: {clusterIP: 10.96.0.99, ports: [{port: 80}]}\n",
    );
    for slice in 0..100 {
        let endpoints: Vec<_> = (0..1_000)
            .map(|number| {
                format!(
                    "{{addresses: [10.{}.{}.{}]}}",
                    128 + slice,
                    number / 250,
                    number % 250 + 1
                )
            })
            .collect();
        writeln!(
            text,
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata:\n  namespace: default\n  name: many-{slice}\n  \
             labels: {{kubernetes.io/service-name: many}}\n\
             addressType: IPv4\nports: [{{name: \"\", port: 8080}}]\nendpoints: [{}]",
            endpoints.join(", ")
        )
        .unwrap();
    }
    text
}
