//! A clock that tests move, and questions over real sockets.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Empty};
use hyper::{HeaderMap, Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{
    Clock, Moment, Monitor,
    http::{Server, Site},
};
use crate::model::{
    Cluster, Node, Object, ObjectKey,
    testing::{apply, synced_cluster},
};

/// Begins at midnight of the first of January 2026.
#[derive(Clone)]
pub(super) struct TestClock(Arc<Mutex<Moment>>);

/// Below the ports that the kernel gives to clients, so that none of them takes one first.
const PORTS: std::ops::Range<u32> = 20_000..30_000;

/// An answer as it came over the wire.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

// === impl TestClock ===

impl Default for TestClock {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Moment {
            monotonic: Instant::now(),
            wall: "2026-01-01T00:00:00Z".parse().unwrap(),
        })))
    }
}

impl TestClock {
    pub(super) fn clock(&self) -> Clock {
        let moment = self.0.clone();
        Clock::new(move || *moment.lock().unwrap())
    }

    pub(super) fn pass(&self, duration: Duration) {
        let mut moment = self.0.lock().unwrap();
        moment.monotonic += duration;
        moment.wall += duration;
    }
}

// === impl Got ===

impl Got {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A port that nobody listens on, and that no other test gets.
pub(super) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let offset = std::process::id() * 16 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + offset % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).unwrap();
        if std::net::TcpListener::bind(("::", port)).is_ok() {
            return port;
        }
    }
}

pub(super) async fn get(addr: SocketAddr, path: &str) -> Got {
    ask(addr, "GET", path).await
}

/// On a connection of its own.
pub(super) async fn ask(addr: SocketAddr, method: &str, path: &str) -> Got {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", addr.to_string())
        .body(Empty::<Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    connection.abort();
    Got {
        status,
        headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// A cluster whose own Node may get traffic.
pub(super) fn eligible() -> Cluster {
    let mut cluster = synced_cluster();
    let here = ObjectKey::new("", "here");
    apply(&mut cluster, Object::Node(here, Node::default()));
    cluster
}

pub(super) fn monitor(clock: &TestClock) -> Monitor {
    Monitor::new(Duration::from_secs(60), clock.clock())
}

/// Answers on a port of loopback for the rest of the test.
pub(super) async fn serve(site: impl Site) -> SocketAddr {
    let server = Server::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = server.addr().unwrap();
    tokio::spawn(async move {
        server.run(Arc::new(site)).await;
    });
    addr
}
