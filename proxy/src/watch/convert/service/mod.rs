//! Services: which are ours, on which addresses and ports, with which policies.

use std::{collections::BTreeSet, net::IpAddr};

use clap::ValueEnum;
use ipnet::IpNet;
use k8s_openapi::{
    api::core::v1::{Service as ApiService, ServicePort as ApiPort, ServiceSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    Origin, Problems, Scope,
    address::{parse_addr, parse_prefix},
    apply, invalid, key, label, parse_port,
};
use crate::{
    config::{Algorithm, proxy::ALGORITHM_ANNOTATION},
    model::{
        Event, Kind, Object, ObjectRef, Protocol, Service, ServicePort, ServiceType, TrafficPolicy,
    },
};

/// Its presence, with any value, gives the Service to another proxy (1).
const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// The API server's default (20).
const AFFINITY_TIMEOUT_S_DEFAULT: u32 = 10_800;
const AFFINITY_TIMEOUT_S_MAX: u32 = 86_400;

pub fn service(object: &ApiService, scope: &Scope) -> Event {
    let key = key(Kind::Service, &object.metadata, scope);
    let empty = ServiceSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&empty);
    let foreign = label(&object.metadata, PROXY_NAME_LABEL).is_some();
    if foreign || has_no_frontends(spec, scope) {
        return Event::Delete(ObjectRef::new(Kind::Service, key));
    }
    let mut problems = Problems::default();
    let converted = Service {
        service_type: service_type(spec, &mut problems),
        cluster_ips: cluster_ips(spec, scope, &mut problems),
        external_ips: external_ips(spec, &mut problems),
        load_balancer_ips: load_balancer_ips(object, &mut problems),
        ports: ports(spec, &mut problems),
        internal_traffic_policy: policy(
            "internalTrafficPolicy",
            spec.internal_traffic_policy.as_deref(),
            &mut problems,
        ),
        external_traffic_policy: policy(
            "externalTrafficPolicy",
            spec.external_traffic_policy.as_deref(),
            &mut problems,
        ),
        health_check_node_port: health_check_node_port(spec, scope, &mut problems),
        affinity_timeout_s: affinity_timeout_s(spec, &mut problems),
        source_ranges: source_ranges(spec, &mut problems),
        algorithm: algorithm(object, &mut problems),
        created_s: created_s(&object.metadata),
    };
    // Without a usable ClusterIP only a manifest's Service is served, on its other addresses.
    let other_addresses =
        !converted.external_ips.is_empty() || !converted.load_balancer_ips.is_empty();
    let standalone = first_cluster_ip(spec).is_empty() && other_addresses;
    if converted.cluster_ips.is_empty() && !standalone {
        if first_cluster_ip(spec).is_empty() {
            problems.push("no clusterIP and no other address to serve".to_owned());
        }
        return invalid(Kind::Service, key, problems);
    }
    if converted.ports.is_empty() {
        problems.push("no usable port".to_owned());
        // Its ClusterIP is one all the same, and refuses (72).
        if converted.cluster_ips.is_empty() {
            return invalid(Kind::Service, key, problems);
        }
    }
    apply(Object::Service(key, converted), problems)
}

/// ExternalName, headless, and from the API also one without an address (5).
fn has_no_frontends(spec: &ServiceSpec, scope: &Scope) -> bool {
    match first_cluster_ip(spec) {
        "None" => true,
        "" if scope.origin == Origin::Api => true,
        _ => spec.type_.as_deref() == Some("ExternalName"),
    }
}

/// The API server keeps `clusterIP` equal to the first of `clusterIPs`; a manifest may have either.
fn first_cluster_ip(spec: &ServiceSpec) -> &str {
    let single = spec.cluster_ip.as_deref().unwrap_or_default();
    let first = || {
        spec.cluster_ips
            .iter()
            .flatten()
            .next()
            .map_or("", String::as_str)
    };
    if single.is_empty() { first() } else { single }
}

