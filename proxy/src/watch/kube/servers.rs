//! Which API server to talk to, and how to reach it.
//!
//! The agent makes the API's own ClusterIP work, so it cannot depend on it: it may be given the
//! servers' own addresses, tries them in turn, and remembers the last one that answered, so that a
//! restart while others are down is not slower.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use hyper::{Request, Uri, http::uri::Scheme};
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::timeout};
use tracing::warn;

use super::{Options, WATCH_TIMEOUT};

/// A name that every API server's certificate has, whatever address the server is reached by.
const SERVER_NAME: &str = "kubernetes.default.svc";
pub(crate) const MEMORY_FILE: &str = "apiservers.json";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// A response may be this much later than the end of the watch that it is part of.
const READ_MARGIN: Duration = Duration::from_secs(15);

pub(super) struct Servers {
    all: Vec<Server>,
    memory: PathBuf,
    in_use: watch::Sender<String>,
}

/// One address, and the ways to verify who answers there.
struct Server {
    url: String,
    configs: Vec<Config>,
}

/// What a server says when it is asked whether it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Ready,
    /// It answers, but not that it is ready. If nobody is, it may do.
    Unready,
}

/// What is kept over a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Memory {
    last_good: String,
}

// === impl Servers ===

impl Servers {
    pub(super) async fn new(options: &Options) -> anyhow::Result<Self> {
        let (base, in_cluster) = base(options).await?;
        let mut all = Vec::new();
        for url in &options.api_servers {
            all.push(Server::at(url, base.as_ref())?);
        }
        // Without addresses the configuration names the only one. Inside a cluster it names the
        // ClusterIP, which the tables make work once they are written: the last resort.
        if let Some(base) = base.filter(|_| all.is_empty() || in_cluster) {
            all.push(Server {
                url: base.cluster_url.to_string(),
                configs: vec![tuned(base)],
            });
        }
        let memory = options.run_dir.join(MEMORY_FILE);
        let last_good = recall(&memory).last_good;
        // Stable: the others stay in the order in which they were given.
        all.sort_by_key(|server| server.url != last_good);
        Ok(Self {
            all,
            memory,
            in_use: options.in_use.clone(),
        })
    }

    pub(super) const fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn url(&self, index: usize) -> &str {
        &self.all[index].url
    }

    /// The first server that is ready, beginning with the one after `current`; if none is, the
    /// first that answers at all. If none does, why not.
    pub(super) async fn select(&self, current: Option<usize>) -> anyhow::Result<(usize, Client)> {
        let first = current.map_or(0, |current| current + 1);
        let mut unready = None;
        let mut reasons = Vec::new();
        for index in (first..first + self.all.len()).map(|index| index % self.all.len()) {
            let server = &self.all[index];
            match server.connect().await {
                Ok((client, Health::Ready)) => return Ok((index, client)),
                Ok((client, Health::Unready)) => unready = unready.or(Some((index, client))),
                Err(error) => {
                    reasons.push(format!(
                        "{}: {}",
                        server.url,
                        super::describe(error.as_ref())
                    ));
                }
            }
        }
        match unready {
            Some(found) => Ok(found),
            None => bail!("no API server can be reached ({})", reasons.join("; ")),
        }
    }

    /// Tells that a server is in use, and makes it the first to be tried after a restart.
    pub(super) fn remember(&self, index: usize) {
        let url = &self.all[index].url;
        self.in_use.send_replace(url.clone());
        let memory = Memory {
            last_good: url.clone(),
        };
        if let Err(error) = memorize(&self.memory, &memory) {
            warn!("cannot write {}: {error}", self.memory.display());
        }
    }
}

// === impl Server ===

impl Server {
    /// A server by its own address, with the credentials of `base`.
    fn at(url: &str, base: Option<&Config>) -> anyhow::Result<Self> {
        let uri = parse_url(url)?;
        let url = uri.to_string();
        let Some(base) = base else {
            ensure!(
                uri.scheme() == Some(&Scheme::HTTP),
                "no credentials for {url}: neither a kubeconfig nor a service account is there"
            );
            return Ok(Self {
                url,
                configs: vec![tuned(Config::new(uri))],
            });
        };
        let mut config = tuned(base.clone());
        config.cluster_url = uri;
        let mut configs = vec![config.clone()];
        if config.tls_server_name.is_none() {
            config.tls_server_name = Some(SERVER_NAME.to_owned());
            configs.push(config);
        }
        Ok(Self { url, configs })
    }

    async fn connect(&self) -> anyhow::Result<(Client, Health)> {
        let mut failure = None;
        for config in &self.configs {
            let client = Client::try_from(config.clone()).context("cannot set up a client")?;
            match probe(&client).await {
                Ok(health) => return Ok((client, health)),
                // Another name helps only where the certificate was not for this one.
                Err(error) if is_tls(&error) => failure = failure.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| anyhow!("no way to verify it")))
    }
}

