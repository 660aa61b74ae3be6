//! The objects that a test gives to the API server, as JSON text for kubectl.

use std::net::IpAddr;

use serde_json::{Value, json};

/// The port on which every pod serves, over TCP and UDP.
pub const POD_PORT: u16 = 8080;

pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

pub fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
}

/// What a kubelet says about a node that works.
pub fn node_status(addresses: &[IpAddr]) -> Value {
    let addresses: Vec<Value> = addresses
        .iter()
        .map(|ip| json!({"type": "InternalIP", "address": ip}))
        .collect();
    json!({"addresses": addresses, "conditions": [condition("Ready", true)]})
}

/// A pod that is already given to its node. The containers have no image that anybody pulls.
pub fn pod(namespace: &str, name: &str, node: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": app}},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "probe", "image": "probe", "ports": [
                {"name": "web", "containerPort": POD_PORT, "protocol": "TCP"},
                {"name": "web-udp", "containerPort": POD_PORT, "protocol": "UDP"},
            ]}],
        },
    })
}

/// What a kubelet says about a pod that runs, and whether its readiness probe succeeds.
pub fn pod_status(addresses: &[IpAddr], ready: bool) -> Value {
    let addresses: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    json!({
        "phase": "Running",
        "podIP": addresses[0]["ip"],
        "podIPs": addresses,
        "conditions": [condition("Ready", ready), condition("ContainersReady", ready)],
    })
}

/// A service of both families whose ports have other numbers than the pods'.
pub fn service(namespace: &str, name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "selector": {"app": app},
            "ipFamilyPolicy": "RequireDualStack",
            "ports": [
                {"name": "web", "port": 80, "protocol": "TCP", "targetPort": "web"},
                {"name": "web-udp", "port": 80, "protocol": "UDP", "targetPort": "web-udp"},
            ],
        },
    })
}

fn condition(name: &str, holds: bool) -> Value {
    json!({"type": name, "status": if holds { "True" } else { "False" }})
}
