//! `switchboard agent`.

use std::path::PathBuf;

use super::Ending;
use crate::{
    agent,
    config::{Config, ConfigFile, Settings},
};

/// Run the agent of this node
///
/// It takes its objects from the Kubernetes API, or with --manifests from a directory of YAML
/// files, and programs what follows from them into the kernel. When it ends, the kernel goes on
/// with what it has; `switchboard cleanup` takes that away.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  switchboard agent
  switchboard agent --manifests /etc/switchboard/objects --node-name edge-1")]
pub(super) struct Args {
    /// YAML file with the same settings in camelCase; flags win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(args: Args) -> anyhow::Result<Ending> {
    let file = match &args.config {
        Some(path) => ConfigFile::read(path)?,
        None => ConfigFile::default(),
    };
    agent::run(Config::new(args.settings, file)?)?;
    Ok(Ending::Done)
}
