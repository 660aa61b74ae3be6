//! A document as the objects in it: lists are expanded, and what nobody watches is left out.

use std::cell::OnceCell;

use k8s_openapi::api::{
    core::v1::{Node, Pod, Service},
    discovery::v1::EndpointSlice,
    networking::v1::ServiceCIDR,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tracing::debug;

use super::document::{Document, Fault, Places, Step};
use crate::{
    model::Event,
    watch::convert::{self, Scope},
};

/// An object and the line of the file that it begins on.
pub(super) struct Found {
    pub(super) line: usize,
    pub(super) event: Event,
}

/// `apiVersion` and `kind` as a list gives them to items that have none.
#[derive(Clone, Copy, Default)]
struct Inherited<'a> {
    api_version: Option<&'a str>,
    kind: Option<&'a str>,
}

struct Reader<'a> {
    document: &'a Document<'a>,
    scope: &'a Scope,
    places: OnceCell<Places>,
    found: Vec<Result<Found, Fault>>,
}

pub(super) fn read(document: &Document<'_>, scope: &Scope) -> Vec<Result<Found, Fault>> {
    let mut reader = Reader {
        document,
        scope,
        places: OnceCell::new(),
        found: Vec::new(),
    };
    match document.parse() {
        Ok(value) => reader.object(value, &[], Inherited::default()),
        Err(fault) => reader.found.push(Err(fault)),
    }
    reader.found
}

// === impl Reader ===

impl Reader<'_> {
    fn object(&mut self, value: Value, at: &[Step], inherited: Inherited<'_>) {
        let object = match value {
            Value::Object(object) => object,
            Value::Null => return,
            _ => return self.fault(at, "not an object".to_owned()),
        };
        let own = |field: &str| object.get(field).and_then(Value::as_str).map(str::to_owned);
        let inherit = |own: Option<String>, inherited: Option<&str>| {
            own.or_else(|| inherited.map(str::to_owned))
        };
        let Some(kind) = inherit(own("kind"), inherited.kind) else {
            return self.fault(at, "an object without kind".to_owned());
        };
        let Some(api_version) = inherit(own("apiVersion"), inherited.api_version) else {
            return self.fault(
                at,
                format!("{} without apiVersion", name_of(&kind, &object)),
            );
        };
        if let Some(item) = kind.strip_suffix("List")
            && object.contains_key("items")
        {
            return self.list(object, at, &api_version, item);
        }
        self.item(&api_version, &kind, object, at);
    }

    /// `kind: List` holds objects of any kind, `ServiceList` those of one.
    fn list(&mut self, mut list: Map<String, Value>, at: &[Step], api_version: &str, kind: &str) {
        let inherited = match kind {
            "" => Inherited::default(),
            kind => Inherited {
                api_version: Some(api_version),
                kind: Some(kind),
            },
        };
        let at = [at, &[Step::Key("items".to_owned())]].concat();
        match list.remove("items") {
            Some(Value::Array(items)) => {
                for (index, item) in items.into_iter().enumerate() {
                    let at = [at.as_slice(), &[Step::Index(index)]].concat();
                    self.object(item, &at, inherited);
                }
            }
            None | Some(Value::Null) => {}
            Some(_) => self.fault(&at, "items is not a list".to_owned()),
        }
    }

    fn item(&mut self, api_version: &str, kind: &str, object: Map<String, Value>, at: &[Step]) {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        match (group, kind) {
            ("", "Service" | "Pod" | "Node")
            | ("discovery.k8s.io", "EndpointSlice")
            | ("networking.k8s.io", "ServiceCIDR")
                if version != "v1" =>
            {
                let name = name_of(kind, &object);
                self.fault(
                    at,
                    format!("{name}: apiVersion {api_version:?} is not read, only v1"),
                );
            }
            ("", "Service") => self.typed::<Service>(kind, object, at, convert::service),
            ("", "Pod") => self.typed::<Pod>(kind, object, at, convert::pod),
            ("", "Node") => self.typed::<Node>(kind, object, at, convert::node),
            ("discovery.k8s.io", "EndpointSlice") => {
                self.typed::<EndpointSlice>(kind, object, at, convert::endpoint_slice);
            }
            ("networking.k8s.io", "ServiceCIDR") => {
                self.typed::<ServiceCIDR>(kind, object, at, convert::service_cidr);
            }
            _ => debug!(
                api_version,
                kind, "an object of a kind that nobody watches is ignored"
            ),
        }
    }

    fn typed<K: DeserializeOwned>(
        &mut self,
        kind: &str,
        object: Map<String, Value>,
        at: &[Step],
        convert: impl Fn(&K, &Scope) -> Event,
    ) {
        if metadata(&object, "name").is_none_or(str::is_empty) {
            let at = [at, &[Step::Key("metadata".to_owned())]].concat();
            return self.fault(&at, format!("{kind} without metadata.name"));
        }
        let name = name_of(kind, &object);
        match serde_path_to_error::deserialize::<_, K>(Value::Object(object)) {
            Ok(object) => {
                let event = convert(&object, self.scope);
                let line = self.line(at);
                self.found.push(Ok(Found { line, event }));
            }
            Err(error) => {
                let at = [at, &Step::from_path(error.path())].concat();
                let reason = format!("{name}: {}: {}", error.path(), error.inner());
                self.fault(&at, reason);
            }
        }
    }

    fn fault(&mut self, at: &[Step], reason: String) {
        let line = self.line(at);
        self.found.push(Err(Fault { line, reason }));
    }

    fn line(&self, at: &[Step]) -> usize {
        if at.is_empty() {
            return self.document.first_line();
        }
        self.places
            .get_or_init(|| self.document.places())
            .line_of(at)
    }
}

fn metadata<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    object.get("metadata")?.get(field)?.as_str()
}

/// Kind, namespace and name as far as they can be read, for messages.
fn name_of(kind: &str, object: &Map<String, Value>) -> String {
    match (metadata(object, "namespace"), metadata(object, "name")) {
        (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (None, Some(name)) => format!("{kind} {name}"),
        (_, None) => kind.to_owned(),
    }
}
