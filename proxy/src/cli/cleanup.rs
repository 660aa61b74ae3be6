//! `switchboard cleanup`.

use std::path::PathBuf;

use anyhow::Context;

use super::{Ending, Streams};
use crate::{attach::links, config::PIN_DIR, tables::PinDir};

/// Take everything of Switchboard out of the kernel: programs, links and maps
///
/// Services stop working on this node, and translated flows end, until an agent runs again. It is
/// refused while an agent runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  switchboard cleanup --dry-run")]
pub(super) struct Args {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Directory on a bpffs where maps and links are pinned
    #[arg(long, value_name = "DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,
}

pub(super) fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    let removed = links::cleanup(&PinDir::new(&args.pin_dir), args.dry_run)
        .with_context(|| format!("clean up {}", args.pin_dir.display()))?;
    let verb = if args.dry_run {
        "would remove"
    } else {
        "removed"
    };
    for what in &removed {
        writeln!(streams.out, "{verb} {what}")?;
    }
    if removed.is_empty() {
        writeln!(
            streams.out,
            "nothing to remove under {}",
            args.pin_dir.display()
        )?;
    }
    Ok(Ending::Done)
}
