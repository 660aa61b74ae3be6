//! A long-running program of the control plane, found again and ended by its process id.
//!
//! A process id is taken for the program's only together with the start time of the process, so
//! that a stale record never points at somebody else's process.

use std::{
    fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::programs::tail;

/// A program that has not ended this long after SIGTERM gets SIGKILL.
const TERM_TIMEOUT: Duration = Duration::from_secs(5);

/// A program that was started, perhaps by another process.
#[derive(Debug)]
pub(super) struct Daemon {
    record: Record,
    log: PathBuf,
    /// There if this process started it, which then has to collect it.
    child: Option<Child>,
}

/// What identifies a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    pid: i32,
    /// Field 22 of /proc/PID/stat, in ticks since boot.
    start_time: u64,
}

// === impl Daemon ===

impl Daemon {
    /// Starts `command` with its output appended to `NAME.log`, and leaves `NAME.pid` beside it.
    pub(super) fn start(dir: &Path, name: &str, args: &[String]) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log);
        let output = output.with_context(|| format!("open {}", log.display()))?;
        let errors = output
            .try_clone()
            .with_context(|| format!("share {}", log.display()))?;
        // In a session of its own it outlives the terminal. `setsid` replaces itself by the
        // program, whose process id is the one we get.
        let child = Command::new("setsid")
            .arg("--")
            .args(args)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let pid = i32::try_from(child.id()).context("a process id is an i32")?;
        let record = Record {
            pid,
            start_time: start_time(pid).context("read its start time")?,
        };
        let text = serde_json::to_string(&record).context("write a process record")?;
        fs::write(dir.join(format!("{name}.pid")), text).context("write a process record")?;
        Ok(Self {
            record,
            log,
            child: Some(child),
        })
    }

    /// The program of that name that an earlier process left running, if it runs.
    pub(super) fn find(dir: &Path, name: &str) -> Option<Self> {
        let text = fs::read(dir.join(format!("{name}.pid"))).ok()?;
        let record = serde_json::from_slice(&text).ok()?;
        let mut daemon = Self {
            record,
            log: dir.join(format!("{name}.log")),
            child: None,
        };
        daemon.is_running().then_some(daemon)
    }

    /// Its process id, while it runs.
    pub(super) fn running_pid(&mut self) -> Option<i32> {
        self.is_running().then_some(self.record.pid)
    }

    pub(super) fn is_running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => start_time(self.record.pid) == Some(self.record.start_time),
        }
    }

    /// Fails with the end of the log if the program has ended by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        if !self.is_running() {
            bail!("{} ends with:\n{}", self.log.display(), tail(&self.log));
        }
        Ok(())
    }

    /// Ends the program with `signal`, or SIGKILL if that does not help, and waits for it.
    pub(super) fn stop(mut self, signal: Signal) -> Result<()> {
        for signal in [signal, Signal::KILL] {
            if self.is_running() {
                let pid = Pid::from_raw(self.record.pid).context("a process id is not zero")?;
                // It may have ended since; the next look tells.
                let _ = kill_process(pid, signal);
            }
            let deadline = Instant::now() + TERM_TIMEOUT;
            while self.is_running() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
            if !self.is_running() {
                return Ok(());
            }
        }
        bail!("process {} does not end", self.record.pid)
    }
}

/// When the process started; none for one that ended, also if nobody has collected it yet.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn start(dir: &TempDir, command: &[&str]) -> Daemon {
        let words: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        Daemon::start(dir.path(), "program", &words).unwrap()
    }

    #[test]
    fn running_program_is_found_again_and_an_ended_one_is_not() {
        let dir = TempDir::new().unwrap();
        let mut daemon = start(&dir, &["sleep", "1000"]);
        let mut found = Daemon::find(dir.path(), "program").unwrap();
        assert_eq!(found.running_pid(), daemon.running_pid());
        daemon.check().unwrap();
        daemon.stop(Signal::TERM).unwrap();
        assert!(Daemon::find(dir.path(), "program").is_none());
    }

    #[test]
    fn program_that_ignores_sigterm_is_killed() {
        let dir = TempDir::new().unwrap();
        let daemon = start(
            &dir,
            &["sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
        );
        daemon.stop(Signal::TERM).unwrap();
        assert!(Daemon::find(dir.path(), "program").is_none());
    }

    #[test]
    fn process_that_took_over_the_id_is_not_taken_for_the_program() {
        let dir = TempDir::new().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let record = Record {
            pid,
            start_time: start_time(pid).unwrap() + 1,
        };
        fs::write(
            dir.path().join("program.pid"),
            serde_json::to_string(&record).unwrap(),
        )
        .unwrap();
        assert!(Daemon::find(dir.path(), "program").is_none());
    }

    #[test]
    fn program_that_ends_by_itself_is_reported_with_the_end_of_its_log() {
        let dir = TempDir::new().unwrap();
        let mut daemon = start(&dir, &["sh", "-c", "echo out of order; exit 1"]);
        let deadline = Instant::now() + TERM_TIMEOUT;
        while daemon.is_running() {
            assert!(Instant::now() < deadline, "it runs on");
            thread::sleep(Duration::from_millis(1));
        }
        let error = daemon.check().unwrap_err().to_string();
        assert!(error.ends_with("out of order"), "{error}");
    }
}
