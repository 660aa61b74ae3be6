//! A node's agent: the real binary, in the node's namespace, with a cgroup, a bpffs and a run
//! directory of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::{
    mount::{MountFlags, mount},
    process::{Pid, Signal, kill_process},
};

use super::{
    Place,
    process::{Running, binary, wait_for},
    status::{Service, Status},
};

/// Loading and verifying every program takes about a second on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Agent {
    host: Place,
    /// The node's own directory.
    directory: PathBuf,
    /// The cgroup of all processes of the node.
    cgroup: PathBuf,
    manifests: PathBuf,
    /// Further arguments of `switchboard agent`.
    args: Vec<String>,
    /// The words in front of it.
    launcher: Vec<String>,
    running: Option<Running>,
}

// === impl Agent ===

impl Agent {
    pub(super) fn new(host: &Place, directory: &Path, cgroup: &Path, manifests: &Path) -> Self {
        Self {
            host: host.clone(),
            directory: directory.to_owned(),
            cgroup: cgroup.to_owned(),
            manifests: manifests.to_owned(),
            args: Vec::new(),
            launcher: Vec::new(),
            running: None,
        }
    }

    pub(super) fn mount_bpffs(&self) -> Result<()> {
        let path = self.directory.join("bpf");
        fs::create_dir(&path)?;
        mount("bpf", &path, "bpf", MountFlags::empty(), None)
            .with_context(|| format!("mount bpffs on {}", path.display()))
    }

    pub fn pin_dir(&self) -> PathBuf {
        self.directory.join("bpf/switchboard")
    }

    pub fn run_dir(&self) -> PathBuf {
        self.directory.join("run")
    }

    pub const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Running::id)
    }

    /// What it has logged since it was last started.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Puts these words in front of the agent from its next start on, to narrow its rights.
    pub fn set_launcher(&mut self, words: &[&str]) {
        self.launcher = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// Starts it with the arguments of last time, and waits until it has read everything.
    pub fn start(&mut self) -> Result<Status> {
        let args = self.args.clone();
        self.start_with(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts it with further arguments, and waits until it has read everything.
    pub fn start_with(&mut self, args: &[&str]) -> Result<Status> {
        self.launch(args)?;
        self.wait_until_ready()
    }

    /// Starts it with the arguments of last time, and waits until it answers: for a source that is
    /// away.
    pub fn start_unsynced(&mut self) -> Result<Status> {
        let args = self.args.clone();
        self.launch(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
        self.wait_until("the agent's answer", |_| true)
    }

    /// Starts it; `--manifests` is the lab's folder unless the arguments name a source.
    pub(super) fn launch(&mut self, args: &[&str]) -> Result<()> {
        ensure!(
            self.running.is_none(),
            "the agent of {} runs already",
            self.host.name()
        );
        self.args = args.iter().map(|&arg| arg.to_owned()).collect();
        self.running = Some(self.spawn(args, &self.log_path())?);
        Ok(())
    }

    pub(super) fn wait_until_ready(&mut self) -> Result<Status> {
        self.wait_until("the agent's start", |status| status.source.is_synced())
    }

    /// Starts one that is expected to end by itself, and returns what it says.
    pub fn start_another(&self) -> Result<(std::process::ExitStatus, String)> {
        let log = self.directory.join("another.log");
        let mut running = self.spawn(&[], &log)?;
        let status = running.wait()?;
        Ok((status, fs::read_to_string(log)?))
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) -> Result<()> {
        let mut running = self.running.take().context("the agent does not run")?;
        running.kill()
    }

    /// Ends it as an orderly stop does, and waits for it.
    pub fn stop(&mut self) -> Result<std::process::ExitStatus> {
        let mut running = self.running.take().context("the agent does not run")?;
        let pid = i32::try_from(running.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process has an id")?, Signal::TERM)?;
        running.wait()
    }

    pub(super) const fn leave(&mut self) {
        if let Some(running) = &mut self.running {
            running.leave();
        }
    }

    /// Runs a subcommand of the command line against this node, and returns what it prints.
    pub fn cli(&self, args: &[&str]) -> Result<String> {
        let mut command = self.switchboard(args)?;
        let output = command
            .output()
            .with_context(|| format!("run switchboard {args:?}"))?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "switchboard {}: {}",
            args.join(" "),
            stderr.trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub fn status(&self) -> Result<Status> {
        serde_json::from_str(&self.cli(&["status", "-o", "json"])?).context("parse the status")
    }

    pub fn services(&self) -> Result<Vec<Service>> {
        let text = self.cli(&["service", "list", "-A", "-o", "json"])?;
        serde_json::from_str(&text).context("parse the services")
    }

    /// Waits for a status of which the condition holds.
    pub fn wait_until(
        &mut self,
        what: &str,
        condition: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        wait_for(what, READY_TIMEOUT, || {
            if let Some(running) = &mut self.running {
                let ended = running.check_alive();
                ended.map_err(|error| error.context(self.log()))?;
            }
            let status = self.status()?;
            ensure!(condition(&status), "the status is {status:#?}");
            Ok(status)
        })
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("agent.log")
    }

    fn spawn(&self, args: &[&str], log: &Path) -> Result<Running> {
        let agent = ["agent", "--node-name", self.host.name()];
        let mut command = self.switchboard_behind(&self.launcher, &agent)?;
        command.arg("--cgroup").arg(&self.cgroup);
        let named = |flag: &str| args.iter().any(|arg| arg.starts_with(flag));
        if !["--kubeconfig", "--api-server", "--manifests"]
            .into_iter()
            .any(named)
        {
            command.arg("--manifests").arg(&self.manifests);
        }
        command.args(args);
        Running::start(command, log)
    }

    fn switchboard(&self, args: &[&str]) -> Result<std::process::Command> {
        self.switchboard_behind(&[], args)
    }

    fn switchboard_behind(
        &self,
        launcher: &[String],
        args: &[&str],
    ) -> Result<std::process::Command> {
        let program = binary("switchboard")?;
        let program = program.to_str().context("the build folder is no text")?;
        let mut words = launcher.iter().map(String::as_str).chain([program]);
        let first = words.next().context("the program is a word")?;
        let mut command = self.host.command(first)?;
        command.args(words);
        command.args(args).arg("--pin-dir").arg(self.pin_dir());
        if args.first() != Some(&"cleanup") {
            command.arg("--run-dir").arg(self.run_dir());
        }
        Ok(command)
    }
}
