//! Keeps looking, and tells when what it found differs from before.
//!
//! It looks when the kernel reports a change, when the facts change, when a wait is over, and every
//! now and then; how often at most is `pace`'s.

use std::{
    panic::resume_unwind,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task, time};
use tracing::{info, warn};

use super::{
    CniCache, DEFAULT_DIRS, EndpointKind, Facts, Scan, Snapshot, classify, pace::Pace, uplinks,
    waits::Waits,
};
use crate::attach::netlink::{Error, Monitor, Routing};

/// While something waits for a claim: the CNI plugin's cache reports no changes.
const LOOK_WHILE_PENDING: Duration = Duration::from_secs(1);
/// Where addresses inside pods' namespaces are not reported.
const LOOK_WITHOUT_EVENTS: Duration = Duration::from_secs(2);
/// A safety net; nothing is known to need it.
const LOOK_ALWAYS: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct Options {
    /// Directories of CNI results; they need not exist.
    pub cni_cache: Vec<PathBuf>,
    /// How long a device may be without a claim before it is left alone.
    pub unclaimed_after: Duration,
}

pub struct Watcher {
    monitor: Monitor,
    facts: watch::Receiver<Facts>,
    look: Look,
    report: Report,
}

/// What a look needs and remembers.
struct Look {
    routing: Routing,
    cache: CniCache,
    waits: Waits,
}

/// Whom to tell, and what was told.
struct Report {
    snapshots: watch::Sender<Snapshot>,
    begun: bool,
    failing: bool,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            cni_cache: DEFAULT_DIRS.map(PathBuf::from).to_vec(),
            unclaimed_after: Duration::from_secs(30),
        }
    }
}

// === impl Watcher ===

impl Watcher {
    /// Watches the calling thread's network namespace. Nothing is said before the first look: wait
    /// for the receiver to change. Wants a tokio runtime.
    pub fn new(
        options: Options,
        facts: watch::Receiver<Facts>,
    ) -> Result<(Self, watch::Receiver<Snapshot>), Error> {
        let monitor = Monitor::open()?;
        if !monitor.hears_pods() {
            let every_s = LOOK_WITHOUT_EVENTS.as_secs();
            warn!(
                every_s,
                "without CAP_NET_BROADCAST the addresses of pods are polled"
            );
        }
        let look = Look {
            routing: Routing::open()?,
            cache: CniCache::new(options.cni_cache),
            waits: Waits::new(options.unclaimed_after),
        };
        let (snapshots, receiver) = watch::channel(Snapshot::default());
        let report = Report {
            snapshots,
            begun: false,
            failing: false,
        };
        Ok((
            Self {
                monitor,
                facts,
                look,
                report,
            },
            receiver,
        ))
    }

    /// Watches until nobody listens any more, or the facts end.
    pub async fn run(self) -> Result<(), Error> {
        let Self {
            monitor,
            mut facts,
            mut look,
            mut report,
        } = self;
        let mut pace = Pace::default();
        loop {
            let began = Instant::now();
            let known = facts.borrow_and_update().clone();
            let looking = task::spawn_blocking(move || {
                let found = look.take(&known, began);
                (look, found)
            });
            let found;
            (look, found) = match looking.await {
                Ok(done) => done,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    Err(_runtime_ends) => return Ok(()),
                },
            };
            let differs = report.tell(found);
            let again_at = began + report.patience(&monitor).min(look.patience(began));
            time::sleep(pace.pause_after(began, Instant::now(), differs)).await;
            tokio::select! {
                heard = monitor.changed() => heard?,
                changed = facts.changed() => if changed.is_err() { return Ok(()) },
                () = time::sleep_until(again_at.into()) => {}
                () = report.snapshots.closed() => return Ok(()),
            }
        }
    }
}

// === impl Look ===

impl Look {
    fn take(&mut self, facts: &Facts, now: Instant) -> Result<Snapshot, Error> {
        let scan = Scan::take(&mut self.routing)?;
        let cni = self.cache.claims();
        let endpoints = classify(&scan, facts, &cni, |ifindex| {
            self.waits.is_over(ifindex, now)
        });
        self.waits.update(&endpoints, facts.complete, now);
        Ok(Snapshot {
            complete: facts.complete,
            uplinks: uplinks(&scan, facts, &endpoints),
            endpoints,
            local_addrs: scan.local_addrs(),
        })
    }

    fn patience(&self, now: Instant) -> Duration {
        let next = self.waits.next(now).map(|end| end.duration_since(now));
        next.unwrap_or(LOOK_ALWAYS)
    }
}

// === impl Report ===

impl Report {
    /// Says whether what was found differs from what was told before.
    fn tell(&mut self, found: Result<Snapshot, Error>) -> bool {
        match found {
            Ok(snapshot) => {
                if self.failing {
                    info!("devices can be read again");
                }
                let first = !self.begun;
                (self.begun, self.failing) = (true, false);
                self.snapshots.send_if_modified(|told| {
                    let differs = first || *told != snapshot;
                    *told = snapshot;
                    differs
                })
            }
            Err(error) => {
                if !self.failing {
                    let error: &dyn std::error::Error = &error;
                    warn!(error, "cannot read the devices, what is known stays in use");
                }
                self.failing = true;
                false
            }
        }
    }

    /// How long to wait at most before looking again.
    fn patience(&self, monitor: &Monitor) -> Duration {
        let pending = |told: &Snapshot| {
            told.endpoints
                .iter()
                .any(|endpoint| endpoint.kind == EndpointKind::Pending)
        };
        if self.failing {
            RETRY
        } else if pending(&self.snapshots.borrow()) {
            LOOK_WHILE_PENDING
        } else if monitor.hears_pods() {
            LOOK_ALWAYS
        } else {
            LOOK_WITHOUT_EVENTS
        }
    }
}
