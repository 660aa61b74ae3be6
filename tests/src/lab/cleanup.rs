//! Removal of everything that a lab made, by its id alone.
//!
//! One path for every ending: each lab starts a reaper first, which waits for the lab's end of a
//! pipe to close. It closes when the lab is dropped, and also when its process panics, is
//! interrupted or killed. The reaper is in a process group of its own, so that Ctrl-C misses it.

use std::{
    env, fs,
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};

use super::{netns, process::binary};

const PREFIX: &str = "sb";
const CGROUP_PREFIX: &str = "switchboard-lab-";
/// Its presence in a lab's directory says that the lab outlives its process.
const KEPT: &str = "kept";
const KEEP_WORD: &[u8] = b"keep";
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Names a lab: the process that made it, and a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Id(String);

/// Removes the lab when dropped, or when this process ends in whatever way.
#[derive(Debug)]
pub(super) struct Reaper {
    id: Id,
    child: Child,
}

/// The program of `probe reap`.
pub(crate) fn reap(id: &str) -> Result<()> {
    let mut words = Vec::new();
    io::stdin().read_to_end(&mut words)?;
    if words == KEEP_WORD {
        Ok(())
    } else {
        Id(id.to_owned()).remove()
    }
}

/// Removes what is left of labs whose process is gone and that were not kept.
pub(super) fn remove_stale() {
    for id in Id::all() {
        if !id.is_alive() && !id.directory().join(KEPT).exists() {
            // Its own reaper may be at it at the same time; what neither removes, the next does.
            let _ = id.remove();
        }
    }
}

/// Removes the labs that were kept.
pub fn remove_kept() -> Result<()> {
    for id in Id::all() {
        if id.directory().join(KEPT).exists() {
            id.remove()?;
        }
    }
    Ok(())
}

// === impl Id ===

impl Id {
    pub(super) fn new(number: u32) -> Self {
        Self(format!("{PREFIX}{}-{number}", std::process::id()))
    }

    pub(super) fn netns(&self, name: &str) -> String {
        format!("{}-{name}", self.0)
    }

    pub(super) fn directory(&self) -> PathBuf {
        env::temp_dir().join(&self.0)
    }

    pub(super) fn cgroup(&self) -> Result<PathBuf> {
        Ok(cgroup_root()?.join(format!("{CGROUP_PREFIX}{}", self.0)))
    }

    /// Every lab of which anything is left.
    fn all() -> Vec<Self> {
        let in_directory = |path: &Path, prefix: &str| {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            names
                .filter_map(|name| name.strip_prefix(prefix).and_then(Self::parse))
                .collect::<Vec<_>>()
        };
        let mut ids = in_directory(&env::temp_dir(), "");
        ids.extend(
            cgroup_root()
                .iter()
                .flat_map(|root| in_directory(root, CGROUP_PREFIX)),
        );
        ids.extend(netns::names().iter().filter_map(|name| Self::parse(name)));
        ids.sort_by(|left, right| left.0.cmp(&right.0));
        ids.dedup();
        ids
    }

    /// The id that a name is or begins with: `sb`, a process, a number.
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.splitn(3, '-');
        let process: u32 = parts.next()?.parse().ok()?;
        let number: u32 = parts.next()?.parse().ok()?;
        Some(Self(format!("{PREFIX}{process}-{number}")))
    }

    fn is_alive(&self) -> bool {
        let process = self
            .0
            .trim_start_matches(PREFIX)
            .split('-')
            .next()
            .unwrap_or_default();
        Path::new("/proc").join(process).exists()
    }

    fn remove(&self) -> Result<()> {
        let cgroup = self.cgroup()?;
        end_processes(&cgroup)?;
        let prefix = self.netns("");
        let namespaces: Vec<_> = netns::names()
            .into_iter()
            .filter(|name| name.starts_with(&prefix))
            .collect();
        if !namespaces.is_empty() {
            let lines: Vec<_> = namespaces
                .iter()
                .map(|name| format!("netns del {name}"))
                .collect();
            netns::ip(None, &lines)?;
        }
        let directory = self.directory();
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            // Only the nodes' directories have a file system mounted in them.
            let _ = unmount(entry.path().join("bpf"), UnmountFlags::DETACH);
        }
        remove_cgroups(&cgroup)?;
        ignore_missing(fs::remove_dir_all(&directory))
            .with_context(|| format!("remove {}", directory.display()))
    }
}

// === impl Reaper ===

impl Reaper {
    pub(super) fn start(id: &Id) -> Result<Self> {
        let child = Command::new(binary("probe")?)
            .args(["reap", &id.0])
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("start the reaper")?;
        Ok(Self {
            id: id.clone(),
            child,
        })
    }

    /// Leaves the lab up when this process ends.
    pub(super) fn keep(mut self) -> Result<()> {
        fs::write(self.id.directory().join(KEPT), "")?;
        let mut stdin = self.child.stdin.take().context("standard input is piped")?;
        stdin
            .write_all(KEEP_WORD)
            .context("tell the reaper to keep the lab")?;
        Ok(())
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // The reaper says on standard error what it could not remove.
        let _ = self.child.wait();
    }
}

/// Where the cgroup2 hierarchy is mounted.
pub(super) fn cgroup_root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    let mut lines = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let line = lines.find(|words| words.get(2) == Some(&"cgroup2"));
    let mount = line.and_then(|words| words.get(1).map(PathBuf::from));
    mount.context("no cgroup2 hierarchy is mounted; try mount -t cgroup2 none /sys/fs/cgroup")
}

/// Kills every process of the lab, which are exactly those in its cgroup, and waits for their end.
fn end_processes(cgroup: &Path) -> Result<()> {
    if ignore_missing(fs::write(cgroup.join("cgroup.kill"), "1")).is_err() {
        // cgroup.kill is there since Linux 5.14.
        anyhow::bail!("kill the processes in {}", cgroup.display());
    }
    let deadline = Instant::now() + END_TIMEOUT;
    while fs::read_to_string(cgroup.join("cgroup.events"))
        .is_ok_and(|events| events.contains("populated 1"))
    {
        anyhow::ensure!(
            Instant::now() < deadline,
            "processes stay in {}",
            cgroup.display()
        );
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn remove_cgroups(cgroup: &Path) -> Result<()> {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path())?;
        }
    }
    ignore_missing(fs::remove_dir(cgroup))
        .with_context(|| format!("remove cgroup {}", cgroup.display()))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