/// `ipFamilies[i]` is the family of `clusterIPs[i]`; without families only `clusterIP` counts (6).
/// To a manifest the API server would have added the families that its addresses have.
fn cluster_ips(spec: &ServiceSpec, scope: &Scope, problems: &mut Problems) -> Vec<IpAddr> {
    let families = spec.ip_families.as_deref().unwrap_or_default();
    let single = [first_cluster_ip(spec).to_owned()];
    let all = match spec.cluster_ips.as_deref() {
        Some(all) if !all.is_empty() => all,
        _ if scope.origin == Origin::Manifest => &single,
        _ => &[],
    };
    let claimed: Vec<(Option<&str>, &str)> = if !families.is_empty() {
        families
            .iter()
            .zip(all)
            .map(|(family, ip)| (Some(&**family), &**ip))
            .collect()
    } else if scope.origin == Origin::Manifest {
        all.iter().map(|ip| (None, &**ip)).collect()
    } else {
        vec![(None, &*single[0])]
    };
    let mut usable: Vec<IpAddr> = Vec::new();
    for (family, text) in claimed.into_iter().filter(|(_, text)| !text.is_empty()) {
        match cluster_ip(family, text) {
            Ok(addr) if usable.iter().any(|other| other.is_ipv4() == addr.is_ipv4()) => {
                problems.push(format!("clusterIP {text:?} is the second of its family"));
            }
            Ok(addr) => usable.push(addr),
            Err(reason) => problems.push(reason),
        }
    }
    usable
}

fn cluster_ip(family: Option<&str>, text: &str) -> Result<IpAddr, String> {
    let addr =
        parse_addr(text).ok_or_else(|| format!("clusterIP {text:?} is not an IP address"))?;
    let own_family = if addr.is_ipv4() { "IPv4" } else { "IPv6" };
    if let Some(family) = family.filter(|family| *family != own_family) {
        return Err(format!(
            "clusterIP {text:?} is not of the family {family:?} it is listed as"
        ));
    }
    Ok(addr)
}

/// Unparsable ones are reported, blank ones are not (7).
fn external_ips(spec: &ServiceSpec, problems: &mut Problems) -> Vec<IpAddr> {
    let texts = spec.external_ips.iter().flatten().map(|text| text.trim());
    addresses("externalIP", texts, problems)
}

/// An entry is a VIP unless its ipMode says otherwise; host names never count (17, 18).
fn load_balancer_ips(object: &ApiService, problems: &mut Problems) -> Vec<IpAddr> {
    let load_balancer = object
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let texts = load_balancer
        .and_then(|load_balancer| load_balancer.ingress.as_deref())
        .unwrap_or_default()
        .iter()
        .filter(|entry| matches!(entry.ip_mode.as_deref(), None | Some("VIP")))
        .filter_map(|entry| entry.ip.as_deref().map(str::trim));
    addresses("load-balancer address", texts, problems)
}

fn addresses<'a>(
    what: &str,
    texts: impl Iterator<Item = &'a str>,
    problems: &mut Problems,
) -> Vec<IpAddr> {
    let mut usable = Vec::new();
    for text in texts.filter(|text| !text.is_empty()) {
        match parse_addr(text) {
            Some(addr) if !usable.contains(&addr) => usable.push(addr),
            Some(_) => {}
            None => problems.push(format!("{what} {text:?} is not an IP address")),
        }
    }
    usable
}

fn ports(spec: &ServiceSpec, problems: &mut Problems) -> Vec<ServicePort> {
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    let mut usable = Vec::new();
    for object in spec.ports.iter().flatten() {
        match port(object) {
            // (name, protocol) is what slices are joined by (11), (port, protocol) the frontend.
            Ok(port)
                if names.contains(&(port.name.clone(), port.protocol))
                    || numbers.contains(&(port.port, port.protocol)) =>
            {
                let ServicePort {
                    name,
                    port,
                    protocol,
                    ..
                } = port;
                problems.push(format!("port {name:?} ({port}/{protocol}) is there twice"));
            }
            Ok(port) => {
                names.insert((port.name.clone(), port.protocol));
                numbers.insert((port.port, port.protocol));
                usable.push(port);
            }
            Err(reason) => problems.push(reason),
        }
    }
    usable
}

fn port(object: &ApiPort) -> Result<ServicePort, String> {
    let name = object.name.as_deref().unwrap_or_default();
    let protocol = object.protocol.as_deref().unwrap_or("TCP");
    let protocol = Protocol::parse(protocol)
        .ok_or_else(|| format!("port {name:?} has the unknown protocol {protocol:?}"))?;
    let port = parse_port(object.port)
        .ok_or_else(|| format!("port {name:?} has the impossible number {}", object.port))?;
    let node_port = object.node_port.unwrap_or_default();
    let Ok(node_port) = u16::try_from(node_port) else {
        return Err(format!(
            "port {name:?} has the impossible nodePort {node_port}"
        ));
    };
    Ok(ServicePort {
        name: name.into(),
        protocol,
        port,
        node_port,
    })
}

