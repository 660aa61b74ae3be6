//! `cargo xtask setup`: finds or installs what builds and tests need.
//!
//! The other commands call `ensure`, which is quick and silent where nothing is missing. Rust
//! compilers come from rustup where its server answers, and all else from Debian's packages.

use std::path::Path;
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, is_root, lookup_program, run as sh};
use crate::toolchain::{self, LINKER_VERSION, Missing, Toolchain};

/// Find or install what builds and tests need: the BPF compiler and linker, iproute2, ethtool.
///
/// Installs with rustup, cargo and, as root, apt-get; otherwise prints the line to run. Takes
/// less than a second if everything is there.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also install what only `lint` runs: cargo-deny and typos, some minutes of compiling.
    #[arg(long)]
    lint: bool,
}

/// Programs that builds and tests run, and the Debian packages that bring them.
const PROGRAMS: [(&str, &str); 3] = [("cc", "gcc"), ("ip", "iproute2"), ("ethtool", "ethtool")];
/// Programs of `lint` alone: name, crate, version.
const LINT_PROGRAMS: [(&str, &str, &str); 2] = [
    ("cargo-deny", "cargo-deny", "0.20.2"),
    ("typos", "typos-cli", "1.52.0"),
];
const COMPILER_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
const BPFFS: &str = "/sys/fs/bpf";

pub(crate) fn run(args: Args) -> Result<()> {
    let started = Instant::now();
    let toolchain = ensure()?;
    if args.lint {
        for (name, package, version) in LINT_PROGRAMS {
            if lookup_program(name).is_none() {
                install_crate(package, version)?;
            }
        }
    }
    println!("compiler  {}", toolchain.rustc.display());
    println!("llvm      {}", toolchain.llvm.display());
    println!("linker    {} {LINKER_VERSION}", toolchain.linker.display());
    let lint_programs = LINT_PROGRAMS
        .iter()
        .map(|(name, ..)| name)
        .filter(|_| args.lint);
    for name in PROGRAMS.iter().map(|(name, _)| name).chain(lint_programs) {
        let path = lookup_program(name).context("a program that was found is gone")?;
        println!("{name:<9} {}", path.display());
    }
    match bpffs_is_mounted() {
        true => println!("bpffs     {BPFFS}"),
        false => println!("bpffs     not mounted; as root: mount -t bpf bpf {BPFFS}"),
    }
    if lookup_program("go").is_none() && env::var_os("KUBEBUILDER_ASSETS").is_none() {
        println!("go        not there: the suite `cluster` is skipped");
    }
    println!("ready in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Installs what is missing, and says nothing if nothing is.
pub(crate) fn ensure() -> Result<Toolchain> {
    let packages: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(name, _)| lookup_program(name).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !packages.is_empty() {
        install_packages(&packages)?;
    }
    if is_root() && !bpffs_is_mounted() {
        sh(Command::new("mount").args(["-t", "bpf", "bpf", BPFFS]))?;
    }
    let mut last = None;
    loop {
        match toolchain::find() {
            Ok(toolchain) => return Ok(toolchain),
            Err(missing) if last == Some(missing) => {
                bail!("{missing}, although its installation succeeded")
            }
            Err(missing) => install(missing)?,
        }
        last = toolchain::find().err();
    }
}

fn install(missing: Missing) -> Result<()> {
    println!("{missing}: installing");
    match missing {
        Missing::Source => install_compiler(),
        Missing::Llvm => bail!("{missing}: install rust-src for a rustup toolchain instead"),
        Missing::Linker => install_crate("bpf-linker", LINKER_VERSION),
    }
}

fn install_crate(package: &str, version: &str) -> Result<()> {
    // Another version may be there already.
    let mut command = cargo("install");
    sh(command.args([package, "--version", version, "--locked", "--force"]))
}

fn install_compiler() -> Result<()> {
    if lookup_program("rustup").is_some() {
        match sh(Command::new("rustup").args(["component", "add", "rust-src"])) {
            Ok(()) => return Ok(()),
            Err(error) => println!("{error:#}; taking the distribution's compiler"),
        }
    }
    install_packages(&COMPILER_PACKAGES)
}

fn install_packages(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if lookup_program("apt-get").is_none() {
        bail!("missing: {list} (names of Debian's packages); install them and run this again");
    }
    if !is_root() {
        bail!("missing; run: sudo apt-get update && sudo apt-get install -y {list}");
    }
    sh(Command::new("apt-get").args(["-q", "update"]))?;
    sh(Command::new("apt-get")
        .args(["-q", "install", "-y", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

fn bpffs_is_mounted() -> bool {
    fs::read_to_string("/proc/mounts").is_ok_and(|mounts| {
        mounts.lines().any(|line| {
            let mut words = line.split(' ').skip(1);
            words.next().map(Path::new) == Some(Path::new(BPFFS)) && words.next() == Some("bpf")
        })
    })
}
