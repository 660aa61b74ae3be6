//! The real control plane on loopback, for people: `cargo xtask cluster`.

use std::{
    fs,
    io::{Write, stderr, stdout},
    path::Path,
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use tests::control_plane::{ControlPlane, Site, programs};

/// A real Kubernetes control plane on loopback, without nodes
#[derive(Parser)]
#[command(name = "cluster")]
struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(Clone, Copy, Subcommand)]
enum Action {
    /// Find or build the programs, and start nothing
    Build,
    /// Start what does not run; what runs is left as it is
    Up,
    /// Print the shell variables that point kubectl there: eval "$(cargo xtask cluster env)"
    Env,
    /// List the processes and their logs; exit status 1 if one of them does not run
    Status,
    /// End all of it and remove its state; the programs stay
    Down,
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without standard error there is nobody to tell.
            let _ = writeln!(stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action) -> Result<()> {
    let dir = programs::cache_dir()?.join("cluster");
    let mut out = stdout().lock();
    match action {
        Action::Build => build(),
        Action::Up => up(&dir, &mut out),
        Action::Env => env(&dir, &mut out),
        Action::Status => status(&dir, &mut out),
        Action::Down => down(&dir, &mut out),
    }
}

fn build() -> Result<()> {
    if let Some(reason) = programs::unavailable() {
        bail!(reason);
    }
    programs::obtain().map(drop)
}

fn up(dir: &Path, out: &mut impl Write) -> Result<()> {
    let started = Instant::now();
    let plane = match ControlPlane::open(dir)? {
        Some(mut plane) => {
            plane.resume()?;
            plane
        }
        None => ControlPlane::start(dir, Site::LOOPBACK, 1)?,
    };
    let seconds = started.elapsed().as_secs_f32();
    writeln!(out, "{} is ready after {seconds:.1} s", plane.server_url(0))?;
    writeln!(
        out,
        "eval \"$(cargo xtask cluster env)\" points kubectl there"
    )?;
    Ok(())
}

fn env(dir: &Path, out: &mut impl Write) -> Result<()> {
    let plane = running(dir)?;
    let programs = plane
        .kubectl_program()
        .parent()
        .context("kubectl is in a folder")?;
    writeln!(out, "export KUBECONFIG='{}'", plane.kubeconfig().display())?;
    writeln!(out, "export PATH='{}':\"$PATH\"", programs.display())?;
    Ok(())
}

fn status(dir: &Path, out: &mut impl Write) -> Result<()> {
    let processes = running(dir)?.status();
    for process in &processes {
        let pid = process
            .pid
            .map_or("not running".to_owned(), |pid| format!("process {pid}"));
        writeln!(
            out,
            "{:<24}  {pid:<15}  {}",
            process.name,
            process.log.display()
        )?;
    }
    let dead = processes.into_iter().find(|process| process.pid.is_none());
    dead.map_or(Ok(()), |process| {
        Err(anyhow::anyhow!("{} does not run", process.name))
    })
}

fn down(dir: &Path, out: &mut impl Write) -> Result<()> {
    if let Some(plane) = ControlPlane::open(dir)? {
        plane.stop()?;
        fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
        writeln!(out, "ended, state removed")?;
    }
    Ok(())
}

fn running(dir: &Path) -> Result<ControlPlane> {
    ControlPlane::open(dir)?.context("no cluster: start one with `cargo xtask cluster up`")
}
