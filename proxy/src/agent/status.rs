//! What the agent tells of itself.

use std::path::Path;

use tracing::warn;

use super::Agent;
use crate::{
    attach::{
        discovery::{Endpoint as Found, EndpointKind, Uplink},
        links::Method,
    },
    config::Source,
    observe::snapshot::{
        Counter, Endpoint, EndpointState, NodeStatus, Problem, SourceStatus, Status, TableUsage,
    },
};

impl Agent {
    pub(super) fn status(&self) -> Status {
        let programmer = &self.programmer;
        let cluster = &programmer.cluster;
        let tables = programmer.usage().unwrap_or_else(|error| {
            warn!("cannot count the entries of the maps: {error}");
            Vec::new()
        });
        let counters = programmer.tables.counters().unwrap_or_else(|error| {
            warn!("cannot read the counters: {error}");
            Vec::new()
        });
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: self.started,
            node: NodeStatus::of(cluster),
            source: self.source_status(),
            attach: match self.attachments.method() {
                Method::Clsact => "clsact",
                Method::Auto | Method::Tcx => "tcx",
            }
            .to_owned(),
            cgroup: self.config.cgroup.display().to_string(),
            service_ports: programmer.compiler.services().count(),
            writes_total: programmer.writes_total,
            last_apply: programmer.last_apply.clone(),
            endpoints: self
                .devices
                .iter()
                .flat_map(|devices| &devices.endpoints)
                .filter_map(endpoint)
                .collect(),
            service_cidrs: cluster
                .service_cidrs()
                .values()
                .flat_map(|object| object.cidrs.iter().map(ToString::to_string))
                .collect(),
            diagnostics: self.problems(),
            tables: tables.into_iter().map(TableUsage::from).collect(),
            counters: counters.into_iter().filter_map(Counter::moved).collect(),
        }
    }

    fn source_status(&self) -> SourceStatus {
        let (kind, location) = match &self.config.source {
            Source::Directory(directory) => ("directory", directory.display().to_string()),
            Source::Api {
                servers,
                kubeconfig,
            } => {
                let configured = api_location(servers, kubeconfig.as_deref());
                ("api", name_in_use(configured, &self.api_in_use.borrow()))
            }
        };
        SourceStatus {
            kind: kind.to_owned(),
            location,
            synced: SourceStatus::synced(&self.programmer.cluster),
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self
            .programmer
            .diagnostics()
            .into_iter()
            .chain(self.reporting.diagnostics())
            .map(Problem::from)
            .collect();
        for (device, reason) in &self.unattached {
            let reason = format!("cannot attach the programs: {reason}");
            problems.push(Problem {
                object: device.clone(),
                reason,
            });
        }
        for (op, reason) in &self.programmer.failed {
            let reason = format!("cannot write to the maps: {reason}");
            problems.push(Problem {
                object: op.clone(),
                reason,
            });
        }
        if let Some(reason) = &self.programmer.sockets_error {
            problems.push(Problem {
                object: "udp sockets".to_owned(),
                reason: format!("cannot end those whose backend is gone: {reason}"),
            });
        }
        let uplinks = self.devices.iter().flat_map(|devices| &devices.uplinks);
        problems.extend(unserved(uplinks));
        problems
    }
}

/// The uplinks that the programs cannot be on.
fn unserved<'a>(uplinks: impl IntoIterator<Item = &'a Uplink>) -> impl Iterator<Item = Problem> {
    let unserved = uplinks
        .into_iter()
        .filter(|uplink| !uplink.kind.is_supported());
    unserved.map(|uplink| Problem {
        object: format!("device {}", uplink.ifname),
        reason: "has no Ethernet header: Services are not served there".to_owned(),
    })
}

/// Devices that are none of ours for good are not listed.
fn endpoint(found: &Found) -> Option<Endpoint> {
    let (state, pod) = match &found.kind {
        EndpointKind::Pod { claimed_by } => (EndpointState::Pod, Some(claimed_by.pod.to_string())),
        EndpointKind::Pending => (EndpointState::Pending, None),
        EndpointKind::Unclaimed => (EndpointState::Unclaimed, None),
        EndpointKind::Uplink { .. } => (EndpointState::Uplink, None),
        EndpointKind::NotPod { .. } => return None,
    };
    Some(Endpoint {
        ifname: found.ifname.to_string(),
        ifindex: found.ifindex,
        state,
        addresses: found.addrs.iter().copied().collect(),
        pod,
    })
}

/// Which API it is, in the words of who configured it.
fn api_location(servers: &[String], kubeconfig: Option<&Path>) -> String {
    match kubeconfig {
        _ if !servers.is_empty() => servers.join(","),
        Some(file) => file.display().to_string(),
        None => "the pod's service account".to_owned(),
    }
}

/// With the server in use, unless its name is all that was configured.
fn name_in_use(configured: String, url: &str) -> String {
    let url = url.trim_end_matches('/');
    if url.is_empty() || url == configured.trim_end_matches('/') {
        configured
    } else {
        format!("{url} ({configured})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attach::discovery::UplinkKind;

    #[test]
    fn an_uplink_without_an_ethernet_header_is_told() {
        let uplink = |ifname: &str, kind| Uplink {
            ifindex: 1,
            ifname: ifname.into(),
            addrs: Vec::new(),
            kind,
        };
        let uplinks = [
            uplink("eth0", UplinkKind::Ethernet),
            uplink("wg0", UplinkKind::Headerless),
            uplink("vxlan0", UplinkKind::Tunnel),
        ];
        let problems: Vec<Problem> = unserved(&uplinks).collect();
        let expected = Problem {
            object: "device wg0".to_owned(),
            reason: "has no Ethernet header: Services are not served there".to_owned(),
        };
        assert_eq!(problems, [expected]);
    }

    #[test]
    fn the_api_server_in_use_is_named() {
        let name = |configured: &str, url| name_in_use(configured.to_owned(), url);
        assert_eq!(name("https://a,https://b", ""), "https://a,https://b");
        let in_use = "https://b (https://a,https://b)";
        assert_eq!(name("https://a,https://b", "https://b/"), in_use);
        assert_eq!(name("https://a", "https://a/"), "https://a");
    }

    #[test]
    fn an_api_is_named_as_it_was_configured() {
        let servers = ["https://a".to_owned(), "https://b".to_owned()];
        let file = Some(Path::new("/etc/kubeconfig"));
        assert_eq!(api_location(&servers, file), "https://a,https://b");
        assert_eq!(api_location(&[], file), "/etc/kubeconfig");
        assert_eq!(api_location(&[], None), "the pod's service account");
    }
}
