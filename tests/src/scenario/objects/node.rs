//! A line about a node, and its Node object.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::parse_addr;

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) addrs: Vec<IpAddr>,
    zone: Option<String>,
}

// === impl Node ===

impl Node {
    pub(super) fn parse<'a>(name: &str, words: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut node = Self {
            name: name.to_owned(),
            addrs: Vec::new(),
            zone: None,
        };
        for word in words {
            match word.split_once('=') {
                Some(("zone", zone)) => node.zone = Some(zone.to_owned()),
                Some((field, _)) => bail!("a node has no field {field}"),
                None => node.addrs.push(parse_addr(word)?),
            }
        }
        Ok(node)
    }

    pub(super) fn to_kubernetes(&self) -> Value {
        let labels = self
            .zone
            .iter()
            .map(|zone| ("topology.kubernetes.io/zone", zone));
        let addresses: Vec<_> = self
            .addrs
            .iter()
            .map(|addr| json!({ "type": "InternalIP", "address": addr }))
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": self.name, "labels": labels.collect::<BTreeMap<_, _>>() },
            "status": { "addresses": addresses },
        })
    }
}
