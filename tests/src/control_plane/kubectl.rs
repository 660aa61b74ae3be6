//! kubectl, as the administrator of a control plane.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What every call of kubectl has in common.
#[derive(Clone, Debug)]
pub struct Kubectl {
    /// The program, behind what enters the control plane's network namespace.
    pub(super) command: Vec<String>,
    pub(super) kubeconfig: PathBuf,
    pub(super) cache_dir: PathBuf,
}

// === impl Kubectl ===

impl Kubectl {
    /// Runs kubectl and returns what it printed.
    ///
    /// # Errors
    /// kubectl could not be started or failed: then what it printed on standard error.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        self.run_with_input(args, "")
    }

    /// `kubectl apply` of YAML or JSON text.
    ///
    /// # Errors
    /// The API server refused one of the objects.
    pub fn apply(&self, objects: &str) -> Result<()> {
        self.run_with_input(&["apply", "-f", "-"], objects)
            .map(drop)
    }

    /// Patches the status of a Pod or Node, as a kubelet would.
    ///
    /// # Errors
    /// The API server refused it.
    pub fn patch_status(&self, namespace: &str, object: &str, status: &Value) -> Result<()> {
        let patch = serde_json::json!({"status": status}).to_string();
        let patch = [
            "patch",
            object,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        self.run(&[&["-n", namespace], &patch[..]].concat())
            .map(drop)
    }

    fn run_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        let what = format!("kubectl {}", args.join(" "));
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(&self.cache_dir)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", self.command.join(" ")))?;
        let mut stdin = child.stdin.take().context("standard input is a pipe")?;
        // kubectl reads all of its input before it prints, and a command that reads none of it
        // closes it: its exit status tells more than our broken pipe.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child
            .wait_with_output()
            .with_context(|| format!("wait for {what}"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{what}: {}", errors.trim());
        String::from_utf8(output.stdout).with_context(|| format!("read the answer of {what}"))
    }
}
