//! Notices as Events of the API (services.md 132), through whichever server is current.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::watch, time::timeout};
use tracing::{debug, warn};

use super::describe;
use crate::{
    model::{Kind, ObjectKey, ObjectRef},
    watch::{Notice, Notices, Severity},
};

const CONTROLLER: &str = "switchboard";
/// An Event is for people: one that the API does not take is given up.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);
/// The API's limit of an Event's text, in bytes.
const NOTE_MAX: usize = 1024;

/// Never ends by itself.
pub(super) async fn publish(notices: Notices, clients: watch::Receiver<Client>, node: Arc<str>) {
    let reporter = Reporter {
        controller: CONTROLLER.to_owned(),
        instance: Some(node.to_string()),
    };
    let recorder = |client| Recorder::new(client, reporter.clone());
    let mut current = clients;
    // Kept for a server's time: it makes a series of what repeats.
    let mut publisher = recorder(current.borrow_and_update().clone());
    loop {
        let notice = notices.fetch().await;
        if current.has_changed().unwrap_or(false) {
            publisher = recorder(current.borrow_and_update().clone());
        }
        let Some(object) = reference(&notice.object) else {
            continue;
        };
        let event = event(&notice);
        match timeout(PUBLISH_TIMEOUT, publisher.publish(&event, &object)).await {
            Ok(Ok(())) => debug!(object = %notice.object, reason = notice.reason, "published"),
            Ok(Err(error)) => {
                let error = describe(&error);
                warn!("cannot publish an event for {}: {error}", notice.object);
            }
            Err(_) => warn!("cannot publish an event for {}: no answer", notice.object),
        }
    }
}

fn event(notice: &Notice) -> Event {
    let mut note = notice.note.clone();
    note.truncate(note.floor_char_boundary(NOTE_MAX));
    Event {
        type_: match notice.severity {
            Severity::Normal => EventType::Normal,
            Severity::Warning => EventType::Warning,
        },
        reason: notice.reason.to_owned(),
        note: Some(note),
        action: notice.action.to_owned(),
        secondary: None,
    }
}

/// `None` for what is no object of the API.
fn reference(object: &ObjectRef) -> Option<ObjectReference> {
    let ObjectRef::Object { kind, key } = object else {
        return None;
    };
    let ObjectKey { namespace, name } = key;
    Some(ObjectReference {
        api_version: Some(api_version(*kind).to_owned()),
        kind: Some(kind.name().to_owned()),
        name: Some(name.to_string()),
        namespace: (!namespace.is_empty()).then(|| namespace.to_string()),
        // By this `kubectl describe node` finds the Events of nodes' components.
        uid: (*kind == Kind::Node).then(|| name.to_string()),
        ..ObjectReference::default()
    })
}

const fn api_version(kind: Kind) -> &'static str {
    match kind {
        Kind::Service | Kind::Pod | Kind::Node => "v1",
        Kind::EndpointSlice => "discovery.k8s.io/v1",
        Kind::ServiceCidr => "networking.k8s.io/v1",
    }
}
