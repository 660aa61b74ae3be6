//! `switchboard version`.

use proxy_datapath::tables::ABI_VERSION;
use serde::Serialize;

use super::{Ending, Streams, output::Output};

/// Say which version this is
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: &'static str,
    /// The layout of the maps: agents of the same number take over from each other.
    abi_version: u32,
}

pub(super) fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        abi_version: ABI_VERSION,
    };
    args.output.write(streams.out, &version, |out| {
        Ok(writeln!(
            out,
            "switchboard {}, map layout {}",
            version.version, version.abi_version
        )?)
    })?;
    Ok(Ending::Done)
}
