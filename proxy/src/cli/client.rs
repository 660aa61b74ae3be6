//! Asks the agent over its socket.

use std::{io, path::Path, time::Duration};

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::handshake,
    header::{CONNECTION, HOST},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, time::timeout};

use crate::observe::{Failure, SOCKET_NAME};

/// Longer than the agent itself may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The agent's answer to a GET of `path`, or `None` if no agent listens in the directory.
pub(super) fn ask<T: DeserializeOwned>(run_dir: &Path, path: &str) -> anyhow::Result<Option<T>> {
    let socket = run_dir.join(SOCKET_NAME);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    let answered = runtime.block_on(async {
        timeout(TIMEOUT, get(&socket, path))
            .await
            .context("the agent did not answer in time")?
    });
    let Some((status, body)) =
        answered.with_context(|| format!("ask the agent on {}", socket.display()))?
    else {
        return Ok(None);
    };
    if status != StatusCode::OK {
        match serde_json::from_slice::<Failure>(&body) {
            Ok(failure) => bail!(failure.error),
            Err(_) => bail!("the agent on {} answered {status}", socket.display()),
        }
    }
    let answer = serde_json::from_slice(&body)
        .with_context(|| format!("read the answer to {path}: is the agent of this version?"))?;
    Ok(Some(answer))
}

async fn get(socket: &Path, path: &str) -> anyhow::Result<Option<(StatusCode, Bytes)>> {
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path)
        .header(HOST, "agent")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok(Some((status, body)))
}

/// No socket, or one that a killed agent left behind.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tempfile::TempDir;

    use crate::cli::testing::FakeAgent;

    fn ask(agent: &FakeAgent, path: &str) -> Result<Option<Value>, String> {
        super::ask(agent.run_dir(), path).map_err(|error| error.to_string())
    }

    #[test]
    fn nobody_answers_where_no_agent_runs() {
        let dir = TempDir::new().unwrap();
        assert_eq!(super::ask::<Value>(dir.path(), "/status").unwrap(), None);
    }

    #[test]
    fn an_agent_that_drops_the_question_is_stopping() {
        let agent = FakeAgent::start(drop);
        assert_eq!(
            ask(&agent, "/status"),
            Err("the agent is stopping".to_owned())
        );
    }

    #[test]
    fn a_question_that_is_none_is_answered_with_what_is_wrong() {
        let agent = FakeAgent::start(drop);
        let error = ask(&agent, "/trace?from=here&to=10.96.0.10:80/tcp").unwrap_err();
        assert!(error.starts_with("`here` is no source"), "{error}");
        let error = ask(&agent, "/nothing").unwrap_err();
        assert!(error.ends_with("answered 404 Not Found"), "{error}");
    }
}
