//! Compiles `proxy-ebpf` for the kernel and leaves the object at `$OUT_DIR/switchboard-ebpf`.
//!
//! `aya-build` would do the same with a nightly that rustup manages; but it removes `RUSTC` from
//! the environment, and so cannot use a distribution's compiler, which is all that a machine
//! without rustup's server has.
//!
//! `SWITCHBOARD_EBPF_OBJECT=path` takes a ready object instead, and needs no BPF toolchain;
//! `SWITCHBOARD_BPF_CPU=v3` compiles for another of LLVM's BPF processors than `generic`.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

const OBJECT_VARIABLE: &str = "SWITCHBOARD_EBPF_OBJECT";
const CPU_VARIABLE: &str = "SWITCHBOARD_BPF_CPU";
const SOURCES: [&str; 7] = [
    "Cargo.toml",
    "Cargo.lock",
    "proxy-ebpf/Cargo.toml",
    "proxy-ebpf/src",
    "proxy-datapath/Cargo.toml",
    "proxy-datapath/src",
    "xtask/src/toolchain.rs",
];

fn main() {
    if let Err(error) = run() {
        println!("cargo::error={error}");
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?)
        .join("..")
        .canonicalize()?;
    println!("cargo::rerun-if-env-changed={OBJECT_VARIABLE}");
    println!("cargo::rerun-if-env-changed={CPU_VARIABLE}");
    let object = match env::var_os(OBJECT_VARIABLE) {
        Some(object) => {
            println!("cargo::rerun-if-changed={}", Path::new(&object).display());
            PathBuf::from(object)
        }
        None => {
            for source in SOURCES {
                println!("cargo::rerun-if-changed={}", root.join(source).display());
            }
            compile(&root, &out_dir)?
        }
    };
    fs::copy(&object, out_dir.join("switchboard-ebpf"))
        .map_err(|error| format!("copy {}: {error}", object.display()))?;
    Ok(())
}

fn compile(root: &Path, out_dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let toolchain = toolchain::find().map_err(|missing| {
        format!("{missing} to build the eBPF programs: run `cargo xtask setup`")
    })?;
    let cpu = env::var(CPU_VARIABLE).unwrap_or_else(|_| "generic".to_owned());
    let target_dir = target_dir(out_dir).join("ebpf").join(&cpu);
    let output = toolchain
        .cargo(
            Path::new(&env::var("CARGO")?),
            &cpu,
            &env::var("CARGO_CFG_TARGET_ARCH")?,
            &[],
        )
        .arg("build")
        .args(toolchain::ARGUMENTS)
        .args(["--bin", "switchboard-ebpf", "--target-dir"])
        .arg(&target_dir)
        .current_dir(root)
        .output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        // Cargo shows the output of a build script only if it ends like this.
        eprint!("{log}");
        std::process::exit(1);
    }
    for warning in log.lines().filter(|line| line.starts_with("warning: ")) {
        println!("cargo::warning={warning}");
    }
    Ok(target_dir
        .join(toolchain::TARGET)
        .join("release/switchboard-ebpf"))
}

/// The target folder of the build that runs this: one nested folder serves all its profiles, so
/// that `core` is compiled once.
fn target_dir(out_dir: &Path) -> &Path {
    out_dir
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())
        .unwrap_or(out_dir)
}
