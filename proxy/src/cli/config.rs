//! `switchboard config`.

use std::path::PathBuf;

use anyhow::Context;

use super::{Ending, Streams};
use crate::config::{ConfigFile, Settings};

/// Work on configuration files
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Convert(ConvertArgs),
}

/// Write Switchboard's own configuration file that means the same as kube-proxy's
///
/// What differs from Switchboard's defaults is written. Standard error has a line for each field
/// of the file that says something: which setting it becomes, or why it has no effect.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  switchboard config convert --config kube-proxy.yaml > switchboard.yaml")]
pub(super) struct ConvertArgs {
    /// A KubeProxyConfiguration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How to write it
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        value_name = "FORMAT",
        default_value = "yaml"
    )]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Yaml,
    Json,
}

pub(super) fn run(command: &Command, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    match command {
        Command::Convert(args) => convert(args, streams),
    }
}

fn convert(args: &ConvertArgs, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    let file = ConfigFile::read(&args.config)?;
    for field in &file.fields {
        writeln!(streams.err, "{field}")?;
    }
    let settings = Settings {
        proxy: file.settings.proxy.without_defaults()?,
        ..file.settings
    };
    let settings = settings.to_file()?;
    match args.format {
        Format::Yaml if settings.is_empty() => {}
        Format::Yaml => {
            let yaml = serde_saphyr::to_string(&settings).context("write YAML")?;
            streams.out.write_all(yaml.as_bytes())?;
        }
        Format::Json => {
            serde_json::to_writer_pretty(&mut *streams.out, &settings).context("write JSON")?;
            writeln!(streams.out)?;
        }
    }
    Ok(Ending::Done)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::{
        cli::testing,
        config::{Kind, Proxy},
    };

    const KUBE_PROXY: &str = "\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
bindAddress: fd00::1
healthzBindAddress: 0.0.0.0:10256
clusterCIDR: 10.1.0.0/16,fd00:1::/48
hostnameOverride: node-1
clientConnection: {kubeconfig: /k, qps: 50}
nodePortAddresses: [primary]
iptables: {masqueradeBit: 14, masqueradeAll: true, syncPeriod: 45s, minSyncPeriod: 1s}
conntrack: {maxPerCore: 0, tcpCloseWaitTimeout: 2h}
colour: red
";

    struct Files {
        dir: TempDir,
    }

    impl Files {
        fn new() -> Self {
            Self {
                dir: TempDir::new().unwrap(),
            }
        }

        fn write(&self, name: &str, text: &str) -> String {
            let path = self.dir.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        }
    }

    #[test]
    fn a_converted_file_has_what_differs_and_says_what_each_field_became() {
        let files = Files::new();
        let path = files.write("kube-proxy.yaml", KUBE_PROXY);
        let ran = testing::run(&["config", "convert", "--config", &path]);
        ran.ending.unwrap();
        expect_test::expect![[r#"
            bindAddress: fd00::1
            clusterCidrs:
            - 10.1.0.0/16
            - fd00:1::/48
            conntrackMaxPerCore: 0
            conntrackTcpTimeoutCloseWait: 2h0m0s
            healthzBindAddress: 0.0.0.0:10256
            kubeconfig: /k
            nodeName: node-1
            nodePortAddresses:
            - primary
            proxyMode: iptables
            syncPeriod: 45s
        "#]]
        .assert_eq(&ran.out);
        expect_test::expect![[r#"
            bindAddress: becomes bindAddress
            clientConnection.kubeconfig: becomes kubeconfig
            clientConnection.qps: no effect: only lists and watches are asked for
            clusterCIDR: becomes clusterCidrs
            colour: no effect: unknown
            conntrack.maxPerCore: becomes conntrackMaxPerCore
            conntrack.tcpCloseWaitTimeout: becomes conntrackTcpTimeoutCloseWait
            healthzBindAddress: becomes healthzBindAddress
            hostnameOverride: becomes nodeName
            iptables.masqueradeAll: no effect: the client's address is kept where replies find back
            iptables.masqueradeBit: no effect: packets are not marked
            iptables.minSyncPeriod: no effect: what changed is programmed at once
            iptables.syncPeriod: becomes syncPeriod
            mode: becomes proxyMode
            nodePortAddresses: becomes nodePortAddresses
        "#]]
        .assert_eq(&ran.err);
    }

    #[test]
    fn a_converted_file_means_the_same() {
        let files = Files::new();
        for (name, fields) in [
            ("nothing", ""),
            ("everything", KUBE_PROXY.split_once("mode").unwrap().1),
            ("nftables", ": nftables\nnftables: {syncPeriod: 9s}\n"),
            ("ipvs", ": ipvs\nipvs: {scheduler: mh}\noomScoreAdj: 0\n"),
        ] {
            let head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n\
                        kind: KubeProxyConfiguration\n";
            let mode = if fields.is_empty() { "" } else { "mode" };
            let before = files.write(name, &format!("{head}{mode}{fields}"));
            for format in ["yaml", "json"] {
                let ran = testing::run(&["config", "convert", "--config", &before, "-o", format]);
                ran.ending.unwrap();
                let after = files.write("converted", &ran.out);
                let [before, after] =
                    [&before, &after].map(|path| ConfigFile::read(path.as_ref()).unwrap());
                assert_eq!(after.kind, Kind::Switchboard);
                assert_eq!(after.settings.node_name, before.settings.node_name);
                assert_eq!(after.settings.kubeconfig, before.settings.kubeconfig);
                assert_eq!(
                    Proxy::new(&after.settings.proxy),
                    Proxy::new(&before.settings.proxy),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn an_invalid_file_is_not_converted() {
        let files = Files::new();
        let path = files.write("bad", &KUBE_PROXY.replace("fd00::1", "nowhere"));
        let error = testing::run(&["config", "convert", "--config", &path])
            .ending
            .unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("bindAddress: \"nowhere\" is no IP address"),
            "{error}"
        );
    }
}
