//! `cargo xtask cluster`: a real Kubernetes control plane on loopback, without nodes.
//!
//! The work is done by the tests' program `cluster`, which shares it with the suite of that name;
//! so this command compiles the tests first.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum as _;

use crate::{build, shell};

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
    // The same units as in `build` and `test`, and not echoed: a shell evaluates what `env` prints.
    let mut build = shell::cargo("build");
    build.args(["--quiet", "--locked", "--bins"]);
    let status = build.status().context("start cargo build")?;
    ensure!(status.success(), "`{}` failed", shell::line_of(&build));
    let action = args.action.to_possible_value();
    let action = action
        .as_ref()
        .map_or("status", clap::builder::PossibleValue::get_name);
    let status = program().arg(action).status().context("start `cluster`")?;
    ensure!(status.success(), "`cluster {action}` failed: {status}");
    Ok(())
}

/// Finds or builds the control plane's programs: quick where they are there, and else some minutes
/// of compiling Go, with a line every while. The programs of the tests are built.
pub(crate) fn obtain() -> Result<()> {
    shell::step("control plane", || shell::run(program().arg("build")))
}

/// The tests' program of that name.
fn program() -> Command {
    Command::new(build::target_dir().join("debug/cluster"))
}
