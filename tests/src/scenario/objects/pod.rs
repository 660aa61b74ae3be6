//! A line about a pod, its Pod object, and the endpoint that it is in the slices of its Services.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::Result;
use serde_json::{Value, json};

use super::{parse_addr, service::Service, split_name};

#[derive(Clone, Debug)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub addrs: Vec<IpAddr>,
    node: Option<String>,
    labels: BTreeMap<String, String>,
    flags: Vec<String>,
}

// === impl Pod ===

impl Pod {
    pub(super) fn parse<'a>(name: &str, words: impl Iterator<Item = &'a str>) -> Result<Self> {
        const FLAGS: [&str; 6] = [
            "unready",
            "terminating",
            "ready",
            "serving",
            "hostnetwork",
            "finished",
        ];
        let (namespace, name) = split_name(name);
        let mut pod = Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            addrs: Vec::new(),
            node: None,
            labels: BTreeMap::new(),
            flags: Vec::new(),
        };
        for word in words {
            match word.split_once('=') {
                Some(("on", node)) => pod.node = Some(node.to_owned()),
                Some((label, value)) => {
                    pod.labels.insert(label.to_owned(), value.to_owned());
                }
                None if FLAGS.contains(&word) => pod.flags.push(word.to_owned()),
                None => pod.addrs.push(parse_addr(word)?),
            }
        }
        Ok(pod)
    }

    /// Where it is, if its line says so.
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    pub fn is_host_network(&self) -> bool {
        self.has("hostnetwork")
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|other| other == flag)
    }

    pub(super) fn is_selected_by(&self, service: &Service) -> bool {
        self.namespace == service.namespace
            && !self.has("finished")
            && service
                .selector
                .iter()
                .all(|(label, value)| self.labels.get(label) == Some(value))
    }

    pub(super) fn to_endpoint(&self, addr: IpAddr, own_node: &str) -> Value {
        let terminating = self.has("terminating");
        let doubtful = terminating || self.has("unready") || self.has("serving");
        json!({
            "addresses": [addr],
            "conditions": {
                "ready": self.has("ready") || !doubtful,
                "serving": self.has("serving") || !self.has("unready"),
                "terminating": terminating,
            },
            "nodeName": self.node.as_deref().unwrap_or(own_node),
            "targetRef": { "kind": "Pod", "namespace": self.namespace, "name": self.name },
        })
    }

    pub(super) fn to_kubernetes(&self, own_node: &str) -> Value {
        let addrs: Vec<_> = self
            .addrs
            .iter()
            .map(|addr| json!({ "ip": addr }))
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": self.namespace,
                "name": self.name,
                "labels": self.labels,
            },
            "spec": {
                "nodeName": self.node.as_deref().unwrap_or(own_node),
                "hostNetwork": self.has("hostnetwork"),
                "containers": [],
            },
            "status": {
                "phase": if self.has("finished") { "Succeeded" } else { "Running" },
                "podIPs": addrs,
            },
        })
    }
}
