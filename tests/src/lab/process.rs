//! Processes inside the lab: how they are started, asked and ended.

use std::{
    env,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::de::DeserializeOwned;

use crate::probe::{Exchange, Tally};

/// How often a condition is looked at.
const POLL_EVERY: Duration = Duration::from_millis(5);
const DEFAULT_REQUEST_BYTES: usize = 64;
const LOAD_TIMEOUT: Duration = Duration::from_secs(20);

/// A process that ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Whether it outlives this value.
    left: bool,
}

/// A client's socket under the test's control.
#[derive(Debug)]
pub struct Session {
    pipe: Pipe,
    /// What opening the socket said.
    pub opened: Exchange,
}

/// A client that sends requests at a fixed pace until this is dropped.
#[derive(Debug)]
pub struct Load {
    stdin: Option<ChildStdin>,
    latest: Arc<Mutex<Tally>>,
    reader: JoinHandle<Result<()>>,
}

/// A process that is asked by lines and answers with JSON lines.
#[derive(Debug)]
struct Pipe {
    /// Ends the process.
    _running: Running,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// A program that Cargo built into the same folder as the running one.
pub fn binary(name: &str) -> Result<PathBuf> {
    let current = env::current_exe().context("find this program's own path")?;
    // Test binaries are one folder deeper, in `deps`.
    let found = current
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name));
    let found = found.into_iter().find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "{name} is not built beside {}; run cargo build first",
            current.display()
        )
    })
}

/// Looks at a condition until it holds; the last thing it said is the error after the deadline.
pub fn wait_for<T>(
    what: &str,
    timeout: Duration,
    mut condition: impl FnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("{what} did not happen within {timeout:?}")));
            }
            Err(_) => thread::sleep(POLL_EVERY),
        }
    }
}

// === impl Running ===

impl Running {
    /// Starts a process whose output goes to a file.
    pub(super) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        Ok(Self { child, left: false })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still there; its exit status if not.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("it ended with {status}"),
        }
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Lets it run on when this value is dropped.
    pub const fn leave(&mut self) {
        self.left = true;
    }

    /// Waits for it to end by itself.
    pub(super) fn wait(&mut self) -> Result<std::process::ExitStatus> {
        Ok(self.child.wait()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.left {
            // It may have ended already.
            let _ = self.kill();
        }
    }
}

// === impl Pipe ===

impl Pipe {
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().context("standard output is piped")?);
        Ok(Self {
            _running: Running { child, left: false },
            stdin,
            stdout,
        })
    }

    fn write(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("standard input is closed")?;
        writeln!(stdin, "{line}").context("ask the probe")
    }

    /// The next line; `None` at the end of the output.
    fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let mut line = String::new();
        if self
            .stdout
            .read_line(&mut line)
            .context("read from the probe")?
            == 0
        {
            return Ok(None);
        }
        serde_json::from_str(&line)
            .map(Some)
            .with_context(|| format!("parse {line:?}"))
    }
}

// === impl Session ===

impl Session {
    pub(super) fn start(command: Command) -> Result<Self> {
        let mut pipe = Pipe::start(command)?;
        pipe.write("open")?;
        let opened = pipe.read()?.context("the client ended")?;
        Ok(Self { pipe, opened })
    }

    /// Opens the socket anew.
    pub fn reopen(&mut self) -> Result<Exchange> {
        self.pipe.write("open")?;
        self.opened = self.pipe.read()?.context("the client ended")?;
        Ok(self.opened.clone())
    }

    pub fn ask(&mut self) -> Result<Exchange> {
        self.ask_with(DEFAULT_REQUEST_BYTES)
    }

    /// Sends a request of this length; the answer is as long.
    pub fn ask_with(&mut self, bytes: usize) -> Result<Exchange> {
        if self.opened.error.is_some() {
            return Ok(self.opened.clone());
        }
        self.pipe.write(&format!("ask {bytes}"))?;
        self.pipe.read()?.context("the client ended")
    }
}

// === impl Load ===

impl Load {
    pub(super) fn start(command: Command) -> Result<Self> {
        let mut pipe = Pipe::start(command)?;
        let stdin = pipe.stdin.take();
        let latest = Arc::new(Mutex::new(Tally::default()));
        let shared = Arc::clone(&latest);
        // Read all the time, or the load would block on a full pipe.
        let reader = thread::spawn(move || {
            while let Some(tally) = pipe.read::<Tally>()? {
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = tally;
            }
            Ok(())
        });
        Ok(Self {
            stdin,
            latest,
            reader,
        })
    }

    /// What it said last, at most about a tenth of a second ago.
    pub fn tally(&self) -> Tally {
        self.latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until it has sent this many more requests.
    pub fn wait_for_more(&self, requests: u64) -> Result<Tally> {
        self.wait_until_sent(self.tally().sent + requests)
    }

    /// Waits until it has sent this many requests since its start.
    pub fn wait_until_sent(&self, requests: u64) -> Result<Tally> {
        wait_for("the load's progress", LOAD_TIMEOUT, || {
            let tally = self.tally();
            ensure!(tally.sent >= requests, "{} of {requests} sent", tally.sent);
            Ok(tally)
        })
    }

    /// Stops sending and returns the final tally.
    pub fn finish(self) -> Result<Tally> {
        drop(self.stdin);
        self.reader
            .join()
            .map_err(|_panic| anyhow!("the load's reader panicked"))??;
        Ok(self
            .latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone())
    }
}
