//! An API server of a few lines: lists that a test fills, watches that it feeds, and faults.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

pub(super) const SERVICES: &str = "/api/v1/services";
pub(super) const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
pub(super) const PODS: &str = "/api/v1/pods";
pub(super) const NODES: &str = "/api/v1/nodes";
pub(super) const CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";

type Parameters = HashMap<String, String>;

/// Serves until it is dropped.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    state: Arc<Mutex<Content>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Content {
    /// The objects of each path; a path that is not there is answered with 404.
    lists: HashMap<String, Vec<Value>>,
    /// Where the watches of each path are fed from.
    watches: HashMap<String, mpsc::UnboundedSender<Value>>,
    /// What every request to a path is answered with instead.
    faults: HashMap<String, StatusCode>,
    /// The status that starting a watch of a path is answered with, once.
    watch_faults: HashMap<String, StatusCode>,
    paged: bool,
    asked: Vec<(String, Parameters)>,
}

// === impl Server ===

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(super) async fn start_at(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let lists = [SERVICES, SLICES, PODS, NODES, CIDRS];
        let lists = lists.map(|path| (path.to_owned(), Vec::new())).into();
        let state = Arc::new(Mutex::new(Content {
            lists,
            ..Content::default()
        }));
        let router = Router::new().fallback(answer).with_state(state.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, state, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    pub(super) fn set_list(&self, path: &str, objects: &[Value]) {
        self.state
            .lock()
            .unwrap()
            .lists
            .insert(path.to_owned(), objects.to_vec());
    }

    /// Makes it a server that knows only lists in pages.
    pub(super) fn stop_streaming(&self) {
        self.state.lock().unwrap().paged = true;
    }

    pub(super) fn remove_kind(&self, path: &str) {
        self.state.lock().unwrap().lists.remove(path);
    }

    pub(super) fn set_fault(&self, path: &str, status: StatusCode) {
        self.state
            .lock()
            .unwrap()
            .faults
            .insert(path.to_owned(), status);
    }

    pub(super) fn clear_fault(&self, path: &str) {
        self.state.lock().unwrap().faults.remove(path);
    }

    pub(super) fn set_watch_fault(&self, path: &str, status: StatusCode) {
        self.state
            .lock()
            .unwrap()
            .watch_faults
            .insert(path.to_owned(), status);
    }

    /// Sends an event to the watch of a path, as soon as there is one.
    pub(super) async fn feed(&self, path: &str, kind: &str, object: Value) {
        let event = json!({"type": kind, "object": object});
        while !self.try_feed(path, &event) {
            tokio::task::yield_now().await;
        }
    }

    /// Ends the watch of a path as the server does after its timeout.
    pub(super) fn end_watch(&self, path: &str) {
        self.state.lock().unwrap().watches.remove(path);
    }

    /// The parameters of every request to a path.
    pub(super) fn asked(&self, path: &str) -> Vec<Parameters> {
        let state = self.state.lock().unwrap();
        let asked = state.asked.iter().filter(|(own, _)| own == path);
        asked.map(|(_, parameters)| parameters.clone()).collect()
    }

    /// The address, free to be listened on again.
    pub(super) async fn stop(mut self) -> SocketAddr {
        self.task.abort();
        let _ = (&mut self.task).await;
        self.addr
    }

    fn try_feed(&self, path: &str, event: &Value) -> bool {
        let state = self.state.lock().unwrap();
        state
            .watches
            .get(path)
            .is_some_and(|watch| watch.send(event.clone()).is_ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The open watches end with their senders.
        self.state.lock().unwrap().watches.clear();
        self.task.abort();
    }
}

async fn answer(
    State(state): State<Arc<Mutex<Content>>>,
    uri: Uri,
    Query(parameters): Query<Parameters>,
) -> Response {
    let path = uri.path().to_owned();
    let mut state = state.lock().unwrap();
    if let Some(status) = state.faults.get(&path) {
        return failure(*status);
    }
    if path == "/readyz" {
        return "ok".into_response();
    }
    state.asked.push((path.clone(), parameters.clone()));
    let Some(objects) = state.lists.get(&path).cloned() else {
        return failure(StatusCode::NOT_FOUND);
    };
    if !parameters.contains_key("watch") {
        let list = json!({"kind": "List", "apiVersion": "v1",
            "metadata": {"resourceVersion": "7"}, "items": objects});
        return json_response(StatusCode::OK, &list);
    }
    if let Some(status) = state.watch_faults.remove(&path) {
        return failure(status);
    }
    let (sender, receiver) = mpsc::unbounded_channel::<Value>();
    if parameters.contains_key("sendInitialEvents") {
        if state.paged {
            return failure(StatusCode::UNPROCESSABLE_ENTITY);
        }
        let initial = objects
            .iter()
            .map(|object| json!({"type": "ADDED", "object": object}));
        let end = json!({"type": "BOOKMARK", "object": {"kind": "Any", "apiVersion": "v1",
            "metadata": {"resourceVersion": "7",
                "annotations": {"k8s.io/initial-events-end": "true"}}}});
        initial
            .chain([end])
            .for_each(|event| sender.send(event).unwrap());
    }
    state.watches.insert(path, sender);
    let lines = futures::stream::unfold(receiver, |mut receiver| async {
        let event = receiver.recv().await?;
        Some((
            Ok::<_, std::io::Error>(Bytes::from(format!("{event}\n"))),
            receiver,
        ))
    });
    Body::from_stream(lines).into_response()
}

fn failure(status: StatusCode) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": status.to_string(), "reason": "Test", "code": status.as_u16()});
    json_response(status, &body)
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, body.to_string()).into_response()
}
