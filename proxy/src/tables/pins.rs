//! The directory of a bpf file system that holds maps and links, so that they outlive the agent.
//!
//! Whoever may write there owns the node's traffic, so a directory that others may write to is not
//! used; and whoever changes it holds its lock, so that two agents never fight over a map.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use proxy_datapath::tables::{ABI_VERSION, Table};
use rustix::fs::{FlockOperation, Mode, OFlags};

use super::Error;

/// `BPF_FS_MAGIC` of the kernel's `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinDir {
    path: PathBuf,
}

/// The right to change what is pinned, until it is dropped or the process ends.
#[derive(Debug)]
pub struct PinLock {
    dir: OwnedFd,
}

// === impl PinDir ===

impl PinDir {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn maps(&self) -> PathBuf {
        self.path.join("maps")
    }

    pub fn links(&self) -> PathBuf {
        self.path.join("links")
    }

    pub fn map<T: Table>(&self) -> PathBuf {
        self.map_named(T::NAME)
    }

    pub fn map_named(&self, name: &str) -> PathBuf {
        self.maps()
            .join(format!("{}{}", name.to_lowercase(), layout_suffix()))
    }

    /// Makes the directory where it is missing, checks that it can be trusted, and locks it.
    pub fn prepare(&self) -> Result<PinLock, Error> {
        loop {
            let lock = self.prepare_once()?;
            // A `cleanup` may have removed the directory between opening and locking it.
            if lock.holds(&self.path) {
                return Ok(lock);
            }
        }
    }

    fn prepare_once(&self) -> Result<PinLock, Error> {
        self.check_file_system()?;
        for dir in [self.path.clone(), self.maps(), self.links()] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .map_err(Error::path("make the directory", &dir))?;
        }
        check_owner(&self.path)?;
        self.lock()
    }

    /// Locks a directory that is there.
    pub fn lock(&self) -> Result<PinLock, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&self.path, flags, Mode::empty())
            .map_err(|error| Error::path("open", &self.path)(error.into()))?;
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(PinLock { dir }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked {
                dir: self.path.clone(),
                pid: lock_holder(&self.path),
            }),
            Err(error) => Err(Error::path("lock", &self.path)(error.into())),
        }
    }

    /// Unpins the maps of other layouts, once no program uses them any more.
    pub fn remove_other_layouts(&self, _lock: &PinLock) -> Result<Vec<PathBuf>, Error> {
        let mut removed = Vec::new();
        for path in list(&self.maps())? {
            if !path.to_string_lossy().ends_with(&layout_suffix()) {
                fs::remove_file(&path).map_err(Error::path("unpin", &path))?;
                removed.push(path);
            }
        }
        Ok(removed)
    }

    pub(crate) fn check_file_system(&self) -> Result<(), Error> {
        let there = self
            .path
            .ancestors()
            .find(|dir| dir.exists())
            .unwrap_or_else(|| Path::new("/"));
        let kind = rustix::fs::statfs(there)
            .map_err(|error| Error::path("examine the file system of", there)(error.into()))?
            .f_type;
        if kind as u32 == BPF_FS_MAGIC {
            return Ok(());
        }
        let standard = Path::new("/sys/fs/bpf");
        let mount = match self.path.starts_with(standard) {
            true => standard,
            false => self.path.parent().unwrap_or(&self.path),
        };
        Err(Error::NotBpffs {
            dir: self.path.clone(),
            mount: mount.to_owned(),
        })
    }
}

// === impl PinLock ===

impl PinLock {
    fn holds(&self, path: &Path) -> bool {
        match (rustix::fs::fstat(&self.dir), rustix::fs::stat(path)) {
            (Ok(held), Ok(there)) => (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino),
            _ => false,
        }
    }
}

impl Drop for PinLock {
    fn drop(&mut self) {
        // Closing is not enough: a child between fork and exec has the descriptor too. If this
        // fails, the lock ends with the last of them.
        let _ = rustix::fs::flock(&self.dir, FlockOperation::Unlock);
    }
}

/// The files of a directory, sorted; none if it is not there.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::path("list", dir)(error)),
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(Error::path("list", dir))?;
    paths.sort();
    Ok(paths)
}

fn layout_suffix() -> String {
    format!("_v{ABI_VERSION}")
}

/// Only root, or whoever runs this, may have made the directory, and nobody else may write to it.
fn check_owner(dir: &Path) -> Result<(), Error> {
    let found = fs::metadata(dir).map_err(Error::path("examine", dir))?;
    let owner = found.uid();
    let own = rustix::process::geteuid().as_raw();
    if (owner != 0 && owner != own) || found.permissions().mode() & 0o022 != 0 {
        return Err(Error::Untrusted {
            dir: dir.to_owned(),
            owner,
        });
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
        .map_err(Error::path("close to others", dir))
}

/// The process that holds the lock, as far as this process may see it.
fn lock_holder(dir: &Path) -> Option<u32> {
    let found = fs::metadata(dir).ok()?;
    let (major, minor) = (
        rustix::fs::major(found.dev()),
        rustix::fs::minor(found.dev()),
    );
    let place = format!("{major:02x}:{minor:02x}:{}", found.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        // `1: FLOCK  ADVISORY  WRITE 1234 00:1f:5678 0 EOF`
        let mut words = line
            .split_whitespace()
            .skip_while(|word| *word != "FLOCK")
            .skip(3);
        let pid = words.next()?.parse().ok()?;
        (words.next()? == place).then_some(pid)
    })
}
