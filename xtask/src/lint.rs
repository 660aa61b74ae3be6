//! `cargo xtask lint`: everything that can be said about the sources without running them.

use std::env::{self, consts::ARCH};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::shell::{cargo, lookup_program, root, run as sh, step};
use crate::{build, codegen, setup};

/// Check the sources: format, clippy, the programs' warnings, licences, spelling, tidiness,
/// generated files.
///
/// Clippy sees the programs as the host compiles them: clippy's driver is tied to the host's
/// compiler. The compiler for the BPF target then denies its own warnings.
#[derive(clap::Args)]
pub(crate) struct Args {}

type Check = fn() -> Result<()>;

const CHECKS: [(&str, Check); 8] = [
    ("format", format),
    ("clippy", clippy),
    ("clippy of the programs", clippy_of_programs),
    ("warnings for the BPF target", programs),
    ("dependencies", dependencies),
    ("spelling", spelling),
    ("tidy", tidy),
    ("generated files", codegen::check),
];

/// Runs every check, so that one run tells all.
pub(crate) fn run(_args: Args) -> Result<()> {
    setup::ensure()?;
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        if let Err(error) = step(name, check) {
            println!("error: {error:#}");
            failed.push(name);
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    println!("{} checks passed", CHECKS.len());
    Ok(())
}

fn format() -> Result<()> {
    sh(cargo("fmt").args(["--all", "--check"]))
}

fn clippy() -> Result<()> {
    sh(cargo("clippy").args([
        "--locked",
        "--all-targets",
        "--keep-going",
        "--",
        "-Dwarnings",
    ]))
}

fn clippy_of_programs() -> Result<()> {
    // Without std there is no unwinding, which the host's default profile asks for.
    sh(cargo("clippy")
        .args(["--locked", "--package", "proxy-ebpf", "--target"])
        .arg(format!("{ARCH}-unknown-linux-gnu"))
        .args(["--target-dir", "target/lint", "--", "-Dwarnings"])
        .env("RUSTFLAGS", "-Cpanic=abort")
        // The programs use assembly, which is not stable for BPF.
        .env("RUSTC_BOOTSTRAP", "1"))
}

fn programs() -> Result<()> {
    build::programs(
        "generic",
        &["-Zwarnings", "--config", "build.warnings=\"deny\""],
    )
}

fn dependencies() -> Result<()> {
    // Advisories need a database from elsewhere; the nightly workflow asks for them.
    optional("cargo-deny", |deny| {
        deny.args(["--all-features", "check", "bans", "licenses", "sources"]);
    })
}

fn spelling() -> Result<()> {
    optional("typos", |_| {})
}

/// Runs a tool that only `setup --lint` installs; in CI it may not be missing.
fn optional(program: &str, arguments: impl FnOnce(&mut Command)) -> Result<()> {
    let Some(path) = lookup_program(program) else {
        ensure!(
            env::var_os("CI").is_none(),
            "{program} is missing: cargo xtask setup --lint"
        );
        println!("skipped: {program} is not installed: cargo xtask setup --lint");
        return Ok(());
    };
    let mut command = Command::new(path);
    arguments(&mut command);
    sh(command.current_dir(root()))
}

fn tidy() -> Result<()> {
    sh(cargo("test").args([
        "--locked",
        "--package",
        "tests",
        "--test",
        "it",
        "--",
        "tidy::",
    ]))
}
