//! When to read a directory again: inotify at once, and a slow poll for what inotify cannot see.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

use super::snapshot;

/// So long nothing may change before the files are read: a copy of many files is one change.
const QUIET: Duration = Duration::from_millis(20);
/// Files that change all the time are read this often.
const QUIET_MAX: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_secs(1);

/// Where inotify says that something changed.
pub(super) struct Hints(mpsc::Receiver<()>);

/// The directory as inotify and `stat` see it.
pub(super) struct Watch {
    directory: PathBuf,
    watcher: RecommendedWatcher,
    /// Which directory inotify looks at.
    watched: Option<Inode>,
    /// The kernel has dropped the watch: the inode number may be another directory's by now.
    lost: Arc<AtomicBool>,
    seen: Vec<(OsString, Option<Version>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
}

/// What a file is without its content; no write leaves it the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    inode: Inode,
    bytes: u64,
    changed_s: i64,
    changed_ns: i64,
}

/// Watches `directory`, and remembers it as it is at this moment.
pub(super) fn watch(directory: &Path) -> anyhow::Result<(Watch, Hints)> {
    // As inotify's events name it.
    let directory = std::path::absolute(directory).context("cannot name the directory")?;
    let (hint, hints) = mpsc::channel(1);
    let lost = Arc::new(AtomicBool::new(false));
    let own = (directory.clone(), lost.clone());
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if matches!(event.kind, EventKind::Remove(_)) && event.paths.contains(&own.0) {
            own.1.store(true, Ordering::Relaxed);
        }
        if !is_reading(event.kind) {
            // A full channel already says what there is to say.
            let _ = hint.try_send(());
        }
    })
    .context("cannot start inotify")?;
    let mut watch = Watch {
        directory,
        watcher,
        watched: None,
        lost,
        seen: Vec::new(),
    };
    watch.look();
    Ok((watch, Hints(hints)))
}

// === impl Hints ===

impl Hints {
    /// Returns true as soon as something changed and is quiet again, false when it is time to look
    /// without a reason.
    pub(super) async fn wait(&mut self) -> bool {
        tokio::select! {
            Some(()) = self.0.recv() => {}
            () = sleep(POLL) => return false,
        }
        let latest = Instant::now() + QUIET_MAX;
        while let Ok(Some(())) = timeout_at(latest.min(Instant::now() + QUIET), self.0.recv()).await
        {
        }
        true
    }
}

// === impl Watch ===

impl Watch {
    /// Whether another directory or other files are there than at the last look.
    pub(super) fn look(&mut self) -> bool {
        let followed = self.follow();
        let files = snapshot::files(&self.directory).unwrap_or_default();
        let seen = files
            .into_iter()
            .map(|path| {
                let version = fs::metadata(&path).ok().map(|file| Version::new(&file));
                (path.into_os_string(), version)
            })
            .collect();
        let changed = followed || seen != self.seen;
        self.seen = seen;
        changed
    }

    /// Watches whatever has the directory's name at this moment, and says if that is another one.
    fn follow(&mut self) -> bool {
        let actual = fs::metadata(&self.directory)
            .ok()
            .map(|file| Inode::new(&file));
        let lost = self.lost.swap(false, Ordering::Relaxed);
        if actual == self.watched && !lost {
            return false;
        }
        // It fails where the kernel has dropped the watch with its directory.
        let _ = self.watcher.unwatch(&self.directory);
        self.watched = actual.filter(|_| {
            self.watcher
                .watch(&self.directory, RecursiveMode::NonRecursive)
                .is_ok()
        });
        true
    }
}

// === impl Inode ===

impl Inode {
    fn new(file: &fs::Metadata) -> Self {
        Self {
            device: file.dev(),
            number: file.ino(),
        }
    }
}

// === impl Version ===

impl Version {
    fn new(file: &fs::Metadata) -> Self {
        Self {
            inode: Inode::new(file),
            bytes: file.size(),
            changed_s: file.ctime(),
            changed_ns: file.ctime_nsec(),
        }
    }
}

/// Reading a file is no change, and our own reading would wake us again.
const fn is_reading(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => !matches!(
            access,
            AccessKind::Close(AccessMode::Write | AccessMode::Any)
        ),
        _ => false,
    }
}
