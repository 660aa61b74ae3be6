//! `cargo xtask demo`: builds everything, then runs the tests' program `demo`, which has the lab.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{build, shell};

/// Show a small cluster: requests balanced, a pod drained, the agent killed, nothing lost.
///
/// Two nodes, a client and three web pods out of network namespaces, with an agent on each node.
/// Ends by itself in under a minute after the build and leaves nothing behind.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave the cluster up and say how to look around
    #[arg(long)]
    keep: bool,
    /// Remove a cluster that was kept, and do nothing else
    #[arg(long, conflicts_with = "keep")]
    down: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        shell::is_root(),
        "the demo makes network namespaces and loads programs: run it as root"
    );
    let agent = build::debug()?;
    let mut command = Command::new(agent.with_file_name("demo"));
    command.args(args.keep.then_some("--keep"));
    command.args(args.down.then_some("--down"));
    let status = command.status().context("start the demo")?;
    ensure!(status.success(), "the demo failed: {status}");
    Ok(())
}
