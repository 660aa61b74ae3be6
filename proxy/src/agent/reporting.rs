//! What the agent's loop tells those who ask over HTTP, and the ports that load balancers ask at.

use std::{fs, net::IpAddr, time::Duration};

use anyhow::Context;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tracing::warn;

use super::programmer::{Ended, Programmer};
use crate::{
    attach::conntrack,
    config::{
        Config,
        proxy::{NodePortAddresses, PortRange},
    },
    model::{Diagnostic, Event, IpFamily, Trigger},
    serve::{
        self, Clock, Extent, HealthPort, HealthPorts, Monitor, Sample, Samples, health_ports,
        listen_addrs, local_gaps,
    },
    watch::Notices,
};

const FAMILIES: [IpFamily; 2] = [IpFamily::V4, IpFamily::V6];

pub(super) struct Reporting {
    monitor: Monitor,
    ports: HealthPorts,
    /// What `ports` was told last.
    told: (Vec<HealthPort>, Vec<IpAddr>),
    node_port_addresses: NodePortAddresses,
}

/// Scrapes that wait for the loop.
pub(super) type Scrapes = mpsc::Receiver<oneshot::Sender<Sample>>;

// === impl Reporting ===

impl Reporting {
    /// Starts the servers; a task ends only if one of them cannot be bound and that is the end.
    pub(super) fn start(
        config: &Config,
        notices: &Notices,
        tasks: &mut JoinSet<anyhow::Result<()>>,
    ) -> anyhow::Result<(Self, Scrapes)> {
        let proxy = &config.proxy;
        let monitor = Monitor::new(proxy.health_timeout(), Clock::default());
        let runtime = serve::runtime().context("cannot start the servers' thread")?;
        let (samples, scrapes) = Samples::channel();
        let options = serve::Options {
            node: config.node_name.as_str().into(),
            healthz: proxy.healthz_bind,
            metrics: proxy.metrics_bind,
            bind_hard_fail: proxy.bind_hard_fail,
            mode: proxy.mode.name().to_owned(),
            configz: proxy.configz.clone(),
        };
        let servers = serve::run(options, monitor.clone(), samples, notices.clone());
        let servers = runtime.spawn(servers);
        tasks.spawn(async move {
            servers.await.context("the servers panicked")??;
            Ok(())
        });
        let health = monitor.health.clone();
        let ports = HealthPorts::new(runtime, health, notices.clone(), &config.node_name);
        notices.tell(serve::starting(&config.node_name));
        let reporting = Self {
            monitor,
            ports,
            told: Default::default(),
            node_port_addresses: proxy.node_port_addresses.clone(),
        };
        Ok((reporting, scrapes))
    }

    /// Before the model takes events in.
    pub(super) fn arrived(&self, events: &[Event]) {
        for event in events {
            self.monitor.metrics.arrived(event);
        }
        for family in FAMILIES {
            self.monitor.queued(family);
        }
    }

    /// Once the model has taken them in.
    pub(super) fn taken(&self, programmer: &Programmer) {
        self.monitor.health.node(&programmer.cluster);
        self.monitor.metrics.taken();
    }

    /// After a pass over what was queued.
    pub(super) fn passed(&self, done: bool, extent: Extent, took: Duration, triggers: &[Trigger]) {
        for family in FAMILIES {
            if done {
                self.monitor.synced(family, extent, took);
            } else {
                self.monitor.failed(family, extent, took);
            }
        }
        if done {
            self.monitor.metrics.programmed(triggers);
        }
    }

    /// After sockets of backends that went were looked for.
    pub(super) fn ended(&self, ended: &[Ended]) {
        for ended in ended {
            let metrics = &self.monitor.metrics;
            metrics.flows_ended(ended.family, ended.sockets, ended.took);
        }
    }

    /// Opens and closes the Services' health check ports. False if one could not be opened: call
    /// again later.
    pub(super) async fn listen(&mut self, programmer: &Programmer) -> bool {
        let wanted = health_ports(&programmer.cluster);
        let addrs = listen_addrs(
            &self.node_port_addresses,
            programmer.cluster.local_addrs(),
            programmer.compiler.primary_addrs(),
        );
        let told = (wanted, addrs);
        if told != self.told || self.ports.has_failed() {
            self.ports.reconcile(&told.0, &told.1).await;
            self.told = told;
        }
        !self.ports.has_failed()
    }

    pub(super) fn diagnostics(&self) -> impl Iterator<Item = Diagnostic> + '_ {
        self.ports.diagnostics()
    }

    /// Answers one scrape.
    pub(super) fn sample(&self, programmer: &Programmer) -> Sample {
        Sample {
            counters: programmer.tables.counters().unwrap_or_default(),
            usage: programmer.usage().unwrap_or_default(),
            diagnostics: programmer.diagnostics().len() + self.diagnostics().count(),
            writes_total: programmer.writes_total,
            local_gaps: local_gaps(&programmer.cluster),
        }
    }
}

/// Sets up connection tracking as kube-proxy does. Not the end if it fails: Services do not need
/// it.
pub(super) fn set_up_conntrack(config: &Config) {
    if let Err(error) = conntrack::apply(&config.proc_sys, &config.proxy.conntrack) {
        warn!(
            "connection tracking stays as it is: {}",
            super::chain(&error)
        );
    }
}

/// What the kernel gives to sockets; its default where it does not say.
pub(super) fn local_ports() -> Option<PortRange> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(PortRange { first, last })
}
