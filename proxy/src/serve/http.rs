//! HTTP/1 for answers that are made from memory: no framework, a task for each connection, limits
//! on both, so that hundreds of health check ports cost little and a flood harms only itself.

use std::{
    collections::VecDeque,
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
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

/// Connections of one listener at a time. The oldest gives way to one more, so that nobody can keep
/// probes out by holding connections open: a probe is answered in a millisecond.
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
        let mut connections = JoinSet::new();
        let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let stream = match self.0.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!("cannot accept a connection: {error}");
                    sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            oldest_first.retain(|connection| !connection.is_finished());
            if oldest_first.len() == CONNECTIONS_MAX
                && let Some(oldest) = oldest_first.pop_front()
            {
                oldest.abort();
            }
            oldest_first.push_back(connections.spawn(connection(stream, site.clone())));
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
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!("a connection failed: {error}"),
        Err(_) => debug!("ended a connection that was open for too long"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::serve::testing::{free_port, get, serve};

    struct Echo;

    impl Site for Echo {
        async fn answer(&self, path: &str) -> Answer {
            answer(StatusCode::OK, TEXT, path.to_owned())
        }
    }

    #[tokio::test]
    async fn a_site_sees_the_path_alone() {
        let got = get(serve(Echo).await, "/a/b?c=d").await;
        assert_eq!((got.status, &*got.body), (200, "/a/b"));
    }

    #[tokio::test]
    async fn connections_that_are_held_open_keep_nobody_out() {
        let addr = serve(Echo).await;
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            held.push(TcpStream::connect(addr).await.unwrap());
        }
        assert_eq!(get(addr, "/").await.status, 200);
        // The oldest had to go, the next one stays.
        let deadline = Duration::from_secs(10);
        let read = timeout(deadline, held[0].read(&mut [0])).await;
        assert_eq!(read.unwrap().unwrap(), 0);
        let error = held[1].try_read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn a_server_for_one_family_leaves_the_other_to_another() {
        let v4 = SocketAddr::from(([0; 4], free_port()));
        let all = Server::bind(([0; 8], v4.port()).into()).unwrap();
        assert!(Server::bind(v4).is_err(), "[::] takes both");
        drop(all);
        let v6 = Server::bind_family(([0; 8], v4.port()).into()).unwrap();
        assert!(Server::bind(v4).is_ok());
        drop(v6);
    }
}
