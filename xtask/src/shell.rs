//! How the commands run other programs: echoed first, from the workspace's root, timed.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

/// The workspace's root, wherever the command was typed.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies inside the workspace")
}

/// A cargo subcommand for the workspace, as if typed at a prompt: what the outer `cargo run` put
/// into the environment would make build scripts that watch it (ring's) run again each time.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(cargo_path());
    command.arg(subcommand).current_dir(root());
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
            .iter()
            .any(|one| name.starts_with(one))
        {
            command.env_remove(&*name);
        }
    }
    command
}

pub(crate) fn cargo_path() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// Echoes and runs a command; an error names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line_of(command);
    println!("$ {line}");
    let status = command
        .status()
        .with_context(|| format!("start `{line}`"))?;
    ensure!(status.success(), "`{line}` failed: {status}");
    Ok(())
}

/// Runs one step of a longer command under a heading, and says how long it took.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("== {name}");
    let started = Instant::now();
    let result = work();
    let outcome = if result.is_ok() { "done" } else { "failed" };
    println!(
        "-- {name}: {outcome} in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    result
}

/// The command as one would type it.
pub(crate) fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Where a program of this name is: on the path, or where administrators' and cargo's are.
pub(crate) fn lookup_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_bin = env::home_dir().map(|home| home.join(".cargo/bin"));
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .chain(cargo_bin)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
