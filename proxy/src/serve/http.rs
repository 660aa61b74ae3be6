//! HTTP/1 for answers that are made from memory: no framework, a task for each connection, limits
//! on both, so that hundreds of health check ports cost little and a flood harms only itself.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

/// Connections of one listener at a time; whoever comes then waits for one of them to end.
const CONNECTIONS_MAX: usize = 256;
const BACKLOG: u32 = 128;
/// From one request's end to the next one's headers; an idle connection ends after it.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(15);
/// However busy it is: nobody keeps a place for ever.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// After an error of `accept`, which is about the whole process: too many open files.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";

pub(super) type Answer = Response<Full<Bytes>>;

/// What answers requests. The body of a request is never read.
pub(super) trait Site: Send + Sync + 'static {
    fn answer(&self, path: &str) -> impl Future<Output = Answer> + Send;
}

/// A bound socket.
#[derive(Debug)]
pub(super) struct Server(TcpListener);

/// An answer with its headers.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

pub(super) fn with_header(mut answer: Answer, name: &'static str, value: usize) -> Answer {
    let name = HeaderName::from_static(name);
    answer.headers_mut().insert(name, HeaderValue::from(value));
    answer
}

// === impl Server ===

impl Server {
    /// Binds as it is written: `[::]` takes both families, as upstream's servers do.
    pub(super) fn bind(addr: SocketAddr) -> io::Result<Self> {
        Self::listen(socket(addr.ip())?, addr)
    }

    /// Binds for one family: `[::]` leaves IPv4 to another socket.
    pub(super) fn bind_family(addr: SocketAddr) -> io::Result<Self> {
        let socket = socket(addr.ip())?;
        if addr.is_ipv6() {
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
        }
        Self::listen(socket, addr)
    }

    fn listen(socket: TcpSocket, addr: SocketAddr) -> io::Result<Self> {
        // A restart binds again while old connections are still in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        Ok(Self(socket.listen(BACKLOG)?))
    }

    /// The port, where any was asked for.
    pub(super) fn addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers until the future is dropped, and every connection with it.
    pub(super) async fn run<S: Site>(self, site: Arc<S>) -> Infallible {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let place = places.clone().acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            let stream = match self.0.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!("cannot accept a connection: {error}");
                    sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let site = site.clone();
            connections.spawn(async move {
                let _place = place;
                if timeout(CONNECTION_TIMEOUT, connection(stream, site))
                    .await
                    .is_err()
                {
                    debug!("ended a connection that was open for too long");
                }
            });
        }
    }
}

fn socket(addr: IpAddr) -> io::Result<TcpSocket> {
    match addr {
        IpAddr::V4(_) => TcpSocket::new_v4(),
        IpAddr::V6(_) => TcpSocket::new_v6(),
    }
}

async fn connection<S: Site>(stream: TcpStream, site: Arc<S>) {
    let service = service_fn(|request: Request<Incoming>| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(site.answer(request.uri().path()).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!("a connection failed: {error}");
    }
}
