//! The developer's commands: one file each, listed by `cargo xtask --help`.
#![expect(
    clippy::print_stdout,
    reason = "what a person typed answers on the terminal"
)]

mod behaviours;
mod bench;
mod build;
mod cluster;
mod codegen;
mod demo;
mod deploy;
mod lint;
mod setup;
mod shell;
mod test;
mod toolchain;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set up, build, check and test Switchboard.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(setup::Args),
    /// A real Kubernetes control plane on loopback, without nodes
    Cluster(cluster::Args),
    /// Make Switchboard the service proxy of a conformance lab that is up
    Deploy(deploy::Args),
    Build(build::Args),
    Demo(demo::Args),
    Test(test::Args),
    Lint(lint::Args),
    Codegen(codegen::Args),
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(args) => setup::run(args),
        Command::Cluster(args) => cluster::run(&args),
        Command::Deploy(args) => deploy::run(&args),
        Command::Build(args) => build::run(args),
        Command::Demo(args) => demo::run(&args),
        // Its last line counts the tests, so it tells a failure by its exit status alone.
        Command::Test(args) => match test::run(args) {
            Ok(status) => return status,
            Err(error) => Err(error),
        },
        Command::Lint(args) => lint::run(args),
        Command::Codegen(args) => codegen::run(args),
        Command::Bench(args) => bench::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
