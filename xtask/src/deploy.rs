//! `cargo xtask deploy LAB_FOLDER`: Switchboard as the only service proxy of a cluster that runs.
//!
//! LAB_FOLDER holds the cluster's own scripts: `kubectl`, `image-pack`, `image-load` and `proxy`,
//! as the conformance lab has them. The image is named by its content, so that a second run
//! replaces what runs if the binary differs, and leaves it alone if it does not.

use std::{
    env,
    env::consts::ARCH,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::shell;

/// What the manifests call the image.
const MANIFEST_IMAGE: &str = concat!("switchboard:", env!("CARGO_PKG_VERSION"));
const OVERLAY: &str = "manifests/examples/lab";
const SCRIPTS: [&str; 4] = ["kubectl", "image-pack", "image-load", "proxy"];
const DIGEST_CHARS: usize = 16;
const ROLLOUT_TIMEOUT: &str = "--timeout=180s";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder of the lab, which is up
    lab_folder: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let lab = Lab::open(&args.lab_folder)?;
    let binary = build_static()?;
    let image = format!("localhost/switchboard:{}", digest(&binary)?);
    lab.load_image(&binary, &image)?;
    lab.run("proxy", &["none"])?;
    lab.apply(&image)?;
    let rollout = [
        "rollout",
        "status",
        "daemonset/switchboard",
        ROLLOUT_TIMEOUT,
    ];
    let rollout = lab.kubectl(&rollout);
    if rollout.is_err() {
        // Why it hangs is in what the pods say; the rollout's own error follows.
        let _ = lab.kubectl(&[
            "get",
            "pods",
            "-l",
            "app.kubernetes.io/name=switchboard",
            "-o",
            "wide",
        ]);
        let _ = lab.kubectl(&["logs", "daemonset/switchboard", "--all-pods", "--tail=20"]);
    }
    rollout
}

/// The binary runs in an image of its own, without a C library beside it.
fn build_static() -> Result<PathBuf> {
    let target = format!("{ARCH}-unknown-linux-gnu");
    let mut command = shell::cargo("build");
    command.args(["--release", "--package", "switchboard", "--target", &target]);
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    shell::run(&mut command)?;
    Ok(target_dir().join(target).join("release/switchboard"))
}

fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), PathBuf::from)
}

/// Enough of the hash to name a build.
fn digest(file: &Path) -> Result<String> {
    let text = output(Command::new("sha256sum").arg(file))?;
    Ok(text.chars().take(DIGEST_CHARS).collect())
}

/// Runs a command and returns what it prints; an error has what it said on standard error.
fn output(command: &mut Command) -> Result<String> {
    let line = shell::line_of(command);
    let output = command
        .output()
        .with_context(|| format!("start `{line}`"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`{line}` failed: {}",
        errors.trim()
    );
    String::from_utf8(output.stdout).with_context(|| format!("read the answer of `{line}`"))
}

/// The scripts of a cluster.
struct Lab {
    folder: PathBuf,
}

// === impl Lab ===

impl Lab {
    fn open(folder: &Path) -> Result<Self> {
        let folder = fs::canonicalize(folder)
            .with_context(|| format!("find the lab's folder {}", folder.display()))?;
        for script in SCRIPTS {
            let path = folder.join(script);
            ensure!(
                path.is_file(),
                "{} is no lab: it has no {script}",
                folder.display()
            );
        }
        let lab = Self { folder };
        lab.query(&["get", "--raw", "/readyz"])
            .context("the lab is not up; try its ./up")?;
        Ok(lab)
    }

    /// Makes an image of one file and gives it to every node.
    fn load_image(&self, binary: &Path, image: &str) -> Result<()> {
        let work = target_dir().join("image");
        let root = work.join("root");
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        // Nine tenths of it are debug info, which no node has a use for.
        let mut strip = Command::new("strip");
        strip
            .arg("--strip-debug")
            .arg("-o")
            .arg(root.join("switchboard"))
            .arg(binary);
        shell::run(&mut strip)?;
        let archive = work.join("switchboard.tar");
        let (archive, root) = (archive.to_string_lossy(), root.to_string_lossy());
        let config = r#"{"Entrypoint": ["/switchboard"]}"#;
        self.run("image-pack", &[&archive, &root, config, image])?;
        self.run("image-load", &["all", &archive])
    }

    fn apply(&self, image: &str) -> Result<()> {
        let overlay = shell::root().join(OVERLAY);
        let objects = self.query(&["kustomize", &overlay.to_string_lossy()])?;
        let uses = objects.matches(MANIFEST_IMAGE).count();
        ensure!(
            uses == 1,
            "{OVERLAY} names the image {MANIFEST_IMAGE} {uses} times, not once"
        );
        let mut child = self
            .script("kubectl", &["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .context("start kubectl apply")?;
        let mut stdin = child.stdin.take().context("standard input is a pipe")?;
        stdin
            .write_all(objects.replace(MANIFEST_IMAGE, image).as_bytes())
            .context("apply")?;
        drop(stdin);
        let status = child.wait().context("wait for kubectl apply")?;
        ensure!(status.success(), "kubectl apply failed");
        Ok(())
    }

    fn kubectl(&self, args: &[&str]) -> Result<()> {
        self.run("kubectl", &[&["-n", "kube-system"], args].concat())
    }

    fn query(&self, args: &[&str]) -> Result<String> {
        output(&mut self.script("kubectl", args))
    }

    fn run(&self, script: &str, args: &[&str]) -> Result<()> {
        shell::run(&mut self.script(script, args))
    }

    fn script(&self, script: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.folder.join(script));
        command.args(args);
        command
    }
}
