//! The control plane's programs: from `KUBEBUILDER_ASSETS`, else built from their Go modules.
//!
//! `k8s.io/kubernetes` is meant to be built in its own tree, where its go.mod replaces the staging
//! modules (`k8s.io/api` …) by folders; the module written here replaces them by the versions that
//! are published with it. What is built stays in a cache outside the repository.

use std::{
    collections::BTreeMap,
    env, fs,
    fs::File,
    io::{Write, stderr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// The release of Kubernetes that the suite is written against.
pub const KUBERNETES_VERSION: &str = "v1.36.3";
/// The release of etcd that this Kubernetes is released with.
pub const ETCD_VERSION: &str = "v3.6.8";

const ETCD_MODULE: &str = "go.etcd.io/etcd/server/v3";
const KUBERNETES_MODULE: &str = "k8s.io/kubernetes";
const PROGRESS_EVERY: Duration = Duration::from_secs(15);
/// What a person sees of a failed build; the rest is in the log.
const LOG_LINES_SHOWN: usize = 20;

/// Where the four programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    pub etcd: PathBuf,
    pub kube_apiserver: PathBuf,
    pub kube_controller_manager: PathBuf,
    pub kubectl: PathBuf,
}

/// The folder for what is kept between runs.
///
/// # Errors
/// Neither `XDG_CACHE_HOME` nor `HOME` is set.
pub fn cache_dir() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME set")?)
            .join(".cache"),
    };
    Ok(base.join("switchboard"))
}

/// Why the programs cannot be had on this machine, if they cannot.
pub fn unavailable() -> Option<String> {
    let missing: Vec<&str> = NAMES
        .into_iter()
        .filter(|name| find(name).is_none())
        .collect();
    if missing.is_empty() || go().is_some() {
        return None;
    }
    Some(format!(
        "no {}: set KUBEBUILDER_ASSETS to their folder, or install Go to build them",
        missing.join(", ")
    ))
}

/// Finds the programs and builds those that are missing, telling about it on standard error.
///
/// # Errors
/// A program is missing and cannot be built.
pub fn obtain() -> Result<Programs> {
    if NAMES.into_iter().any(|name| find(name).is_none()) {
        build_missing()?;
    }
    let path = |name: &str| find(name).with_context(|| format!("{name} not found after its build"));
    Ok(Programs {
        etcd: path(NAMES[0])?,
        kube_apiserver: path(NAMES[1])?,
        kube_controller_manager: path(NAMES[2])?,
        kubectl: path(NAMES[3])?,
    })
}

/// In the order in which they are built: small ones that fail early come first.
const NAMES: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kubectl",
];

fn find(name: &str) -> Option<PathBuf> {
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let built = build_dir().ok().map(|dir| dir.join("bin"));
    [assets, built]
        .into_iter()
        .flatten()
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// One folder for each pair of versions, so that an upgrade never runs an old program.
fn build_dir() -> Result<PathBuf> {
    let versions = format!("kubernetes-{KUBERNETES_VERSION}-etcd-{ETCD_VERSION}");
    Ok(cache_dir()?.join(versions))
}

/// `go` from `PATH`, else from where its own installer puts it.
fn go() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain([PathBuf::from("/usr/local/go/bin")]);
    dirs.map(|dir| dir.join("go")).find(|path| path.is_file())
}

fn build_missing() -> Result<()> {
    let dir = build_dir()?;
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
    let lock = dir.join("lock");
    let lock = File::create(&lock).with_context(|| format!("create {}", lock.display()))?;
    lock.lock()
        .context("wait for another build of the control plane")?;
    let module = Module {
        go: go().context("go not found")?,
        dir: dir.join("module"),
    };
    module.write()?;
    for name in NAMES.into_iter().filter(|name| find(name).is_none()) {
        let package = match name {
            "etcd" => ETCD_MODULE.to_owned(),
            _ => format!("{KUBERNETES_MODULE}/cmd/{name}"),
        };
        // A build that is interrupted must not leave half a program under its name.
        let part = bin.join(format!("{name}.part"));
        let output = part
            .to_str()
            .context("the cache folder's name is not UTF-8")?;
        let flags = link_flags();
        let args = ["build", "-ldflags", &flags, "-o", output, &package];
        module.run(&format!("building {name}"), &args)?;
        fs::rename(&part, bin.join(name)).with_context(|| format!("rename {output}"))?;
    }
    Ok(())
}

/// What the release's own build sets: the API server refuses to guess its version.
fn link_flags() -> String {
    let variable =
        |name: &str, value: &str| format!("-X k8s.io/component-base/version.{name}={value}");
    let minor = KUBERNETES_VERSION.split('.').nth(1).unwrap_or_default();
    [
        "-s -w".to_owned(),
        variable("gitVersion", KUBERNETES_VERSION),
        variable("gitMajor", "1"),
        variable("gitMinor", minor),
        variable("gitTreeState", "clean"),
        variable("buildDate", "1970-01-01T00:00:00Z"),
    ]
    .join(" ")
}

