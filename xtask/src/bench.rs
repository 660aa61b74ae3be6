//! `cargo xtask bench`: figures, each with its baseline from the same run.

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::shell::{cargo, is_root, run as sh, step};
use crate::{build, toolchain};

/// Measure, as root: packets in the programs of a pod's device and of the wire.
///
/// Close what else runs first: the figures are the least of several rounds, and still only as good
/// as the machine is quiet.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(value_enum)]
    what: What,
    /// LLVM's BPF processor to compile the programs for
    #[arg(long, default_value = "generic")]
    cpu: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Nanoseconds per packet: floors, new, established, not ours, masqueraded and its reply
    Packets,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(is_root(), "loading programs needs root: run it as root");
    step("build", || {
        build::programs(&args.cpu, &["--bin", "bench-ebpf"])
    })?;
    let folder = build::objects()
        .join(&args.cpu)
        .join(toolchain::TARGET)
        .join("release");
    match args.what {
        // What runs in user space is not measured, so the tests' own build will do.
        What::Packets => sh(cargo("bench")
            .args([
                "--locked",
                "--profile",
                "dev",
                "--package",
                "tests",
                "--bench",
                "packets",
            ])
            .env("SWITCHBOARD_BENCH_OBJECTS", folder)),
    }
}
