//! The health check ports of Services: one listener for each Service and address, opened and closed
//! as Services come and go (services.md 97–101).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hyper::StatusCode;
use serde_json::json;
use tokio::{runtime::Handle, task::JoinHandle};
use tracing::{debug, warn};

use super::{
    Health, HealthPort,
    http::{Answer, JSON, Server, Site, answer, with_header},
};
use crate::{
    model::{Diagnostic, IpFamily, Kind, ObjectKey, ObjectRef},
    watch::{Notice, Notices, Severity},
};

const WEIGHT_HEADER: &str = "x-load-balancing-endpoint-weight";

/// Owned by the agent's loop.
#[derive(Debug)]
pub struct HealthPorts {
    runtime: Handle,
    health: Health,
    notices: Notices,
    /// For the texts of Events.
    node: Arc<str>,
    open: BTreeMap<Place, Listener>,
    failed: BTreeMap<Place, String>,
}

/// Where one listener is, and whose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    service: ObjectKey,
    addr: IpAddr,
    port: u16,
}

#[derive(Debug)]
struct Listener {
    local: Arc<AtomicUsize>,
    /// Where it is bound, which is the place's unless that left the choice to the kernel.
    bound: SocketAddr,
    task: JoinHandle<()>,
}

/// What one listener answers, whatever the path and the method.
#[derive(Debug)]
struct ServiceHealth {
    service: ObjectKey,
    local: Arc<AtomicUsize>,
    health: Health,
}

// === impl HealthPorts ===

impl HealthPorts {
    /// The listeners run on `runtime`; failures are told to the Services' users by `notices`.
    pub fn new(runtime: Handle, health: Health, notices: Notices, node: &str) -> Self {
        Self {
            runtime,
            health,
            notices,
            node: node.into(),
            open: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Listens for these Services on these addresses (`0.0.0.0` and `::` for all), and nowhere
    /// else. What cannot be opened is tried again by the next call.
    pub async fn reconcile(&mut self, wanted: &[HealthPort], addrs: &[IpAddr]) {
        let wanted = places(wanted, addrs);
        // First, since a port may go from one Service to another.
        let keys = self.open.keys();
        let closing: Vec<Place> = keys
            .filter(|place| !wanted.contains_key(place))
            .cloned()
            .collect();
        for place in closing {
            if let Some(listener) = self.open.remove(&place) {
                debug!(service = %place.service, addr = %place.addr, port = place.port, "closed");
                listener.close().await;
            }
        }
        let before = std::mem::take(&mut self.failed);
        for (place, local) in wanted {
            if let Some(listener) = self.open.get(&place) {
                listener.local.store(local, Ordering::Relaxed);
                continue;
            }
            match self.listen(&place, local) {
                Ok(listener) => {
                    self.open.insert(place, listener);
                }
                // The machine does not have the family: nobody can ask.
                Err(error) if is_absent_family(&error) => {}
                Err(error) => {
                    let reason = error.to_string();
                    if before.get(&place) != Some(&reason) {
                        self.tell(&place, &reason);
                    }
                    self.failed.insert(place, reason);
                }
            }
        }
    }

    /// The ports that could not be opened.
    pub fn diagnostics(&self) -> impl Iterator<Item = Diagnostic> + '_ {
        self.failed.iter().map(|(place, reason)| Diagnostic {
            object: ObjectRef::new(Kind::Service, place.service.clone()),
            reason: format!(
                "cannot listen on {} for health checks: {reason}",
                SocketAddr::new(place.addr, place.port)
            ),
        })
    }

    /// Whether there is something to try again.
    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Where a Service is listened for.
    pub fn bound(&self, service: &ObjectKey) -> Vec<SocketAddr> {
        let open = self.open.iter();
        open.filter(|(place, _)| place.service == *service)
            .map(|(_, listener)| listener.bound)
            .collect()
    }

    fn listen(&self, place: &Place, local: usize) -> io::Result<Listener> {
        let local = Arc::new(AtomicUsize::new(local));
        let site = ServiceHealth {
            service: place.service.clone(),
            local: local.clone(),
            health: self.health.clone(),
        };
        let _runtime = self.runtime.enter();
        let server = Server::bind_family(SocketAddr::new(place.addr, place.port))?;
        let bound = server.addr()?;
        debug!(service = %place.service, addr = %bound, "listens for health checks");
        let task = self.runtime.spawn(async move {
            server.run(Arc::new(site)).await;
        });
        Ok(Listener { local, bound, task })
    }

    fn tell(&self, place: &Place, reason: &str) {
        let Place {
            service,
            addr,
            port,
        } = place;
        let note = format!(
            "node {} failed to start healthcheck \"{service}\" on port {port}: \
             listen {}: {reason}",
            self.node,
            SocketAddr::new(*addr, *port)
        );
        warn!("{note}");
        self.notices.tell(Notice {
            object: ObjectRef::new(Kind::Service, service.clone()),
            severity: Severity::Warning,
            reason: "FailedToStartServiceHealthcheck",
            action: "Listen",
            note,
        });
    }
}

impl Drop for HealthPorts {
    fn drop(&mut self) {
        for listener in self.open.values() {
            listener.task.abort();
        }
    }
}

/// Every place with what it counts.
fn places(wanted: &[HealthPort], addrs: &[IpAddr]) -> BTreeMap<Place, usize> {
    let addrs: BTreeSet<IpAddr> = addrs.iter().copied().collect();
    let mut places = BTreeMap::new();
    for health_port in wanted {
        for &addr in &addrs {
            let local = match IpFamily::of(addr) {
                IpFamily::V4 => health_port.local4,
                IpFamily::V6 => health_port.local6,
            };
            if let Some(local) = local {
                let place = Place {
                    service: health_port.service.clone(),
                    addr,
                    port: health_port.port,
                };
                places.insert(place, local);
            }
        }
    }
    places
}

fn is_absent_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

// === impl Listener ===

impl Listener {
    /// Returns when the port is free.
    async fn close(self) {
        self.task.abort();
        // The outcome is that it was cancelled.
        let _ = self.task.await;
    }
}

// === impl ServiceHealth ===

impl Site for ServiceHealth {
    async fn answer(&self, _path: &str) -> Answer {
        let local = self.local.load(Ordering::Relaxed);
        // Whether the node may get traffic at all is for `/healthz` (106).
        let healthy = self.health.is_healthy();
        let status = if local > 0 && healthy {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let body = json!({
            "service": {"namespace": &*self.service.namespace, "name": &*self.service.name},
            "localEndpoints": local,
            "serviceProxyHealthy": healthy,
        });
        with_header(answer(status, JSON, body.to_string()), WEIGHT_HEADER, local)
    }
}

#[cfg(test)]
mod tests;
