//! The maps as an agent has pinned them, for when it does not run.

use std::fmt::Display;

use anyhow::{Context, anyhow};

use super::{Location, Streams};
use crate::{
    observe::{Names, read_names},
    tables::{Access, BpfTables, PinDir},
};

/// What an agent left when it ended.
pub(super) struct Pinned {
    pub(super) kernel: BpfTables,
    pub(super) names: Names,
}

/// Opens the maps for reading and says on standard error that no agent speaks here.
pub(super) fn open(location: &Location, streams: &mut Streams<'_>) -> anyhow::Result<Pinned> {
    let (run_dir, pin_dir) = (location.run_dir.display(), location.pin_dir.display());
    let kernel = read(location).with_context(|| format!("no agent answers in {run_dir}"))?;
    note(
        streams,
        format_args!("no agent answers in {run_dir}: this is from the maps under {pin_dir}"),
    )?;
    let names = read_names(&location.run_dir).unwrap_or_else(|error| {
        // Names are a help, and tables are worth showing without.
        let _ = writeln!(
            streams.err,
            "switchboard: read the names in {run_dir}: {error}"
        );
        Names::new()
    });
    Ok(Pinned { kernel, names })
}

pub(super) fn read(location: &Location) -> anyhow::Result<BpfTables> {
    let opened = BpfTables::open_pinned(&PinDir::new(&location.pin_dir), Access::Read);
    opened.map_err(|error| {
        anyhow!(
            "{:#}; has an agent run here, and are you root?",
            anyhow::Error::from(error)
        )
    })
}

/// One line on standard error.
pub(super) fn note(streams: &mut Streams<'_>, line: impl Display) -> anyhow::Result<()> {
    Ok(writeln!(streams.err, "switchboard: {line}")?)
}