/// Who we are and whom we trust: a kubeconfig, or a pod's service account. The flag says that it is
/// the latter.
async fn base(options: &Options) -> anyhow::Result<(Option<Config>, bool)> {
    if let Some(path) = &options.kubeconfig {
        let context = || format!("cannot use the kubeconfig {}", path.display());
        let kubeconfig = Kubeconfig::read_from(path).with_context(context)?;
        let chosen = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &chosen).await;
        return Ok((Some(config.with_context(context)?), false));
    }
    match Config::incluster() {
        Ok(config) => Ok((Some(config), true)),
        Err(error) if options.api_servers.is_empty() => Err(error)
            .context("no API server: neither a kubeconfig, nor addresses, nor a service account"),
        // The service account may be there where the address of the API is not.
        Err(_) => Ok((Config::incluster_dns().ok(), false)),
    }
}

fn tuned(mut config: Config) -> Config {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // A connection that died without a word is noticed in every state, not only while watching.
    config.read_timeout = Some(WATCH_TIMEOUT + READ_MARGIN);
    config.reset_reader_on_write = true;
    config
}

fn parse_url(text: &str) -> anyhow::Result<Uri> {
    let text = text.trim();
    let uri: Uri = text
        .parse()
        .with_context(|| format!("API server {text:?} is not a URL"))?;
    let known = uri.scheme() == Some(&Scheme::HTTPS) || uri.scheme() == Some(&Scheme::HTTP);
    ensure!(
        known && uri.host().is_some(),
        "API server {text:?} is not an http or https URL"
    );
    Ok(uri)
}

pub(super) async fn probe(client: &Client) -> anyhow::Result<Health> {
    let request = Request::get("/readyz")
        .body(Body::empty())
        .context("cannot ask for /readyz")?;
    let Ok(response) = timeout(PROBE_TIMEOUT, client.send(request)).await else {
        bail!("no answer within {} s", PROBE_TIMEOUT.as_secs());
    };
    let status = response?.status();
    // Not being allowed to ask is an answer as well.
    Ok(if status.is_server_error() {
        Health::Unready
    } else {
        Health::Ready
    })
}

/// The TLS library reports through I/O errors of this kind.
fn is_tls(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let mut cause = cause.downcast_ref::<io::Error>();
        while let Some(error) = cause {
            if error.kind() == io::ErrorKind::InvalidData {
                return true;
            }
            cause = error.get_ref().and_then(|inner| inner.downcast_ref());
        }
        false
    })
}

fn recall(path: &Path) -> Memory {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                warn!("cannot read {}: {error}", path.display());
            }
            return Memory::default();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        warn!("cannot understand {}: {error}", path.display());
        Memory::default()
    })
}

fn memorize(path: &Path, memory: &Memory) -> io::Result<()> {
    let next = path.with_extension("json.next");
    fs::write(&next, serde_json::to_vec(memory)?)?;
    fs::rename(&next, path)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::tls(io::Error::new(io::ErrorKind::InvalidData, "not for this name"), true)]
    #[case::tls_in_a_layer(
        io::Error::other(io::Error::new(io::ErrorKind::InvalidData, "not for this name")),
        true
    )]
    #[case::refused(io::Error::from(io::ErrorKind::ConnectionRefused), false)]
    fn certificate_for_another_name_is_told_from_a_server_that_is_down(
        #[case] error: io::Error,
        #[case] expect: bool,
    ) {
        let error = anyhow::Error::new(kube::Error::Service(Box::new(error)));
        assert_eq!(is_tls(&error), expect);
    }

    #[test]
    fn memory_that_cannot_be_understood_is_no_memory() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join(MEMORY_FILE);
        assert_eq!(recall(&path).last_good, "");
        memorize(
            &path,
            &Memory {
                last_good: "https://10.0.0.1:6443/".to_owned(),
            },
        )
        .unwrap();
        assert_eq!(recall(&path).last_good, "https://10.0.0.1:6443/");
        for text in ["", "[]", "{\"lastGood\": 7}", "{}"] {
            fs::write(&path, text).unwrap();
            assert_eq!(recall(&path).last_good, "", "{text}");
        }
    }

    #[test]
    fn own_address_is_verified_by_its_own_name_or_the_clusters() {
        let base = Config::new("https://203.0.113.1:6443".parse().unwrap());
        let names = |base: &Config| {
            let server = Server::at("https://10.0.0.1:6443", Some(base)).unwrap();
            let configs = server.configs.into_iter();
            configs
                .map(|config| config.tls_server_name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&base), [None, Some(SERVER_NAME.to_owned())]);
        let mut named = base;
        named.tls_server_name = Some("api.example".to_owned());
        assert_eq!(names(&named), [Some("api.example".to_owned())]);
    }
}
