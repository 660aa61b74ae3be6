//! A directory of manifests as a source: the files right in it, not in directories below.
//!
//! Each change reads the whole directory again and sends the difference, so the state is a function
//! of the files alone. inotify only says when to look; a slow poll finds what it cannot see
//! (another directory under the same name, a file behind a symbolic link, a network file system).
//! A directory that goes away leaves the last state in force, as an API server that goes away does
//! (services.md 25).

mod document;
mod object;
mod snapshot;
mod wake;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use snapshot::Snapshot;
use tokio::sync::mpsc;
use tracing::{info, warn};
use wake::Watch;

use super::convert::{Origin, Scope};
use crate::model::{Event, Kind, ObjectRef};

/// A directory and what it said when it was last read.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    scope: Scope,
    last: Snapshot,
    /// Why the directory could not be read, if that is so.
    fault: Option<String>,
}

struct Live {
    directory: Directory,
    watch: Watch,
}

/// Everything the directory says, complete: for questions that are asked offline.
pub fn load(directory: &Path, node: &str) -> anyhow::Result<Vec<Event>> {
    let mut events = Directory::new(directory, node.into()).reread()?;
    events.extend(Kind::ALL.map(Event::Synced));
    Ok(events)
}

/// Sends what the directory says and every change of it until nobody receives any more. Fails only
/// if the directory cannot be read or watched at the start.
pub async fn run(
    directory: PathBuf,
    node: impl Into<Arc<str>>,
    events: mpsc::Sender<Event>,
) -> anyhow::Result<()> {
    // Watched before it is read, so that no change falls between.
    let (watch, mut hints) = wake::watch(&directory)?;
    let live = Live {
        directory: Directory::new(&directory, node.into()),
        watch,
    };
    let (mut live, first) = blocking(live, |live| live.directory.reread()).await?;
    let mut batch: Vec<Event> = first?
        .into_iter()
        .chain(Kind::ALL.map(Event::Synced))
        .collect();
    loop {
        for event in batch {
            if events.send(event).await.is_err() {
                return Ok(());
            }
        }
        let hinted = tokio::select! {
            () = events.closed() => return Ok(()),
            hinted = hints.wait() => hinted,
        };
        (live, batch) = blocking(live, move |live| live.refresh(hinted)).await?;
    }
}

/// Reading files must not hold up the other tasks.
async fn blocking<T: Send + 'static>(
    mut live: Live,
    read: impl FnOnce(&mut Live) -> T + Send + 'static,
) -> anyhow::Result<(Live, T)> {
    tokio::task::spawn_blocking(move || {
        let result = read(&mut live);
        (live, result)
    })
    .await
    .context("cannot finish reading the manifests")
}

// === impl Live ===

impl Live {
    fn refresh(&mut self, hinted: bool) -> Vec<Event> {
        let changed = self.watch.look();
        if hinted || changed {
            self.directory.refresh()
        } else {
            Vec::new()
        }
    }
}

// === impl Directory ===

impl Directory {
    fn new(path: &Path, node: Arc<str>) -> Self {
        let scope = Scope {
            node,
            origin: Origin::Manifest,
        };
        Self {
            path: path.to_owned(),
            scope,
            last: Snapshot::default(),
            fault: None,
        }
    }

    fn reread(&mut self) -> anyhow::Result<Vec<Event>> {
        let snapshot = Snapshot::read(&self.path, &self.scope)?;
        let changes = snapshot.changes_since(&self.last);
        self.last = snapshot;
        Ok(changes)
    }

    /// The changes, or that nothing can be said about changes.
    fn refresh(&mut self) -> Vec<Event> {
        let object = ObjectRef::File(self.path.to_string_lossy().into());
        match self.reread() {
            Ok(mut changes) => {
                if self.fault.take().is_some() {
                    info!(directory = %self.path.display(), "the manifests can be read again");
                    changes.push(Event::Delete(object));
                }
                changes
            }
            Err(error) => {
                let reason = format!("{error:#}; what it said before stays in force");
                if self.fault.as_ref() == Some(&reason) {
                    return Vec::new();
                }
                warn!("{reason}");
                self.fault = Some(reason.clone());
                vec![Event::Invalid {
                    object,
                    problems: vec![reason],
                }]
            }
        }
    }
}

#[cfg(test)]
mod tests;
