//! `switchboard cleanup`.

use std::{
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{Ending, Location, Streams};
use crate::{
    attach::links,
    config::{PIN_DIR, RUN_DIR, Settings},
    observe::{NAMES_FILE, SOCKET_NAME},
    tables::PinDir,
    watch::kube::MEMORY_FILE,
};

/// What agents leave in their run directory.
const FILES: [&str; 3] = [SOCKET_NAME, NAMES_FILE, MEMORY_FILE];

/// Take everything of Switchboard away: programs, links, maps, and what agents left in files
///
/// Services stop working on this node, and translated flows end, until an agent runs again. It is
/// refused while an agent runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  switchboard cleanup --dry-run")]
pub(super) struct Args {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    location: Location,
}

// === impl Args ===

impl Args {
    /// For an agent with these settings.
    pub(super) fn of_agent(settings: &Settings) -> Self {
        let dir =
            |dir: &Option<PathBuf>, default: &str| dir.clone().unwrap_or_else(|| default.into());
        Self {
            dry_run: false,
            location: Location {
                run_dir: dir(&settings.run_dir, RUN_DIR),
                pin_dir: dir(&settings.pin_dir, PIN_DIR),
            },
        }
    }
}

pub(super) fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    let Location { run_dir, pin_dir } = &args.location;
    let kernel = links::cleanup(&PinDir::new(pin_dir), args.dry_run)
        .with_context(|| format!("clean up {}", pin_dir.display()))?;
    let files = remove_files(run_dir, args.dry_run)
        .with_context(|| format!("clean up {}", run_dir.display()))?;
    let kernel = kernel.iter().map(|what| what as &dyn Display);
    let removed: Vec<&dyn Display> = kernel
        .chain(files.iter().map(|what| what as &dyn Display))
        .collect();
    let verb = if args.dry_run {
        "would remove"
    } else {
        "removed"
    };
    for what in &removed {
        writeln!(streams.out, "{verb} {what}")?;
    }
    if removed.is_empty() {
        let (pin_dir, run_dir) = (pin_dir.display(), run_dir.display());
        writeln!(
            streams.out,
            "nothing to remove under {pin_dir} and {run_dir}"
        )?;
    }
    Ok(Ending::Done)
}

/// Removes an agent's files, and the directory if nothing else is in it.
fn remove_files(run_dir: &Path, dry_run: bool) -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for path in FILES.map(|name| run_dir.join(name)) {
        if !path.try_exists()? {
            continue;
        }
        if !dry_run {
            fs::remove_file(&path)?;
        }
        removed.push(format!("file {}", path.display()));
    }
    if !removed.is_empty() && !dry_run {
        // Not empty, or a mount point: then the directory is not only ours.
        match fs::remove_dir(run_dir).map_err(|error| error.kind()) {
            Ok(()) | Err(io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy) => {}
            Err(kind) => return Err(kind.into()),
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn only_what_agents_left_is_removed() {
        let dir = TempDir::new().unwrap();
        let run_dir = dir.path().join("run");
        fs::create_dir(&run_dir).unwrap();
        for name in [SOCKET_NAME, NAMES_FILE, "others"] {
            fs::write(run_dir.join(name), "").unwrap();
        }
        let found = remove_files(&run_dir, true).unwrap();
        assert_eq!(remove_files(&run_dir, false).unwrap(), found);
        assert_eq!(found.len(), 2);
        let left: Vec<_> = fs::read_dir(&run_dir)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["others"]);
    }

    #[test]
    fn a_directory_that_was_only_ours_goes_too() {
        let dir = TempDir::new().unwrap();
        let run_dir = dir.path().join("run");
        fs::create_dir(&run_dir).unwrap();
        fs::write(run_dir.join(NAMES_FILE), "").unwrap();
        remove_files(&run_dir, false).unwrap();
        assert!(!run_dir.exists());
        assert_eq!(remove_files(&run_dir, false).unwrap(), Vec::<String>::new());
    }
}
