//! `cargo xtask build`: the agent with its programs inside, and what the tests start.

use std::env::consts::ARCH;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::shell::{cargo, cargo_path, root, run as sh, step};
use crate::{setup, toolchain};

/// Build the `switchboard` binary, with the eBPF programs inside.
///
/// The programs are compiled by proxy/build.rs with what `cargo xtask setup` found.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Optimised and static, to run on any node: for images and releases.
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let binary = if args.release { release()? } else { debug()? };
    let size = fs::metadata(&binary)
        .with_context(|| format!("read {}", binary.display()))?
        .len();
    println!("{} ({:.1} MB)", binary.display(), size as f64 / 1e6);
    Ok(())
}

/// Every binary of the workspace for this machine; the agent's path.
pub(crate) fn debug() -> Result<PathBuf> {
    setup::ensure()?;
    step("build", || sh(cargo("build").args(["--locked", "--bins"])))?;
    Ok(target_dir().join("debug/switchboard"))
}

/// The agent alone, optimised and without shared libraries; its path.
///
/// The explicit target keeps the flag away from build scripts and procedural macros.
pub(crate) fn release() -> Result<PathBuf> {
    setup::ensure()?;
    let target = format!("{ARCH}-unknown-linux-gnu");
    step("build release", || {
        sh(cargo("build")
            .args([
                "--locked",
                "--release",
                "--package",
                "switchboard",
                "--target",
                &target,
            ])
            .env("RUSTFLAGS", "-C target-feature=+crt-static"))
    })?;
    Ok(target_dir().join(target).join("release/switchboard"))
}

/// The programs alone, for one of LLVM's BPF processors, in the same folder as proxy/build.rs, so
/// that nothing is compiled twice; `extra` is handed to cargo.
pub(crate) fn programs(cpu: &str, extra: &[&str]) -> Result<()> {
    let toolchain = setup::ensure()?;
    sh(toolchain
        .cargo(&cargo_path(), cpu, ARCH, &[])
        .arg("build")
        .args(toolchain::ARGUMENTS)
        .args(["--bin", "switchboard-ebpf", "--target-dir"])
        .arg(objects().join(cpu))
        .args(extra)
        .current_dir(root()))
}

/// Where `programs` leaves an object for each processor.
pub(crate) fn objects() -> PathBuf {
    target_dir().join("ebpf")
}

pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
