//! EndpointSlices: the ports and the endpoints of one Service in one family.

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::{
    Endpoint as ApiEndpoint, EndpointPort, EndpointSlice as ApiSlice,
};

use super::{Origin, Problems, Scope, address::parse_addr, apply, invalid, key, label, parse_port};
use crate::model::{
    Endpoint, EndpointSlice, Event, IpFamily, Kind, Object, ObjectRef, Protocol, SlicePort,
};

const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Its presence, with any value, takes a slice away from the proxies (2).
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
/// The endpointslice controller's: when the Pod or the Service changed.
const TRIGGER_ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

pub fn endpoint_slice(object: &ApiSlice, scope: &Scope) -> Event {
    let key = key(Kind::EndpointSlice, &object.metadata, scope);
    let headless = label(&object.metadata, HEADLESS_LABEL).is_some();
    // FQDN slices carry no addresses (9).
    if headless || object.address_type == "FQDN" {
        return Event::Delete(ObjectRef::new(Kind::EndpointSlice, key));
    }
    let mut problems = Problems::default();
    let service = label(&object.metadata, SERVICE_LABEL).unwrap_or_default();
    if service.is_empty() {
        problems.push(format!(
            "no label {SERVICE_LABEL}: it belongs to no Service"
        ));
    }
    let ipv4 = object.address_type == "IPv4";
    if !ipv4 && object.address_type != "IPv6" {
        problems.push(format!("addressType {:?} is unknown", object.address_type));
    }
    if service.is_empty() || (!ipv4 && object.address_type != "IPv6") {
        return invalid(Kind::EndpointSlice, key, problems);
    }
    let slice = EndpointSlice {
        service: service.into(),
        family: if ipv4 { IpFamily::V4 } else { IpFamily::V6 },
        ports: ports(
            object.ports.as_deref().unwrap_or_default(),
            scope,
            &mut problems,
        ),
        endpoints: endpoints(&object.endpoints, ipv4, &mut problems),
        triggered_ms: triggered_ms(object),
    };
    apply(Object::EndpointSlice(key, slice), problems)
}

/// For a metric only: one that cannot be read is not there.
fn triggered_ms(object: &ApiSlice) -> Option<i64> {
    let text = object
        .metadata
        .annotations
        .as_ref()?
        .get(TRIGGER_ANNOTATION)?;
    let at: Timestamp = text.parse().ok()?;
    Some(at.as_millisecond())
}

fn ports(objects: &[EndpointPort], scope: &Scope, problems: &mut Problems) -> Vec<SlicePort> {
    let mut usable = Vec::new();
    for object in objects {
        // A port without a name or a number is not ours (10); a manifest's name is defaulted.
        let name = match object.name.as_deref() {
            None if scope.origin == Origin::Manifest => "",
            None => continue,
            Some(name) => name,
        };
        let Some(number) = object.port.filter(|number| *number != 0) else {
            continue;
        };
        match port(name, number, object.protocol.as_deref()) {
            Ok(port) => usable.push(port),
            Err(reason) => problems.push(reason),
        }
    }
    usable
}

fn port(name: &str, number: i32, protocol: Option<&str>) -> Result<SlicePort, String> {
    let protocol = protocol.unwrap_or("TCP");
    let protocol = Protocol::parse(protocol)
        .ok_or_else(|| format!("port {name:?} has the unknown protocol {protocol:?}"))?;
    let port = parse_port(number)
        .ok_or_else(|| format!("port {name:?} has the impossible number {number}"))?;
    Ok(SlicePort {
        name: name.into(),
        protocol,
        port,
    })
}

/// One bad address loses that endpoint only (section 3, "Unparsable parts").
fn endpoints(objects: &[ApiEndpoint], ipv4: bool, problems: &mut Problems) -> Vec<Endpoint> {
    let mut usable = Vec::with_capacity(objects.len());
    for object in objects {
        // Only the first address counts; without one there is no endpoint (10).
        let Some(text) = object.addresses.first() else {
            continue;
        };
        match endpoint_addr(text, ipv4) {
            Ok(addr) => usable.push(endpoint(addr, object)),
            Err(reason) => problems.push(reason),
        }
    }
    usable
}

fn endpoint_addr(text: &str, ipv4: bool) -> Result<IpAddr, String> {
    let addr = parse_addr(text).ok_or_else(|| format!("endpoint {text:?} is not an IP address"))?;
    if addr.is_ipv4() != ipv4 {
        let family = if ipv4 { "IPv4" } else { "IPv6" };
        return Err(format!(
            "endpoint {text:?} is no {family} address, as its slice says"
        ));
    }
    Ok(addr)
}

fn endpoint(addr: IpAddr, object: &ApiEndpoint) -> Endpoint {
    let conditions = object.conditions.as_ref();
    let hints = object.hints.as_ref();
    let zone_hints = hints
        .and_then(|hints| hints.for_zones.as_deref())
        .unwrap_or_default();
    let node_hints = hints
        .and_then(|hints| hints.for_nodes.as_deref())
        .unwrap_or_default();
    Endpoint {
        addr,
        // Unknown is ready, serving and not terminating (14).
        ready: conditions
            .and_then(|conditions| conditions.ready)
            .unwrap_or(true),
        serving: conditions
            .and_then(|conditions| conditions.serving)
            .unwrap_or(true),
        terminating: conditions
            .and_then(|conditions| conditions.terminating)
            .unwrap_or(false),
        node: name(object.node_name.as_deref()),
        zone: name(object.zone.as_deref()),
        zone_hints: zone_hints
            .iter()
            .filter_map(|hint| name(Some(&hint.name)))
            .collect(),
        node_hints: node_hints
            .iter()
            .filter_map(|hint| name(Some(&hint.name)))
            .collect(),
    }
}

/// An empty name is nobody's (15).
fn name(text: Option<&str>) -> Option<Arc<str>> {
    text.filter(|text| !text.is_empty()).map(Into::into)
}

#[cfg(test)]
mod tests;
