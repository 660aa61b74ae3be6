//! Each thing that an agent can be told, as a flag and as a line of the configuration file.

mod gates;
mod proxy;

use std::path::PathBuf;

use anyhow::bail;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

pub use self::{gates::FeatureGates, proxy::ProxySettings};
use super::{Attach, LogFormat, Xdp};

#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
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
    /// Where the host's /proc/sys can be written, for connection tracking [default: /proc/sys]
    #[arg(long, value_name = "DIR")]
    pub proc_sys: Option<PathBuf>,
    /// How programs are attached to devices [default: auto]
    #[arg(long, value_enum, value_name = "HOW")]
    pub attach: Option<Attach>,
    /// Where packets are sent on before the kernel takes them in [default: auto]
    #[arg(long, value_enum, value_name = "WHERE")]
    pub xdp: Option<Xdp>,
    /// What is logged, as in info,switchboard::watch=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// How it is logged [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// In a file, its settings stand beside the others.
    #[command(flatten)]
    #[serde(skip)]
    pub proxy: ProxySettings,
}

// === impl Settings ===

impl Settings {
    /// What a file says. An error names the field; `serde(flatten)` would lose its name.
    pub(super) fn read(fields: Map<String, Value>) -> anyhow::Result<Self> {
        let known = Self::default().write(|_| true)?;
        let unknown: Vec<String> = fields
            .keys()
            .filter(|name| !known.contains_key(*name))
            .map(|name| format!("unknown field `{name}`"))
            .collect();
        if !unknown.is_empty() {
            bail!("{}", unknown.join(", "));
        }
        let fields = Value::Object(fields);
        Ok(Self {
            proxy: typed(&fields)?,
            ..typed(&fields)?
        })
    }

    /// The lines of a file whose values are `wanted`.
    fn write(&self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Map<String, Value>> {
        let parts = [fields_of(self)?, fields_of(&self.proxy)?];
        let all = parts.into_iter().flatten();
        Ok(all.filter(|(_, value)| wanted(value)).collect())
    }

    /// The file that says the same.
    pub fn to_file(&self) -> anyhow::Result<Map<String, Value>> {
        self.write(|value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()))
    }

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
            proc_sys: self.proc_sys.or(others.proc_sys),
            attach: self.attach.or(others.attach),
            xdp: self.xdp.or(others.xdp),
            log: self.log.or(others.log),
            log_format: self.log_format.or(others.log_format),
            proxy: self.proxy.or(others.proxy),
        }
    }
}

/// The value as a type; an error begins with the path of the field.
pub(super) fn typed<T: DeserializeOwned>(value: &Value) -> anyhow::Result<T> {
    Ok(serde_path_to_error::deserialize(value)?)
}

/// Fails where a path is no UTF-8.
pub(super) fn fields_of<T: Serialize>(settings: &T) -> anyhow::Result<Map<String, Value>> {
    typed(&serde_json::to_value(settings)?)
}

/// As Go's flags have it.
fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}
