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

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use crate::{
        cli::testing,
        config::{ConfigFile, Proxy},
    };

    #[test]
    fn the_configuration_in_effect_is_written_instead_of_an_agent_started_130() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("written");
        let text = path.to_str().unwrap();
        let words = [
            "agent",
            "--bind-address-hard-fail",
            "--write-config-to",
            text,
        ];
        testing::run(&words).ending.unwrap();
        let written = fs::read_to_string(&path).unwrap();
        assert!(written.contains("syncPeriod: 30s\n"), "{written}");
        let file = ConfigFile::read(&path).unwrap();
        let proxy = Proxy::new(&file.settings.proxy).unwrap();
        assert!(proxy.bind_hard_fail);
        let expected = Proxy {
            bind_hard_fail: true,
            configz: proxy.configz.clone(),
            ..Proxy::default()
        };
        assert_eq!(proxy, expected);
    }

    #[test]
    fn a_node_without_a_name_is_refused_3() {
        for name in ["", " \t"] {
            let words = ["agent", "--node-name", name, "--cgroup", "/nowhere"];
            let error = testing::run(&words).ending.unwrap_err();
            assert_eq!(
                error.to_string(),
                "this node's name is empty: say --node-name NAME"
            );
        }
    }

    #[test]
    fn cleaning_up_is_what_kube_proxys_flag_does_24() {
        let dir = TempDir::new().unwrap();
        let dir = dir.path().to_str().unwrap();
        // It has no bpffs there, which both say.
        let errors = [&["agent", "--cleanup"][..], &["cleanup"]].map(|command| {
            let words = [command, &["--pin-dir", dir, "--run-dir", dir]].concat();
            format!("{:#}", testing::run(&words).ending.unwrap_err())
        });
        assert_eq!(errors[0], errors[1]);
        assert!(errors[0].starts_with("clean up "), "{}", errors[0]);
    }
}
