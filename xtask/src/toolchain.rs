//! Finds what compiles and links the programs: a rustc with its own sources, LLVM, and bpf-linker.
//!
//! `proxy/build.rs` includes this very file, so it uses nothing but std and installs nothing;
//! `cargo xtask setup` installs what `find` misses. The order is: rustup toolchains that carry
//! `rust-src`, nightly first, then the distribution's compiler with its source package.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target of the programs; the kernel wants its own byte order, and every machine that
/// Switchboard supports is little-endian.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// Later ones lack the proxy that loads the compiler's LLVM, and want a system LLVM.
pub(crate) const LINKER_VERSION: &str = "0.10.3";

/// The second number of the oldest rustc 1.x that compiles the workspace.
const RUSTC_MINOR_MIN: u32 = 95;

/// A compiler for the BPF target and what links its output.
pub(crate) struct Toolchain {
    pub(crate) rustc: PathBuf,
    /// The folder of the LLVM library that bpf-linker loads.
    pub(crate) llvm: PathBuf,
    pub(crate) linker: PathBuf,
}

/// What is missing; `setup` installs by these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A rustc that has its sources beside it.
    Source,
    /// A library of the same LLVM as the compiler's.
    Llvm,
    Linker,
}

struct Compiler {
    rustc: PathBuf,
    sysroot: PathBuf,
    llvm_major: u32,
}

/// The first compiler that can build `core`, with the LLVM and the linker that fit it.
pub(crate) fn find() -> Result<Toolchain, Missing> {
    let compilers = compilers();
    let with_source = || compilers.iter().filter(|one| one.has_source());
    with_source().next().ok_or(Missing::Source)?;
    // A compiler may have LLVM linked in: then another of the same LLVM lends its library.
    let (compiler, llvm) = with_source()
        .find_map(|compiler| {
            std::iter::once(compiler)
                .chain(&compilers)
                .find_map(|one| llvm_folder(&one.sysroot, compiler.llvm_major))
                .map(|llvm| (compiler, llvm))
        })
        .ok_or(Missing::Llvm)?;
    let linker = linker().ok_or(Missing::Linker)?;
    Ok(Toolchain {
        rustc: compiler.rustc.clone(),
        llvm,
        linker,
    })
}

// === impl Toolchain ===

impl Toolchain {
    /// `cargo`, set up to compile for the BPF target with this toolchain: add a subcommand, then
    /// `arguments`.
    ///
    /// `cpu` is one of LLVM's BPF processors, `extra` more flags for rustc, and `host_arch` the
    /// machine whose kernel structures the programs read.
    pub(crate) fn cargo(
        &self,
        cargo: &Path,
        cpu: &str,
        host_arch: &str,
        extra: &[&str],
    ) -> Command {
        let mut flags = vec![
            // BTF is made from the debug info.
            "-Cdebuginfo=2".to_owned(),
            "-Clink-arg=--btf".to_owned(),
            format!("-Clinker={}", self.linker.display()),
            format!("-Ctarget-cpu={cpu}"),
            format!("--cfg=bpf_target_arch=\"{host_arch}\""),
        ];
        flags.extend(extra.iter().map(|flag| (*flag).to_owned()));
        let mut command = Command::new(cargo);
        command
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env("LD_LIBRARY_PATH", &self.llvm)
            // Clippy's driver and a `cargo +toolchain` belong to the host's compiler.
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("RUSTFLAGS");
        command
    }
}

/// What every cargo subcommand for the programs is given.
pub(crate) const ARGUMENTS: [&str; 7] = [
    "--release",
    "-Zbuild-std=core",
    "--target",
    TARGET,
    "--package",
    "proxy-ebpf",
    "--locked",
];

// === impl Missing ===

impl std::fmt::Display for Missing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Source => "no Rust compiler with its sources (rust-src)",
            Self::Llvm => "no LLVM library of the compiler's version",
            Self::Linker => "no bpf-linker of the right version",
        })
    }
}

// === impl Compiler ===

impl Compiler {
    fn at(rustc: PathBuf) -> Option<Self> {
        let version = output(Command::new(&rustc).arg("-vV"))?;
        let field = |name: &str| {
            version
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        let minor: u32 = field("release: 1.")?.split('.').next()?.parse().ok()?;
        let llvm_major = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
        let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"]))?
            .trim()
            .into();
        (minor >= RUSTC_MINOR_MIN).then_some(Self {
            rustc,
            sysroot,
            llvm_major,
        })
    }

    fn has_source(&self) -> bool {
        self.sysroot
            .join("lib/rustlib/src/rust/library/core/Cargo.toml")
            .is_file()
    }
}

/// Every usable compiler: rustup's, nightly before the others, then the distribution's.
fn compilers() -> Vec<Compiler> {
    let mut toolchains: Vec<PathBuf> = rustup_home()
        .and_then(|home| fs::read_dir(home.join("toolchains")).ok())
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    toolchains.sort_by_key(|path| {
        let nightly = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"nightly"));
        (!nightly, path.clone())
    });
    let mut compilers: Vec<Compiler> = Vec::new();
    let candidates = toolchains.iter().map(|path| path.join("bin/rustc"));
    for rustc in candidates.chain([PathBuf::from("/usr/bin/rustc")]) {
        // One toolchain may be there under several names.
        let Some(compiler) = Compiler::at(rustc) else {
            continue;
        };
        if compilers.iter().all(|one| one.sysroot != compiler.sysroot) {
            compilers.push(compiler);
        }
    }
    compilers
}

fn rustup_home() -> Option<PathBuf> {
    env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".rustup")))
}

/// The folder of LLVM's shared library, beside the compiler's own or where Debian keeps it.
fn llvm_folder(sysroot: &Path, major: u32) -> Option<PathBuf> {
    let prefix = format!("libLLVM.so.{major}.");
    let multiarch = format!("lib/{}-linux-gnu", env::consts::ARCH);
    ["lib", &multiarch]
        .iter()
        .map(|folder| sysroot.join(folder))
        .find(|folder| {
            fs::read_dir(folder).is_ok_and(|entries| {
                entries.flatten().any(|entry| {
                    entry
                        .file_name()
                        .to_str()
                        .is_some_and(|name| name.starts_with(&prefix))
                })
            })
        })
}

fn linker() -> Option<PathBuf> {
    let cargo_bin = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")))
        .map(|home| home.join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(cargo_bin)
        .map(|folder| folder.join("bpf-linker"))
        .find(|linker| {
            output(Command::new(linker).arg("--version"))
                .is_some_and(|text| text.split_whitespace().any(|word| word == LINKER_VERSION))
        })
}

/// Standard output of a command that ended well.
fn output(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
