//! The own Node: its addresses, zone and pod ranges.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node as ApiNode, NodeSpec};

use super::{
    Problems, Scope,
    address::{parse_addr, parse_prefix},
    apply, key, label,
};
use crate::model::{Event, Kind, Node, Object, ObjectRef};

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// The cluster autoscaler's, before it deletes a Node; any value, any effect (103).
const LEAVING_TAINT: &str = "ToBeDeletedByClusterAutoscaler";

pub fn node(object: &ApiNode, scope: &Scope) -> Event {
    let key = key(Kind::Node, &object.metadata, scope);
    // The server filters by name; a directory holds every node (3).
    if *key.name != *scope.node {
        return Event::Delete(ObjectRef::new(Kind::Node, key));
    }
    let mut problems = Problems::default();
    let node = Node {
        addrs: addrs(object, &mut problems),
        zone: label(&object.metadata, ZONE_LABEL)
            .filter(|zone| !zone.is_empty())
            .map(Into::into),
        pod_cidrs: object.spec.as_ref().map_or_else(Vec::new, |spec| {
            pod_cidrs(spec)
                .filter_map(|text| prefix(text, &mut problems))
                .collect()
        }),
        leaving: is_leaving(object),
    };
    apply(Object::Node(key, node), problems)
}

/// InternalIP before ExternalIP (121).
fn addrs(object: &ApiNode, problems: &mut Problems) -> Vec<IpAddr> {
    let all = object
        .status
        .as_ref()
        .and_then(|status| status.addresses.as_deref());
    let all = all.unwrap_or_default();
    let mut usable = Vec::new();
    for wanted in ["InternalIP", "ExternalIP"] {
        for address in all.iter().filter(|address| address.type_ == wanted) {
            match parse_addr(&address.address) {
                Some(addr) if !usable.contains(&addr) => usable.push(addr),
                Some(_) => {}
                None => {
                    problems.push(format!(
                        "{wanted} {:?} is not an IP address",
                        address.address
                    ));
                }
            }
        }
    }
    usable
}

fn is_leaving(object: &ApiNode) -> bool {
    let taints = object.spec.as_ref().and_then(|spec| spec.taints.as_deref());
    let mut taints = taints.unwrap_or_default().iter();
    object.metadata.deletion_timestamp.is_some() || taints.any(|taint| taint.key == LEAVING_TAINT)
}

fn pod_cidrs(spec: &NodeSpec) -> impl Iterator<Item = &str> {
    let all = spec.pod_cidrs.as_deref().unwrap_or_default();
    let single = spec.pod_cidr.as_deref().filter(|_| all.is_empty());
    all.iter()
        .map(String::as_str)
        .chain(single)
        .filter(|text| !text.is_empty())
}

fn prefix(text: &str, problems: &mut Problems) -> Option<ipnet::IpNet> {
    let prefix = parse_prefix(text);
    if prefix.is_none() {
        problems.push(format!("podCIDR {text:?} is not a prefix"));
    }
    prefix
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::watch::{convert::Origin, text};

    #[rstest]
    #[case::addresses_in_order_121(
        json!({"metadata": {"name": "a"}, "status": {"addresses": [
            {"type": "Hostname", "address": "a"},
            {"type": "ExternalIP", "address": "203.0.113.1"},
            {"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "InternalIP", "address": "fd00::1"}]}}),
        expect!["apply Node a addrs=[10.0.0.1 fd00::1 203.0.113.1]"],
    )]
    #[case::zone_42(
        json!({"metadata": {"name": "a", "labels": {"topology.kubernetes.io/zone": "z1"}}}),
        expect!["apply Node a addrs=[] zone=z1"],
    )]
    #[case::empty_zone_is_none_39(
        json!({"metadata": {"name": "a", "labels": {"topology.kubernetes.io/zone": ""}}}),
        expect!["apply Node a addrs=[]"],
    )]
    #[case::pod_ranges(
        json!({"metadata": {"name": "a"}, "spec": {
            "podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24", "fd01::/64"]}}),
        expect!["apply Node a addrs=[] pods=[10.1.0.0/24 fd01::/64]"],
    )]
    #[case::single_pod_range(
        json!({"metadata": {"name": "a"}, "spec": {"podCIDR": "10.1.0.0/24"}}),
        expect!["apply Node a addrs=[] pods=[10.1.0.0/24]"],
    )]
    #[case::deleted_103(
        json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        expect!["apply Node a addrs=[] leaving"],
    )]
    #[case::autoscaler_taint_103(
        json!({"metadata": {"name": "a"}, "spec": {"taints": [
            {"key": "other", "effect": "NoSchedule"},
            {"key": "ToBeDeletedByClusterAutoscaler", "value": "17", "effect": "NoExecute"}]}}),
        expect!["apply Node a addrs=[] leaving"],
    )]
    #[case::other_reasons_not_to_be_scheduled_to_103(
        json!({"metadata": {"name": "a"}, "spec": {"unschedulable": true, "taints": [
            {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]}}),
        expect!["apply Node a addrs=[]"],
    )]
    #[case::other_node_3(
        json!({"metadata": {"name": "b"}}),
        expect!["delete Node b"],
    )]
    #[case::bad_parts_lose_themselves_only(
        json!({"metadata": {"name": "a"}, "spec": {"podCIDRs": ["10.1.0.0", "fd01::/64"]},
            "status": {"addresses": [
                {"type": "InternalIP", "address": "10.0.0.1.5"},
                {"type": "InternalIP", "address": "10.0.0.01"}]}}),
        expect![[r#"
            apply Node a addrs=[10.0.0.1] pods=[fd01::/64]
              ! InternalIP "10.0.0.1.5" is not an IP address
              ! podCIDR "10.1.0.0" is not a prefix"#]],
    )]
    fn node_converts(#[case] object: Value, #[case] expect: Expect) {
        let scope = Scope {
            node: "a".into(),
            origin: Origin::Api,
        };
        let object = serde_json::from_value(object).unwrap();
        expect.assert_eq(&text::render(&node(&object, &scope)));
    }
}
