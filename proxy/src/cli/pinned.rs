//! The maps as an agent has pinned them, for when it does not run.

use std::fmt::Display;

use anyhow::Context;

use super::{Location, Streams};
use crate::tables::{Access, BpfTables, PinDir};

/// Opens the maps for reading and says on standard error that no agent speaks here.
pub(super) fn open(location: &Location, streams: &mut Streams<'_>) -> anyhow::Result<BpfTables> {
    let tables = read(location)
        .with_context(|| format!("no agent answers in {}", location.run_dir.display()))?;
    note(
        streams,
        format_args!(
            "no agent answers in {}: this is from the maps pinned under {}",
            location.run_dir.display(),
            location.pin_dir.display()
        ),
    )?;
    Ok(tables)
}

pub(super) fn read(location: &Location) -> anyhow::Result<BpfTables> {
    let dir = location.pin_dir.display();
    BpfTables::open_pinned(&PinDir::new(&location.pin_dir), Access::Read).with_context(|| {
        format!("open the maps under {dir}: has an agent run here, and are you root?")
    })
}

/// One line on standard error.
pub(super) fn note(streams: &mut Streams<'_>, line: impl Display) -> anyhow::Result<()> {
    Ok(writeln!(streams.err, "switchboard: {line}")?)
}
