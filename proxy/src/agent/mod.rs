//! The agent: events → model → compile → plan → apply, in one loop that alone knows the state.
//!
//! Every timer, retry and order of stages is here; what a stage does is not. The kernel goes on
//! with what it has when the agent ends, and a start begins by reading that back (reliability.md
//! R1, R3).

mod programmer;
mod reporting;
mod start;
mod status;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch as latest},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

pub use self::start::run;
use self::{
    programmer::Programmer,
    reporting::{Reporting, Scrapes},
};
use crate::{
    attach::{
        discovery::{Facts, Snapshot, UplinkKind},
        links::{self, Attachments, Device},
    },
    config::Config,
    model::{self, Event, Trigger},
    observe::{Query, World, service::views, trace},
    serve::Extent,
    tables::{PinDir, PinLock, Tables},
};

/// Events taken before what follows from them is programmed, so that a flood does not hold it up.
const BATCH_MAX: usize = 16_384;
/// After a map write or an attachment failed.
const RETRY: Duration = Duration::from_secs(1);

/// Where the loop's work comes from.
struct Inputs {
    events: mpsc::Receiver<Event>,
    devices: latest::Receiver<Snapshot>,
    queries: mpsc::Receiver<Query>,
    scrapes: Scrapes,
}

/// What the loop owns.
struct Agent {
    config: Config,
    started: jiff::Timestamp,
    programmer: Programmer,
    reporting: Reporting,
    /// What asked for the changes that are not programmed yet.
    triggers: Vec<Trigger>,
    attachments: Attachments,
    facts: latest::Sender<Facts>,
    /// `None` before the first look: nothing is detached for not having been seen yet.
    devices: Option<Snapshot>,
    /// Devices that the programs could not be attached to, and why.
    unattached: BTreeSet<(String, String)>,
    retry_at: Option<Instant>,
    /// The URL of the API server in use, empty if there is none.
    api_in_use: latest::Receiver<String>,
    pins: PinDir,
    lock: PinLock,
}

// === impl Agent ===

impl Agent {
    async fn run(
        &mut self,
        inputs: Inputs,
        mut tasks: JoinSet<anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let Inputs {
            mut events,
            mut devices,
            mut queries,
            mut scrapes,
        } = inputs;
        let mut terminate = signal(SignalKind::terminate()).context("cannot await SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot await SIGINT")?;
        let mut batch = Vec::new();
        loop {
            let retry_at = self.retry_at;
            tokio::select! {
                biased;
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                Some(ended) = tasks.join_next() => {
                    ended.context("a task of the agent panicked")??;
                    anyhow::bail!("a task of the agent ended");
                }
                Some(query) = queries.recv() => self.answer(query),
                Some(scrape) = scrapes.recv() => {
                    // Whoever asked may be gone.
                    let _ = scrape.send(self.reporting.sample(&self.programmer));
                }
                Ok(()) = devices.changed() => {
                    let devices = devices.borrow_and_update().clone();
                    self.look(devices).await;
                }
                () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => {
                    self.retry_at = None;
                    self.attach();
                    self.program().await;
                }
                count = events.recv_many(&mut batch, BATCH_MAX) => {
                    if count > 0 {
                        self.handle(&mut batch).await;
                    }
                }
            }
        }
        info!("stopped; the kernel goes on with what it has");
        Ok(())
    }

    /// Takes in how the node is connected: programs go on its devices, and its addresses are part
    /// of what is programmed.
    async fn look(&mut self, devices: Snapshot) {
        let uplinks = devices.uplinks.iter().map(|found| model::Uplink {
            ifindex: found.ifindex,
            addrs: found.addrs.clone(),
        });
        let uplinks: Vec<model::Uplink> = uplinks.collect();
        let mut batch = Vec::new();
        let before = self.devices.as_ref();
        if before.is_none_or(|before| before.local_addrs != devices.local_addrs) {
            batch.push(Event::LocalAddrs(devices.local_addrs.clone()));
        }
        if before.is_none_or(|before| before.uplinks != devices.uplinks) {
            batch.push(Event::Uplinks(uplinks));
        }
        self.devices = Some(devices);
        self.attach();
        if !batch.is_empty() {
            self.handle(&mut batch).await;
        }
    }

    /// Takes in what happened and programs what follows from it, once for the whole batch.
    async fn handle(&mut self, batch: &mut Vec<Event>) {
        self.reporting.arrived(batch);
        for event in batch.drain(..) {
            self.programmer.cluster.handle(event);
        }
        self.reporting.taken(&self.programmer);
        self.tell_facts();
        self.program().await;
    }

