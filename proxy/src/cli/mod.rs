//! The command line: arguments in, calls, text out. One file for each command.
//!
//! A command writes to the streams that it is given, so that a test reads what a person would.

mod agent;
mod cleanup;
mod client;
mod completion;
mod config;
mod dump;
mod output;
mod pinned;
mod service;
mod status;
#[cfg(test)]
mod testing;
mod trace;
mod version;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::config::{PIN_DIR, RUN_DIR};

/// An eBPF service proxy for Kubernetes nodes: the agent, and what shows and explains its work
#[derive(Debug, Parser)]
#[command(name = "switchboard", version, disable_help_subcommand = true, after_help = EXIT_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_HELP: &str = "Exit status:
  0  done
  1  it could not be done; the message on standard error says what to try
  2  the arguments are wrong
  3  status: no agent runs here, and what was printed is from the maps that one left pinned";

#[derive(Debug, Subcommand)]
enum Command {
    Agent(Box<agent::Args>),
    Status(status::Args),
    #[command(subcommand)]
    Service(service::Command),
    Dump(dump::Args),
    Trace(trace::Args),
    Cleanup(cleanup::Args),
    #[command(subcommand)]
    Config(config::Command),
    Completion(completion::Args),
    Version(version::Args),
}

/// Where a command writes: what was asked for, and what has to be said besides.
pub struct Streams<'a> {
    pub out: &'a mut dyn Write,
    pub err: &'a mut dyn Write,
}

/// How a command ended, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Done,
    /// The status of a node without an agent.
    NoAgent,
}

/// Where the agent and its maps are.
#[derive(Clone, Debug, clap::Args)]
struct Location {
    /// Directory of the agent's socket
    #[arg(long, value_name = "DIR", default_value = RUN_DIR)]
    run_dir: PathBuf,
    /// Directory on a bpffs where maps and links are pinned
    #[arg(long, value_name = "DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,
}

pub fn run(cli: Cli, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    match cli.command {
        Command::Agent(args) => agent::run(*args, streams),
        Command::Status(args) => status::run(&args, streams),
        Command::Service(command) => service::run(&command, streams),
        Command::Dump(args) => dump::run(&args, streams),
        Command::Trace(args) => trace::run(&args, streams),
        Command::Cleanup(args) => cleanup::run(&args, streams),
        Command::Config(command) => config::run(&command, streams),
        Command::Completion(args) => completion::run(&args, streams),
        Command::Version(args) => version::run(&args, streams),
    }
}

// === impl Ending ===

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Done => Self::SUCCESS,
            Ending::NoAgent => Self::from(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_in_one_line_what_it_does() {
        fn check(command: &clap::Command) {
            for command in command.get_subcommands() {
                let about = command
                    .get_about()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let name = command.get_name();
                assert!(
                    !about.is_empty() && !about.ends_with('.'),
                    "{name}: {about}"
                );
                check(command);
            }
        }
        check(&Cli::command());
    }

    #[test]
    fn completions_know_every_command() {
        let ran = testing::run(&["completion", "bash"]);
        for command in Cli::command().get_subcommands() {
            assert!(
                ran.out.contains(command.get_name()),
                "{}",
                command.get_name()
            );
        }
    }
}
