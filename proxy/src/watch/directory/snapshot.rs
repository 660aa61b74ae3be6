//! Everything a directory says at one moment, and what changed since another.
//!
//! Files are read in the byte order of their names and documents in their order; of two objects of
//! the same name the last one wins (services.md section 3).

use std::{
    collections::BTreeMap,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;

use super::{document, object};
use crate::{
    model::{Event, ObjectRef},
    watch::convert::{self, Scope},
};

/// A file larger than this is none that people write.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What is there, by object; an object that is none of ours is as good as absent.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    events: BTreeMap<ObjectRef, Event>,
    /// Where each object was read last.
    places: BTreeMap<ObjectRef, Arc<str>>,
}

/// The manifests of a directory, in the byte order of their names. Names that begin with a dot
/// are left to those who swap files under them (editors, the kubelet's `..data`).
pub(super) fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let context = || format!("cannot read directory {}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let manifest = path
            .extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|own| extension == *own));
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_bytes().starts_with(b"."));
        if manifest && !hidden {
            files.push(path);
        }
    }
    files.sort_unstable_by(|one, other| {
        one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes())
    });
    Ok(files)
}

// === impl Snapshot ===

impl Snapshot {
    pub(super) fn read(directory: &Path, scope: &Scope) -> anyhow::Result<Self> {
        let mut snapshot = Self::default();
        for path in files(directory)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            snapshot.read_file(&path, &name, scope);
        }
        Ok(snapshot)
    }

    /// What happened between `earlier` and this: what exists before what is gone.
    pub(super) fn changes_since(&self, earlier: &Self) -> Vec<Event> {
        let changed = self
            .events
            .iter()
            .filter(|(object, event)| earlier.events.get(*object) != Some(*event))
            .map(|(_, event)| event.clone());
        let gone = earlier
            .events
            .keys()
            .filter(|object| !self.events.contains_key(*object))
            .map(|object| Event::Delete(object.clone()));
        changed.chain(gone).collect()
    }

    fn read_file(&mut self, path: &Path, name: &str, scope: &Scope) {
        let text = match read_text(path) {
            Ok(Some(text)) => text,
            Ok(None) => return,
            Err((line, reason)) => return self.report(name, line, reason),
        };
        for document in document::split(&text) {
            for found in object::read(&document, scope) {
                match found {
                    Ok(found) => self.add(name, found),
                    Err(fault) => self.report(name, fault.line, fault.reason),
                }
            }
        }
    }

    fn add(&mut self, file: &str, found: object::Found) {
        let Some(object) = convert::reference(&found.event) else {
            return;
        };
        let place: Arc<str> = format!("{file}:{}", found.line).into();
        if let Some(earlier) = self.places.insert(object.clone(), place.clone()) {
            let reason = format!("{object} is defined again at {place}, which wins");
            self.report_at(earlier, reason);
        }
        match found.event {
            Event::Delete(object) => self.events.remove(&object),
            event => self.events.insert(object, event),
        };
    }

    fn report(&mut self, file: &str, line: usize, reason: String) {
        self.report_at(format!("{file}:{line}").into(), reason);
    }

    fn report_at(&mut self, place: Arc<str>, reason: String) {
        let object = ObjectRef::File(place);
        let fault = Event::Invalid {
            object: object.clone(),
            problems: Vec::new(),
        };
        if let Event::Invalid { problems, .. } = self.events.entry(object).or_insert(fault) {
            problems.push(reason);
        }
    }
}

/// The text of a file, or `None` if it went away or is none (a directory, a pipe).
fn read_text(path: &Path) -> Result<Option<String>, (usize, String)> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err((1, format!("cannot read the file: {error}"))),
    };
    if !metadata.is_file() {
        return Ok(None);
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err((1, format!("the file is larger than {FILE_BYTES_MAX} bytes")));
    }
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err((1, format!("cannot read the file: {error}"))),
    };
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        (line, "the file is not UTF-8".to_owned())
    })
}
