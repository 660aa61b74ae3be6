//! A real control plane: etcd, kube-apiserver and kube-controller-manager as processes.
//!
//! There are no nodes, no scheduler and no kubelet: who uses it creates Nodes and Pods and patches
//! their status. The controllers that would evict such pods are left out.

mod daemon;
mod flags;
mod kubectl;
pub mod objects;
mod pki;
pub mod programs;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

pub use self::kubectl::Kubectl;
use self::{
    daemon::Daemon,
    pki::{Pki, User},
    programs::Programs,
};

/// From start to ready takes 3 s on two idle cores.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// The file that makes a folder a control plane's.
const STATE_FILE: &str = "control-plane.json";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// Where a control plane runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Site {
    /// Its address. Pods cannot reach one on loopback through the `kubernetes` Service.
    pub address: IpAddr,
    /// The words in front of a command that make it run where the address is and all ports are
    /// free, in a network namespace made for it. None: run it here.
    pub enter: Vec<String>,
}

/// A control plane with any number of API servers over one etcd.
pub struct ControlPlane {
    dir: PathBuf,
    programs: Programs,
    state: State,
    etcd: Option<Daemon>,
    api_servers: Vec<Option<Daemon>>,
    controller_manager: Option<Daemon>,
}

/// What another process has to know to find the control plane.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    site: Site,
    etcd_port: u16,
    peer_port: u16,
    api_ports: Vec<u16>,
}

/// One process, for people.
#[derive(Debug)]
pub struct ProcessStatus {
    pub name: String,
    /// None: not running.
    pub pid: Option<i32>,
    pub log: PathBuf,
}

// === impl Site ===

impl Site {
    /// The machine's own loopback.
    pub const LOOPBACK: Self = Self {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        enter: Vec::new(),
    };

    fn command(&self, program: &Path) -> Vec<String> {
        self.enter
            .iter()
            .cloned()
            .chain([program.display().to_string()])
            .collect()
    }
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Starts one with `api_servers` API servers in `dir`, and waits until the first is ready.
    ///
    /// # Errors
    /// A program is missing, or ended, or is not ready in time.
    pub fn start(dir: &Path, site: Site, api_servers: usize) -> Result<Self> {
        let programs = programs::obtain()?;
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let state = State::new(site, api_servers)?;
        let server = state.server_url(0);
        let pki = Pki::create(&dir.join("pki"))?;
        pki.issue_server(&[state.site.address, IpAddr::V4(Ipv4Addr::LOCALHOST)])?;
        let admin = User {
            name: "admin",
            group: Some("system:masters"),
        };
        pki.issue_client("admin", admin, &server)?;
        let controllers = User {
            name: "system:kube-controller-manager",
            group: None,
        };
        pki.issue_client(CONTROLLER_MANAGER, controllers, &server)?;
        let text = serde_json::to_string(&state).context("write the control plane's state")?;
        let path = dir.join(STATE_FILE);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        let mut plane = Self::assemble(dir, programs, state);
        plane.resume()?;
        Ok(plane)
    }

