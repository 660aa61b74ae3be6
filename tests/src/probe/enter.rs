//! `probe enter`: moves itself into a cgroup and a network namespace, then becomes the program.
//!
//! The order matters: a cgroup's socket programs apply to sockets made after the process is in it,
//! and the program must not run one instruction outside.

use std::{fs, os::unix::process::CommandExt, path::PathBuf, process::Command};

use anyhow::Context;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A name under /run/netns.
    #[arg(long)]
    netns: String,
    /// A directory of the cgroup2 hierarchy.
    #[arg(long)]
    cgroup: PathBuf,
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let procs = args.cgroup.join("cgroup.procs");
    fs::write(&procs, "0").with_context(|| format!("join cgroup {}", args.cgroup.display()))?;
    crate::lab::netns::enter(&args.netns)?;
    let (program, rest) = args.command.split_first().context("no program given")?;
    let error = Command::new(program).args(rest).exec();
    Err(error).with_context(|| format!("run {program}"))
}
