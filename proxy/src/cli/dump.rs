//! `switchboard dump`.
//!
//! It reads the kernel's maps itself, agent or not: it shows what is there, not what should be.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use clap::ValueEnum;

use super::{
    Ending, Location, Streams, client,
    output::{Format, Output},
    pinned,
};
use crate::{
    observe::{Row, dump, read_names, service::ServicePortView},
    plan::MapState,
    tables::{BpfTables, FamilyMaps, FamilyTables, Tables},
};

/// Print the tables in the kernel, one entry a line
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  $ switchboard dump frontends backends
  frontend 10.96.0.10:80/tcp service=1 backends=1-2 name=default/echo:http
  backend 1 10.1.0.9:8080/tcp active service=1 here name=default/echo:http
  backend 2 10.1.1.9:8080/tcp active service=1 name=default/echo:http")]
pub(super) struct Args {
    /// Which tables; all of them without any
    #[arg(value_enum, value_name = "TABLE")]
    tables: Vec<TableName>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    location: Location,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum TableName {
    Frontends,
    Sources,
    Addresses,
    Ranges,
    Nodes,
    Uplinks,
    Slots,
    Backends,
    Affinities,
    Flows,
    Fragments,
    Sockets,
    Counters,
}

pub(super) fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    let wanted: BTreeSet<TableName> = if args.tables.is_empty() {
        TableName::value_variants().iter().copied().collect()
    } else {
        args.tables.iter().copied().collect()
    };
    let kernel = pinned::read(&args.location)?;
    let names = names(&args.location);
    let maps = kernel.dump().context("read the service tables")?;
    let mut rows = Vec::new();
    for table in wanted {
        rows.extend(table.rows(&kernel, &maps)?);
    }
    let rows: Vec<Row> = rows
        .into_iter()
        .map(|row| row.named(|service| names.get(&service).cloned()))
        .collect();
    match args.output.format {
        Format::Table | Format::Wide => {
            for row in &rows {
                writeln!(streams.out, "{row}")?;
            }
        }
        Format::Json | Format::Yaml => {
            args.output.write(streams.out, &rows, |_| Ok(()))?;
        }
    }
    Ok(Ending::Done)
}

/// What service ids stand for, as the agent says, or as the last one has left it.
fn names(location: &Location) -> BTreeMap<u32, String> {
    let asked = client::ask::<Vec<ServicePortView>>(&location.run_dir, "/services");
    if let Ok(Some(views)) = asked {
        return views
            .into_iter()
            .filter_map(|view| Some((view.id, view.title()?)))
            .collect();
    }
    let left = read_names(&location.run_dir).unwrap_or_default();
    left.into_iter()
        .map(|(id, name)| (id, name.to_string()))
        .collect()
}

// === impl TableName ===

impl TableName {
    fn rows(self, kernel: &BpfTables, maps: &MapState) -> anyhow::Result<Vec<Row>> {
        let (v4, v6) = (&kernel.v4, &kernel.v6);
        Ok(match self {
            Self::Frontends => dump::frontends(maps),
            Self::Sources => dump::sources(maps),
            Self::Addresses => dump::addresses(maps),
            Self::Ranges => dump::ranges(maps),
            Self::Nodes => dump::nodes(maps),
            Self::Uplinks => dump::uplinks(maps),
            Self::Slots => dump::slots(maps),
            Self::Backends => dump::backends(maps),
            Self::Affinities => {
                let now_s = now_s();
                let v4 = affinities(v4, now_s)?.into_iter();
                dump::sorted(v4.chain(affinities(v6, now_s)?))
            }
            Self::Flows => {
                let now_s = now_s();
                dump::sorted(flows(v4, now_s)?.into_iter().chain(flows(v6, now_s)?))
            }
            Self::Fragments => dump::sorted(fragments(v4)?.into_iter().chain(fragments(v6)?)),
            Self::Sockets => dump::sorted(sockets(v4)?.into_iter().chain(sockets(v6)?)),
            Self::Counters => {
                let counters = kernel.counters().context("read the counters")?;
                counters
                    .into_iter()
                    .filter(|counter| counter.packets > 0)
                    .map(Row::counter)
                    .collect()
            }
        })
    }
}

fn affinities<F: FamilyTables>(maps: &FamilyMaps<F>, now_s: u32) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    maps.affinities
        .for_each(|key, affinity| rows.push(Row::affinity(key, affinity, now_s)))
        .context("read the affinities")?;
    Ok(rows)
}

fn flows<F: FamilyTables>(maps: &FamilyMaps<F>, now_s: u32) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    maps.flows
        .for_each(|key, flow| rows.push(Row::flow(key, flow, now_s)))
        .context("read the flows")?;
    Ok(rows)
}

fn fragments<F: FamilyTables>(maps: &FamilyMaps<F>) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    maps.fragments
        .for_each(|key, fragment| rows.push(Row::fragment(key, fragment)))
        .context("read the fragments")?;
    Ok(rows)
}

fn sockets<F: FamilyTables>(maps: &FamilyMaps<F>) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    maps.sockets
        .for_each(|key, peer| rows.push(Row::socket(key, peer)))
        .context("read the sockets")?;
    Ok(rows)
}

/// The programs' clock: monotonic, in units of 2^30 ns.
fn now_s() -> u32 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now_ns = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    (now_ns >> 30) as u32
}