/// The Go module that requires what is built.
struct Module {
    go: PathBuf,
    dir: PathBuf,
}

/// `go mod download -json`, as far as it is used.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Download {
    go_mod: PathBuf,
}

/// `go mod edit -json`, as far as it is used.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GoMod {
    go: String,
    #[serde(default)]
    replace: Vec<Replace>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Replace {
    old: BTreeMap<String, String>,
}

// === impl Module ===

impl Module {
    /// Writes go.mod and go.sum, unless they are there.
    fn write(&self) -> Result<()> {
        if self.dir.join("go.sum").is_file() {
            return Ok(());
        }
        fs::create_dir_all(&self.dir).with_context(|| format!("create {}", self.dir.display()))?;
        let kubernetes = self.go_mod_of_kubernetes()?;
        self.write_file("go.mod", &go_mod_text(&kubernetes))?;
        self.write_file("tools.go", &tools_text())?;
        self.run("resolving the Go modules", &["mod", "tidy"])
    }

    fn go_mod_of_kubernetes(&self) -> Result<GoMod> {
        let module = format!("{KUBERNETES_MODULE}@{KUBERNETES_VERSION}");
        let download: Download = self.query(&["mod", "download", "-json", &module])?;
        let path = download
            .go_mod
            .to_str()
            .context("the module cache's name is not UTF-8")?;
        self.query(&["mod", "edit", "-json", path])
    }

    fn write_file(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.go);
        // With these, the packages of an earlier build with the usual release flags are used.
        command
            .args(args)
            .current_dir(&self.dir)
            .env("CGO_ENABLED", "0");
        command
            .env("GOFLAGS", "-trimpath -buildvcs=false")
            .stdin(Stdio::null());
        command
    }

    fn query<T: for<'de> Deserialize<'de>>(&self, args: &[&str]) -> Result<T> {
        let what = format!("go {}", args.join(" "));
        let output = self
            .command(args)
            .output()
            .with_context(|| format!("start {what}"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{what}: {}", errors.trim());
        serde_json::from_slice(&output.stdout).with_context(|| format!("read the answer of {what}"))
    }

    /// Runs go with its output in a log, and tells every while that it is still at it.
    fn run(&self, what: &str, args: &[&str]) -> Result<()> {
        let log_path = self.dir.join("build.log");
        let log = File::create(&log_path).context("create build.log")?;
        let mut command = self.command(args);
        command
            .stdout(log.try_clone().context("share build.log")?)
            .stderr(log);
        say(what);
        let started = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("start {}", self.go.display()))?;
        let mut told = started;
        let status = loop {
            if let Some(status) = child.try_wait().context("wait for go")? {
                break status;
            }
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                say(&format!("{what}: {} s", started.elapsed().as_secs()));
            }
            sleep(Duration::from_millis(50));
        };
        if !status.success() {
            bail!(
                "{what} failed, {} ends with:\n{}",
                log_path.display(),
                tail(&log_path)
            );
        }
        say(&format!(
            "{what}: done in {} s",
            started.elapsed().as_secs()
        ));
        Ok(())
    }
}

/// The end of a log, for a message.
pub(super) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

/// Progress goes to the process's standard error itself, which the test harness does not capture.
pub(super) fn say(line: &str) {
    // Nobody reads it: no reason to stop.
    let _ = writeln!(stderr(), "control plane: {line}");
}

fn go_mod_text(kubernetes: &GoMod) -> String {
    let staging = KUBERNETES_VERSION.replacen("v1.", "v0.", 1);
    let replaced: String = kubernetes
        .replace
        .iter()
        .filter_map(|replace| replace.old.get("Path"))
        .map(|path| format!("\t{path} => {path} {staging}\n"))
        .collect();
    let required =
        format!("\t{ETCD_MODULE} {ETCD_VERSION}\n\t{KUBERNETES_MODULE} {KUBERNETES_VERSION}\n");
    let go = &kubernetes.go;
    format!(
        "module switchboard.invalid/control-plane\n\ngo {go}\n\n\
         require (\n{required})\n\nreplace (\n{replaced})\n"
    )
}

/// Go keeps only what something imports; this file imports the programs.
fn tools_text() -> String {
    let programs = NAMES[1..]
        .iter()
        .map(|name| format!("{KUBERNETES_MODULE}/cmd/{name}"));
    let imports: String = [ETCD_MODULE.to_owned()]
        .into_iter()
        .chain(programs)
        .map(|p| format!("\t_ \"{p}\"\n"))
        .collect();
    format!("//go:build tools\n\npackage tools\n\nimport (\n{imports})\n")
}
