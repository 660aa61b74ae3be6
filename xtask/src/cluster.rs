//! `cargo xtask cluster`: a real Kubernetes control plane on loopback, without nodes.
//!
//! The work is done by the tests' program `cluster`, which shares it with the suite of that name;
//! so this command compiles the tests first.

use anyhow::{Context, Result, ensure};
use clap::ValueEnum as _;

use crate::shell;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(value_enum)]
    action: Action,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Action {
    /// Start what does not run; what runs is left as it is
    Up,
    /// End all of it and remove its state; the programs stay
    Down,
    /// Print the shell variables for kubectl: eval "$(cargo xtask cluster env)"
    Env,
    /// List the processes and their logs
    Status,
    /// Find or build the programs, and start nothing
    Build,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let action = args.action.to_possible_value();
    let action = action
        .as_ref()
        .map_or("status", clap::builder::PossibleValue::get_name);
    let mut command = shell::cargo("run");
    command.args([
        "--quiet",
        "--package",
        "tests",
        "--bin",
        "cluster",
        "--",
        action,
    ]);
    // Not echoed: a shell evaluates what `env` prints.
    let status = command.status().context("start cargo run")?;
    ensure!(status.success(), "{} failed", shell::line_of(&command));
    Ok(())
}
