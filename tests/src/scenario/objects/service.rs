//! A line about a Service, and its Service object.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{parse_addr, split_name};

#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) addrs: Vec<IpAddr>,
    pub(super) ports: Vec<Port>,
    pub(super) selector: BTreeMap<String, String>,
    /// Fields by the name they have in a line.
    fields: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub(super) struct Port {
    name: String,
    port: u16,
    protocol: String,
    target: u16,
    node_port: Option<u16>,
}

// === impl Service ===

impl Service {
    pub(super) fn parse<'a>(name: &str, words: impl Iterator<Item = &'a str>) -> Result<Self> {
        const FIELDS: [&str; 8] = [
            "type",
            "internal",
            "external",
            "affinity",
            "created",
            "external-ips",
            "lb",
            "ranges",
        ];
        let (namespace, name) = split_name(name);
        let mut service = Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            addrs: Vec::new(),
            ports: Vec::new(),
            selector: BTreeMap::new(),
            fields: BTreeMap::new(),
        };
        for word in words {
            if word.contains("->") {
                service.ports.push(Port::parse(word)?);
            } else if let Some((key, value)) = word.split_once('=') {
                let known = FIELDS.contains(&key);
                let map = if known {
                    &mut service.fields
                } else {
                    &mut service.selector
                };
                map.insert(key.to_owned(), value.to_owned());
            } else {
                for addr in word.split(',') {
                    service.addrs.push(parse_addr(addr)?);
                }
            }
        }
        Ok(service)
    }

    pub(super) fn to_kubernetes(&self) -> Value {
        let families: Vec<_> = self
            .addrs
            .iter()
            .map(|addr| if addr.is_ipv4() { "IPv4" } else { "IPv6" })
            .collect();
        let mut service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "namespace": self.namespace,
                "name": self.name,
                "creationTimestamp": self.field("created").unwrap_or("2026-01-01T00:00:00Z"),
            },
            "spec": {
                "type": self.field("type").unwrap_or_else(|| self.default_type()),
                "clusterIP": self.addrs.first(),
                "clusterIPs": self.addrs,
                "ipFamilies": families,
                "selector": self.selector,
                "ports": self.ports.iter().map(Port::to_service_port).collect::<Vec<_>>(),
                "internalTrafficPolicy": self.field("internal").unwrap_or("Cluster"),
            },
        });
        self.add_fields(&mut service);
        service
    }

    /// What few Services have.
    fn add_fields(&self, service: &mut Value) {
        let seconds = self.field("affinity");
        if let Some(seconds) = seconds.and_then(|text| text.parse::<u32>().ok()) {
            service["spec"]["sessionAffinity"] = json!("ClientIP");
            service["spec"]["sessionAffinityConfig"] =
                json!({ "clientIP": { "timeoutSeconds": seconds } });
        }
        if let Some(policy) = self.field("external") {
            service["spec"]["externalTrafficPolicy"] = json!(policy);
        }
        if let Some(addrs) = self.list("external-ips") {
            service["spec"]["externalIPs"] = json!(addrs);
        }
        if let Some(ranges) = self.list("ranges") {
            service["spec"]["loadBalancerSourceRanges"] = json!(ranges);
        }
        if let Some(addrs) = self.list("lb") {
            let ingress = addrs.iter().map(|addr| json!({ "ip": addr }));
            service["status"]["loadBalancer"]["ingress"] = ingress.collect();
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    fn list(&self, name: &str) -> Option<Vec<&str>> {
        Some(self.field(name)?.split(',').collect())
    }

    fn default_type(&self) -> &'static str {
        if self.field("lb").is_some() {
            "LoadBalancer"
        } else if self.ports.iter().any(|port| port.node_port.is_some()) {
            "NodePort"
        } else {
            "ClusterIP"
        }
    }
}

// === impl Port ===

impl Port {
    /// `[NAME:]PORT/PROTO->TARGET[@NODEPORT]`.
    fn parse(word: &str) -> Result<Self> {
        let context = || format!("parse port {word}");
        let (front, target) = word.split_once("->").with_context(context)?;
        let (target, node_port) = match target.split_once('@') {
            Some((target, port)) => (target, Some(port.parse().with_context(context)?)),
            None => (target, None),
        };
        let (front, protocol) = front.split_once('/').with_context(context)?;
        let (name, port) = front.split_once(':').unwrap_or(("", front));
        Ok(Self {
            name: name.to_owned(),
            port: port.parse().with_context(context)?,
            protocol: protocol.to_uppercase(),
            target: target.parse().with_context(context)?,
            node_port,
        })
    }

    pub(super) fn to_service_port(&self) -> Value {
        let mut port = json!({
            "name": self.name,
            "port": self.port,
            "protocol": self.protocol,
            "targetPort": self.target,
        });
        if let Some(node_port) = self.node_port {
            port["nodePort"] = json!(node_port);
        }
        port
    }

    pub(super) fn to_slice_port(&self) -> Value {
        json!({ "name": self.name, "port": self.target, "protocol": self.protocol })
    }
}
