//! `switchboard agent`.

use std::{fs, path::PathBuf};

use anyhow::Context;

use super::{Ending, Streams, cleanup};
use crate::{
    agent,
    config::{Config, KubeProxyFlags, Settings, Told},
};

/// Run the agent of this node
///
/// It takes its objects from the Kubernetes API, or with --manifests from a directory of YAML
/// files, and programs what follows from them into the kernel. When it ends, the kernel goes on
/// with what it has; `switchboard cleanup` takes that away. kube-proxy's flags and its
/// configuration file are understood: docs/configuration.md says what becomes of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  switchboard agent
  switchboard agent --manifests /etc/switchboard/objects --node-name edge-1
  switchboard agent --config kube-proxy.yaml --hostname-override node-1")]
pub(super) struct Args {
    /// YAML file with the same settings in camelCase, before which flags go; or a
    /// KubeProxyConfiguration, which goes before kube-proxy's flags
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the configuration as it would be in effect to this file, and do nothing else
    #[arg(long, value_name = "FILE", conflicts_with = "cleanup")]
    write_config_to: Option<PathBuf>,
    /// Do what `switchboard cleanup` does, and nothing else
    #[arg(long)]
    cleanup: bool,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    kube_proxy: KubeProxyFlags,
}

pub(super) fn run(args: Args, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    let told = Told::new(args.settings, &args.kube_proxy, args.config.as_deref())?;
    if args.cleanup {
        return cleanup::run(&cleanup::Args::of_agent(&told.settings), streams);
    }
    if let Some(path) = &args.write_config_to {
        let file = told.effective()?.to_file()?;
        let text = serde_saphyr::to_string(&file).context("write YAML")?;
        fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
        return Ok(Ending::Done);
    }
    agent::run(Config::new(told)?)?;
    Ok(Ending::Done)
}
