//! What an agent does before its loop: log, datapath, sockets, servers and sources.

use std::io::IsTerminal as _;

use anyhow::Context;
use tokio::{
    runtime,
    sync::{mpsc, watch as latest},
    task::JoinSet,
};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use super::{
    Agent, Inputs,
    programmer::Programmer,
    reporting::{self, Reporting},
};
use crate::{
    attach::{
        discovery::{Facts, Options, Snapshot, Watcher},
        links::{self, Attachments, Method},
    },
    compile::Settings,
    config::{self, Attach, Config, LogFormat, Source},
    model::{Cluster, Event},
    observe::{NameFile, Server},
    tables::{Datapath, OBJECT, PinDir},
    watch::{self, Notices},
};

/// Events waiting for the loop: a source that is faster than the loop waits for it.
const EVENTS_MAX: usize = 4096;
const QUERIES_MAX: usize = 16;

/// Runs until a signal ends it. Everything in the kernel stays as it is.
pub fn run(config: Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log)
        .with_context(|| format!("cannot understand the log filter {:?}", config.log))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    // One thread: the loop is the only one with work, and a source waits for it anyway.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the agent's runtime")?;
    runtime.block_on(start(config))
}

async fn start(config: Config) -> anyhow::Result<()> {
    for note in &config.notes {
        warn!("{note}");
    }
    reporting::set_up_conntrack(&config);
    let pins = PinDir::new(&config.pin_dir);
    let Datapath {
        tables,
        programs,
        lock,
    } = Datapath::load(OBJECT, &pins).context("cannot load the datapath")?;
    let attachments = Attachments::new(pins.clone(), programs, method(config.attach));
    let cluster = Cluster::new(config.node_name.as_str());
    let names = NameFile::new(&config.run_dir);
    let mut settings = Settings::new(&config.proxy);
    if let Some(ports) = reporting::local_ports() {
        settings.local_ports = ports;
    }
    let programmer = Programmer::new(cluster, tables, names, settings)
        .context("cannot read what the maps hold")?;
    // The socket hooks find the frontends that an agent before us left, or none.
    let cgroup = config.cgroup.display();
    attachments
        .attach_sockets(&config.cgroup)
        .with_context(|| format!("cannot attach to the sockets of {cgroup}"))?;

    let mut tasks = JoinSet::new();
    let (facts, devices) = watch_devices(&config, &mut tasks)?;
    let server = Server::bind(&config.run_dir).context("cannot open the agent's socket")?;
    let (queries_sender, queries) = mpsc::channel(QUERIES_MAX);
    tasks.spawn(async move {
        let served = server.run(queries_sender).await;
        served.context("cannot serve the socket")
    });
    let notices = Notices::default();
    let (reporting, scrapes) = Reporting::start(&config, &notices, &mut tasks)?;
    let (events_sender, events) = mpsc::channel(EVENTS_MAX);
    let (in_use, api_in_use) = latest::channel(String::new());
    tasks.spawn(source(config.clone(), events_sender, notices, in_use));
    info!(node = %config.node_name, %cgroup, "started");

    let mut agent = Agent {
        started: jiff::Timestamp::now(),
        programmer,
        reporting,
        triggers: Vec::new(),
        attachments,
        facts,
        devices: None,
        unattached: Default::default(),
        retry_at: None,
        api_in_use,
        pins,
        lock,
        config,
    };
    let inputs = Inputs {
        events,
        devices,
        queries,
        scrapes,
    };
    agent.run(inputs, tasks).await
}

/// What the watcher is told, and what it sees.
fn watch_devices(
    config: &Config,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<(latest::Sender<Facts>, latest::Receiver<Snapshot>)> {
    let (facts, facts_receiver) = latest::channel(Facts::default());
    let mut options = Options::default();
    if let Some(dir) = &config.cni_cache {
        options.cni_cache = vec![dir.clone()];
    }
    let (watcher, devices) =
        Watcher::new(options, facts_receiver).context("cannot watch the devices")?;
    tasks.spawn(async move { watcher.run().await.context("cannot watch the devices") });
    Ok((facts, devices))
}

async fn source(
    config: Config,
    events: mpsc::Sender<Event>,
    notices: Notices,
    in_use: latest::Sender<String>,
) -> anyhow::Result<()> {
    match config.source {
        Source::Directory(directory) => {
            watch::directory::run(directory, config.node_name, events).await
        }
        Source::Api {
            kubeconfig,
            servers,
        } => {
            let options = watch::kube::Options {
                kubeconfig,
                api_servers: servers,
                run_dir: config.run_dir,
                in_use,
            };
            watch::kube::run_with_notices(options, config.node_name, events, notices).await
        }
    }
}

pub(super) const fn xdp(xdp: config::Xdp) -> links::Xdp {
    match xdp {
        config::Xdp::Auto => links::Xdp::Auto,
        config::Xdp::Off => links::Xdp::Off,
        config::Xdp::Driver => links::Xdp::Driver,
        config::Xdp::Generic => links::Xdp::Generic,
    }
}

const fn method(attach: Attach) -> Method {
    match attach {
        Attach::Auto => Method::Auto,
        Attach::Tcx => Method::Tcx,
        Attach::Clsact => Method::Clsact,
    }
}