    async fn program(&mut self) {
        let began = Instant::now();
        let extent = if self.programmer.has_begun() {
            Extent::Partial
        } else {
            Extent::Full
        };
        self.triggers
            .extend(self.programmer.cluster.take_triggers());
        let mut done = self.programmer.pass();
        self.reporting.ended(&self.programmer.take_ended());
        if self.programmer.has_begun() {
            self.reporting
                .passed(done, extent, began.elapsed(), &self.triggers);
            if done {
                self.triggers.clear();
            }
            done &= self.reporting.listen(&self.programmer).await;
        }
        if !done {
            self.retry(RETRY);
        } else if let Some(wait) = self.programmer.again_in() {
            self.retry(wait);
        }
    }

    fn tell_facts(&self) {
        let facts = Facts::of(&self.programmer.cluster);
        self.facts.send_if_modified(|told| {
            let differs = *told != facts;
            *told = facts;
            differs
        });
    }

    /// Makes the pods' devices, those that may be, and uplinks the ones with our programs.
    fn attach(&mut self) {
        let Some(devices) = &self.devices else {
            return;
        };
        let wanted = match self.wanted(devices) {
            Ok(wanted) => wanted,
            Err(error) => {
                warn!("cannot list what is attached: {}", chain(&error));
                return self.retry(RETRY);
            }
        };
        let mut unattached = BTreeSet::new();
        let on_wires = self.wires();
        let attached = self.attachments.reconcile(&wanted).and_then(|failures| {
            let more = on_wires.map(|(wires, xdp)| self.attachments.reconcile_wires(&wires, xdp));
            Ok(failures
                .into_iter()
                .chain(more.transpose()?.into_iter().flatten()))
        });
        match attached {
            Ok(failures) => {
                // A device that is gone takes its programs along, and the next look knows.
                for failure in failures.filter(|failure| !failure.is_gone()) {
                    let reason = chain(&failure.source);
                    unattached.insert((failure.device.ifname.clone(), reason));
                }
            }
            Err(error) => {
                unattached.insert((String::from("devices"), chain(&error)));
            }
        }
        for (device, reason) in unattached.difference(&self.unattached) {
            warn!(%device, "cannot attach the programs: {reason}");
        }
        if unattached.is_empty() {
            self.forget_other_layouts();
        } else {
            self.retry(RETRY);
        }
        self.unattached = unattached;
    }

    /// The devices that get `from_wire`, and how; `None` while they are left as they are.
    fn wires(&self) -> Option<(Vec<Device>, links::Xdp)> {
        let devices = self.devices.as_ref().filter(|devices| devices.complete)?;
        let xdp = start::xdp(self.config.xdp);
        let kinds: &[_] = match xdp {
            links::Xdp::Auto | links::Xdp::Off => &[UplinkKind::Card],
            links::Xdp::Driver | links::Xdp::Generic => &[UplinkKind::Card, UplinkKind::Ethernet],
        };
        Some((devices.uplinks_of(kinds), xdp))
    }

    fn wanted(&self, devices: &Snapshot) -> Result<Vec<Device>, links::Error> {
        let mut wanted = devices.wanted();
        if !devices.complete {
            // What seems to be no pod's may turn out to be one.
            for attached in self.attachments.list()? {
                if wanted
                    .iter()
                    .all(|device| device.ifindex != attached.device.ifindex)
                {
                    wanted.push(attached.device);
                }
            }
        }
        Ok(wanted)
    }

    /// Once our programs are everywhere and have all that they need, nothing reads the maps of an
    /// agent with another layout any more.
    fn forget_other_layouts(&self) {
        if !self.programmer.has_begun() {
            return;
        }
        match self.pins.remove_other_layouts(&self.lock) {
            Ok(removed) => {
                for map in removed {
                    info!(map = %map.display(), "forgot a map of another layout");
                }
            }
            Err(error) => warn!("cannot forget the maps of other layouts: {}", chain(&error)),
        }
    }

    fn retry(&mut self, wait: Duration) {
        let at = Instant::now() + wait;
        self.retry_at = Some(self.retry_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn answer(&self, query: Query) {
        let Programmer {
            compiler, cluster, ..
        } = &self.programmer;
        // Whoever asked may be gone.
        match query {
            Query::Status(reply) => {
                let _ = reply.send(self.status());
            }
            Query::Services(reply) => {
                let world = World::new(compiler.desired(), compiler, cluster);
                let _ = reply.send(views(&world));
            }
            Query::Trace(question, reply) => {
                let _ = reply.send(self.trace(&question));
            }
        }
    }

    /// By the maps as the programs read them, which may differ from what they should hold.
    fn trace(&self, question: &trace::Question) -> Result<trace::Answer, String> {
        let Programmer {
            tables,
            compiler,
            cluster,
            ..
        } = &self.programmer;
        let maps = tables.dump().map_err(|error| chain(&error))?;
        trace::answer(question, &World::new(&maps, compiler, cluster))
            .map_err(|error| error.to_string())
    }
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
