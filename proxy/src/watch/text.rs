//! Events as short lines, for the tests of the sources: only what differs from the usual is shown.

use std::fmt::Display;

use crate::model::{
    Endpoint, EndpointSlice, Event, Node, Object, Pod, Service, ServicePort, TrafficPolicy,
};

pub(super) fn render(event: &Event) -> String {
    let (line, problems) = match event {
        Event::Apply { object, problems } => (render_object(object), problems.as_slice()),
        Event::Delete(object) => (format!("delete {object}"), [].as_slice()),
        Event::Invalid { object, problems } => (format!("invalid {object}"), problems.as_slice()),
        Event::Synced(kind) => (format!("synced {}", kind.name()), [].as_slice()),
        Event::LocalAddrs(addrs) => (format!("addresses {}", list(addrs)), [].as_slice()),
        Event::Uplinks(uplinks) => {
            let indices = list(uplinks.iter().map(|uplink| uplink.ifindex));
            (format!("uplinks {indices}"), [].as_slice())
        }
    };
    problems
        .iter()
        .fold(line, |text, problem| format!("{text}\n  ! {problem}"))
}

pub(super) fn render_all<'a>(events: impl IntoIterator<Item = &'a Event>) -> String {
    events
        .into_iter()
        .map(render)
        .collect::<Vec<_>>()
        .join("\n")
}

fn render_object(object: &Object) -> String {
    let reference = object.reference();
    let rest = match object {
        Object::Service(_, service) => render_service(service),
        Object::EndpointSlice(_, slice) => render_slice(slice),
        Object::Pod(_, pod) => render_pod(pod),
        Object::Node(_, node) => render_node(node),
        Object::ServiceCidr(_, cidr) => format!(" cidrs={}", list(&cidr.cidrs)),
    };
    format!("apply {reference}{rest}")
}

fn render_service(service: &Service) -> String {
    let mut text = format!(
        " {:?} ips={}",
        service.service_type,
        list(&service.cluster_ips)
    );
    if !service.external_ips.is_empty() {
        text += &format!(" external={}", list(&service.external_ips));
    }
    if !service.load_balancer_ips.is_empty() {
        text += &format!(" addresses={}", list(&service.load_balancer_ips));
    }
    let port = |port: &ServicePort| {
        let node_port = match port.node_port {
            0 => String::new(),
            number => format!("@{number}"),
        };
        format!("{}:{}/{}{node_port}", port.name, port.port, port.protocol)
    };
    text += &format!(" ports={}", list(service.ports.iter().map(port)));
    if service.internal_traffic_policy == TrafficPolicy::Local {
        text += " itp=Local";
    }
    if service.external_traffic_policy == TrafficPolicy::Local {
        text += " etp=Local";
    }
    if service.health_check_node_port != 0 {
        text += &format!(" health={}", service.health_check_node_port);
    }
    if let Some(seconds) = service.affinity_timeout_s {
        text += &format!(" affinity={seconds}");
    }
    if let Some(ranges) = &service.source_ranges {
        text += &format!(" sources={}", list(ranges));
    }
    if let Some(algorithm) = service.algorithm {
        text += &format!(" algorithm={algorithm:?}");
    }
    if service.created_s != 0 {
        text += &format!(" created={}", service.created_s);
    }
    text
}

fn render_slice(slice: &EndpointSlice) -> String {
    let ports = slice
        .ports
        .iter()
        .map(|port| format!("{}:{}/{}", port.name, port.port, port.protocol));
    let endpoints: String = slice.endpoints.iter().map(render_endpoint).collect();
    let triggered = slice
        .triggered_ms
        .map_or_else(String::new, |at_ms| format!(" triggered={at_ms}"));
    format!(
        " of={} ports={}{triggered}{endpoints}",
        slice.service,
        list(ports)
    )
}

fn render_endpoint(endpoint: &Endpoint) -> String {
    let mut text = format!("\n  {}", endpoint.addr);
    for (flag, word) in [
        (!endpoint.ready, " unready"),
        (!endpoint.serving, " unserving"),
        (endpoint.terminating, " terminating"),
    ] {
        text += if flag { word } else { "" };
    }
    for (name, value) in [("node", &endpoint.node), ("zone", &endpoint.zone)] {
        if let Some(value) = value {
            text += &format!(" {name}={value}");
        }
    }
    for (name, hints) in [
        ("zones", &endpoint.zone_hints),
        ("nodes", &endpoint.node_hints),
    ] {
        if !hints.is_empty() {
            text += &format!(" {name}={}", list(hints));
        }
    }
    text
}

fn render_pod(pod: &Pod) -> String {
    let host_network = if pod.host_network {
        " host_network"
    } else {
        ""
    };
    let finished = if pod.finished { " finished" } else { "" };
    format!(" addrs={}{host_network}{finished}", list(&pod.addrs))
}

fn render_node(node: &Node) -> String {
    let mut text = format!(" addrs={}", list(&node.addrs));
    if let Some(zone) = &node.zone {
        text += &format!(" zone={zone}");
    }
    if !node.pod_cidrs.is_empty() {
        text += &format!(" pods={}", list(&node.pod_cidrs));
    }
    if node.leaving {
        text += " leaving";
    }
    text
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("[{}]", items.join(" "))
}
