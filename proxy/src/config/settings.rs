//! Each thing that an agent can be told, as a flag and as a line of the configuration file.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Attach, LogFormat};

#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// This node's name; the host's name by default
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,
    /// Take the objects from the YAML and JSON files of this directory
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "api_servers"])]
    pub manifests: Option<PathBuf>,
    /// How to reach the API server; by default KUBECONFIG, then the pod's service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Addresses of API servers, tried in turn instead of the configured one
    #[arg(long = "api-server", value_name = "URL", value_delimiter = ',')]
    pub api_servers: Vec<String>,
    /// Directory on a bpffs where maps and links are pinned [default: /sys/fs/bpf/switchboard]
    #[arg(long, value_name = "DIR")]
    pub pin_dir: Option<PathBuf>,
    /// Directory of the socket and of what a restart wants to know [default: /run/switchboard]
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// The cgroup2 whose sockets are translated; by default the root of the hierarchy
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,
    /// Directory of the CNI plugins' cached results, which say whose an address is
    #[arg(long, value_name = "DIR")]
    pub cni_cache: Option<PathBuf>,
    /// How programs are attached to devices [default: auto]
    #[arg(long, value_enum, value_name = "HOW")]
    pub attach: Option<Attach>,
    /// What is logged, as in info,switchboard::watch=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// How it is logged [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

// === impl Settings ===

impl Settings {
    /// These, and `others` where these say nothing. A source of objects is taken as a whole.
    pub(super) fn or(self, others: Self) -> Self {
        let names_source =
            self.manifests.is_some() || self.kubeconfig.is_some() || !self.api_servers.is_empty();
        let (manifests, kubeconfig, api_servers) = if names_source {
            (self.manifests, self.kubeconfig, self.api_servers)
        } else {
            (others.manifests, others.kubeconfig, others.api_servers)
        };
        Self {
            node_name: self.node_name.or(others.node_name),
            manifests,
            kubeconfig,
            api_servers,
            pin_dir: self.pin_dir.or(others.pin_dir),
            run_dir: self.run_dir.or(others.run_dir),
            cgroup: self.cgroup.or(others.cgroup),
            cni_cache: self.cni_cache.or(others.cni_cache),
            attach: self.attach.or(others.attach),
            log: self.log.or(others.log),
            log_format: self.log_format.or(others.log_format),
        }
    }
}
