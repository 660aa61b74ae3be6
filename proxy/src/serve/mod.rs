//! What others ask over HTTP: load balancers and kubelets whether the proxy is well, and operators
//! for its numbers (services.md, 1.12 and section 2).
//!
//! | server | default address | paths |
//! |---|---|---|
//! | `healthz` | `0.0.0.0:10256` | `/healthz`, `/livez` |
//! | `operator` | `127.0.0.1:10249` | `/metrics`, `/metrics/slis`, `/healthz`, `/proxyMode`, `/configz` |
//! | `listeners` | a Service's healthCheckNodePort | every path |
//!
//! The agent's loop writes into a `Monitor`; the servers only read it, on a thread of their own, so
//! that a long pass does not look like a fault.

mod health;
mod health_ports;
mod healthz;
mod http;
mod listen_addrs;
mod listeners;
mod local_gaps;
mod metrics;
mod operator;
#[cfg(test)]
mod testing;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, thread, time::Duration};

use serde_json::Value;
use tokio::{
    runtime::{self, Handle},
    time::sleep,
};
use tracing::{info, warn};

pub use self::{
    health::{Clock, FamilyReport, Health, Moment, Report},
    health_ports::{HealthPort, health_ports},
    listen_addrs::listen_addrs,
    listeners::HealthPorts,
    local_gaps::local_gaps,
    metrics::{Extent, LocalGaps, Metrics, Sample, Samples},
};
use self::{
    healthz::Healthz,
    http::{Server, Site},
    operator::Operator,
};
use crate::{
    model::{IpFamily, Kind, ObjectKey, ObjectRef},
    watch::{Notice, Notices, Severity},
};

/// How often a server that could not bind tries again (services.md 132).
const BIND_RETRY: Duration = Duration::from_secs(5);

/// What the agent's loop tells, for all servers.
#[derive(Clone, Debug)]
pub struct Monitor {
    pub health: Health,
    pub metrics: Metrics,
}

/// The servers of the agent itself.
#[derive(Clone, Debug)]
pub struct Options {
    pub node: Arc<str>,
    /// `None` for no server.
    pub healthz: Option<SocketAddr>,
    pub metrics: Option<SocketAddr>,
    /// Whether an address that cannot be bound is the end, instead of being tried again.
    pub bind_hard_fail: bool,
    /// What `/proxyMode` says.
    pub mode: String,
    /// The effective `KubeProxyConfiguration`, for `/configz`.
    pub configz: Value,
}

/// An address that cannot be bound, with `bind_hard_fail`.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve {server} on {addr}")]
pub struct BindError {
    server: &'static str,
    addr: SocketAddr,
    source: io::Error,
}

/// One server, and how its failure is told.
struct Place<'a> {
    server: &'static str,
    /// Of the Event, in upstream's spelling.
    reason: &'static str,
    addr: SocketAddr,
    hard_fail: bool,
    retry: Duration,
    node: &'a str,
    notices: &'a Notices,
}

/// A thread for the servers; it ends with the process.
pub fn runtime() -> io::Result<Handle> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("serve".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

/// Serves until the future is dropped. Fails only with `bind_hard_fail`.
pub async fn run(
    options: Options,
    monitor: Monitor,
    samples: Samples,
    notices: Notices,
) -> Result<Infallible, BindError> {
    let place = |server, reason, addr| Place {
        server,
        reason,
        addr,
        hard_fail: options.bind_hard_fail,
        retry: BIND_RETRY,
        node: &options.node,
        notices: &notices,
    };
    let healthz = async {
        match options.healthz {
            Some(addr) => {
                let site = Healthz(monitor.clone());
                let reason = "FailedToStartProxierHealthcheck";
                place("health", reason, addr).serve(site).await
            }
            None => std::future::pending().await,
        }
    };
    let operator = async {
        match options.metrics {
            Some(addr) => {
                let site = Operator {
                    monitor: monitor.clone(),
                    samples,
                    mode: options.mode.clone(),
                    configz: options.configz.clone(),
                };
                let reason = "FailedToStartMetricServer";
                place("metrics", reason, addr).serve(site).await
            }
            None => std::future::pending().await,
        }
    };
    tokio::try_join!(healthz, operator).map(|(never, _)| never)
}

/// The Event that says that the agent runs (services.md 132).
pub fn starting(node: &str) -> Notice {
    Notice {
        object: node_ref(node),
        severity: Severity::Normal,
        reason: "Starting",
        action: "StartKubeProxy",
        note: concat!("Switchboard ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

fn node_ref(node: &str) -> ObjectRef {
    ObjectRef::new(Kind::Node, ObjectKey::new("", node))
}

// === impl Monitor ===

impl Monitor {
    /// A change that waits for `health_timeout` makes the proxy unhealthy (services.md 102).
    pub fn new(health_timeout: Duration, clock: Clock) -> Self {
        Self {
            health: Health::new(health_timeout, clock.clone()),
            metrics: Metrics::new(clock),
        }
    }

    /// Something of this family has changed and has to be programmed.
    pub fn queued(&self, family: IpFamily) {
        self.health.queued(family);
        self.metrics.queued(family);
    }

    /// A pass programmed everything of this family.
    pub fn synced(&self, family: IpFamily, extent: Extent, took: Duration) {
        self.health.synced(family);
        self.metrics.synced(family, extent, took);
    }

    /// A pass could not write everything of this family: it stays pending.
    pub fn failed(&self, family: IpFamily, extent: Extent, took: Duration) {
        self.metrics.failed(family, extent, took);
    }
}

// === impl Place ===

impl Place<'_> {
    async fn serve<S: Site>(self, site: S) -> Result<Infallible, BindError> {
        let mut told = false;
        let server = loop {
            match Server::bind(self.addr) {
                Ok(server) => break server,
                Err(source) => {
                    let error = BindError {
                        server: self.server,
                        addr: self.addr,
                        source,
                    };
                    if !told || self.hard_fail {
                        self.tell(&error);
                        told = true;
                    }
                    if self.hard_fail {
                        return Err(error);
                    }
                }
            }
            sleep(self.retry).await;
        };
        info!(addr = %self.addr, "serves {}", self.server);
        Ok(server.run(Arc::new(site)).await)
    }

    fn tell(&self, error: &BindError) {
        let note = format!("{error}: {}", error.source);
        warn!("{note}");
        self.notices.tell(Notice {
            object: node_ref(self.node),
            severity: Severity::Warning,
            reason: self.reason,
            action: "StartKubeProxy",
            note,
        });
    }
}

#[cfg(test)]
mod tests;