fn service_type(spec: &ServiceSpec, problems: &mut Problems) -> ServiceType {
    match spec.type_.as_deref() {
        None | Some("" | "ClusterIP") => ServiceType::ClusterIp,
        Some("NodePort") => ServiceType::NodePort,
        Some("LoadBalancer") => ServiceType::LoadBalancer,
        Some(other) => {
            problems.push(format!("type {other:?} is unknown; taken for ClusterIP"));
            ServiceType::ClusterIp
        }
    }
}

/// None is Cluster (27).
fn policy(field: &str, value: Option<&str>, problems: &mut Problems) -> TrafficPolicy {
    match value {
        None | Some("" | "Cluster") => TrafficPolicy::Cluster,
        Some("Local") => TrafficPolicy::Local,
        Some(other) => {
            problems.push(format!("{field} {other:?} is unknown; taken for Cluster"));
            TrafficPolicy::Cluster
        }
    }
}

/// The API server gives every Service that needs one a port (30).
fn health_check_node_port(spec: &ServiceSpec, scope: &Scope, problems: &mut Problems) -> u16 {
    let number = spec.health_check_node_port.unwrap_or_default();
    let is_local = spec.external_traffic_policy.as_deref() == Some("Local");
    let is_needed = is_local && spec.type_.as_deref() == Some("LoadBalancer");
    if is_needed && number == 0 && scope.origin == Origin::Api {
        problems.push("no healthCheckNodePort: load balancers cannot ask for it".to_owned());
    }
    u16::try_from(number).unwrap_or_else(|_| {
        problems.push(format!("healthCheckNodePort {number} is impossible"));
        0
    })
}

/// With `ClientIP` there is always a timeout (20).
fn affinity_timeout_s(spec: &ServiceSpec, problems: &mut Problems) -> Option<u32> {
    match spec.session_affinity.as_deref() {
        None | Some("" | "None") => return None,
        Some("ClientIP") => {}
        Some(other) => {
            problems.push(format!(
                "sessionAffinity {other:?} is unknown; taken for None"
            ));
            return None;
        }
    }
    let config = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref());
    let Some(configured) = config.and_then(|config| config.timeout_seconds) else {
        return Some(AFFINITY_TIMEOUT_S_DEFAULT);
    };
    match u32::try_from(configured) {
        Ok(seconds) if (1..=AFFINITY_TIMEOUT_S_MAX).contains(&seconds) => Some(seconds),
        _ => {
            problems.push(format!(
                "session affinity of {configured} s is out of range; \
                 taken for {AFFINITY_TIMEOUT_S_DEFAULT} s"
            ));
            Some(AFFINITY_TIMEOUT_S_DEFAULT)
        }
    }
}

/// `None` admits everybody; a list in which nothing can be read admits nobody (7, and section 3).
fn source_ranges(spec: &ServiceSpec, problems: &mut Problems) -> Option<Vec<IpNet>> {
    let texts = spec.load_balancer_source_ranges.iter().flatten();
    let texts: Vec<&str> = texts
        .map(|text| text.trim())
        .filter(|text| !text.is_empty())
        .collect();
    if texts.is_empty() {
        return None;
    }
    let mut ranges = Vec::new();
    for text in texts {
        match parse_prefix(text) {
            Some(range) if !ranges.contains(&range) => ranges.push(range),
            Some(_) => {}
            None => problems.push(format!("loadBalancerSourceRange {text:?} is not a prefix")),
        }
    }
    if ranges.is_empty() {
        problems.push("no loadBalancerSourceRange can be read: nobody is admitted".to_owned());
    }
    Some(ranges)
}

/// What the annotation does not know is as if it were not there.
fn algorithm(object: &ApiService, problems: &mut Problems) -> Option<Algorithm> {
    let text = object
        .metadata
        .annotations
        .as_ref()?
        .get(ALGORITHM_ANNOTATION)?;
    let known = Algorithm::from_str(text, false).ok();
    if known.is_none() {
        problems.push(format!(
            "annotation {ALGORITHM_ANNOTATION}: {text:?} is unknown"
        ));
    }
    known
}

fn created_s(metadata: &ObjectMeta) -> i64 {
    metadata
        .creation_timestamp
        .as_ref()
        .map_or(0, |created| created.0.as_second())
}

#[cfg(test)]
mod tests;
