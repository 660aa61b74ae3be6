//! The pods of this node: their addresses, and whether the addresses are still theirs.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod as ApiPod, PodStatus};

use super::{Problems, Scope, address::parse_addr, apply, key};
use crate::model::{Event, Kind, Object, ObjectRef, Pod};

pub fn pod(object: &ApiPod, scope: &Scope) -> Event {
    let key = key(Kind::Pod, &object.metadata, scope);
    let spec = object.spec.as_ref();
    let node = spec
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default();
    // The server filters by node; a directory holds the pods of all.
    if *node != *scope.node {
        return Event::Delete(ObjectRef::new(Kind::Pod, key));
    }
    let mut problems = Problems::default();
    let status = object.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let pod = Pod {
        node: scope.node.clone(),
        addrs: status
            .map(|status| addrs(status, &mut problems))
            .unwrap_or_default(),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        finished: matches!(phase, Some("Succeeded" | "Failed")),
    };
    apply(Object::Pod(key, pod), problems)
}

fn addrs(status: &PodStatus, problems: &mut Problems) -> Vec<IpAddr> {
    let all = status.pod_ips.as_deref().unwrap_or_default();
    let single = status.pod_ip.as_deref().filter(|_| all.is_empty());
    let mut usable = Vec::new();
    for text in all.iter().map(|entry| entry.ip.as_str()).chain(single) {
        match parse_addr(text) {
            Some(addr) => usable.push(addr),
            None => problems.push(format!("pod address {text:?} is not an IP address")),
        }
    }
    usable
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::watch::{convert::Origin, text};

    #[rstest]
    #[case::running(
        json!({"metadata": {"namespace": "n", "name": "p"}, "spec": {"nodeName": "a"}, "status":
            {"phase": "Running", "podIP": "10.1.0.5",
             "podIPs": [{"ip": "10.1.0.5"}, {"ip": "fd01::5"}]}}),
        expect!["apply Pod n/p addrs=[10.1.0.5 fd01::5]"],
    )]
    #[case::single_address(
        json!({"metadata": {"namespace": "n", "name": "p"}, "spec": {"nodeName": "a"},
            "status": {"podIP": "10.1.0.5"}}),
        expect!["apply Pod n/p addrs=[10.1.0.5]"],
    )]
    #[case::host_network(
        json!({"metadata": {"namespace": "n", "name": "p"},
            "spec": {"nodeName": "a", "hostNetwork": true}}),
        expect!["apply Pod n/p addrs=[] host_network"],
    )]
    #[case::finished(
        json!({"metadata": {"namespace": "n", "name": "p"}, "spec": {"nodeName": "a"},
            "status": {"phase": "Failed", "podIP": "10.1.0.5"}}),
        expect!["apply Pod n/p addrs=[10.1.0.5] finished"],
    )]
    #[case::manifest_without_namespace(
        json!({"metadata": {"name": "p"}, "spec": {"nodeName": "a"}}),
        expect!["apply Pod default/p addrs=[]"],
    )]
    #[case::other_node(
        json!({"metadata": {"namespace": "n", "name": "p"}, "spec": {"nodeName": "b"}}),
        expect!["delete Pod n/p"],
    )]
    #[case::unscheduled(
        json!({"metadata": {"namespace": "n", "name": "p"}, "spec": {}}),
        expect!["delete Pod n/p"],
    )]
    #[case::bad_address(
        json!({"metadata": {"namespace": "n", "name": "p"}, "spec": {"nodeName": "a"},
            "status": {"podIPs": [{"ip": "10.1.0"}, {"ip": "fd01::5"}]}}),
        expect![[r#"
            apply Pod n/p addrs=[fd01::5]
              ! pod address "10.1.0" is not an IP address"#]],
    )]
    fn pod_converts(#[case] object: Value, #[case] expect: Expect) {
        let scope = Scope {
            node: "a".into(),
            origin: Origin::Manifest,
        };
        let object = serde_json::from_value(object).unwrap();
        expect.assert_eq(&text::render(&pod(&object, &scope)));
    }
}
