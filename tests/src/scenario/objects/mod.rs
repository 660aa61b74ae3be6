//! Objects in one line each, and the Kubernetes objects that they stand for.
//!
//! - `node NAME ADDR... [zone=ZONE]`: the first node is the one that the tables are compiled for.
//! - `pod [NAMESPACE/]NAME ADDR... [LABEL=VALUE...] [on=NODE] [FLAG...]`: without `on`, on the
//!   first node. Flags: `unready`, `terminating`, `ready` (although terminating), `serving`
//!   (although unready), `hostnetwork`, `finished`.
//! - `service NAMESPACE/NAME ADDR[,ADDR] [NAME:]PORT/PROTO->TARGET[@NODEPORT]... [LABEL=VALUE...]`
//!   and the fields `type`, `internal`, `external`, `affinity`, `created`, `external-ips`, `lb`
//!   (the load balancer's addresses) and `ranges` (the sources that it admits). Without `type` it
//!   is what its fields need. Its slices are derived from its pods, one for each family, as the
//!   endpointslice controller would.
//! - `service-cidr NAME CIDR...`: where ClusterIPs come from.
//! - `delete KIND NAME` takes one back.

mod node;
mod pod;
mod service;

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

pub use self::pod::Pod;
use self::{
    node::Node,
    service::{Port, Service},
};

/// The node that is there if no line says so.
const DEFAULT_NODE_NAME: &str = "a";
const DEFAULT_NODE_ADDR: &str = "10.0.0.1";
const DEFAULT_NAMESPACE: &str = "default";

/// Objects by kind and name, and files of raw YAML by name.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    nodes: Vec<Node>,
    pods: BTreeMap<String, Pod>,
    services: BTreeMap<String, Service>,
    service_cidrs: BTreeMap<String, Vec<String>>,
    files: BTreeMap<String, String>,
}

// === impl Objects ===

impl Objects {
    /// Adds, replaces or deletes what the line names.
    pub fn apply(&mut self, line: &str) -> Result<()> {
        let mut words = line.split_whitespace();
        let kind = words.next().context("the line is empty")?;
        let name = words
            .next()
            .with_context(|| format!("{kind} has no name"))?;
        match kind {
            "node" => {
                let node = Node::parse(name, words)?;
                match self.nodes.iter_mut().find(|other| other.name == node.name) {
                    Some(other) => *other = node,
                    None => self.nodes.push(node),
                }
            }
            "pod" => {
                self.pods.insert(name.to_owned(), Pod::parse(name, words)?);
            }
            "service" => {
                self.services
                    .insert(name.to_owned(), Service::parse(name, words)?);
            }
            "service-cidr" => {
                let cidrs = words.map(str::to_owned).collect();
                self.service_cidrs.insert(name.to_owned(), cidrs);
            }
            "delete" => {
                let what = words.next().context("delete KIND NAME")?;
                self.delete(name, what)?;
            }
            other => bail!("unknown kind {other:?}"),
        }
        Ok(())
    }

    /// Adds or replaces a file of raw YAML; an empty one is deleted.
    pub fn set_file(&mut self, name: &str, text: String) {
        if text.trim().is_empty() {
            self.files.remove(name);
        } else {
            self.files.insert(name.to_owned(), text);
        }
    }

    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// The node that the tables are for.
    pub fn own_node(&self) -> &str {
        self.nodes
            .first()
            .map_or(DEFAULT_NODE_NAME, |node| &node.name)
    }

    /// File names and contents for a directory source.
    pub fn to_files(&self) -> Result<BTreeMap<String, String>> {
        let mut files = self.files.clone();
        let items = self.to_kubernetes()?;
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        files.insert("objects.json".to_owned(), format!("{list:#}\n"));
        Ok(files)
    }

    fn to_kubernetes(&self) -> Result<Vec<Value>> {
        let mut items: Vec<_> = self.nodes.iter().map(Node::to_kubernetes).collect();
        if self.nodes.is_empty() {
            let node = Node::parse(DEFAULT_NODE_NAME, [DEFAULT_NODE_ADDR].into_iter())?;
            items.push(node.to_kubernetes());
        }
        items.extend(
            self.pods
                .values()
                .map(|pod| pod.to_kubernetes(self.own_node())),
        );
        items.extend(self.service_cidrs.iter().map(|(name, cidrs)| {
            json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "ServiceCIDR",
                "metadata": { "name": name },
                "spec": { "cidrs": cidrs },
            })
        }));
        for service in self.services.values() {
            items.push(service.to_kubernetes());
            items.extend(
                service
                    .addrs
                    .iter()
                    .filter_map(|addr| self.slice(service, *addr)),
            );
        }
        Ok(items)
    }

    fn delete(&mut self, kind: &str, name: &str) -> Result<()> {
        let found = match kind {
            "node" => {
                let before = self.nodes.len();
                self.nodes.retain(|node| node.name != name);
                self.nodes.len() < before
            }
            "pod" => self.pods.remove(name).is_some(),
            "service" => self.services.remove(name).is_some(),
            "service-cidr" => self.service_cidrs.remove(name).is_some(),
            other => bail!("unknown kind {other:?}"),
        };
        ensure!(found, "there is no {kind} {name} to delete");
        Ok(())
    }

    /// The slice of a Service for the family of one of its addresses.
    fn slice(&self, service: &Service, family_of: IpAddr) -> Option<Value> {
        if service.selector.is_empty() {
            return None;
        }
        let (family, address_type) = if family_of.is_ipv4() {
            ("v4", "IPv4")
        } else {
            ("v6", "IPv6")
        };
        let endpoints: Vec<_> = self
            .pods
            .values()
            .filter(|pod| pod.is_selected_by(service))
            .filter_map(|pod| {
                let addr = pod
                    .addrs
                    .iter()
                    .find(|addr| addr.is_ipv4() == family_of.is_ipv4())?;
                Some(pod.to_endpoint(*addr, self.own_node()))
            })
            .collect();
        let ports: Vec<_> = service.ports.iter().map(Port::to_slice_port).collect();
        Some(json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "namespace": service.namespace,
                "name": format!("{}-{family}", service.name),
                "labels": { "kubernetes.io/service-name": service.name },
            },
            "addressType": address_type,
            "ports": ports,
            "endpoints": endpoints,
        }))
    }
}

/// `NAMESPACE/NAME`, or a name in the default namespace.
fn split_name(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or((DEFAULT_NAMESPACE, name))
}

fn parse_addr(text: &str) -> Result<IpAddr> {
    text.parse()
        .with_context(|| format!("parse address {text}"))
}
