//! What an agent is told, once flags, environment, file and defaults have been weighed.

mod choice;
mod duration;
mod effective;
mod file;
mod flags;
mod kube_proxy;
mod problem;
pub mod proxy;
mod reasons;
mod resolve;
mod settings;
#[cfg(test)]
mod tests;
mod told;

use std::{env, fs, path::PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use self::{
    choice::{Algorithm, Dialect, Xdp},
    duration::GoDuration,
    file::{ConfigFile, Kind},
    flags::KubeProxyFlags,
    kube_proxy::{Fate, Field},
    problem::{Invalid, Problem},
    proxy::Proxy,
    settings::{FeatureGates, ProxySettings, Settings},
    told::Told,
};
use crate::attach::links::cgroup2_mount;

pub const PIN_DIR: &str = "/sys/fs/bpf/switchboard";
pub const RUN_DIR: &str = "/run/switchboard";
/// The client library logs each request that fails, and so does the source, once for an outage.
const LOG_FILTER: &str = "info,kube_client=off,kube_runtime=off";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// tcx where the kernel has it, from Linux 6.6 on
    #[default]
    Auto,
    Tcx,
    Clsact,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Everything decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub node_name: String,
    pub source: Source,
    pub pin_dir: PathBuf,
    pub run_dir: PathBuf,
    pub cgroup: PathBuf,
    /// Instead of the usual places.
    pub cni_cache: Option<PathBuf>,
    /// Where the host's sysctls are.
    pub proc_sys: PathBuf,
    pub attach: Attach,
    pub xdp: Xdp,
    /// A filter of `tracing_subscriber`.
    pub log: String,
    pub log_format: LogFormat,
    pub proxy: Proxy,
    /// What was set without effect, for the log.
    pub notes: Vec<String>,
}

/// Where objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Directory(PathBuf),
    Api {
        /// Without it, the service account of the pod.
        kubeconfig: Option<PathBuf>,
        /// Tried in turn instead of the configured one.
        servers: Vec<String>,
    },
}

// === impl Config ===

impl Config {
    /// What nobody has said comes from the machine or is the default.
    pub fn new(told: Told) -> anyhow::Result<Self> {
        let Told { settings, notes } = told;
        let mut proxy = Proxy::new(&settings.proxy)?;
        let node_name = match &settings.node_name {
            Some(name) => canonical_node_name(name),
            None => host_name()?,
        };
        if node_name.is_empty() {
            bail!("this node's name is empty: say --node-name NAME");
        }
        proxy.configz["hostnameOverride"] = node_name.as_str().into();
        let cgroup = match &settings.cgroup {
            Some(dir) => dir.clone(),
            None => cgroup2_mount().context(
                "no cgroup2 hierarchy is mounted: mount one with `mount -t cgroup2 none DIR`, or \
                 say --cgroup DIR",
            )?,
        };
        Ok(Self {
            node_name,
            source: Source::new(&settings)?,
            pin_dir: settings.pin_dir.unwrap_or_else(|| PIN_DIR.into()),
            run_dir: settings.run_dir.unwrap_or_else(|| RUN_DIR.into()),
            cgroup,
            cni_cache: settings.cni_cache,
            proc_sys: settings.proc_sys.unwrap_or_else(|| "/proc/sys".into()),
            attach: settings.attach.unwrap_or_default(),
            xdp: settings.xdp.unwrap_or_default(),
            log: settings.log.unwrap_or_else(|| LOG_FILTER.to_owned()),
            log_format: settings.log_format.unwrap_or_default(),
            proxy,
            notes,
        })
    }
}

// === impl Source ===

impl Source {
    fn new(settings: &Settings) -> anyhow::Result<Self> {
        let api = settings.kubeconfig.is_some() || !settings.api_servers.is_empty();
        match &settings.manifests {
            Some(_) if api => bail!("objects come from a directory or from an API: name only one"),
            Some(dir) => Ok(Self::Directory(dir.clone())),
            None => Ok(Self::Api {
                kubeconfig: settings
                    .kubeconfig
                    .clone()
                    .or_else(kubeconfig_of_environment),
                servers: settings.api_servers.clone(),
            }),
        }
    }
}

fn kubeconfig_of_environment() -> Option<PathBuf> {
    env::var_os("KUBECONFIG")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// As the kubelet registers it (services.md 3).
pub fn canonical_node_name(name: &str) -> String {
    name.trim().to_lowercase()
}

/// kube-proxy's verbosity as a filter; `None` for what is logged anyway.
const fn log_filter(verbosity: u32) -> Option<&'static str> {
    match verbosity {
        0..=3 => None,
        4..=5 => Some("info,switchboard=debug,kube_client=off,kube_runtime=off"),
        _ => Some("debug,switchboard=trace"),
    }
}

fn host_name() -> anyhow::Result<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .context("read the host's name: say --node-name NAME")?;
    Ok(canonical_node_name(&name))
}
