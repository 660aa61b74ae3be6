//! `switchboard completion`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Ending, Streams};

/// Write completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  source <(switchboard completion bash)")]
pub(super) struct Args {
    shell: Shell,
}

pub(super) fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    // Into memory first: clap_complete panics where a pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "switchboard", &mut script);
    streams.out.write_all(&script)?;
    Ok(Ending::Done)
}
