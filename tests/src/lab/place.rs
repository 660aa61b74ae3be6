//! A place where processes run: a pod, a node's own processes, or the client outside.

use std::{
    net::IpAddr,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};

use super::{
    netns,
    process::{Load, Running, Session, binary, wait_for},
    socket_text,
};

const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A network namespace and a cgroup.
#[derive(Clone, Debug)]
pub struct Place {
    pub(super) name: String,
    pub(super) netns: String,
    pub(super) cgroup: PathBuf,
    /// The cgroup for processes that no agent's socket hooks see, as in a sandboxed runtime.
    pub(super) unhooked: PathBuf,
    /// Where its servers write.
    pub(super) logs: PathBuf,
    pub(super) addrs: [IpAddr; 2],
}

// === impl Place ===

impl Place {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For `ip netns exec`.
    pub fn netns(&self) -> &str {
        &self.netns
    }

    pub const fn addr4(&self) -> IpAddr {
        self.addrs[0]
    }

    pub const fn addr6(&self) -> IpAddr {
        self.addrs[1]
    }

    /// The same place, with servers that answer with another name.
    #[must_use]
    pub fn renamed(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self.clone()
        }
    }

    /// The same place, for clients whose packets alone are translated.
    #[must_use]
    pub fn unhooked(&self) -> Self {
        Self {
            cgroup: self.unhooked.clone(),
            ..self.clone()
        }
    }

    /// Starts a server for TCP and UDP on both of the place's addresses.
    pub fn serve_port(&self, port: u16) -> Result<Running> {
        let listen: Vec<_> = ["tcp", "udp"]
            .iter()
            .flat_map(|protocol| {
                self.addrs
                    .map(|addr| format!("{protocol}/{}", socket_text(addr, port)))
            })
            .collect();
        self.serve(&listen.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts a server on each `tcp/ADDR:PORT` and `udp/ADDR:PORT` and waits until it listens.
    pub fn serve(&self, listen: &[&str]) -> Result<Running> {
        let mut args = vec!["serve", &self.name];
        args.extend(listen);
        static SERVERS: AtomicU32 = AtomicU32::new(0);
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let log = self.logs.join(format!("{}-{number}.log", self.name));
        let mut running = Running::start(self.probe(&args)?, &log)?;
        wait_for("the server's start", START_TIMEOUT, || {
            let text = std::fs::read_to_string(&log)?;
            running.check_alive().with_context(|| text.clone())?;
            anyhow::ensure!(text.contains("ready"), "{} says {text:?}", self.name);
            Ok(())
        })?;
        Ok(running)
    }

    /// Opens a client socket: `tcp ADDR:PORT` and further options of `probe client`.
    pub fn client(&self, args: &str) -> Result<Session> {
        let words = ["client"].into_iter().chain(args.split_whitespace());
        Session::start(self.probe(&words.collect::<Vec<_>>())?)
    }

    /// Opens a socket, sends one request and closes it.
    pub fn ask(&self, args: &str) -> Result<crate::probe::Exchange> {
        self.client(args)?.ask()
    }

    /// Sends requests at a pace: `tcp ADDR:PORT` and further options of `probe load`.
    pub fn load(&self, args: &str) -> Result<Load> {
        let words = ["load"].into_iter().chain(args.split_whitespace());
        Load::start(self.probe(&words.collect::<Vec<_>>())?)
    }

    /// Writes sysctls, given as paths below /proc/sys.
    pub fn set_sysctls(&self, settings: &[(&str, &str)]) -> Result<()> {
        netns::set_sysctls(&self.netns, settings)
    }

    /// Runs a command of the machine inside the namespace and returns what it prints.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        netns::output(&self.netns, program, args)
    }

    /// The words in front of a command that make it run in this place.
    pub fn enter_words(&self) -> Result<Vec<String>> {
        let command = self.command("")?;
        let words = [command.get_program()]
            .into_iter()
            .chain(command.get_args());
        let words = words.filter(|word| !word.is_empty());
        words
            .map(|word| {
                word.to_str()
                    .map(str::to_owned)
                    .context("a path is no text")
            })
            .collect()
    }

    /// A command that will run in this place.
    pub(super) fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(binary("probe")?);
        command.args(["enter", "--netns", &self.netns, "--cgroup"]);
        command.arg(&self.cgroup).arg("--").arg(program);
        Ok(command)
    }

    fn probe(&self, args: &[&str]) -> Result<Command> {
        let probe = binary("probe")?;
        let mut command = self.command(probe.to_str().context("the build folder is no text")?)?;
        command.args(args);
        Ok(command)
    }

    pub(super) fn make_cgroups(&self) -> Result<()> {
        for path in [&self.cgroup, &self.unhooked] {
            super::build::make_cgroup(path)?;
        }
        Ok(())
    }
}
