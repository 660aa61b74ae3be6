//! What service ids stand for, kept in `<run dir>/names.json` for as long as no agent runs that
//! could be asked.

use std::{
    collections::BTreeMap,
    fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use proxy_datapath::{family::Family, tables::Frontend};
use serde::{Deserialize, Serialize};

use crate::{
    model::ObjectKey,
    plan::{FamilyOp, FamilyState, MapState, Op},
};

pub const NAMES_FILE: &str = "names.json";

/// By service id.
pub type Names = BTreeMap<u32, PortName>;

/// The service port that a service id stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortName {
    pub service: ObjectKey,
    /// Empty for the only port of a Service that names none.
    pub port: Arc<str>,
}

/// The file as an agent keeps it.
#[derive(Debug)]
pub struct NameFile {
    path: PathBuf,
    /// Of the names that the file holds, so that they are written only when they change.
    hash: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    id: u32,
    namespace: String,
    name: String,
    port: String,
}

// === impl PortName ===

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.port.is_empty() {
            self.service.fmt(f)
        } else {
            write!(f, "{}:{}", self.service, self.port)
        }
    }
}

// === impl NameFile ===

impl NameFile {
    pub fn new(run_dir: &Path) -> Self {
        Self {
            path: run_dir.join(NAMES_FILE),
            hash: None,
        }
    }

    /// Makes the file say these names. Whoever reads it meanwhile sees the old ones or the new.
    pub fn update(&mut self, names: &Names) -> io::Result<()> {
        let hash = hash(names);
        if self.hash == Some(hash) {
            return Ok(());
        }
        let lines: Vec<Line> = names
            .iter()
            .map(|(&id, name)| Line::new(id, name))
            .collect();
        let beside = self.path.with_extension("json.new");
        fs::write(&beside, serde_json::to_vec(&lines)?)?;
        fs::rename(&beside, &self.path)?;
        self.hash = Some(hash);
        Ok(())
    }
}

/// Whether these writes give a frontend to another service port than it has, or take it away: only
/// then do names change.
pub fn rename(ops: &[Op], actual: &MapState) -> bool {
    fn family<F: Family>(op: &FamilyOp<F>, actual: &FamilyState<F>) -> bool {
        let FamilyOp::Frontend { key, value } = op else {
            return false;
        };
        let owner = |frontend: &Frontend| frontend.service;
        value.as_ref().map(owner) != actual.frontends.get(key).map(owner)
    }
    ops.iter().any(|op| match op {
        Op::V4(op) => family(op, &actual.v4),
        Op::V6(op) => family(op, &actual.v6),
        Op::Slot { .. } => false,
    })
}

/// The names that the last agent knew; none where it left no file.
pub fn read_names(run_dir: &Path) -> io::Result<Names> {
    let text = match fs::read(run_dir.join(NAMES_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Names::new()),
        read => read?,
    };
    let lines: Vec<Line> = serde_json::from_slice(&text)?;
    Ok(lines.into_iter().map(Line::into_name).collect())
}

fn hash(names: &Names) -> u64 {
    let mut hasher = DefaultHasher::new();
    names.hash(&mut hasher);
    hasher.finish()
}

// === impl Line ===

impl Line {
    fn new(id: u32, name: &PortName) -> Self {
        Self {
            id,
            namespace: name.service.namespace.to_string(),
            name: name.service.name.to_string(),
            port: name.port.to_string(),
        }
    }

    fn into_name(self) -> (u32, PortName) {
        let service = ObjectKey::new(self.namespace, self.name);
        (
            self.id,
            PortName {
                service,
                port: self.port.into(),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::observe::testing;

    fn names(port: &str) -> Names {
        let service = ObjectKey::new("default", "echo");
        [(
            7,
            PortName {
                service,
                port: port.into(),
            },
        )]
        .into()
    }

    #[test]
    fn names_outlive_their_agent() {
        let dir = TempDir::new().unwrap();
        assert_eq!(read_names(dir.path()).unwrap(), Names::new());
        NameFile::new(dir.path()).update(&names("http")).unwrap();
        assert_eq!(read_names(dir.path()).unwrap(), names("http"));
    }

    #[test]
    fn names_are_written_only_when_they_change() {
        let dir = TempDir::new().unwrap();
        let mut file = NameFile::new(dir.path());
        file.update(&names("http")).unwrap();
        fs::remove_file(dir.path().join(NAMES_FILE)).unwrap();
        file.update(&names("http")).unwrap();
        assert_eq!(read_names(dir.path()).unwrap(), Names::new());
        file.update(&names("dns")).unwrap();
        assert_eq!(read_names(dir.path()).unwrap(), names("dns"));
    }

    #[test]
    fn only_a_new_owner_of_a_frontend_renames() {
        let actual = testing::maps();
        let (&key, &old) = actual.v4.frontends.iter().next().unwrap();
        let write = |value| [Op::V4(FamilyOp::Frontend { key, value })];
        let moved = Frontend {
            base: old.base + 9,
            ..old
        };
        let other = Frontend {
            service: old.service + 9,
            ..old
        };
        assert!(!rename(&write(Some(moved)), &actual));
        assert!(rename(&write(Some(other)), &actual));
        assert!(rename(&write(None), &actual));
        assert!(rename(&write(Some(old)), &MapState::default()));
        assert!(!rename(
            &[Op::Slot {
                index: 0,
                backend: 1
            }],
            &actual
        ));
    }

    #[test]
    fn a_broken_file_is_an_error() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join(NAMES_FILE), "{").unwrap();
        assert!(read_names(dir.path()).is_err());
    }
}
