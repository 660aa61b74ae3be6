//! What the agent is told: flags and environment first, then the file, then defaults.

mod file;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::ValueEnum;
use serde::Deserialize;

pub use self::file::ConfigFile;
use super::{PIN_DIR, RUN_DIR};

/// Run the agent of this node
///
/// It takes its objects from the Kubernetes API, or with --manifests from a directory of YAML files,
/// and programs what follows from them into the kernel. When it ends, the kernel goes on with what
/// it has; `switchboard cleanup` takes that away.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = "Examples:
  switchboard agent
  switchboard agent --manifests /etc/switchboard/objects --node-name edge-1")]
pub struct AgentArgs {
    /// This node's name; the host's name by default
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_name: Option<String>,
    /// Take the objects from the YAML and JSON files of this directory
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "api_servers"])]
    manifests: Option<PathBuf>,
    /// How to reach the API server; by default KUBECONFIG, then the pod's service account
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Addresses of API servers, tried in turn instead of the configured one
    #[arg(long = "api-server", value_name = "URL", value_delimiter = ',')]
    api_servers: Vec<String>,
    /// YAML file with the same settings in camelCase; flags win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory on a bpffs where maps and links are pinned [default: /sys/fs/bpf/switchboard]
    #[arg(long, value_name = "DIR")]
    pin_dir: Option<PathBuf>,
    /// Directory of the socket and of what a restart wants to know [default: /run/switchboard]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// The cgroup2 whose sockets are translated; by default the root of the hierarchy
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,
    /// How programs are attached to devices [default: auto]
    #[arg(long, value_enum, value_name = "HOW")]
    attach: Option<Attach>,
    /// What is logged, as in info,switchboard::watch=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How it is logged [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// tcx where the kernel has it, from Linux 6.6 on
    #[default]
    Auto,
    Tcx,
    Clsact,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
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
    pub attach: Attach,
    /// A filter of `tracing_subscriber`.
    pub log: String,
    pub log_format: LogFormat,
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

// === impl AgentArgs ===

impl AgentArgs {
    /// Reads the file, the environment and the machine for what the flags leave open.
    pub fn resolve(self) -> anyhow::Result<Config> {
        let file = match &self.config {
            Some(path) => ConfigFile::read(path)?,
            None => ConfigFile::default(),
        };
        let source = match self.source() {
            Some(source) => source,
            None => file.source()?.unwrap_or_else(Source::from_environment),
        };
        let node_name = match self.node_name.or(file.node_name) {
            Some(name) => name,
            None => host_name()?,
        };
        let cgroup = match self.cgroup.or(file.cgroup) {
            Some(dir) => dir,
            None => cgroup_root()?,
        };
        Ok(Config {
            node_name: canonical_node_name(&node_name),
            source,
            pin_dir: self
                .pin_dir
                .or(file.pin_dir)
                .unwrap_or_else(|| PIN_DIR.into()),
            run_dir: self
                .run_dir
                .or(file.run_dir)
                .unwrap_or_else(|| RUN_DIR.into()),
            cgroup,
            attach: self.attach.or(file.attach).unwrap_or_default(),
            log: self.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
            log_format: self.log_format.or(file.log_format).unwrap_or_default(),
            notes: file.notes,
        })
    }

    /// A source that a flag names replaces the file's as a whole.
    fn source(&self) -> Option<Source> {
        if let Some(dir) = &self.manifests {
            return Some(Source::Directory(dir.clone()));
        }
        (self.kubeconfig.is_some() || !self.api_servers.is_empty()).then(|| Source::Api {
            kubeconfig: self.kubeconfig.clone().or_else(kubeconfig_of_environment),
            servers: self.api_servers.clone(),
        })
    }
}

// === impl Source ===

impl Source {
    fn from_environment() -> Self {
        Self::Api {
            kubeconfig: kubeconfig_of_environment(),
            servers: Vec::new(),
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

fn host_name() -> anyhow::Result<String> {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .context("read the host's name: say --node-name NAME")
}

fn cgroup_root() -> anyhow::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read the list of mounts")?;
    find_cgroup2(&mounts).map(Path::to_owned).context(
        "no cgroup2 hierarchy is mounted: mount one with `mount -t cgroup2 none DIR`, or say \
         --cgroup DIR",
    )
}

fn find_cgroup2(mounts: &str) -> Option<&Path> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (_device, dir, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then_some(Path::new(dir))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::Parser;
    use tempfile::NamedTempFile;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: AgentArgs,
    }

    #[track_caller]
    fn resolve(words: &[&str]) -> anyhow::Result<Config> {
        let base = ["agent", "--node-name", " Node-1 ", "--cgroup", "/cgroup"];
        Line::try_parse_from(base.iter().chain(words))
            .unwrap()
            .args
            .resolve()
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let mut file = NamedTempFile::new().unwrap();
        write!(file, "manifests: /from-file\npinDir: /pins\nlog: debug\n").unwrap();
        let path = file.path().to_str().unwrap();
        let config = resolve(&["--config", path, "--log", "warn"]).unwrap();
        assert_eq!(
            config,
            Config {
                node_name: "node-1".to_owned(),
                source: Source::Directory("/from-file".into()),
                pin_dir: "/pins".into(),
                run_dir: "/run/switchboard".into(),
                cgroup: "/cgroup".into(),
                attach: Attach::Auto,
                log: "warn".to_owned(),
                log_format: LogFormat::Text,
                notes: Vec::new(),
            }
        );
    }

    #[test]
    fn a_source_among_the_flags_replaces_the_one_in_the_file() {
        let mut file = NamedTempFile::new().unwrap();
        writeln!(file, "kubeconfig: /k").unwrap();
        let path = file.path().to_str().unwrap();
        let config = resolve(&["--config", path, "--manifests", "/m"]).unwrap();
        assert_eq!(config.source, Source::Directory("/m".into()));
    }

    #[test]
    fn api_servers_may_stand_in_one_word() {
        let config =
            resolve(&["--api-server", "https://a,https://b", "--kubeconfig", "/k"]).unwrap();
        let servers = vec!["https://a".to_owned(), "https://b".to_owned()];
        assert_eq!(
            config.source,
            Source::Api {
                kubeconfig: Some("/k".into()),
                servers
            }
        );
    }

    #[test]
    fn a_directory_and_an_api_server_exclude_each_other() {
        let words = ["agent", "--manifests", "/m", "--api-server", "https://a"];
        assert!(Line::try_parse_from(words).is_err());
    }

    #[test]
    fn the_cgroup2_hierarchy_is_found_among_the_mounts() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nosuid 0 0\n";
        assert_eq!(
            find_cgroup2(mounts),
            Some(Path::new("/sys/fs/cgroup/unified"))
        );
        assert_eq!(find_cgroup2("proc /proc proc rw 0 0\n"), None);
    }
}
