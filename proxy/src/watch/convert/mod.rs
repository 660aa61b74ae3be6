//! Kubernetes objects → model objects, one function for each kind: the only code that reads
//! Kubernetes fields.
//!
//! Numbers in comments are the rules of services.md. An object is either used (with a list of the
//! parts that could not be), or invalid, or none of ours, which is the same as deleted.

mod address;
mod endpoint_slice;
mod node;
mod pod;
mod problems;
mod service;
mod service_cidr;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use problems::Problems;

pub(crate) use self::address::{parse_addr, parse_prefix};
pub use self::{
    endpoint_slice::endpoint_slice, node::node, pod::pod, service::service,
    service_cidr::service_cidr,
};
use crate::model::{Event, Kind, Object, ObjectKey, ObjectRef};

/// What a conversion knows beside the object.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The own node's name, trimmed and in lower case (3).
    pub node: Arc<str>,
    pub origin: Origin,
}

/// Where an object was read: the API server has applied its defaults, a manifest gets them here
/// (section 3, "The directory source").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Api,
    Manifest,
}

/// The object that an event is about.
pub fn reference(event: &Event) -> Option<ObjectRef> {
    match event {
        Event::Apply { object, .. } => Some(object.reference()),
        Event::Delete(object) | Event::Invalid { object, .. } => Some(object.clone()),
        Event::Synced(_) | Event::LocalAddrs(_) | Event::Uplinks(_) => None,
    }
}

fn key(kind: Kind, metadata: &ObjectMeta, scope: &Scope) -> ObjectKey {
    let name = metadata.name.as_deref().unwrap_or_default();
    let namespace = match kind {
        Kind::Node | Kind::ServiceCidr => "",
        Kind::Service | Kind::EndpointSlice | Kind::Pod => {
            match metadata.namespace.as_deref().unwrap_or_default() {
                "" if scope.origin == Origin::Manifest => "default",
                namespace => namespace,
            }
        }
    };
    ObjectKey::new(namespace, name)
}

fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(name).map(String::as_str)
}

fn apply(object: Object, problems: Problems) -> Event {
    Event::Apply {
        object,
        problems: problems.into_vec(),
    }
}

fn invalid(kind: Kind, key: ObjectKey, problems: Problems) -> Event {
    Event::Invalid {
        object: ObjectRef::new(kind, key),
        problems: problems.into_vec(),
    }
}

/// A port number that traffic can be sent to.
fn parse_port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port != 0)
}
