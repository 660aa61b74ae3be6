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
