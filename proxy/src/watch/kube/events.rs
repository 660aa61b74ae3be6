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

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        extract::State,
        http::{Method, Uri},
    };
    use serde_json::{Value, json};
    use tokio::{net::TcpListener, sync::mpsc};

    use super::*;

    type Asked = (String, Value);

    /// Takes whatever it is sent, and says what.
    async fn server() -> (Client, mpsc::UnboundedReceiver<Asked>) {
        let (sender, asked) = mpsc::unbounded_channel();
        let router = Router::new().fallback(take).with_state(sender);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = kube::Config::new(url.parse().unwrap());
        (Client::try_from(config).unwrap(), asked)
    }

    async fn take(
        State(asked): State<mpsc::UnboundedSender<Asked>>,
        method: Method,
        uri: Uri,
        body: String,
    ) -> String {
        let value = serde_json::from_str(&body).unwrap();
        asked
            .send((format!("{method} {}", uri.path()), value))
            .unwrap();
        body
    }

    fn notice(kind: Kind, namespace: &str, note: &str) -> Notice {
        Notice {
            object: ObjectRef::new(kind, ObjectKey::new(namespace, "it")),
            severity: Severity::Warning,
            reason: "Failed",
            action: "Listen",
            note: note.to_owned(),
        }
    }

    #[tokio::test]
    async fn notices_become_events_of_their_objects_132() {
        let (client, mut asked) = server().await;
        let (_sender, clients) = watch::channel(client);
        let notices = Notices::default();
        tokio::spawn(publish(notices.clone(), clients, "here".into()));

        notices.tell(notice(Kind::Service, "n", "first"));
        let (request, event) = asked.recv().await.unwrap();
        assert_eq!(request, "POST /apis/events.k8s.io/v1/namespaces/n/events");
        let regarding =
            json!({"apiVersion": "v1", "kind": "Service", "namespace": "n", "name": "it"});
        assert_eq!(event["regarding"], regarding);
        let told = ["type", "reason", "action", "note"].map(|field| event[field].clone());
        assert_eq!(told, ["Warning", "Failed", "Listen", "first"]);
        let by = ["reportingController", "reportingInstance"].map(|field| event[field].clone());
        assert_eq!(by, ["switchboard", "here"]);

        notices.tell(notice(Kind::Service, "n", "again"));
        let (request, event) = asked.recv().await.unwrap();
        assert!(request.starts_with("PATCH "), "{request}");
        assert_eq!(event["series"]["count"], 2);

        // No object of the API: nothing to hang it on.
        notices.tell(Notice {
            object: ObjectRef::File("a.yaml:1".into()),
            ..notice(Kind::Service, "n", "")
        });
        notices.tell(notice(Kind::Node, "", &"é".repeat(NOTE_MAX)));
        let (request, event) = asked.recv().await.unwrap();
        assert_eq!(
            request,
            "POST /apis/events.k8s.io/v1/namespaces/default/events"
        );
        assert_eq!(event["regarding"]["uid"], "it");
        assert_eq!(event["note"].as_str().map(str::len), Some(NOTE_MAX));
    }

    #[tokio::test]
    async fn events_go_to_the_server_in_use() {
        let ((first, mut first_asked), (second, mut second_asked)) =
            (server().await, server().await);
        let (sender, clients) = watch::channel(first);
        let notices = Notices::default();
        tokio::spawn(publish(notices.clone(), clients, "here".into()));
        notices.tell(notice(Kind::Node, "", "one"));
        first_asked.recv().await.unwrap();
        sender.send_replace(second);
        notices.tell(notice(Kind::Node, "", "two"));
        assert_eq!(second_asked.recv().await.unwrap().1["note"], "two");
    }
}
