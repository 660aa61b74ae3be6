//! The probe: one small program that plays every process of the lab except the agent.
//!
//! Results are JSON lines on standard output, so that the lab reads what happened instead of
//! guessing it from exit codes.

mod client;
mod enter;
mod load;
mod report;
mod serve;
mod socket;

use std::io::{self, Write};

use clap::{Parser, Subcommand};
pub use report::{Answer, Exchange, Tally};
use serde::Serialize;

#[derive(Parser)]
#[command(about = "What the lab's pods, hosts and clients run")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Becomes another program inside a network namespace and a cgroup.
    Enter(enter::Args),
    /// Answers requests with its own name and the client's address.
    Serve(serve::Args),
    /// Opens one socket and sends one request for each line it reads.
    Client(client::Args),
    /// Sends requests at a fixed pace until standard input ends.
    Load(load::Args),
    /// Waits for the lab's process to end, however it ends, and removes what the lab made.
    Reap { id: String },
}

pub fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Enter(args) => enter::run(&args),
        Command::Serve(args) => serve::run(args),
        Command::Client(args) => client::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Reap { id } => crate::lab::cleanup::reap(&id),
    }
}

pub fn complain(program: &str, error: &anyhow::Error) {
    // A program whose standard error is gone has nobody left to tell.
    let _ = writeln!(io::stderr(), "{program}: {error:#}");
}

/// Prints one JSON line and pushes it out at once: the lab waits for it.
fn print_line(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()?;
    Ok(())
}