    /// The control plane that an earlier process started in `dir`, if there is one.
    ///
    /// # Errors
    /// Its state cannot be read.
    pub fn open(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(STATE_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let state: State =
            serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))?;
        let mut plane = Self::assemble(dir, programs::obtain()?, state);
        plane.etcd = Daemon::find(dir, "etcd");
        plane.controller_manager = Daemon::find(dir, CONTROLLER_MANAGER);
        for index in 0..plane.api_servers.len() {
            plane.api_servers[index] = Daemon::find(dir, &api_server_name(index));
        }
        Ok(Some(plane))
    }

    fn assemble(dir: &Path, programs: Programs, state: State) -> Self {
        let api_servers = state.api_ports.iter().map(|_| None).collect();
        let dir = dir.to_owned();
        Self {
            dir,
            programs,
            state,
            etcd: None,
            api_servers,
            controller_manager: None,
        }
    }

    /// Starts what does not run, of which only the first API server is one.
    ///
    /// # Errors
    /// As for `start`.
    pub fn resume(&mut self) -> Result<()> {
        if self.etcd.is_none() {
            self.etcd = Some(self.spawn("etcd", &self.programs.etcd, &self.etcd_flags())?);
        }
        self.start_api_server(0)?;
        if self.controller_manager.is_none() {
            let program = &self.programs.kube_controller_manager;
            let daemon = self.spawn(CONTROLLER_MANAGER, program, &self.controller_flags())?;
            self.controller_manager = Some(daemon);
        }
        Ok(())
    }

    /// Starts an API server, unless it runs, and waits until it is ready.
    ///
    /// # Errors
    /// It ended or is not ready in time.
    pub fn start_api_server(&mut self, index: usize) -> Result<()> {
        let name = api_server_name(index);
        let mut daemon = match self.api_servers[index].take() {
            Some(daemon) => daemon,
            None => {
                let flags = self.api_server_flags(index);
                self.spawn(&name, &self.programs.kube_apiserver, &flags)?
            }
        };
        let kubectl = self.kubectl_to(index);
        let deadline = Instant::now() + READY_TIMEOUT;
        while let Err(error) = kubectl.run(&["get", "--raw", "/readyz"]) {
            daemon.check().with_context(|| format!("start {name}"))?;
            if let Some(etcd) = &mut self.etcd {
                etcd.check().context("start etcd")?;
            }
            if Instant::now() > deadline {
                return Err(error.context(format!("{name} is not ready after {READY_TIMEOUT:?}")));
            }
            sleep(Duration::from_millis(50));
        }
        self.api_servers[index] = Some(daemon);
        Ok(())
    }

    /// Whether that API server has been started and not stopped.
    #[must_use]
    pub fn is_running(&self, index: usize) -> bool {
        self.api_servers[index].is_some()
    }

    /// Kills an API server, as a crash would: its connections end at once.
    ///
    /// With the first goes the controller-manager, which knows no other: it would notice the
    /// server's return only after half a minute. `resume` starts both.
    ///
    /// # Errors
    /// It does not run or does not end.
    pub fn stop_api_server(&mut self, index: usize) -> Result<()> {
        if index == 0
            && let Some(controllers) = self.controller_manager.take()
        {
            controllers.stop(Signal::KILL)?;
        }
        let daemon = self.api_servers[index].take();
        daemon
            .with_context(|| format!("{} does not run", api_server_name(index)))?
            .stop(Signal::KILL)
    }

    /// Ends all of it, clients before servers.
    ///
    /// # Errors
    /// One of the processes does not end; the others have been ended.
    pub fn stop(mut self) -> Result<()> {
        let servers = self.api_servers.iter_mut().map(Option::take);
        let clients = [self.controller_manager.take()]
            .into_iter()
            .chain(servers)
            .flatten();
        // They keep nothing that only an orderly end would save.
        let mut results: Vec<Result<()>> =
            clients.map(|daemon| daemon.stop(Signal::KILL)).collect();
        results.extend(self.etcd.take().map(|daemon| daemon.stop(Signal::TERM)));
        results.into_iter().collect()
    }

    /// kubectl as the administrator, through the first API server.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        self.kubectl_to(0)
    }

    /// kubectl as the administrator, through another API server.
    #[must_use]
    pub fn kubectl_to(&self, index: usize) -> Kubectl {
        let mut command = self.state.site.command(&self.programs.kubectl);
        command.extend(["--server".to_owned(), self.state.server_url(index)]);
        let cache_dir = self.dir.join("kubectl-cache");
        Kubectl {
            command,
            kubeconfig: self.kubeconfig(),
            cache_dir,
        }
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("pki/admin.kubeconfig")
    }

    /// A kubeconfig with the rights of a ServiceAccount, for the agents.
    ///
    /// # Errors
    /// The account does not exist.
    pub fn kubeconfig_of_account(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let token = self
            .kubectl()
            .run(&["-n", namespace, "create", "token", account])?;
        let credentials = serde_json::json!({"token": token.trim()});
        let dir = self.dir.join("pki");
        pki::write_kubeconfig(&dir, account, &self.server_url(0), &credentials)?;
        Ok(dir.join(format!("{account}.kubeconfig")))
    }

    /// The folder with the programs' logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder with kubectl.
    #[must_use]
    pub fn kubectl_program(&self) -> &Path {
        &self.programs.kubectl
    }

    /// Where an API server listens.
    #[must_use]
    pub fn server_url(&self, index: usize) -> String {
        self.state.server_url(index)
    }

    /// What runs and what does not.
    pub fn status(&mut self) -> Vec<ProcessStatus> {
        let names = (0..self.api_servers.len()).map(api_server_name);
        let servers = names.zip(&mut self.api_servers);
        let rest = [
            ("etcd".to_owned(), &mut self.etcd),
            (CONTROLLER_MANAGER.to_owned(), &mut self.controller_manager),
        ];
        rest.into_iter()
            .chain(servers)
            .map(|(name, daemon)| ProcessStatus {
                pid: daemon.as_mut().and_then(Daemon::running_pid),
                log: self.dir.join(format!("{name}.log")),
                name,
            })
            .collect()
    }

    fn spawn(&self, name: &str, program: &Path, flags: &[String]) -> Result<Daemon> {
        let mut command = self.state.site.command(program);
        command.extend_from_slice(flags);
        Daemon::start(&self.dir, name, &command)
    }
}

// === impl State ===

impl State {
    /// Takes ports that are free; in a namespace of its own, every port is.
    fn new(site: Site, api_servers: usize) -> Result<Self> {
        if !site.enter.is_empty() {
            let api_ports = (6443..).take(api_servers).collect();
            return Ok(Self {
                site,
                etcd_port: 2379,
                peer_port: 2380,
                api_ports,
            });
        }
        // All are held until all are known, so that none is given twice.
        let listeners: Vec<TcpListener> = (0..api_servers + 2)
            .map(|_| TcpListener::bind(SocketAddr::new(site.address, 0)))
            .collect::<Result<_, _>>()
            .with_context(|| format!("find free ports of {}", site.address))?;
        let ports: Vec<u16> = listeners
            .iter()
            .map(|listener| listener.local_addr().map(|address| address.port()))
            .collect::<Result<_, _>>()
            .context("read a listener's port")?;
        let [etcd_port, peer_port, api_ports @ ..] = &ports[..] else {
            bail!("no ports for a control plane");
        };
        let api_ports = api_ports.to_vec();
        Ok(Self {
            site,
            etcd_port: *etcd_port,
            peer_port: *peer_port,
            api_ports,
        })
    }

    fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd_port)
    }

    fn server_url(&self, index: usize) -> String {
        format!(
            "https://{}",
            SocketAddr::new(self.site.address, self.api_ports[index])
        )
    }
}

fn api_server_name(index: usize) -> String {
    format!("kube-apiserver-{index}")
}
