//! The program that the lab runs in its namespaces: server, client, load, and what they need
//! around them.

use std::process::ExitCode;

fn main() -> ExitCode {
    match tests::probe::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tests::probe::complain("probe", &error);
            ExitCode::FAILURE
        }
    }
}
