//! The agent's socket: JSON over HTTP on `<run dir>/agent.sock`, which `curl --unix-socket` reads.
//!
//! Only root and the agent's own user may ask: the directory and the socket are theirs by mode, and
//! whoever connects is checked again, since a mode is set only after the socket exists.

use std::{
    fmt,
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Query as UrlQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use serde::{Deserialize, Serialize};
use tokio::{
    net::{UnixListener, UnixStream, unix::SocketAddr},
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::warn;

use super::{Query, trace::Question};

pub const SOCKET_NAME: &str = "agent.sock";

/// How long the agent's loop may be busy before whoever asks is told so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A bound socket; it is removed with its server.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("create directory {path}")]
    Directory { path: PathBuf, source: io::Error },
    #[error("another agent answers on {0}")]
    Taken(PathBuf),
    #[error("bind socket {path}")]
    Socket { path: PathBuf, source: io::Error },
}

/// The body of every answer that is no success.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) error: String,
}

/// Lets only root and the agent's own user in.
struct Guarded(UnixListener);

#[derive(Clone)]
struct Agent(mpsc::Sender<Query>);

// === impl Server ===

impl Server {
    /// Creates the directory and the socket; a socket that nobody answers on is replaced.
    pub fn bind(run_dir: &Path) -> Result<Self, ServerError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(run_dir)
            .map_err(|source| ServerError::Directory {
                path: run_dir.to_owned(),
                source,
            })?;
        let path = run_dir.join(SOCKET_NAME);
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(ServerError::Taken(path));
        }
        let listen = || {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&path)?;
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        match listen() {
            Ok(listener) => Ok(Self { listener, path }),
            Err(source) => Err(ServerError::Socket { path, source }),
        }
    }

    /// Answers until the future is dropped; every question goes to `queries`.
    pub async fn run(self, queries: mpsc::Sender<Query>) -> io::Result<()> {
        let Self { listener, path } = self;
        let _remove = RemoveOnDrop(path);
        axum::serve(Guarded(listener), router(queries)).await
    }
}

struct RemoveOnDrop(PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        // Already gone is as good; anything else leaves a socket that the next agent replaces.
        let _ = fs::remove_file(&self.0);
    }
}

// === impl Guarded ===

impl Listener for Guarded {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        let own = rustix::process::geteuid().as_raw();
        loop {
            let (stream, addr) = Listener::accept(&mut self.0).await;
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == 0 || peer.uid() == own => return (stream, addr),
                Ok(peer) => warn!(uid = peer.uid(), "refused a question: not root"),
                Err(error) => warn!(%error, "refused a question: its user is unknown"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

// === routes ===

fn router(queries: mpsc::Sender<Query>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/services", get(services))
        .route("/trace", get(trace))
        .with_state(Agent(queries))
}

async fn status(State(agent): State<Agent>) -> Response {
    agent.ask(Query::Status).await.map_or_else(failure, json)
}

async fn services(State(agent): State<Agent>) -> Response {
    agent.ask(Query::Services).await.map_or_else(failure, json)
}

async fn trace(State(agent): State<Agent>, UrlQuery(words): UrlQuery<QuestionWords>) -> Response {
    let question = match words.parse() {
        Ok(question) => question,
        Err(error) => return failure((StatusCode::BAD_REQUEST, error)),
    };
    match agent.ask(|reply| Query::Trace(question, reply)).await {
        Ok(Ok(answer)) => json(answer),
        Ok(Err(error)) => failure((StatusCode::UNPROCESSABLE_ENTITY, error)),
        Err(error) => failure(error),
    }
}

fn json(value: impl Serialize) -> Response {
    Json(value).into_response()
}

fn failure((status, error): (StatusCode, String)) -> Response {
    (status, Json(Failure { error })).into_response()
}

// === impl Agent ===

impl Agent {
    async fn ask<T>(
        &self,
        query: impl FnOnce(oneshot::Sender<T>) -> Query,
    ) -> Result<T, (StatusCode, String)> {
        let answered = async {
            let (reply, answer) = oneshot::channel();
            self.0.send(query(reply)).await.ok()?;
            answer.await.ok()
        };
        match timeout(ANSWER_TIMEOUT, answered).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(unavailable("the agent is stopping")),
            Err(_) => Err(unavailable("the agent is busy and did not answer in time")),
        }
    }
}

fn unavailable(why: &str) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
}

// === impl QuestionWords ===

/// A question as the URL has it.
#[derive(Debug, Deserialize)]
pub(crate) struct QuestionWords {
    from: String,
    to: String,
    at: Option<String>,
}

impl QuestionWords {
    fn parse(&self) -> Result<Question, String> {
        Ok(Question {
            from: self.from.parse()?,
            to: self.to.parse()?,
            at: self.at.as_deref().map(str::parse).transpose()?,
        })
    }
}

impl From<&Question> for QuestionWords {
    fn from(question: &Question) -> Self {
        Self {
            from: question.from.to_string(),
            to: question.to.to_string(),
            at: question.at.map(|at| at.to_string()),
        }
    }
}

impl fmt::Display for QuestionWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither addresses nor places hold a character that a URL would need escaped.
        write!(f, "from={}&to={}", self.from, self.to)?;
        self.at.as_ref().map_or(Ok(()), |at| write!(f, "&at={at}"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as Socket;

    use tempfile::TempDir;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn only_the_owner_may_use_the_socket() {
        let dir = TempDir::new().unwrap();
        let run_dir = dir.path().join("run");
        let _server = Server::bind(&run_dir).unwrap();
        assert_eq!(mode(&run_dir), 0o700);
        assert_eq!(mode(&run_dir.join(SOCKET_NAME)), 0o600);
    }

    #[tokio::test]
    async fn a_socket_that_somebody_answers_on_is_left_alone() {
        let dir = TempDir::new().unwrap();
        let _server = Server::bind(dir.path()).unwrap();
        let error = Server::bind(dir.path()).unwrap_err();
        assert!(matches!(error, ServerError::Taken(_)), "{error}");
    }

    #[tokio::test]
    async fn a_socket_that_a_killed_agent_left_is_replaced() {
        let dir = TempDir::new().unwrap();
        drop(Socket::bind(dir.path().join(SOCKET_NAME)).unwrap());
        assert!(Server::bind(dir.path()).is_ok());
    }

    #[tokio::test]
    async fn the_socket_goes_with_its_server() {
        let dir = TempDir::new().unwrap();
        let server = Server::bind(dir.path()).unwrap();
        let (queries, _asked) = mpsc::channel(1);
        let running = server.run(queries);
        assert!(timeout(Duration::ZERO, running).await.is_err());
        assert!(!dir.path().join(SOCKET_NAME).exists());
    }
}
