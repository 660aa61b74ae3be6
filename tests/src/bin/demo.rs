//! The program behind `cargo xtask demo`.

use std::process::ExitCode;

use clap::Parser;
use tests::demo::{self, Options};

fn main() -> ExitCode {
    match demo::main(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tests::probe::complain("demo", &error);
            ExitCode::FAILURE
        }
    }
}
