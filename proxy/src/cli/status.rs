//! `switchboard status`.

use std::{io::Write, net::IpAddr};

use anyhow::Context;
use serde::Serialize;

use super::{
    Ending, Location, Streams, client,
    output::{Output, or_none, write_columns},
    pinned,
};
use crate::observe::snapshot::{Counter, Endpoint, EndpointState, Problem, Status, TableUsage};

/// Show the agent of this node: sources, devices, tables, counters, and what is wrong with objects
///
/// Where no agent runs, the tables that it left in the kernel are shown, and the exit status is 3.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  switchboard status -o json | jq .diagnostics")]
pub(super) struct Args {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    location: Location,
}

/// What the maps tell without an agent.
#[derive(Serialize)]
struct Pinned {
    tables: Vec<TableUsage>,
    counters: Vec<Counter>,
}

pub(super) fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    let output = args.output;
    if let Some(status) = client::ask::<Status>(&args.location.run_dir, "/status")? {
        output.write(streams.out, &status, |out| {
            write_status(&status, output.is_wide(), out)
        })?;
        return Ok(Ending::Done);
    }
    let maps = pinned::open(&args.location, streams)?;
    let tables = maps.usage().context("count the entries of the tables")?;
    let counters = maps.counters().context("read the counters")?;
    let pinned = Pinned {
        tables: tables.into_iter().map(Into::into).collect(),
        counters: counters.into_iter().filter_map(Counter::moved).collect(),
    };
    output.write(streams.out, &pinned, |out| {
        write_tables(&pinned.tables, out)?;
        write_counters(&pinned.counters, out)
    })?;
    Ok(Ending::NoAgent)
}

fn write_status(status: &Status, wide: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    write_summary(status, out)?;
    let shown = |endpoint: &&Endpoint| wide || endpoint.state != EndpointState::Uplink;
    write_endpoints(status.endpoints.iter().filter(shown), out)?;
    write_tables(&status.tables, out)?;
    write_counters(&status.counters, out)?;
    write_problems(&status.diagnostics, out)
}

fn write_summary(status: &Status, out: &mut dyn Write) -> anyhow::Result<()> {
    let node = if status.node.found {
        format!("{} ({})", status.node.name, join(&status.node.addresses))
    } else {
        format!(
            "{} (it has no Node object: neither zone nor addresses are known)",
            status.node.name
        )
    };
    let waiting: Vec<&str> = status
        .source
        .synced
        .iter()
        .filter(|(_, synced)| !**synced)
        .map(|(kind, _)| kind.as_str())
        .collect();
    let synced = if waiting.is_empty() {
        "complete".to_owned()
    } else {
        format!("waiting for {}", waiting.join(", "))
    };
    let last = status.last_apply.as_ref().map_or(String::new(), |last| {
        let failed = if last.failed > 0 {
            format!(", {} failed", last.failed)
        } else {
            String::new()
        };
        format!(
            "; {} in {} µs at {}{failed}",
            last.writes, last.duration_us, last.at
        )
    });
    writeln!(out, "Node:           {node}")?;
    writeln!(
        out,
        "Agent:          {}, pid {}, since {}",
        status.version, status.pid, status.started
    )?;
    writeln!(
        out,
        "Source:         {} {}, {synced}",
        status.source.kind, status.source.location
    )?;
    writeln!(
        out,
        "Attached:       {} on devices, cgroup {}",
        status.attach, status.cgroup
    )?;
    writeln!(
        out,
        "Service CIDRs:  {}",
        or_none(Some(&status.service_cidrs.join(", ")))
    )?;
    writeln!(out, "Service ports:  {}", status.service_ports)?;
    Ok(writeln!(
        out,
        "Map writes:     {}{last}",
        status.writes_total
    )?)
}

fn write_endpoints<'a>(
    endpoints: impl Iterator<Item = &'a Endpoint>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let rows: Vec<[String; 5]> = endpoints
        .map(|endpoint| {
            [
                endpoint.ifname.clone(),
                endpoint.ifindex.to_string(),
                endpoint.state.name().to_owned(),
                or_none(endpoint.pod.as_deref()),
                or_none(Some(&join(&endpoint.addresses))),
            ]
        })
        .collect();
    write_section(["DEVICE", "INDEX", "STATE", "POD", "ADDRESSES"], rows, out)
}

fn write_tables(tables: &[TableUsage], out: &mut dyn Write) -> anyhow::Result<()> {
    let rows = tables.iter().map(|table| {
        [
            table.name.clone(),
            table.used.to_string(),
            table.capacity.to_string(),
        ]
    });
    write_section(["TABLE", "USED", "CAPACITY"], rows.collect(), out)
}

fn write_counters(counters: &[Counter], out: &mut dyn Write) -> anyhow::Result<()> {
    let rows = counters.iter().map(|counter| {
        [
            counter.direction.clone(),
            counter.verdict.clone(),
            counter.packets.to_string(),
        ]
    });
    write_section(["DIRECTION", "VERDICT", "PACKETS"], rows.collect(), out)
}

fn write_problems(problems: &[Problem], out: &mut dyn Write) -> anyhow::Result<()> {
    let rows = problems
        .iter()
        .map(|problem| [problem.object.clone(), problem.reason.clone()]);
    write_section(["OBJECT", "PROBLEM"], rows.collect(), out)
}

/// An empty line and a table; nothing at all without rows.
fn write_section<const N: usize>(
    header: [&str; N],
    rows: Vec<[String; N]>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    write_columns(out, header, rows)
}

fn join(addrs: &[IpAddr]) -> String {
    addrs
        .iter()
        .map(IpAddr::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
