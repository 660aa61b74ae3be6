//! Parses the arguments and dispatches.

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use clap::Parser;
use switchboard::cli::{self, Cli, Streams};

fn main() -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut err = io::stderr();
    let result = cli::run(
        Cli::parse(),
        &mut Streams {
            out: &mut out,
            err: &mut err,
        },
    )
    .and_then(|ending| Ok(out.flush().map(|()| ending)?));
    match result {
        Ok(ending) => ending.into(),
        // Whoever read the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell if standard error is gone too.
            let _ = writeln!(err, "switchboard: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
